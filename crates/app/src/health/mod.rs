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

use crate::audit;
use crate::deployment::{Deployment, is_server};
use crate::losses::Pass;
use report::Observations;
pub use report::Thresholds;

/// How long one answer serves all who ask.
const FRESH: Duration = Duration::from_secs(1);
/// How long an answer may be given while the next check is under way.
const GOOD_FOR: Duration = Duration::from_secs(5);
/// Longest that a process that serves has somebody wait for a check, where the answer before is still good,
/// and where there is none: the time that a probe waits by default.
const SERVER_WITHIN: (Duration, Duration) =
    (Duration::from_millis(250), Duration::from_millis(900));
/// Longest that a command waits for a check; beyond it the answer is that it took too long.
const COMMAND_WITHIN: Duration = Duration::from_secs(3);

/// The last answer, and the check that is under way. Shared by the clones of a deployment.
#[derive(Clone, Default)]
pub(crate) struct Health(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    last: Option<(Instant, HealthReport)>,
    running: Option<Running>,
    /// What shows that stores have lost events: each check goes on where the one before came to.
    losses: Arc<Mutex<Pass>>,
    /// Which logs are not as they were recorded: each check reads some.
    audit: Arc<Mutex<audit::Pass>>,
}

struct Running {
    since: Instant,
    check: JoinHandle<Result<Observations, ControlError>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.check.abort();
    }
}

impl Deployment {
    /// How the migrations of the deployment are: an answer that is at most a second old, or at most five
    /// while a check takes long. One check runs at a time; who asks meanwhile waits for it, and one that
    /// hangs is not begun again.
    pub async fn health(&self) -> HealthReport {
        let mut state = self.health_state().0.lock().await;
        if let Some((at, report)) = &state.last
            && at.elapsed() < FRESH
        {
            return report.clone();
        }
        let mut running = state.running.take().unwrap_or_else(|| {
            let (deployment, losses) = (self.clone(), Arc::clone(&state.losses));
            let audit = Arc::clone(&state.audit);
            let check = tokio::spawn(async move {
                let (mut losses, mut audit) = (losses.lock().await, audit.lock().await);
                collect::observe(&deployment, &mut losses, &mut audit).await
            });
            Running { since: Instant::now(), check }
        });
        let good = state.last.as_ref().filter(|(at, _)| at.elapsed() < GOOD_FOR);
        let within = match (is_server(self.holder()), good) {
            (true, Some(_)) => SERVER_WITHIN.0,
            (true, None) => SERVER_WITHIN.1,
            (false, _) => COMMAND_WITHIN,
        };
        let report = match timeout_at(running.since + within, &mut running.check).await {
            Ok(Ok(Ok(seen))) => report::report(&seen, &Thresholds::default()),
            Ok(Ok(Err(error))) => report::unknown(&format!("the check failed: {error}")),
            Ok(Err(ended)) => report::unknown(&format!("the check failed: {ended}")),
            Err(_) => {
                let waited = running.since.elapsed().as_secs_f64();
                state.running = Some(running);
                return state.last.as_ref().filter(|(at, _)| at.elapsed() < GOOD_FOR).map_or_else(
                    || {
                        report::unknown(&format!(
                            "the check has not come to its end for {waited:.1} s: the control plane \
                             does not answer"
                        ))
                    },
                    |(_, report)| report.clone(),
                );
            }
        };
        state.last = Some((Instant::now(), report.clone()));
        report
    }
}
