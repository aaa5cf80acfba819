//! Log lines and spans of the process: `lines` writes the former, `export` sends the latter.
//!
//! Both belong to the process as a whole. Whoever runs it calls [`begin_lines`] before anything else
//! and [`finish`] at its end; a [`Deployment`](crate::Deployment) sends its spans by itself.

mod export;
mod lines;
mod otlp;

use std::sync::LazyLock;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use export::Traces;
pub use lines::{LineLevel, begin_lines};

/// How long the end of the process may wait for spans to be sent.
const FINISH_WITHIN: Duration = Duration::from_secs(3);

/// Whoever still has spans to send.
static SENDERS: LazyLock<(TaskTracker, CancellationToken)> = LazyLock::new(Default::default);

/// Sends the spans that were not sent yet, for at most 3 seconds. At the end of the process: none are
/// sent afterwards.
pub async fn finish() {
    let (tasks, stop) = &*SENDERS;
    stop.cancel();
    tasks.close();
    if tokio::time::timeout(FINISH_WITHIN, tasks.wait()).await.is_err() {
        tracing::warn!("spans were left when the process ended: nobody takes them");
    }
}
