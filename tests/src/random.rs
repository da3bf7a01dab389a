//! Random choices that a seed repeats (SplitMix64).

/// The variable with the seed; without it, the time decides.
const SEED: &str = "TEST_SEED";

/// Returns the seed of the tests' random choices, and prints it.
#[must_use]
pub fn seed() -> u64 {
    let given = std::env::var(SEED).ok().map(|text| text.parse().expect("TEST_SEED is a number"));
    let now = || std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs());
    let seed = given.unwrap_or_else(now);
    println!("{SEED}={seed}");
    seed
}

/// A generator of random choices.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Creates the generator of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() % end.max(1) as u64).unwrap_or_default()
    }

    /// Returns true once in `times`.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// Returns one of the items.
    ///
    /// # Panics
    /// If there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// Returns this many bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.number().to_le_bytes()[0]).collect()
    }
}
