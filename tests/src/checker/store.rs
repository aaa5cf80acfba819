//! One tenant's history in one store's file.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row as SqlRow};
use sha2::{Digest as _, Sha256};

use super::record::Stream;
use super::{Id, Violation};

/// The tenant's ledger row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ledger {
    pub(super) role: String,
    pub(super) epoch: u64,
    pub(super) seq: u64,
    pub(super) digest: Vec<u8>,
}

/// An event's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) seq: u64,
    pub(super) stream: Stream,
    pub(super) version: u64,
    pub(super) id: Id,
    pub(super) event_type: String,
    occurred_at: i64,
    recorded_at: i64,
    data: Option<String>,
    metadata: Option<String>,
    digest: Vec<u8>,
}

impl Row {
    pub(super) fn place(&self) -> (&Stream, u64, u64) {
        (&self.stream, self.version, self.seq)
    }

    pub(super) fn texts(&self) -> (Option<&str>, Option<&str>) {
        (self.data.as_deref(), self.metadata.as_deref())
    }

    /// `SHA-256(previous ‖ canonical(event))`, by its definition.
    fn chain(&self, previous: &[u8]) -> Vec<u8> {
        let mut bytes = previous.to_vec();
        let text = |bytes: &mut Vec<u8>, text: &str| {
            bytes.extend(length(text));
            bytes.extend(text.as_bytes());
        };
        bytes.extend(self.seq.to_be_bytes());
        text(&mut bytes, &self.stream.0);
        text(&mut bytes, &self.stream.1);
        bytes.extend(self.version.to_be_bytes());
        bytes.extend(self.id);
        text(&mut bytes, &self.event_type);
        bytes.extend(self.occurred_at.to_be_bytes());
        bytes.extend(self.recorded_at.to_be_bytes());
        bytes.extend(Sha256::digest(self.data.as_deref().unwrap_or_default()));
        bytes.extend(Sha256::digest(self.metadata.as_deref().unwrap_or_default()));
        Sha256::digest(&bytes).to_vec()
    }
}

/// A tenant's history in one store.
#[derive(Debug)]
pub(super) struct History {
    pub(super) ledger: Ledger,
    /// In the order of their positions.
    pub(super) rows: Vec<Row>,
    by_id: HashMap<Id, Vec<usize>>,
    /// What the streams' own rows say of their versions.
    streams: HashMap<Stream, u64>,
}

impl History {
    /// Where the event is among the rows.
    pub(super) fn rows_of(&self, id: &Id) -> &[usize] {
        self.by_id.get(id).map_or(&[], Vec::as_slice)
    }

    /// What can be said of a history by itself.
    pub(super) fn check(&self, store: &str, found: &mut Vec<Violation>) {
        let lies = |what| Violation::LedgerLies { store: store.to_owned(), what };
        let mut digest = vec![0; 32];
        let mut versions: HashMap<&Stream, u64> = HashMap::new();
        for (seq, row) in (1..).zip(&self.rows) {
            if row.seq != seq {
                found.push(Violation::Gap { store: store.to_owned(), seq });
                break;
            }
            digest = row.chain(&digest);
            if digest != row.digest {
                found.push(Violation::Chain { store: store.to_owned(), seq });
                digest.clone_from(&row.digest);
            }
            let version = versions.entry(&row.stream).or_default();
            *version += 1;
            if row.version != *version {
                let stream = format!("{}/{}", row.stream.0, row.stream.1);
                let (store, version) = (store.to_owned(), *version);
                found.push(Violation::VersionGap { store, stream, version });
            }
        }
        if self.ledger.seq != self.rows.len() as u64 {
            found.push(lies("its seq is not the number of events"));
        }
        if self.ledger.digest != digest {
            found.push(lies("its digest is not that of the last event"));
        }
        let told = |(stream, version): (&Stream, &u64)| {
            versions.get(stream).copied().unwrap_or_default() == *version
        };
        if !self.streams.iter().all(told)
            || versions.keys().any(|stream| !self.streams.contains_key(*stream))
        {
            found.push(lies("a stream's version is not the number of its events"));
        }
    }
}

/// Opens a file for reading only.
pub(super) fn open(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)
        .with_context(|| format!("{} cannot be opened", path.display()))?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    Ok(connection)
}

/// A number that is never negative; one that is would be found as far too high.
pub(super) fn count(row: &SqlRow<'_>, index: usize) -> rusqlite::Result<u64> {
    row.get(index).map(i64::cast_unsigned)
}

/// A text's length, as chains have it.
pub(super) fn length(text: &str) -> [u8; 4] {
    u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes()
}

/// Reads all of one tenant, in one transaction.
pub(super) fn read(path: &Path, tenant: Id) -> Result<History> {
    let mut connection = open(path)?;
    let tx = connection.transaction()?;
    let ledger = tx
        .query_row(
            "SELECT tenant_no, role, epoch, seq, digest FROM ledger WHERE tenant = ?1",
            [tenant.as_slice()],
            |row| {
                let ledger = Ledger {
                    role: row.get(1)?,
                    epoch: count(row, 2)?,
                    seq: count(row, 3)?,
                    digest: row.get(4)?,
                };
                Ok((row.get::<_, i64>(0)?, ledger))
            },
        )
        .optional()?;
    let Some((number, ledger)) = ledger else {
        let ledger = Ledger { role: "absent".to_owned(), epoch: 0, seq: 0, digest: vec![0; 32] };
        let (rows, by_id, streams) = (Vec::new(), HashMap::new(), HashMap::new());
        return Ok(History { ledger, rows, by_id, streams });
    };
    // An event without its stream's row would be lost in a plain join.
    let mut events = tx.prepare(
        "SELECT e.position - ?1 * 1099511627776, coalesce(s.stream_type, ''),
                coalesce(s.stream_id, ''), e.version, e.event_id, e.event_type, e.occurred_at,
                e.recorded_at, e.data, e.metadata, e.digest
         FROM events e LEFT JOIN streams s ON s.stream_no = e.stream_no AND s.tenant_no = ?1
         WHERE e.position >= ?1 * 1099511627776 AND e.position < (?1 + 1) * 1099511627776
         ORDER BY e.position",
    )?;
    let rows: Vec<Row> = events
        .query_map([number], |row| {
            Ok(Row {
                seq: count(row, 0)?,
                stream: (row.get(1)?, row.get(2)?),
                version: count(row, 3)?,
                id: row.get(4)?,
                event_type: row.get(5)?,
                occurred_at: row.get(6)?,
                recorded_at: row.get(7)?,
                data: row.get(8)?,
                metadata: row.get(9)?,
                digest: row.get(10)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut streams =
        tx.prepare("SELECT stream_type, stream_id, version FROM streams WHERE tenant_no = ?1")?;
    let streams = streams
        .query_map([number], |row| Ok(((row.get(0)?, row.get(1)?), count(row, 2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut by_id: HashMap<Id, Vec<usize>> = HashMap::new();
    for (index, row) in rows.iter().enumerate() {
        by_id.entry(row.id).or_default().push(index);
    }
    Ok(History { ledger, rows, by_id, streams })
}
