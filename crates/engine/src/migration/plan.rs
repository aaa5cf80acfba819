//! What would happen: the preflight of a migration and its estimate. Changes nothing.

use rehome_domain::estimate::{self, Estimate};
use rehome_domain::ids::{StoreId, TenantId};
use rehome_domain::ledger::Role;
use rehome_domain::migration::Phase;
use rehome_domain::route::Route;
use rehome_ports::{BatchLimit, ControlError, LedgerStore, StoreError};
use tokio::time::Instant;

use super::steps::is_prefix;
use super::tables;
use crate::drain::room;
use crate::{Engine, UnknownStore};

/// What to plan.
#[derive(Clone, Debug)]
pub struct PlanRequest {
    /// Whose history.
    pub tenant: TenantId,
    /// To where.
    pub target: StoreId,
}

/// One check of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The name of the check.
    pub check: &'static str,
    /// Whether it passed.
    pub ok: bool,
    /// The finding, and the remedy if it did not pass.
    pub detail: String,
}

/// What would happen.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the history is.
    pub source: StoreId,
    /// Where it would go.
    pub target: StoreId,
    /// Events to copy, without those that the target already has.
    pub events: u64,
    /// What the preflight saw.
    pub findings: Vec<Finding>,
    /// Events per second that the source was read with, on a sample.
    pub read_rate: Option<f64>,
    /// The estimated duration, from the sample.
    pub estimate: Option<Estimate>,
}

impl Plan {
    /// Every check passed.
    pub fn is_possible(&self) -> bool {
        self.findings.iter().all(|finding| finding.ok)
    }
}

/// Why no plan can be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The control plane failed, or the tenant is not known.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The source failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A store is not configured.
    #[error(transparent)]
    UnknownStore(#[from] UnknownStore),
    /// The tenant's store cannot be determined.
    #[error(
        "tables of two stores, {} and {}, have rows of tenant {tenant}, and no migration copied them; \
         delete the rows that are not its history", stores[0], stores[1]
    )]
    InTwoStores {
        /// The tenant.
        tenant: TenantId,
        /// The stores.
        stores: [StoreId; 2],
    },
}

const GIB: f64 = 1_073_741_824.0;

/// Reading is this many times faster than copying, roughly: what a copy also does is write, index
/// and flush. Used only for an estimate before anything was copied.
const READ_TO_COPY: f64 = 4.0;

impl Engine {
    /// Checks everything that a migration needs, and estimates its duration.
    pub async fn plan(&self, request: &PlanRequest) -> Result<Plan, PlanError> {
        let tenant = request.tenant;
        let target = self.stores.get(&request.target)?;
        let mut findings = Vec::new();
        let route = self.control.route(tenant).await?.filter(|route| !route.is_removed());
        let Some(route) = route else {
            return self.plan_of_unguarded(request, findings).await;
        };
        let source = self.stores.get(&route.store)?;
        let mut add = |check, ok, detail| findings.push(Finding { check, ok, detail });

        let active = route.migration.filter(|(_, phase)| !phase.is_terminal());
        match active {
            None => add("no other migration", true, "none is active".to_owned()),
            Some((id, Phase::Failed)) => add(
                "no other migration",
                false,
                format!("migration {id} failed; `rehome migration abort {id}` ends it"),
            ),
            Some((id, phase)) => {
                let found = format!("migration {id} is {phase}; finish or abort it");
                add("no other migration", false, found);
            }
        }
        let elsewhere = route.store != request.target;
        add(
            "target is another store",
            elsewhere,
            if elsewhere {
                format!("from {} to {}", route.store, request.target)
            } else {
                format!("the tenant's history is already in store {:?}", route.store.as_str())
            },
        );
        if let Some(finding) = self.cordon(&request.target, &route).await? {
            add(finding.check, finding.ok, finding.detail);
        }
        let source_ledger = source.ledger(tenant).await?;
        // A store that was released and adopted again has the rows, but does not guard them yet.
        let unguarded = source.unguarded(tenant).await?;
        let total = source_ledger.head.seq.max(unguarded);
        add(
            "source holds the history",
            total >= route.base && (source_ledger.role != Role::Absent || unguarded > 0),
            format!("{total} events"),
        );
        let mut events = total;
        if elsewhere {
            match target.ledger(tenant).await {
                Err(error) => add("target is reachable", false, error.to_string()),
                Ok(ledger) => {
                    add("target is reachable", true, format!("store {} answers", request.target));
                    match room(&**target).await {
                        Ok(None) => {}
                        Ok(Some(free)) => {
                            add(
                                "target has room",
                                true,
                                format!("{:.1} GiB are free", free as f64 / GIB),
                            );
                        }
                        Err(why) => add("target has room", false, why),
                    }
                    let strangers = target.unguarded(tenant).await?;
                    let clear = strangers == 0
                        && ledger.role != Role::Active
                        && is_prefix(ledger.head, &**source, tenant).await?;
                    if clear {
                        events -= ledger.head.seq.min(events);
                    }
                    let held = ledger.head.seq;
                    let detail = if strangers > 0 {
                        format!(
                            "its table has {strangers} events of the tenant that no migration copied; \
                             delete them"
                        )
                    } else {
                        clear_detail(clear, held)
                    };
                    add("target is clear", clear, detail);
                }
            }
        }
        tables::find(tenant, &**source, &**target, &mut findings).await?;
        self.publication(tenant, &mut findings).await;
        let read_rate = sample(&**source, tenant).await?;
        let estimate = read_rate.and_then(|rate| {
            let inputs = estimate::Inputs {
                total_events: events,
                copy_rate_per_second: rate / READ_TO_COPY,
                cutover_pause_seconds: 0.05,
                ..estimate::Inputs::default()
            };
            estimate::estimate(&inputs).ok()
        });
        let (source, target) = (route.store.clone(), request.target.clone());
        Ok(Plan { source, target, events, findings, read_rate, estimate })
    }
}

