//! Random choices that can be repeated.

/// Pseudo-random numbers (SplitMix64).
pub(crate) struct Random(u64);

impl Random {
    /// Starts from `PILLION_TEST_SEED`, and prints from where.
    pub(crate) fn seeded() -> Self {
        let given = std::env::var("PILLION_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or(20_130_101);
        println!("PILLION_TEST_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from zero up to a bound, which it does not reach.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
