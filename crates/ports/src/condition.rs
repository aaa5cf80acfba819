//! What a store reports about the machine under it.

use std::time::Duration;

/// The disk and the replicas of a store. `None`: the store does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Bytes left for the store.
    pub free_bytes: Option<u64>,
    /// Bytes of which `free_bytes` are left.
    pub size_bytes: Option<u64>,
    /// Bytes that the store itself takes.
    pub used_bytes: Option<u64>,
    /// How far its slowest replica is behind it.
    pub replica_lag: Option<Duration>,
}

impl Condition {
    /// The same for a store that may take `size_max` bytes.
    #[must_use]
    pub fn within(self, size_max: u64) -> Self {
        let Some(used) = self.used_bytes else { return self };
        let left = size_max.saturating_sub(used);
        match self.free_bytes {
            Some(free) if free <= left => self,
            _ => Self { free_bytes: Some(left), size_bytes: Some(size_max), ..self },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Condition;

    #[test]
    fn the_smaller_of_disk_and_limit_counts() {
        let disk = Condition {
            free_bytes: Some(50),
            size_bytes: Some(1_000),
            used_bytes: Some(30),
            replica_lag: None,
        };
        let left = |condition: Condition| (condition.free_bytes, condition.size_bytes);
        assert_eq!(left(disk.within(70)), (Some(40), Some(70)));
        assert_eq!(left(disk.within(20)), (Some(0), Some(20)));
        assert_eq!(left(disk.within(2_000)), (Some(50), Some(1_000)));
        let server = Condition { free_bytes: None, size_bytes: None, ..disk };
        assert_eq!(left(server.within(70)), (Some(40), Some(70)));
        assert_eq!(Condition::default().within(70), Condition::default());
    }
}
