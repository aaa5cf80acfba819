//! Stateless randomness: a value depends on the seed and on its purpose, and not on
//! earlier values.

/// The finalizer of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014).
const fn mix(word: u64) -> u64 {
    let z = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Dice for one purpose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dice {
    state: u64,
}

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { state: mix(seed) }
    }

    /// Dice for something named, independent of those for anything else.
    pub(crate) fn of(self, name: &str) -> Self {
        let state = name.bytes().fold(self.state, |state, byte| mix(state ^ u64::from(byte)));
        Self { state }
    }

    /// Dice for the nth of its kind.
    pub(crate) const fn nth(self, n: u64) -> Self {
        Self { state: mix(self.state ^ n.wrapping_mul(0xd6e8_feb8_6659_fd93)) }
    }

    /// A whole number.
    pub(crate) fn throw(&mut self) -> u64 {
        self.state = mix(self.state);
        self.state
    }

    /// At least `low` and below `high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.throw() % (high - low)
    }

    /// True so many times of a thousand.
    pub(crate) fn permille(&mut self, chance: u64) -> bool {
        self.throw() % 1_000 < chance
    }

    /// One of them.
    pub(crate) fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.throw() % all.len() as u64).unwrap_or(0)]
    }
}

#[cfg(test)]
mod tests {
    use super::Dice;

    #[test]
    fn what_is_thrown_depends_on_the_seed_and_the_name_alone() {
        let mut of_one = Dice::new(1).of("a").nth(1);
        let mut again = Dice::new(1).of("a").nth(1);
        assert_eq!(of_one.throw(), again.throw());
        for mut other in [Dice::new(2).of("a").nth(1), Dice::new(1).of("b").nth(1)] {
            assert_ne!(of_one.throw(), other.throw());
        }
        assert!((0..100).all(|n| (3..9).contains(&Dice::new(n).between(3, 9))));
    }
}
