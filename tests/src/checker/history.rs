//! One tenant's history in one store.

use std::collections::HashMap;

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
    pub(super) occurred_at: i64,
    pub(super) recorded_at: i64,
    pub(super) data: Option<String>,
    pub(super) metadata: Option<String>,
    pub(super) digest: Vec<u8>,
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
    /// The versions in the streams' own rows, in stores with such rows.
    streams: Option<HashMap<Stream, u64>>,
}

impl History {
    /// Of a tenant that the store has never seen.
    pub(super) fn absent() -> Self {
        let ledger = Ledger { role: "absent".to_owned(), epoch: 0, seq: 0, digest: vec![0; 32] };
        Self::new(ledger, Vec::new(), None)
    }

    pub(super) fn new(
        ledger: Ledger,
        rows: Vec<Row>,
        streams: Option<HashMap<Stream, u64>>,
    ) -> Self {
        let mut by_id: HashMap<Id, Vec<usize>> = HashMap::new();
        for (index, row) in rows.iter().enumerate() {
            by_id.entry(row.id).or_default().push(index);
        }
        Self { ledger, rows, by_id, streams }
    }

    /// Where the event is among the rows.
    pub(super) fn rows_of(&self, id: &Id) -> &[usize] {
        self.by_id.get(id).map_or(&[], Vec::as_slice)
    }

    /// The event at a position.
    pub(super) fn id_at(&self, seq: u64) -> Option<Id> {
        let index = usize::try_from(seq.checked_sub(1)?).ok()?;
        self.rows.get(index).map(|row| row.id)
    }

    /// The checks of a history by itself.
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
        if self.streams.as_ref().is_some_and(|streams| !agree(streams, &versions)) {
            found.push(lies("a stream's version is not the number of its events"));
        }
    }
}

/// A text's length, as chains have it.
pub(super) fn length(text: &str) -> [u8; 4] {
    u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes()
}

/// Whether the streams' rows agree with their events; a stream without events may have a row.
fn agree(streams: &HashMap<Stream, u64>, versions: &HashMap<&Stream, u64>) -> bool {
    let told = |(stream, version): (&Stream, &u64)| {
        versions.get(stream).copied().unwrap_or_default() == *version
    };
    streams.iter().all(told) && versions.keys().all(|stream| streams.contains_key(*stream))
}
