//! The health of the deployment's migrations, evaluated by any of its processes.
//!
//! ```text
//! control plane: rows, logs, leases, marks, memos ──┐
//! stores: ledgers, and whether they answer ─────────┼──▶ collect ──▶ report (pure) ──▶ document
//! this process: what its mirrors wrote ─────────────┘
//! ```
//!
//! [`report`] has the rules; [`collect`] collects their inputs. A check takes bounded time
//! whatever hangs, and one answer serves all requests within a second, so that probes cannot load
//! the stores. Not a liveness probe: a healthy process answers here for stores that are not.

mod collect;
mod report;

use std::sync::Arc;
use std::time::Duration;

use rehome_api::HealthReport;
use rehome_app::deployment::{Deployment, is_server};
use rehome_app::losses::Pass;
use rehome_ports::ControlError;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::audit::{self, Findings};
use crate::removals::Removals;
use crate::stats::Stats;
use crate::store_checks::StoreChecks;
use report::Observations;
use report::Thresholds;

/// How long one answer serves all requests.
const FRESH: Duration = Duration::from_secs(1);
/// How long an answer may be given while the next check is under way.
const GOOD_FOR: Duration = Duration::from_secs(5);
/// Maximum wait for a server's check while the previous answer is still valid,
/// and without one: the default timeout of a probe.
const SERVER_WITHIN: (Duration, Duration) =
    (Duration::from_millis(250), Duration::from_millis(900));
/// Maximum wait for a command's check; after that the check has timed out.
const COMMAND_WITHIN: Duration = Duration::from_secs(3);

/// The inputs of a check.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) deployment: Deployment,
    pub(crate) stats: Stats,
    /// The logs that are known to be broken.
    pub(crate) findings: Arc<Findings>,
    /// What scheduled verifications of stores have found.
    pub(crate) checks: Arc<StoreChecks>,
    /// The removals of tenants that are not complete.
    pub(crate) removals: Arc<Removals>,
}

/// The last answer, and the check that is under way. Shared by the clones of a deployment.
#[derive(Clone, Default)]
pub(crate) struct Health(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    last: Option<(Instant, HealthReport)>,
    running: Option<Running>,
    /// The search for stores that have lost events: each check continues where the one before stopped.
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

impl Health {
    /// The health of the deployment's migrations: an answer that is at most a second old, or at most five
    /// while a check takes long. One check runs at a time; concurrent callers wait for it, and one that
    /// hangs is not started again.
    pub(crate) async fn check(&self, sources: &Sources) -> HealthReport {
        let mut state = self.0.lock().await;
        if let Some((at, report)) = &state.last
            && at.elapsed() < FRESH
        {
            return report.clone();
        }
        let mut running = state.running.take().unwrap_or_else(|| {
            let (sources, losses) = (sources.clone(), Arc::clone(&state.losses));
            let audit = Arc::clone(&state.audit);
            let check = tokio::spawn(async move {
                let (mut losses, mut audit) = (losses.lock().await, audit.lock().await);
                collect::observe(&sources, &mut losses, &mut audit).await
            });
            Running { since: Instant::now(), check }
        });
        let good = state.last.as_ref().filter(|(at, _)| at.elapsed() < GOOD_FOR);
        let within = match (is_server(sources.deployment.holder()), good) {
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
                            "the check has not finished for {waited:.1} s: the control plane \
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
