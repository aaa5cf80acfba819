//! Opening: inspect, check, then write.
//!
//! A file is first inspected without leaving a trace; a file that is not rehome's is not touched. SQLite's own lock orders two processes that create the same file at once: the
//! second finds what the first created.

use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rehome_ports::{FaultKind, private};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::busy::{Contended, wait_for_locks};
use super::checkpointer::Checkpointer;
use super::place::{Found, Place, look, missing};
use super::readers::Readers;
use super::writer::Writer;
use super::{File, Request};
use crate::error::FileError;
use crate::schema::{self, Kind, Meta};

/// Page caches, in KiB: bounded, so that memory does not grow with the history.
const WRITER_CACHE_KIB: i64 = 8 << 10;
const READER_CACHE_KIB: i64 = 2 << 10;
/// A longer log is truncated when it restarts.
const WAL_KEPT_BYTES: i64 = 64 << 20;
const STATEMENTS_KEPT: usize = 64;

pub(super) fn open(request: Request) -> Result<File, FileError> {
    // An absolute path never begins with `file:`, so SQLite never reads one as a URI.
    let path = std::path::absolute(&request.path).map_err(|_| missing(&request.path))?;
    match look_or_make(&path, request.create)? {
        Found::Nothing if !request.create => return Err(missing(&path)),
        Found::Nothing => {}
        Found::EmptyFile if !request.create => {
            return Err(FileError::Kind(FaultKind::Foreign("the file is empty".to_owned())));
        }
        Found::EmptyFile => {}
        // Only its own SQLite may read another program's file without its log.
        Found::File if request.kind == Kind::Guard => {}
        Found::File => probe(&path, &request)?,
    }

    let contended: Contended = Arc::new(AtomicBool::new(false));
    let mut writer = connect(&path, Use::Write { create: request.create }, &request, &contended)?;
    let meta = claim(&mut writer, &request)?;
    if let Some(bytes) = request.options.bytes_max {
        let page: i64 = writer.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        let pages = i64::try_from(bytes).unwrap_or(i64::MAX) / page;
        writer.pragma_update(None, "max_page_count", pages)?;
    }
    let place = Place::remember(&path)?;

    let aside = Contended::default();
    let readers = (0..request.options.readers.max(1))
        .map(|_| connect(&path, Use::Read, &request, &aside))
        .collect::<Result<_, _>>()?;
    let checkpointing = connect(&path, Use::Write { create: false }, &request, &aside)?;

    let (checkpointer, wal) = Checkpointer::start(checkpointing, &mut writer)?;
    let refusal = meta.forbids_writing();
    let writer =
        Writer::start(writer, request.kind, contended, place.clone(), wal.clone(), refusal)?;
    Ok(File {
        readers: Readers::new(readers, place),
        writer,
        wal,
        _checkpointer: checkpointer,
        what: request.what,
        path,
        meta,
    })
}

/// Inspects the place, and creates an empty file for its owner only if there is none: SQLite would create it with the
/// umask, and the files beside it get the same mode.
///
/// One after the other: closing the new file's descriptor would drop the locks that another connection of
/// this process holds on it, so no connection may be opened before it is closed.
fn look_or_make(path: &Path, create: bool) -> Result<Found, FileError> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let found = look(path)?;
    if create && matches!(found, Found::Nothing) {
        // If that fails SQLite fails too, with the reason.
        let _ = private::options().write(true).create_new(true).open(path);
    }
    drop(one);
    Ok(found)
}

#[derive(Clone, Copy)]
enum Use {
    Read,
    Write { create: bool },
}

fn connect(
    path: &Path,
    how: Use,
    request: &Request,
    contended: &Contended,
) -> Result<Connection, FileError> {
    // Each connection stays in one thread at a time. No URI: any path is only a path.
    let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let (flags, cache_kib) = match how {
        Use::Read => (flags | OpenFlags::SQLITE_OPEN_READ_ONLY, READER_CACHE_KIB),
        Use::Write { create: false } => {
            (flags | OpenFlags::SQLITE_OPEN_READ_WRITE, WRITER_CACHE_KIB)
        }
        Use::Write { create: true } => (
            flags | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
            WRITER_CACHE_KIB,
        ),
    };
    let mut conn = Connection::open_with_flags(path, flags).map_err(|e| cannot_open(path, e))?;
    wait_for_locks(&mut conn, request.options.locked_after, Arc::clone(contended))?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    conn.pragma_update(None, "cache_size", -cache_kib)?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "fullfsync", true)?;
    conn.pragma_update(None, "checkpoint_fullfsync", true)?;
    conn.pragma_update(None, "foreign_keys", false)?;
    conn.pragma_update(None, "trusted_schema", false)?;
    if request.kind == Kind::Guard {
        // A copied row is not a new fact: neither the table's own triggers nor the guard's fire for it.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    }
    // The checkpointer runs checkpoints. (`wal_autocheckpoint` also removes a hook.)
    conn.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    conn.pragma_update_and_check(None, "journal_size_limit", WAL_KEPT_BYTES, |_| Ok(()))?;
    Ok(conn)
}

fn cannot_open(path: &Path, error: rusqlite::Error) -> FileError {
    if error.sqlite_error_code() != Some(rusqlite::ErrorCode::CannotOpen) {
        return error.into();
    }
    let folder = path.parent().unwrap_or(path);
    match (look(path), std::fs::metadata(folder)) {
        (Ok(Found::Nothing), Err(_)) => missing(folder),
        (Ok(Found::Nothing), Ok(folder)) if folder.permissions().readonly() => {
            FileError::Kind(FaultKind::ReadOnly)
        }
        _ => error.into(),
    }
}

