//! Random choices that can be repeated with the same seed.

/// The environment variable that sets the seed. Without it, the seed is the current time.
const SEED_VARIABLE: &str = "TEST_SEED";

/// Returns the seed of the tests' random choices, and prints it.
#[must_use]
pub fn seed() -> u64 {
    let fixed_seed =
        std::env::var(SEED_VARIABLE).ok().map(|text| text.parse().expect("TEST_SEED is a number"));
    let now = || std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs());
    let seed = fixed_seed.unwrap_or_else(now);
    println!("{SEED_VARIABLE}={seed}");
    seed
}

/// A generator of random choices.
#[derive(Debug)]
pub struct Random(fastrand::Rng);

impl Random {
    /// Creates a generator with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// Returns a random number.
    pub fn number(&mut self) -> u64 {
        self.0.u64(..)
    }

    /// Returns a random number below `end`. If `end` is 0, returns 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0.usize(..end.max(1))
    }

    /// Returns true with the probability 1 / `times`.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// Returns a random item.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// Returns `length` random bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        std::iter::repeat_with(|| self.0.u8(..)).take(length).collect()
    }
}
