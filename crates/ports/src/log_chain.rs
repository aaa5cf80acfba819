//! The chain over a migration's log: whether entries are those that were recorded.

use std::fmt;

use rehome_domain::digest::Digest;

use crate::LogEntry;
use crate::record::log_hash;

/// How far a log was followed: an entry's number and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Followed {
    /// The entry; 0: none.
    pub index: u64,
    /// Its hash.
    pub hash: Digest,
}

impl Followed {
    /// Before the first entry.
    pub const START: Self = Self { index: 0, hash: Digest::EMPTY };

    /// As far as this entry.
    pub const fn to(entry: &LogEntry) -> Self {
        Self { index: entry.index, hash: entry.hash }
    }
}

/// Where the chain is broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenChain {
    /// The first entry that is not as it was recorded.
    pub index: u64,
    /// How.
    pub how: Break,
}

/// How an entry is not as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Break {
    /// It is not there, and the next one is.
    Missing,
    /// It does not have the hash of what it says after what the one before it said.
    Hash,
    /// It cannot be read.
    Unreadable(String),
}

impl fmt::Display for BrokenChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the chain of the log is broken at entry {}: ", self.index)?;
        match &self.how {
            Break::Missing => f.write_str("it is missing"),
            Break::Hash => f.write_str(
                "it was changed, or the one before it, after it was recorded; its hash is that of another",
            ),
            Break::Unreadable(why) => write!(f, "it cannot be read: {why}"),
        }
    }
}

/// Whether `entry` is the one that follows.
pub fn follows(before: Followed, entry: &LogEntry) -> Result<(), BrokenChain> {
    let index = before.index + 1;
    if entry.index != index {
        return Err(BrokenChain { index, how: Break::Missing });
    }
    let hash = log_hash(&before.hash, index, entry.at, &entry.actor, &entry.text);
    if hash == entry.hash { Ok(()) } else { Err(BrokenChain { index, how: Break::Hash }) }
}

#[cfg(test)]
mod tests {
    use rehome_domain::event::Timestamp;
    use rehome_domain::migration::Fact;

    use super::*;
    use crate::record::write_fact;

    fn log() -> Vec<LogEntry> {
        let mut before = Followed::START;
        let facts = [Fact::CopyStarted, Fact::CopyCompleted { events: 7 }, Fact::CopyStarted];
        let entry = |fact: Fact| {
            let (index, at) = (before.index + 1, Timestamp::from_micros(5));
            let text = write_fact(&fact);
            let hash = log_hash(&before.hash, index, at, "ada", &text);
            before = Followed { index, hash };
            LogEntry { index, at, actor: "ada".to_owned(), fact, text, hash }
        };
        facts.into_iter().map(entry).collect()
    }

    fn first_break(log: &[LogEntry]) -> Option<(u64, Break)> {
        let mut before = Followed::START;
        for entry in log {
            if let Err(broken) = follows(before, entry) {
                return Some((broken.index, broken.how));
            }
            before = Followed::to(entry);
        }
        None
    }

    #[test]
    fn what_was_recorded_follows_and_what_was_changed_does_not() {
        assert_eq!(first_break(&log()), None);
        let changes: [fn(&mut LogEntry); 4] = [
            |entry| entry.actor = "eve".to_owned(),
            |entry| entry.at = Timestamp::from_micros(6),
            |entry| entry.text = entry.text.replace('7', "9"),
            |entry| entry.hash = Digest::EMPTY,
        ];
        for change in changes {
            let mut log = log();
            change(&mut log[1]);
            assert_eq!(first_break(&log), Some((2, Break::Hash)));
        }
    }

    #[test]
    fn an_entry_with_its_hash_made_anew_is_found_by_the_next() {
        let mut log = log();
        log[1].actor = "eve".to_owned();
        log[1].hash = log_hash(&log[0].hash, 2, log[1].at, "eve", &log[1].text);
        assert_eq!(first_break(&log), Some((3, Break::Hash)));
    }

    #[test]
    fn an_entry_that_is_missing_is_named() {
        for gone in 0..2 {
            let mut log = log();
            log.remove(gone);
            assert_eq!(first_break(&log), Some((gone as u64 + 1, Break::Missing)));
        }
    }
}
