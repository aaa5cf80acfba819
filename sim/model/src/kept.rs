//! Values that many states have in common.

use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// A value that is created rarely, and copied and hashed in every state: its hash is computed once. The
/// checker distinguishes states by 64 bits anyway.
#[derive(Clone, Debug)]
pub struct Kept<T> {
    value: Arc<T>,
    digest: u64,
}

impl<T: Hash> Kept<T> {
    /// Wraps `value`.
    pub fn new(value: T) -> Self {
        let digest = digest_of(&value);
        Self { value: Arc::new(value), digest }
    }
}

impl<T: Hash + Default> Default for Kept<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> PartialEq for Kept<T> {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl<T> Eq for Kept<T> {}

impl<T> Hash for Kept<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.digest);
    }
}

/// A hash that is the same in every run.
pub(crate) fn digest_of<T: Hash>(value: &T) -> u64 {
    std::hash::BuildHasher::hash_one(&BuildHasherDefault::<DefaultHasher>::default(), value)
}
