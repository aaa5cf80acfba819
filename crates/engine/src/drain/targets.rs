//! The reports of a drain's targets, polled independently of the work: a store that does not answer is closed, and
//! delays nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rehome_domain::drain::{Placement, Report, Settings};
use rehome_domain::ids::StoreId;
use rehome_ports::{ControlError, Fleet, LedgerStore};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::Engine;

/// The polling interval.
const EVERY: Duration = Duration::from_secs(5);
/// Maximum time of one poll.
const WITHIN: Duration = Duration::from_secs(5);

pub(super) type Reports = BTreeMap<StoreId, Report>;

/// The last reports, and the task that polls.
pub(super) struct Targets {
    latest: watch::Receiver<Option<Arc<Reports>>>,
    _asking: AbortOnDropHandle<()>,
}

impl Targets {
    /// Starts to poll the targets of a drain.
    pub(super) fn of(
        engine: &Engine,
        fleet: &Arc<dyn Fleet>,
        settings: watch::Receiver<Settings>,
    ) -> Self {
        let (tell, latest) = watch::channel(None);
        let (engine, fleet) = (engine.clone(), Arc::clone(fleet));
        let asking = tokio::spawn(async move {
            loop {
                let now = settings.borrow().clone();
                // While the control plane does not answer, no move starts either.
                if let Ok(reports) = ask(&engine, &*fleet, &now).await {
                    tell.send_replace(Some(Arc::new(reports)));
                }
                tokio::time::sleep(EVERY).await;
            }
        });
        Self { latest, _asking: AbortOnDropHandle::new(asking) }
    }

    /// The last reports; empty before the first, so that nothing is placed.
    pub(super) fn latest(&self) -> Arc<Reports> {
        self.latest.borrow().clone().unwrap_or_default()
    }

    /// Waits for the next report.
    pub(super) async fn changed(&mut self) {
        if self.latest.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Polls all targets concurrently.
pub(super) async fn ask(
    engine: &Engine,
    fleet: &dyn Fleet,
    settings: &Settings,
) -> Result<Reports, ControlError> {
    let cordons = fleet.cordons().await?;
    let mut tenants = match settings.placement {
        Placement::LeastLoaded => engine.tenants_by_store().await?,
        Placement::Weights | Placement::FreeSpace => BTreeMap::new(),
    };
    let asked = settings.targets.iter().map(|target| {
        let (engine, store) = (engine.clone(), target.store.clone());
        (
            target.store.clone(),
            AbortOnDropHandle::new(tokio::spawn(async move {
                tokio::time::timeout(WITHIN, look(&engine, &store)).await
            })),
        )
    });
    let asked: Vec<_> = asked.collect();
    let mut reports = Reports::new();
    for (store, answer) in asked {
        let looked = match answer.await {
            Ok(Ok(looked)) => looked,
            Ok(Err(_)) | Err(_) => Err("it does not answer".to_owned()),
        };
        let (free_bytes, mut closed) = match looked {
            Ok(free) => (free, None),
            Err(why) => (None, Some(why)),
        };
        if let Some(cordon) = cordons.get(&store) {
            let why =
                if cordon.why.is_empty() { String::new() } else { format!(" ({})", cordon.why) };
            closed = Some(format!("it is cordoned{why}"));
        }
        let tenants = tenants.remove(&store).unwrap_or_default();
        reports.insert(store, Report { closed, free_bytes, tenants, ..Report::default() });
    }
    Ok(reports)
}

/// Less room than this is none. It is little: a small tenant may go to a small disk, and a full disk is waited for.
const FREE_BYTES_MIN: u64 = 4 << 20;

/// The free bytes of a store, or why it accepts nothing.
async fn look(engine: &Engine, store: &StoreId) -> Result<Option<u64>, String> {
    let store = engine.stores.get(store).map_err(|error| error.to_string())?;
    store.check().await.map_err(|error| error.to_string())?;
    room(&**store).await
}

/// The free bytes of a store, if it knows them, or that it has no room for a tenant.
pub(crate) async fn room(store: &dyn LedgerStore) -> Result<Option<u64>, String> {
    let condition = store.condition().await.map_err(|error| error.to_string())?;
    match condition.free_bytes {
        Some(free) if free < FREE_BYTES_MIN => Err(format!(
            "it is full: {free} bytes are left; free space and it accepts tenants again"
        )),
        free => Ok(free),
    }
}

impl Engine {
    /// How many tenants each store has the authority for.
    pub(super) async fn tenants_by_store(&self) -> Result<BTreeMap<StoreId, u64>, ControlError> {
        const PAGE: usize = 1_000;
        let (mut found, mut after) = (BTreeMap::new(), None);
        loop {
            let page = self.control.routes(after, PAGE).await?;
            for route in page.iter().filter(|route| !route.is_removed()) {
                *found.entry(route.store.clone()).or_default() += 1;
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.tenant),
                _ => return Ok(found),
            }
        }
    }
}
