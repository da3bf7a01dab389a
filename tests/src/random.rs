//! Random choices that a seed repeats.

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
pub struct Random(fastrand::Rng);

impl Random {
    /// Creates the generator of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// Returns the next number.
    pub fn number(&mut self) -> u64 {
        self.0.u64(..)
    }

    /// Returns a number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0.usize(..end.max(1))
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
        std::iter::repeat_with(|| self.0.u8(..)).take(length).collect()
    }
}
