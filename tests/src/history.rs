//! A tenant's history before the first write: lines for an import, and the expected events.

use std::fmt::Write as _;

use anyhow::Result;

use crate::checker::{Known, parse_hex};

/// Whose it is.
pub const TENANT: &str = "7f5b0c1e-52a8-4c55-9d4e-0b6a1f6f2c11";
/// How many events.
pub const IMPORTED: u64 = 1_500;

/// An event as it is imported.
struct Imported {
    id: String,
    stream: String,
    version: u64,
    data: String,
    metadata: String,
}

const STREAM_TYPE: &str = "invoice";
const EVENT_TYPE: &str = "InvoiceTouched";
const STREAMS: u64 = 60;

fn event(number: u64) -> Imported {
    Imported {
        id: format!("10000000-0000-4000-8000-{number:012x}"),
        stream: format!("invoice {}/\u{e5}", number % STREAMS),
        version: number / STREAMS + 1,
        // As it was given, to the byte: spaces, a key twice, a number that no machine has.
        data: format!(r#"{{"number" :{number}, "k":1,"k": 2,"big":1e4000,"nul":"\u0000"}}"#),
        metadata: format!(r#"{{"trace":"{number:032x}"}}"#),
    }
}

/// The lines of an import.
pub fn lines() -> Result<String> {
    let mut lines = String::new();
    for number in 0..IMPORTED {
        let Imported { id, stream, data, metadata, .. } = event(number);
        writeln!(
            lines,
            r#"{{"tenant_id":"{TENANT}","stream_type":"{STREAM_TYPE}","stream_id":"{stream}","event_id":"{id}","event_type":"{EVENT_TYPE}","occurred_at":"2025-03-01T00:00:00.{number:06}Z","data":{data},"metadata":{metadata}}}"#,
        )?;
    }
    Ok(lines)
}

/// The history as the checker's knowledge.
pub fn known() -> Result<Known> {
    let mut known = Known::default();
    for number in 0..IMPORTED {
        let Imported { id, stream, version, data, metadata } = event(number);
        let place = (version, number + 1);
        let content = (EVENT_TYPE, data.as_str(), metadata.as_str());
        known.import(parse_hex(&id)?, (STREAM_TYPE, &stream), place, content);
    }
    Ok(known)
}
