//! Log lines, spans and metrics of the process: `lines` writes the first, `export` sends the second, `push` the
//! third, both by `otlp`.
//!
//! They belong to the process as a whole. Its main function calls [`begin_lines`] before anything else
//! and [`finish`] at its end; an [`Observed`](crate::Observed) deployment sends its spans itself.

mod export;
mod lines;
mod otlp;
mod push;

use std::sync::LazyLock;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use export::Traces;
pub use lines::{LineLevel, begin_lines};
pub(crate) use push::Push;
pub use rehome_engine::telemetry::names::SERVICE;

/// How long the end of the process may wait for spans to be sent.
const FINISH_WITHIN: Duration = Duration::from_secs(3);

/// The senders that still have spans to send.
static SENDERS: LazyLock<(TaskTracker, CancellationToken)> = LazyLock::new(Default::default);

/// Sends the spans that were not sent yet, for at most 3 seconds. At the end of the process: none are
/// sent afterwards.
pub async fn finish() {
    let (tasks, stop) = &*SENDERS;
    stop.cancel();
    tasks.close();
    if tokio::time::timeout(FINISH_WITHIN, tasks.wait()).await.is_err() {
        tracing::warn!(
            "spans were lost when the process ended: the collector does not accept them"
        );
    }
}
