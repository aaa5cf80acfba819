//! Log lines and spans of migrations. Every message, span name and
//! field is in [`names`].
//!
//! ```text
//! signals ─▶ logs   ─▶ `tracing` events of the logger `eventsource.migration`
//!         └▶ spans  ─▶ a sink (the application's exporter)
//!              phases: folded from the migration's log when a fact ends them
//!      parts, batches, appends: created from the signal of their end
//! ```
//!
//! Contains no format and no protocol: the application writes lines and sends spans.

mod callers;
mod logs;
pub mod names;
mod phases;
mod quiet;
mod span;
mod spans;

#[cfg(test)]
mod tests;

pub use callers::{CallerContext, Callers};
pub use logs::Logs;
pub use phases::Ended;
pub use span::{Attribute, Mirrored, Span, SpanEvent, Value};
pub use spans::{SpanSink, Spans, Told};
