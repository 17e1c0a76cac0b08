//! Numbers that look random; a failure prints the seed that gives them again.

#![allow(dead_code, reason = "tests of connectors have it too, and need a part of it")]

/// SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// As [`new`](Self::new), but with another seed in every run.
    #[cfg(target_os = "linux")]
    pub(crate) fn fresh() -> Self {
        use std::hash::{BuildHasher, RandomState};
        Self::new(RandomState::new().hash_one(0))
    }

    /// Starts from the environment variable `PILLION_TEST_SEED`, or from `seed`, and prints which.
    pub(crate) fn new(seed: u64) -> Self {
        let given = std::env::var("PILLION_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or(seed);
        println!("PILLION_TEST_SEED={seed}");
        Self(seed)
    }

    /// Starts from a seed that the caller prints if it fails.
    #[cfg(target_os = "linux")]
    pub(crate) fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
