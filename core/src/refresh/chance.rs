//! Random shares, by which caches that fail together do not try again together.

use std::fmt;

/// Draws random shares.
pub(super) struct Chance(Box<dyn FnMut() -> f64 + Send>);

impl Chance {
    #[cfg(test)]
    pub(super) fn of(draw: impl FnMut() -> f64 + Send + 'static) -> Self {
        Self(Box::new(draw))
    }

    /// A share from 0 to 1.
    pub(super) fn share(&mut self) -> f64 {
        (self.0)()
    }
}

impl Default for Chance {
    fn default() -> Self {
        Self(Box::new(random_share))
    }
}

impl fmt::Debug for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Chance")
    }
}

fn random_share() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness all caches wait equally long, which is a smaller evil than not to go on.
    match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_differ() {
        let mut chance = Chance::default();
        let shares: Vec<f64> = (0..100).map(|_| chance.share()).collect();
        assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
        assert!(shares.iter().any(|share| *share < 0.5) && shares.iter().any(|share| *share > 0.5));
    }
}
