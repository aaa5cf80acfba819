//! The tables, their format, and the identity of a file.
//!
//! A file is identified by three values before anything else in it is used: SQLite's
//! `application_id` (the kind of file), and in `meta` its format and its deployment. A file that is not
//! rehome's is never written.

use rehome_domain::event::Timestamp;
use rehome_ports::FaultKind;
use rusqlite::{Connection, OptionalExtension, Transaction};

use crate::error::FileError;

/// What a file can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Tenants' ledgers and events.
    Store,
    /// Routes and migrations.
    ControlPlane,
    /// Another program's events, with our guard beside them.
    Guard,
}

impl Kind {
    /// SQLite's application id in the file's header: "RhSt" and "RhCp". Another program's file keeps its own.
    const fn application_id(self) -> Option<i32> {
        match self {
            Self::Store => Some(0x5268_5374),
            Self::ControlPlane => Some(0x5268_4370),
            Self::Guard => None,
        }
    }

    /// The table with a file's identity.
    const fn meta(self) -> &'static str {
        match self {
            Self::Store | Self::ControlPlane => "meta",
            Self::Guard => "rehome_guard_meta",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::ControlPlane => "control_plane",
            Self::Guard => "guard",
        }
    }

    const fn noun(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::ControlPlane => "control plane",
            Self::Guard => "guard",
        }
    }

    /// The scripts, one for each format, with what was new in it.
    const fn tables(self) -> &'static [&'static str] {
        match self {
            // Format 3 adds nothing to a store that was made before it, see [`Kind::made_with`].
            Self::Store => &[
                include_str!("store.sql"),
                include_str!("store_2.sql"),
                "",
                include_str!("store_4.sql"),
            ],
            Self::Guard => &[
                include_str!("guard.sql"),
                include_str!("guard_2.sql"),
                include_str!("guard_3.sql"),
                include_str!("guard_4.sql"),
                include_str!("guard_5.sql"),
            ],
            Self::ControlPlane => &[
                include_str!("control.sql"),
                include_str!("control_2.sql"),
                include_str!("control_3.sql"),
                include_str!("control_4.sql"),
                include_str!("control_5.sql"),
                include_str!("control_6.sql"),
                include_str!("control_7.sql"),
                include_str!("control_8.sql"),
            ],
        }
    }

    /// What only a new file gets, after the scripts.
    const fn made_with(self) -> &'static str {
        match self {
            Self::Store => include_str!("store_ids.sql"),
            Self::ControlPlane | Self::Guard => "",
        }
    }

    /// The format that this code writes, and the newest that it reads.
    const fn format(self) -> u32 {
        match self {
            Self::Guard => 5,
            Self::Store => 4,
            Self::ControlPlane => 8,
        }
    }

    /// The oldest format whose code may read and write what this code writes.
    const fn oldest(self) -> u32 {
        match self {
            // Until a row is kept, see `ROWS_FROM`.
            Self::Store => 1,
            // Older ones do not call off that a tenant's guard goes. Those of format 2 keep no anchors of logs. Those of
            // format 3 do not know other texts of rows than SQLite's, which an older guard keeps. Those of format 4 would write a
            // tenant that comes from a table of another layout into the wrong columns.
            Self::Guard => 5,
            // Older ones do not know tokens in a control plane, nor its gate. Those of format 4 do not know
            // drains, which is harmless: they handle the migrations of a drain correctly. Those of format 5,
            // and those of stores of format 1, do not know anchors of logs and write none. Those of format 7 do
            // not know removals, and must be upgraded before the first tenant is removed.
            Self::ControlPlane => 4,
        }
    }

    /// The oldest formats whose code may read, and write, a file that this code makes.
    const fn oldest_of_new(self) -> (u32, u32) {
        match self {
            Self::Store => (self.oldest(), 3),
            Self::Guard | Self::ControlPlane => (self.oldest(), self.oldest()),
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Store, Self::ControlPlane, Self::Guard].into_iter().find(|kind| kind.name() == name)
    }

    fn of(application_id: i32) -> Option<Self> {
        let mark = Some(application_id);
        [Self::Store, Self::ControlPlane].into_iter().find(|kind| kind.application_id() == mark)
    }
}

/// The format of stores that keep rows of other libraries' tables.
const ROWS_FROM: u32 = 4;

/// Notes that a store keeps such a row: an older rehome would neither read nor remove it.
pub(crate) fn keeps_rows(tx: &Transaction<'_>) -> Result<(), FileError> {
    tx.execute(
        "UPDATE meta SET oldest_reader = max(oldest_reader, ?1), oldest_writer = max(oldest_writer, ?1)",
        [ROWS_FROM],
    )?;
    Ok(())
}

/// The identity of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    /// What it is.
    pub(crate) kind: Kind,
    /// The format of its tables.
    pub(crate) format: u32,
    /// The oldest format whose writers may touch it.
    pub(crate) oldest_writer: u32,
    /// Whose it is.
    pub(crate) deployment: String,
    /// Which file it is.
    pub(crate) identity: String,
}

impl Meta {
    /// Why this code may not write the file, if it may not.
    pub(crate) fn forbids_writing(&self) -> Option<FaultKind> {
        let (found, known) = (self.oldest_writer, self.kind.format());
        (found > known).then_some(FaultKind::NewerFormat { found, known })
    }

