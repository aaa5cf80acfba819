//! The chain over a migration's log: whether entries are those that were recorded.

use std::fmt;

use rehome_domain::digest::Digest;
use rehome_domain::ids::{MigrationId, TenantId};

use crate::record::log_hash;
use crate::{DrainEntry, LogEntry};

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

/// How far a migration's log was seen, kept outside of the log: an anchor.
///
/// It may be older than the log's end and is never newer, so the log has to have this very entry for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogAnchor {
    /// The migration's tenant.
    pub tenant: TenantId,
    /// The migration whose log it is.
    pub migration: MigrationId,
    /// The entry. [`Followed::START`]: the migration is named, and no entry of its log.
    pub seen: Followed,
}

impl LogAnchor {
    /// What is kept once `new` was seen too: the later entry, in any order of writes.
    #[must_use]
    pub fn moved_to(self, new: Self) -> Self {
        if new.seen.index > self.seen.index { new } else { self }
    }

    /// Whether the log is the one that was seen. `found` is its entry of this number, or the next one if that is
    /// not there; `len` is how many entries it has; `place` keeps the anchor.
    pub fn check(&self, place: &str, found: Option<Followed>, len: u64) -> Result<(), BrokenChain> {
        let Followed { index, hash } = self.seen;
        let how = match found {
            _ if index == 0 => return Ok(()),
            Some(found) if found == self.seen => return Ok(()),
            Some(found) if found.index == index => Break::Another(place.to_owned(), hash),
            Some(_) => Break::Missing,
            None => {
                let why = format!("{place} has seen it up to entry {index}");
                return Err(BrokenChain { index: len + 1, how: Break::CutOff(why) });
            }
        };
        Err(BrokenChain { index, how })
    }
}

/// Where the chain is broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenChain {
    /// The first entry that is not as it was recorded.
    pub index: u64,
    /// What is wrong with it.
    pub how: Break,
}

/// How an entry is not as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Break {
    /// It is not there, and the next one is.
    Missing,
    /// Its hash does not match its content and the hash of the entry before.
    Hash,
    /// It cannot be read.
    Unreadable(String),
    /// It is missing, with all entries after it; the migration's row shows what it must have recorded.
    CutOff(String),
    /// It is another entry than the one that an anchor's place has seen, with this hash: the log was written anew.
    Another(String, Digest),
    /// There is no such migration any more, and an anchor's place has seen its log.
    Gone(String),
}

impl fmt::Display for BrokenChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the chain of the log is broken at entry {}: ", self.index)?;
        match &self.how {
            Break::Missing => f.write_str("it is missing"),
            Break::Hash => f.write_str(
                "it, or the entry before, was changed after it was recorded; its hash does not match",
            ),
            Break::Unreadable(why) => write!(f, "it cannot be read: {why}"),
            Break::CutOff(why) => write!(f, "the end of the log is missing: {why}"),
            Break::Another(place, hash) => {
                write!(f, "the log was written anew: {place} has seen the entry with hash {hash}")
            }
            Break::Gone(why) => write!(f, "the whole log is missing with its migration: {why}"),
        }
    }
}

/// Whether `entry` is the one that follows.
pub fn follows(before: Followed, entry: &LogEntry) -> Result<(), BrokenChain> {
    let hash = |index| log_hash(&before.hash, index, entry.at, &entry.actor, &entry.text);
    next(before, entry.index, entry.hash, hash)
}

/// The same of a drain's log.
pub fn drain_follows(before: Followed, entry: &DrainEntry) -> Result<(), BrokenChain> {
    let hash = |index| log_hash(&before.hash, index, entry.at, &entry.actor, &entry.text);
    next(before, entry.index, entry.hash, hash)
}

fn next(
    before: Followed,
    found: u64,
    claimed: Digest,
    hash: impl FnOnce(u64) -> Digest,
) -> Result<(), BrokenChain> {
    let index = before.index + 1;
    if found != index {
        return Err(BrokenChain { index, how: Break::Missing });
    }
    if hash(index) == claimed { Ok(()) } else { Err(BrokenChain { index, how: Break::Hash }) }
}

#[cfg(test)]
mod tests {
    use rehome_domain::event::Timestamp;
    use rehome_domain::migration::Fact;

    use super::*;
    use crate::record::write_fact;

    fn uuid(n: u8) -> uuid::Uuid {
        uuid::Uuid::from_bytes([n; 16])
    }

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
    fn an_anchor_names_what_it_has_seen_and_the_log_has_not() {
        let log = log();
        let (tenant, migration) = (TenantId::new(uuid(1)), MigrationId::new(uuid(2)));
        let anchor = |seen| LogAnchor { tenant, migration, seen };
        let check = |anchor: LogAnchor, log: &[LogEntry]| {
            let found = log.iter().find(|entry| entry.index >= anchor.seen.index);
            anchor.check("store \"b\"", found.map(Followed::to), log.len() as u64)
        };
        // It may be older than the log's end.
        for entry in &log {
            assert_eq!(check(anchor(Followed::to(entry)), &log), Ok(()));
        }
        assert_eq!(check(anchor(Followed::START), &[]), Ok(()), "it names the migration only");
        let last = anchor(Followed::to(&log[2]));
        let cut = check(last, &log[..1]).unwrap_err();
        assert_eq!(cut.index, 2);
        assert!(cut.to_string().contains("store \"b\" has seen it up to entry 3"), "{cut}");
        let anew = check(anchor(Followed { index: 2, ..last.seen }), &log).unwrap_err();
        assert_eq!(
            (anew.index, anew.how),
            (2, Break::Another("store \"b\"".into(), last.seen.hash))
        );
        let hole = [log[0].clone(), log[2].clone()];
        let missing = check(anchor(Followed::to(&log[1])), &hole).unwrap_err();
        assert_eq!(missing, BrokenChain { index: 2, how: Break::Missing });

        let older = anchor(Followed::to(&log[1]));
        assert_eq!((older.moved_to(last), last.moved_to(older)), (last, last));
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
