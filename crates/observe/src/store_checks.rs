//! Periodic verification of stores by a server, if configured: one store
//! after the other, tenant by tenant, at a limited rate.
//!
//! A finding about a tenant stays until a verification finds the tenant intact. If a store does not answer, its verification
//! continues later at the same tenant. All state is in memory: a restart starts over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rehome_app::config::VerifyStores;
use rehome_app::{AppError, Deployment, StoreVerifyRequest, store_verify};
use rehome_domain::ids::{StoreId, TenantId};
use rehome_engine::metrics::StoreChecked;
use rehome_ports::clock::{Clock as _, SystemClock};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Tenants listed at once.
const PAGE: usize = 500;
/// Wait after a store did not answer.
const AGAIN: Duration = Duration::from_secs(10);
/// How often to check whether a verification is due.
const TICK: Duration = Duration::from_millis(500);

/// The findings. Cheap to read.
#[derive(Default)]
pub(crate) struct StoreChecks(Mutex<BTreeMap<StoreId, Check>>);

#[derive(Default)]
struct Check {
    /// When the running verification, or the last one, started.
    began: Option<Instant>,
    /// It continues after this tenant; `None` while none is running, or before the first.
    after: Option<TenantId>,
    goes_on: bool,
    /// Not before this.
    not_before: Option<Instant>,
    events: u64,
    damaged: BTreeMap<TenantId, String>,
    /// Findings of the running verification.
    seen: BTreeSet<TenantId>,
    whole_at: f64,
}

impl Check {
    fn is_due(&self, every: Duration) -> bool {
        let waits = self.not_before.is_some_and(|at| at > Instant::now());
        !waits && (self.goes_on || self.began.is_none_or(|began| began.elapsed() >= every))
    }
}

impl StoreChecks {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<StoreId, Check>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a scrape.
    pub(crate) fn counted(&self) -> Vec<StoreChecked> {
        let counted = |(id, check): (&StoreId, &Check)| StoreChecked {
            store: id.to_string(),
            events: check.events,
            damaged: check.damaged.len() as u64,
            whole_at: check.whole_at,
        };
        self.lock().iter().map(counted).collect()
    }

    /// A sentence for each tenant that is damaged, for health.
    pub(crate) fn sentences(&self) -> Vec<String> {
        let checks = self.lock();
        let all =
            checks.iter().flat_map(|(id, check)| check.damaged.iter().map(move |one| (id, one)));
        let sentence = |(id, (tenant, what)): (&StoreId, (&TenantId, &String))| {
            format!(
                "Store \"{id}\": the rows of tenant {tenant} contradict its ledger ({what}); `rehome store \
                 verify {id} --tenant {tenant}` verifies it again"
            )
        };
        all.map(sentence).collect()
    }

    /// Verifies all stores periodically until `stop` is cancelled, if configured.
    pub(crate) async fn run(&self, deployment: &Deployment, stop: &CancellationToken) {
        let Some(how) = deployment.config().server.verify_stores else { return };
        for store in &deployment.config().stores {
            self.lock().entry(store.id.clone()).or_default();
        }
        while !stop.is_cancelled() {
            for store in &deployment.config().stores {
                let due = self.lock().get(&store.id).is_some_and(|check| check.is_due(how.every));
                if !due {
                    continue;
                }
                if let Err(error) = self.look(deployment, &store.id, how, stop).await {
                    let store_id = store.id.as_str();
                    tracing::warn!(store_id, %error, "the verification of a store waits until it answers");
                    if let Some(check) = self.lock().get_mut(&store.id) {
                        check.not_before = Some(Instant::now() + AGAIN);
                    }
                }
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    /// Continues with a store, or starts over, to its end or until `stop` is cancelled.
    async fn look(
        &self,
        deployment: &Deployment,
        id: &StoreId,
        how: VerifyStores,
        stop: &CancellationToken,
    ) -> Result<(), AppError> {
        let mut after = {
            let mut checks = self.lock();
            let check = checks.entry(id.clone()).or_default();
            if !check.goes_on {
                (check.began, check.after, check.goes_on) = (Some(Instant::now()), None, true);
                check.seen.clear();
            }
            check.after
        };
        loop {
            let page = deployment.store(id)?.tenants(after, PAGE).await?;
            if page.is_empty() {
                break;
            }
            for row in page {
                let request = StoreVerifyRequest {
                    store: id.clone(),
                    tenant: Some(row.tenant),
                    level: how.level,
                    rate_max: how.rate_max,
                    after: None,
                };
                let report = store_verify::verify(deployment, &request, stop, |_, _| {}).await?;
                if !report.complete {
                    return Ok(());
                }
                let damage = report.damaged.first().map(|one| {
                    let at = one.damage.seq.map_or(String::new(), |seq| format!(" at seq {seq}"));
                    format!("{}{at}", one.damage.kind)
                });
                self.note(id, row.tenant, report.events_checked, damage);
                after = Some(row.tenant);
            }
        }
        let mut checks = self.lock();
        if let Some(check) = checks.get_mut(id) {
            // Who is no longer in the store is not damaged there.
            let Check { damaged, seen, .. } = check;
            damaged.retain(|tenant, _| seen.contains(tenant));
            (check.goes_on, check.after) = (false, None);
            check.whole_at = SystemClock.now().micros() as f64 / 1e6;
        }
        Ok(())
    }

    fn note(&self, id: &StoreId, tenant: TenantId, events: u64, damage: Option<String>) {
        let mut checks = self.lock();
        let check = checks.entry(id.clone()).or_default();
        check.events += events;
        check.after = Some(tenant);
        check.seen.insert(tenant);
        let Some(damage) = damage else {
            if check.damaged.remove(&tenant).is_some() {
                let store_id = id.as_str();
                tracing::info!(store_id, tenant_id = %tenant, "A tenant's rows match its ledger again");
            }
            return;
        };
        if check.damaged.insert(tenant, damage.clone()).is_none() {
            let store_id = id.as_str();
            tracing::error!(
                store_id,
                tenant_id = %tenant,
                damage,
                "A tenant's rows contradict its ledger"
            );
        }
    }
}
