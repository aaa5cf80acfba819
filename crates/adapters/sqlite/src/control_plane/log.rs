//! A migration's log: entries without gaps, each hashed over the one before.

use rehome_domain::digest::Digest;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::MigrationId;
use rehome_domain::migration::Fact;
use rehome_ports::LogEntry;
use rehome_ports::log_chain::Followed;
use rehome_ports::record::{log_hash, write_fact};
use rusqlite::Transaction;

use crate::error::FileError;
use crate::rows;

/// Adds an entry and returns it. The hash covers the stored text.
pub(super) fn append(
    tx: &Transaction<'_>,
    migration: MigrationId,
    at: Timestamp,
    actor: &str,
    fact: &Fact,
) -> Result<Followed, FileError> {
    let last = "SELECT entry, hash FROM log WHERE migration = ?1 ORDER BY entry DESC LIMIT 1";
    let mut last = tx.prepare_cached(last)?;
    let mut last = last.query([migration.as_bytes().as_slice()])?;
    let (index, previous) = match last.next()? {
        Some(row) => (rows::count(row, 0)? + 1, rows::digest(row, 1)?),
        None => (1, Digest::EMPTY),
    };
    let fact = write_fact(fact);
    let hash = log_hash(&previous, index, at, actor, &fact);
    tx.prepare_cached(
        "INSERT INTO log (migration, entry, at, actor, fact, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute((
        migration.as_bytes().as_slice(),
        rows::int(index)?,
        at.micros(),
        actor,
        fact,
        hash.as_bytes().as_slice(),
    ))?;
    Ok(Followed { index, hash })
}

/// The entries after entry `after`.
pub(super) fn read(
    tx: &Transaction<'_>,
    migration: MigrationId,
    after: u64,
    limit: usize,
) -> Result<Vec<LogEntry>, FileError> {
    let sql = format!(
        "SELECT {} FROM log WHERE migration = ?1 AND entry > ?2 ORDER BY entry LIMIT ?3",
        rows::LOG
    );
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = tx.prepare_cached(&sql)?;
    let mut found = statement.query((migration.as_bytes().as_slice(), after, limit))?;
    let mut entries = Vec::new();
    while let Some(row) = found.next()? {
        entries.push(rows::log_entry(row)?);
    }
    Ok(entries)
}
