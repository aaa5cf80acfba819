//! The control plane's rows: routes, migrations, logs.

use sha2::{Digest as _, Sha256};

use super::history::length;
use super::{Id, Violation};

/// A tenant's route row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Moves with every change.
    pub rev: u64,
    /// The store that has the authority.
    pub store: String,
    /// The epoch under which it is, or is to be, active.
    pub epoch: u64,
    /// The highest epoch handed out.
    pub n: u64,
    /// Events that the store must hold.
    pub base: u64,
    /// The phase of the tenant's last migration.
    pub phase: Option<String>,
    /// A rollback window is open.
    pub window: bool,
}

/// A migration's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Its id.
    pub id: Id,
    /// Its phase.
    pub phase: String,
    /// The whole stored state.
    pub state: String,
    /// The number of cutovers that began.
    pub cutover_attempts: u64,
    /// Its last entry in the log.
    pub log_entries: u64,
}

/// An entry of a migration's log.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) at: i64,
    pub(super) actor: String,
    pub(super) fact: String,
    pub(super) hash: Vec<u8>,
}

/// `hash(n) = SHA-256(hash(n-1) ‖ u64 entry ‖ i64 at ‖ str actor ‖ str fact)`, without gaps.
pub(super) fn check_log(migration: Id, entries: &[Entry], found: &mut Vec<Violation>) {
    let mut last = vec![0; 32];
    for (expected, entry) in (1..).zip(entries) {
        let mut bytes = last.clone();
        bytes.extend(entry.number.to_be_bytes());
        bytes.extend(entry.at.to_be_bytes());
        for text in [&entry.actor, &entry.fact] {
            bytes.extend(length(text));
            bytes.extend(text.as_bytes());
        }
        if entry.number != expected || Sha256::digest(&bytes).as_slice() != entry.hash {
            found.push(Violation::Log { migration, entry: expected });
            return;
        }
        last.clone_from(&entry.hash);
    }
}