impl Engine {
    /// Whether the tenant could not return from `target`: it moves from a table of another library into rehome's own.
    pub async fn is_one_way(&self, tenant: TenantId, target: &StoreId) -> Result<bool, PlanError> {
        if self.stores.get(target)?.layout().await?.is_some() {
            return Ok(false);
        }
        let route = self.control.route(tenant).await?.filter(|route| !route.is_removed());
        if let Some(route) = route {
            return Ok(self.stores.get(&route.store)?.layout().await?.is_some());
        }
        // Without a route only another library can have written it.
        for store in self.stores.iter() {
            if store.layout().await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The store whose table has events of a tenant without a route, because the tenant's own
    /// library writes them; and their number.
    async fn unguarded(&self, tenant: TenantId) -> Result<Option<(StoreId, u64)>, PlanError> {
        let mut found: Option<(StoreId, u64)> = None;
        for store in self.stores.iter() {
            let events = store.unguarded(tenant).await?;
            if events == 0 {
                continue;
            }
            if let Some((other, _)) = found {
                return Err(PlanError::InTwoStores { tenant, stores: [other, store.id().clone()] });
            }
            found = Some((store.id().clone(), events));
        }
        Ok(found)
    }

    /// Whether the target accepts arrivals, if known. A tenant may return to a store that was cordoned
    /// meanwhile, because it is not a new tenant there.
    async fn cordon(
        &self,
        target: &StoreId,
        route: &Route,
    ) -> Result<Option<Finding>, ControlError> {
        let Some(fleet) = &self.fleet else { return Ok(None) };
        let check = "target takes new tenants";
        let cordon = fleet.cordons().await?.remove(target);
        let Some(cordon) = cordon else {
            let detail = format!("store {target} is not cordoned");
            return Ok(Some(Finding { check, ok: true, detail }));
        };
        let returns = match route.migration.filter(|_| route.window) {
            Some((id, _)) => self.control.migration(id).await?.source == *target,
            None => false,
        };
        let (by, why) = (cordon.by, cordon.why);
        let why = if why.is_empty() { why } else { format!(": {why}") };
        let detail = format!("store {target} was cordoned by {by}{why}");
        let detail = if returns { format!("{detail}; the tenant returns to it") } else { detail };
        Ok(Some(Finding { check, ok: returns, detail }))
    }

    /// The plan for a tenant whose first move brings it under the guard.
    async fn plan_of_unguarded(
        &self,
        request: &PlanRequest,
        mut findings: Vec<Finding>,
    ) -> Result<Plan, PlanError> {
        let tenant = request.tenant;
        let found = self.unguarded(tenant).await?;
        let (id, events) = found.ok_or(ControlError::UnknownTenant(tenant))?;
        let (source, target) = (self.stores.get(&id)?, self.stores.get(&request.target)?);
        let detail =
            format!("{events} events, written by its own library; the start guards the tenant");
        findings.push(Finding { check: "source holds the history", ok: true, detail });
        let elsewhere = id != request.target;
        let detail = format!("from {id} to {}", request.target);
        findings.push(Finding { check: "target is another store", ok: elsewhere, detail });
        tables::find(tenant, &**source, &**target, &mut findings).await?;
        self.publication(tenant, &mut findings).await;
        let target = request.target.clone();
        Ok(Plan { source: id, target, events, findings, read_rate: None, estimate: None })
    }

    /// Whether a switch can be published now, if publication is configured.
    async fn publication(&self, tenant: TenantId, findings: &mut Vec<Finding>) {
        let Some(publisher) = &self.publisher else { return };
        let (ok, detail) = match publisher.ready(tenant).await {
            Ok(()) => (true, "every [[publish]] entry answers".to_owned()),
            Err(why) => (false, why),
        };
        findings.push(Finding { check: "the switch can be published", ok, detail });
    }
}

fn clear_detail(clear: bool, held: u64) -> String {
    match (clear, held) {
        (true, 0) => "the target has no events of this tenant".to_owned(),
        (true, held) => {
            format!("the target already has the first {held} events; the copy continues from there")
        }
        (false, held) => format!(
            "the target has {held} other events of this tenant; `rehome tenant purge` removes \
             them if they are not needed"
        ),
    }
}

/// Reads up to a few pages, for at most a quarter of a second; events per second.
async fn sample(store: &dyn LedgerStore, tenant: TenantId) -> Result<Option<f64>, StoreError> {
    let began = Instant::now();
    let mut read = 0;
    while began.elapsed().as_millis() < 250 {
        let feed = store.read_feed(tenant, read, BatchLimit::PAGE).await?;
        let Some(last) = feed.events.last() else { break };
        read = last.seq;
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok((read > 0 && seconds > 0.0).then(|| read as f64 / seconds))
}