/// Inspects a file without leaving a trace: no lock, no log beside it, no recovery.
///
/// The inspected values do not change once a file is created, and are in the file itself and not only
/// in its log (see [`claim`]). Only a clear refusal counts here (another process may just be creating the
/// file); the writing connection checks everything else again.
fn probe(path: &Path, request: &Request) -> Result<(), FileError> {
    let Ok(conn) = open_without_a_trace(path) else { return Ok(()) };
    match schema::is_marked(&conn, request.kind) {
        Err(no) if no.is_clear() => return Err(no),
        Ok(true) => {}
        Ok(false) | Err(_) => return probe_log(path, request),
    }
    match (schema::read_meta(&conn, request.kind), &request.deployment) {
        (Err(FileError::Kind(newer @ FaultKind::NewerFormat { .. })), _) => {
            Err(FileError::Kind(newer))
        }
        (Ok(meta), Some(expected)) => meta.check_deployment(expected),
        _ => Ok(()),
    }
}

/// Inspects a file that seems to be empty, but has a log: all its data may still be there.
fn probe_log(path: &Path, request: &Request) -> Result<(), FileError> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    if !std::fs::metadata(log).is_ok_and(|log| log.len() > 0) {
        return Ok(());
    }
    let asked = connect(path, Use::Read, request, &Contended::default())
        .and_then(|conn| schema::is_marked(&conn, request.kind));
    asked.map_or_else(|no| if no.is_clear() { Err(no) } else { Ok(()) }, |_| Ok(()))
}

fn open_without_a_trace(path: &Path) -> rusqlite::Result<Connection> {
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' => {
                uri.push(char::from(*byte));
            }
            other => {
                let _ = write!(uri, "%{other:02x}");
            }
        }
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(uri, flags)
}

/// Creates the tables if there are none; returns the file's metadata.
///
/// They are created before the switch to the write-ahead log, so that the file itself is identifiable
/// from its first moment on.
fn claim(conn: &mut Connection, request: &Request) -> Result<Meta, FileError> {
    let writable = !conn.is_readonly(rusqlite::MAIN_DB)?;
    let mut meta = match schema::identify(conn, request.kind)? {
        Some(meta) => meta,
        None if request.kind == Kind::Guard => {
            return Err(FileError::Kind(FaultKind::NotSetUp("it is not adopted yet".to_owned())));
        }
        None if !request.create => {
            return Err(FileError::Kind(FaultKind::Foreign("the database is empty".to_owned())));
        }
        None if !writable => return Err(FileError::Kind(FaultKind::ReadOnly)),
        None => make(conn, request)?,
    };
    if let Some(expected) = &request.deployment {
        meta.check_deployment(expected)?;
    }
    if writable && meta.forbids_writing().is_none() {
        // Another program's file keeps its journal.
        if request.kind != Kind::Guard {
            write_ahead(conn, request.options.locked_after)?;
        }
        if meta.is_old() {
            let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            schema::upgrade(&tx, &schema::read_meta(&tx, request.kind)?)?;
            tx.commit().map_err(FileError::Commit)?;
            meta = schema::read_meta(conn, request.kind)?;
        }
    }
    Ok(meta)
}

fn make(conn: &mut Connection, request: &Request) -> Result<Meta, FileError> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have created it between the inspection and the lock.
    if let Some(meta) = schema::identify(&tx, request.kind)? {
        return Ok(meta);
    }
    let new = || uuid::Uuid::new_v4().to_string();
    let deployment = request.deployment.clone().unwrap_or_else(new);
    schema::install(&tx, request.kind, &deployment, request.clock.now())?;
    let meta = schema::read_meta(&tx, request.kind)?;
    tx.commit().map_err(FileError::Commit)?;
    Ok(meta)
}

/// Switches to the write-ahead log. SQLite does not call the busy handler for this lock.
fn write_ahead(conn: &Connection, bound: Duration) -> Result<(), FileError> {
    let since = Instant::now();
    loop {
        let switched = conn
            .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0));
        match switched.map_err(FileError::from) {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                let why = format!("the write-ahead log cannot be used there (journal mode {mode})");
                return Err(FileError::Kind(FaultKind::Unreachable(why)));
            }
            Err(error) if error.is_busy() && since.elapsed() < bound => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error),
        }
    }
}

/// A connection to another program's file, for a single operation.
pub(super) fn once(request: &Request) -> Result<Connection, FileError> {
    let path = std::path::absolute(&request.path).map_err(|_| missing(&request.path))?;
    if matches!(look(&path)?, Found::Nothing) {
        return Err(missing(&path));
    }
    connect(&path, Use::Write { create: false }, request, &Contended::default())
}

/// The durability of the connection, and whether a commit survives a loss of power.
pub(super) fn durability(conn: &Connection) -> rusqlite::Result<(String, bool)> {
    let journal: String = conn.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    let synchronous: i64 = conn.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
    let word = ["OFF", "NORMAL", "FULL", "EXTRA"];
    let word = usize::try_from(synchronous).ok().and_then(|n| word.get(n)).unwrap_or(&"unknown");
    let read_only = if conn.is_readonly(rusqlite::MAIN_DB)? { ", read-only" } else { "" };
    let text = format!("{}, synchronous={word}{read_only}", journal.to_uppercase());
    let keeps = matches!(&*journal, "wal" | "delete" | "truncate" | "persist");
    Ok((text, keeps && synchronous >= 2))
}
