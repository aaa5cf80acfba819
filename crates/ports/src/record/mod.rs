//! How facts, states and options are written down by every control plane, the chain over the log, and how stores write the
//! columns of kept rows.
//!
//! Domain types are not serialisable; these are their mirror images. A record written once must
//! be readable for ever: fields are added with a default, never renamed.

mod fact;
mod options;
mod row_form;
mod state;

use rehome_domain::digest::{Digest, sha256};
use rehome_domain::event::Timestamp;
use rehome_domain::verification::Level;
use serde::Serialize;

pub use fact::{read_fact, write_fact};
pub(crate) use options::OptionsRecord;
pub use options::{read_options, write_options};
pub use row_form::{read_row_form, write_row_form};
pub use state::{read_state, write_state};

/// A record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the {what}: {why}")]
pub struct Unreadable {
    /// What it should be.
    pub what: &'static str,
    /// What is wrong.
    pub why: String,
}

pub(crate) fn unreadable(what: &'static str, why: impl std::fmt::Display) -> Unreadable {
    Unreadable { what, why: format!("{why}") }
}

pub(crate) fn write(record: &impl Serialize) -> String {
    serde_json::to_string(record).expect("records have text keys and no maps that could fail")
}

/// The hash of a log entry: SHA-256(previous ‖ u64 index ‖ i64 at ‖ str actor ‖ str fact), numbers
/// big-endian, `str` a u32 length and the bytes, `fact` the text of [`write_fact`].
pub fn log_hash(previous: &Digest, index: u64, at: Timestamp, actor: &str, fact: &str) -> Digest {
    let length = |text: &str| u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes();
    sha256(&[
        previous.as_bytes(),
        &index.to_be_bytes(),
        &at.micros().to_be_bytes(),
        &length(actor),
        actor.as_bytes(),
        &length(fact),
        fact.as_bytes(),
    ])
}

fn read_level(text: &str) -> Result<Level, Unreadable> {
    Level::parse(text).ok_or_else(|| unreadable("verification level", text))
}
