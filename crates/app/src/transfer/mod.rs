//! Import and export of events as NDJSON.
//!
//! ```text
//! a table elsewhere ─▶ rows ──┐
//! file, stdin ─▶ lines ─▶ rounds (a thread; bounded) ─▶ one ordered append per tenant ─▶ router
//! router, store ─▶ pages ─▶ lines ─▶ stdout, or a file beside the file, then renamed
//! ```

mod export;
mod gunzip;
mod import;
mod input;
mod look;
mod output;
mod records;
mod rounds;
mod table;
#[cfg(test)]
mod tests;

pub use export::{ExportRequest, Output, export};
pub use import::{ImportRequest, import, import_into};
pub use input::{Format, Input};
pub use look::{look_at, look_at_table};
pub use rounds::Rounds;
pub use table::{TableEnd, TableOf, TableProgress, TableRequest, import_table};
