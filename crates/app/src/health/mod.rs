//! How the migrations of a deployment are, told by any of its processes.
//!
//! ```text
//! control plane: rows, logs, leases, marks, memos ──┐
//! stores: ledgers, and whether they answer ─────────┼──▶ collect ──▶ report (pure) ──▶ document
//! this process: what its mirrors wrote ─────────────┘
//! ```
//!
//! [`report`] holds the rules; [`collect`] finds out what they are about. A check takes bounded time
//! whatever hangs, and one answer serves everybody who asks within a second, so that probes cannot load
//! the stores. Not a liveness probe: a process that is well answers here for stores that are not.

mod collect;
mod report;

use std::sync::Arc;
use std::time::Duration;

use rehome_api::HealthReport;
use rehome_ports::ControlError;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::deployment::Deployment;
use collect::Probes;
use report::Observations;
pub use report::Thresholds;

/// How long one answer serves all who ask.
const FRESH: Duration = Duration::from_secs(1);
/// Longest that a check may take; beyond it the answer is that it took too long.
pub const CHECK_WITHIN: Duration = Duration::from_secs(5);

/// The last answer, and the check that is under way. Shared by the clones of a deployment.
#[derive(Clone, Default)]
pub(crate) struct Health(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    last: Option<(Instant, HealthReport)>,
    running: Option<Running>,
    probes: Probes,
}

struct Running {
    since: Instant,
    check: JoinHandle<(Probes, Result<Observations, ControlError>)>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.check.abort();
    }
}

impl Deployment {
    /// How the migrations of the deployment are: an answer that is at most a second old. One check runs
    /// at a time; who asks meanwhile waits for it, and one that hangs is not begun again.
    pub async fn health(&self) -> HealthReport {
        let mut state = self.health_state().0.lock().await;
        if let Some((at, report)) = &state.last
            && at.elapsed() < FRESH
        {
            return report.clone();
        }
        let report = self.check(&mut state).await;
        state.last = Some((Instant::now(), report.clone()));
        report
    }

    async fn check(&self, state: &mut State) -> HealthReport {
        let mut running = state.running.take().unwrap_or_else(|| {
            let (deployment, mut probes) = (self.clone(), std::mem::take(&mut state.probes));
            let check = async move {
                let seen = collect::observe(&deployment, &mut probes).await;
                (probes, seen)
            };
            Running { since: Instant::now(), check: tokio::spawn(check) }
        });
        match timeout_at(running.since + CHECK_WITHIN, &mut running.check).await {
            Ok(Ok((probes, Ok(seen)))) => {
                state.probes = probes;
                report::report(&seen, &Thresholds::default())
            }
            Ok(Ok((probes, Err(error)))) => {
                state.probes = probes;
                report::unknown(&format!("the check failed: {error}"))
            }
            Ok(Err(ended)) => report::unknown(&format!("the check failed: {ended}")),
            Err(_) => {
                let waited = running.since.elapsed().as_secs_f64();
                state.running = Some(running);
                report::unknown(&format!(
                    "the check has not come to its end for {waited:.1} s: the control plane does not \
                     answer"
                ))
            }
        }
    }
}
