//! Removals of tenants that stand still: the process that worked on one was interrupted, and the tenant has neither
//! readers nor writers until an operator completes it.
//!
//! A removal has no lease. It stands still if neither its row nor its store's ledger, which a purge shortens piece by piece,
//! has changed for some seconds.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use rehome_app::Deployment;
use rehome_app::unfinished_removal;
use rehome_domain::ids::TenantId;
use rehome_domain::ledger::Ledger;
use rehome_domain::route::Route;
use rehome_ports::{ControlError, RouteFilter};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The interval of the looks.
const EVERY: Duration = Duration::from_secs(2);
/// Maximum time for the control plane to list the removals.
const WITHIN: Duration = Duration::from_secs(2);
/// A removal without a change for so long stands still.
const STILL_AFTER: Duration = Duration::from_secs(10);
/// Maximum number of removals that are watched.
const WATCHED_MAX: usize = 100;

/// The removals that are not complete, as they were seen last.
#[derive(Debug, Default)]
pub(crate) struct Removals(Mutex<Option<BTreeMap<TenantId, Seen>>>);

#[derive(Clone, Debug)]
struct Seen {
    rev: u64,
    ledger: Option<Ledger>,
    since: Instant,
    sentence: String,
}

impl Seen {
    /// The removal as it is now; `None` if the route has none.
    fn of(route: &Route, ledger: Option<Ledger>) -> Option<Self> {
        let sentence = unfinished_removal(route)?;
        Some(Self { rev: route.rev, ledger, since: Instant::now(), sentence })
    }

    /// With the time since when nothing has changed. A store that does not answer changes nothing.
    fn after(self, before: Option<&Self>) -> Self {
        match before.filter(|before| before.rev == self.rev) {
            Some(before) if self.ledger.is_none() || self.ledger == before.ledger => {
                Self { ledger: before.ledger, since: before.since, ..self }
            }
            _ => self,
        }
    }
}

impl Removals {
    fn lock(&self) -> MutexGuard<'_, Option<BTreeMap<TenantId, Seen>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks every few seconds until `stop` is cancelled.
    pub(crate) async fn watch(&self, deployment: &Deployment, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            // A control plane that does not answer is reported as such; what was seen last stays.
            let _ = tokio::time::timeout(WITHIN, self.look(deployment)).await;
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// Reads the removals that are not complete, and how far they are.
    pub(crate) async fn look(&self, deployment: &Deployment) -> Result<(), ControlError> {
        let which = RouteFilter { removing: true, limit: WATCHED_MAX, ..RouteFilter::default() };
        let routes = deployment.fleet().find_routes(&which).await?;
        let looks = routes.iter().map(async |route| {
            let sight = deployment.store_watch().ledger(&route.store, route.tenant).await.ok();
            let ledger = sight.and_then(|sight| sight.last).map(|(ledger, _)| ledger);
            Some((route.tenant, Seen::of(route, ledger)?))
        });
        let found = join_all(looks).await;
        let mut seen = self.lock();
        let before = seen.take().unwrap_or_default();
        let now = found.into_iter().flatten();
        *seen = Some(now.map(|(id, one)| (id, one.after(before.get(&id)))).collect());
        Ok(())
    }

    /// How many stand still; `None` before the first look.
    pub(crate) fn standing_still(&self) -> Option<u64> {
        let seen = self.lock();
        let still = |one: &&Seen| one.since.elapsed() >= STILL_AFTER;
        seen.as_ref().map(|seen| seen.values().filter(still).count() as u64)
    }

    /// A sentence for each that stands still; with `all`, for each that is not complete.
    pub(crate) fn sentences(&self, all: bool) -> Vec<String> {
        let seen = self.lock();
        let wanted = |one: &&Seen| all || one.since.elapsed() >= STILL_AFTER;
        let found = seen.iter().flat_map(BTreeMap::values).filter(wanted);
        found.map(|one| one.sentence.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use rehome_domain::ids::{Epoch, TenantId};
    use rehome_domain::ledger::{Head, Ledger};
    use rehome_domain::removal::Removal;
    use rehome_domain::route::Route;
    use uuid::Uuid;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_removal_stands_still_when_neither_its_row_nor_its_ledger_changes() {
        let tenant = TenantId::new(Uuid::from_u128(7));
        let mut route = Route::create(tenant, "shared".parse().unwrap());
        assert!(Seen::of(&route, None).is_none());
        route.removal = Some(Removal::Running { k: Epoch(2), events: 9 });
        let ledger = |seq| Some(Ledger { head: Head { seq, ..Head::EMPTY }, ..Ledger::ABSENT });
        let removals = Removals::default();
        let look = |route: &Route, ledger| {
            let mut seen = removals.lock();
            let before = seen.take().unwrap_or_default();
            let now = Seen::of(route, ledger).map(|one| one.after(before.get(&tenant)));
            *seen = Some(now.map(|one| (tenant, one)).into_iter().collect());
        };
        assert_eq!(removals.standing_still(), None);
        look(&route, ledger(9));
        assert_eq!((removals.standing_still(), removals.sentences(false).len()), (Some(0), 0));
        assert!(removals.sentences(true)[0].contains("--events 9"));
        for seq in [8, 7] {
            tokio::time::advance(STILL_AFTER.mul_f64(0.9)).await;
            look(&route, ledger(seq));
            assert_eq!(removals.standing_still(), Some(0), "it is being purged");
        }
        tokio::time::advance(STILL_AFTER).await;
        // Nor is an answer that did not come.
        look(&route, None);
        look(&route, ledger(7));
        assert_eq!((removals.standing_still(), removals.sentences(false).len()), (Some(1), 1));
        route.rev += 1;
        look(&route, ledger(7));
        assert_eq!(removals.standing_still(), Some(0));
        route.removal = Some(Removal::Done);
        look(&route, ledger(7));
        assert_eq!((removals.standing_still(), removals.sentences(true).len()), (Some(0), 0));
    }
}
