//! Import and export of events as NDJSON.
//!
//! ```text
//! file, stdin ─▶ lines ─▶ rounds (a thread; bounded) ─▶ one ordered append per tenant ─▶ router
//! router, store ─▶ pages ─▶ lines ─▶ stdout, or a file beside the file, then renamed
//! ```

mod export;
mod gunzip;
mod import;
mod input;
mod output;
mod rounds;
#[cfg(test)]
mod tests;

pub use export::{ExportRequest, Output};
pub use import::{ImportRequest, import};
pub use input::Input;
pub use rounds::Rounds;