    /// Whether its tables are those of an older format than this code writes.
    pub(crate) fn is_old(&self) -> bool {
        self.format < self.kind.format()
    }

    /// Refuses a file of another deployment.
    pub(crate) fn check_deployment(&self, expected: &str) -> Result<(), FileError> {
        if self.deployment == expected {
            return Ok(());
        }
        Err(FileError::Kind(FaultKind::OtherDeployment {
            found: self.deployment.clone(),
            expected: expected.to_owned(),
        }))
    }
}

/// Whose the open file is. `None`: it is empty. Changes nothing.
pub(crate) fn identify(conn: &Connection, kind: Kind) -> Result<Option<Meta>, FileError> {
    if is_marked(conn, kind)? { read_meta(conn, kind).map(Some) } else { Ok(None) }
}

/// Whether the open file carries our mark, of this kind; not if it is empty. Refuses what carries
/// another one or none. Of a guard the mark is its table: the file is another program's.
pub(crate) fn is_marked(conn: &Connection, kind: Kind) -> Result<bool, FileError> {
    let application_id: i32 =
        conn.query_row("SELECT application_id FROM pragma_application_id", [], |row| row.get(0))?;
    if kind == Kind::Guard {
        return match Kind::of(application_id) {
            Some(ours) => foreign(format!("it is a {}, not another program's file", ours.noun())),
            None => has_table(conn, kind.meta()),
        };
    }
    if application_id == 0 {
        let things: i64 =
            conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        return if things == 0 { Ok(false) } else { foreign("it is another program's database") };
    }
    match Kind::of(application_id) {
        Some(found) if found == kind => Ok(true),
        Some(other) => foreign(format!("it is a {}, not a {}", other.noun(), kind.noun())),
        None => foreign("it is another program's database"),
    }
}

fn foreign<T>(why: impl Into<String>) -> Result<T, FileError> {
    Err(FileError::Kind(FaultKind::Foreign(why.into())))
}

fn has_table(conn: &Connection, name: &str) -> Result<bool, FileError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1)";
    Ok(conn.query_row(sql, [name], |row| row.get(0))?)
}

/// Reads `meta` and refuses a file that only a newer reader understands.
pub(crate) fn read_meta(conn: &Connection, kind: Kind) -> Result<Meta, FileError> {
    let table = kind.meta();
    if !has_table(conn, table)? {
        return foreign(format!("its table {table} is missing"));
    }
    let sql = format!(
        "SELECT kind, format, oldest_reader, oldest_writer, deployment, identity FROM {table}"
    );
    let row = conn
        .prepare_cached(&sql)?
        .query_row([], |row| {
            let (kind, oldest_reader): (String, u32) = (row.get(0)?, row.get(2)?);
            let Some(kind) = Kind::named(&kind) else { return Ok(None) };
            let meta = Meta {
                kind,
                format: row.get(1)?,
                oldest_writer: row.get(3)?,
                deployment: row.get(4)?,
                identity: row.get(5)?,
            };
            Ok(Some((oldest_reader, meta)))
        })
        .optional()?;
    match row {
        None => foreign("its meta table is empty"),
        Some(None) => foreign("its meta table names another kind of file"),
        Some(Some((found, meta))) if found > meta.kind.format() => {
            Err(FileError::Kind(FaultKind::NewerFormat { found, known: meta.kind.format() }))
        }
        Some(Some((_, meta))) => Ok(meta),
    }
}

/// Makes the tables of an empty file.
pub(crate) fn install(
    tx: &Transaction<'_>,
    kind: Kind,
    deployment: &str,
    now: Timestamp,
) -> Result<(), FileError> {
    for script in kind.tables() {
        tx.execute_batch(script)?;
    }
    tx.execute_batch(kind.made_with())?;
    if let Some(mark) = kind.application_id() {
        tx.pragma_update(None, "application_id", mark)?;
    }
    let (oldest_reader, oldest_writer) = kind.oldest_of_new();
    let sql = format!(
        "INSERT INTO {} (id, kind, format, oldest_reader, oldest_writer, deployment, identity, \
         created_at) VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        kind.meta()
    );
    tx.execute(
        &sql,
        (
            kind.name(),
            kind.format(),
            oldest_reader,
            oldest_writer,
            deployment,
            uuid::Uuid::new_v4().to_string(),
            now.micros(),
        ),
    )?;
    Ok(())
}

/// Brings the tables to the format that this code writes, one format at a time, in the caller's
/// transaction.
pub(crate) fn upgrade(tx: &Transaction<'_>, from: &Meta) -> Result<(), FileError> {
    if from.format == 0 {
        return Err(FileError::corrupt("its meta table names format 0, which does not exist"));
    }
    // A newer format that permits writing is left unchanged.
    if !from.is_old() {
        return Ok(());
    }
    for script in from.kind.tables().iter().skip(from.format as usize) {
        tx.execute_batch(script)?;
    }
    tx.execute(
        &format!(
            "UPDATE {} SET format = ?1, oldest_reader = max(oldest_reader, ?2), \
             oldest_writer = max(oldest_writer, ?2)",
            from.kind.meta()
        ),
        [from.kind.format(), from.kind.oldest()],
    )?;
    Ok(())
}
