//! Making stores, and checking them.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use rehome_api as api;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::StoreId;
use rehome_engine::{UnknownStore, holds_history};
use rehome_ports::{LedgerStore, StoreReport};
use rehome_postgres::PgStore;

use crate::config::{Config, Url};
use crate::deployment::{Access, Deployment, is_file, unknown_store};
use crate::documents;
use crate::error::AppError;
use crate::losses::{self, Found};
use crate::routes::{PairError, Pairs};
use crate::store_watch::Unanswered;
use crate::tenants::unfinished_removal;

/// Maximum number of tenants that a check lists; all are counted and checked.
const TENANTS_LISTED: usize = 1_000;
/// Problems that a check lists.
const PROBLEMS_LISTED: usize = 100;
/// How often to check that a store still answers, while all its tenants are checked.
const ASKED_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// A clock that is further off than this is worth a word: leases run by it.
const SKEW_MAX_MS: u64 = 1_000;

/// Makes a store that holds nothing yet by the control plane's word.
pub async fn create(config: &Config, id: &StoreId) -> Result<Deployment, AppError> {
    let deployment = Deployment::open(config, Access::Existing).await?;
    let url = deployment.url(id).ok_or_else(|| unknown_store(config, id))?;
    if deployment.adopted(id).is_some() {
        return Err(AppError::refused(format!(
            "store \"{id}\" is a table of another library; `rehome store adopt {id}` installs the guard \
             beside it"
        )));
    }
    match url {
        Url::Sqlite(path) if is_file(path) => {
            return Err(AppError::refused(format!("store \"{id}\" already has a file: {url}")));
        }
        Url::Postgres(there) if PgStore::is_there(id, there).await? => {
            return Err(AppError::refused(format!("store \"{id}\" already exists: {url}")));
        }
        Url::Sqlite(_) | Url::Postgres(_) => {}
    }
    if holds_history(&**deployment.engine().control(), id).await? {
        return Err(AppError::refused(format!(
            "store \"{id}\" is missing at {url}, and the control plane has it as the store of \
             tenants; restore it or correct its URL"
        )));
    }
    let deployment = Deployment::open(config, Access::Create).await?;
    deployment.reach(id).await?;
    Ok(deployment)
}

/// The stores that do not answer, and since when.
pub async fn silent(deployment: &Deployment) -> BTreeMap<StoreId, api::Time> {
    let watch = deployment.store_watch();
    let asked = deployment.config().stores.iter().map(async |store| {
        let unanswered = watch.answers(&store.id).await.ok()??;
        Some((store.id.clone(), api::Time(unanswered.since.micros())))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// Checks one store, or all of them.
pub async fn check(
    deployment: &Deployment,
    only: Option<&StoreId>,
) -> Result<api::StoreCheckReport, AppError> {
    if let Some(id) = only {
        deployment.store(id)?;
    }
    let stores = deployment.engine().stores().iter();
    let stores = stores.filter(|store| only.is_none_or(|id| id == store.id()));
    // Side by side: no store waits for another that does not answer.
    let mut stores = try_join_all(stores.map(|store| check_one(deployment, &**store))).await?;
    let (losses, total) = losses::all(deployment).await?;
    for found in &mut stores {
        let here = losses.iter().filter(|loss| loss.store.as_str() == found.id);
        found.problems.extend(here.map(Found::sentence));
        if total > losses.len() {
            found.problems.push(format!("{total} findings of this kind in all stores"));
        }
        found.ok = found.problems.is_empty();
    }
    Ok(api::StoreCheckReport { ok: stores.iter().all(|store| store.ok), stores })
}

async fn check_one(
    deployment: &Deployment,
    store: &dyn LedgerStore,
) -> Result<api::StoreCheck, AppError> {
    let sight = deployment.store_watch().report(store.id()).await?;
    let unanswered = sight.unanswered.as_ref();
    let time = |at: Timestamp| api::Time(at.micros());
    let mut found = api::StoreCheck {
        id: store.id().to_string(),
        url: deployment.url(store.id()).map(ToString::to_string).unwrap_or_default(),
        default: deployment.engine().stores().default_id() == store.id(),
        ok: false,
        reachable: unanswered.is_none(),
        unanswered_since: unanswered.map(|unanswered| time(unanswered.since)),
        last_seen_at: sight.at().map(time),
        engine: None,
        format: None,
        deployment: None,
        identity: None,
        durability: None,
        durable: None,
        clock_skew_ms: None,
        tenants_total: None,
        tenants: Vec::new(),
        problems: unanswered.map(Unanswered::sentence).into_iter().collect(),
    };
    if let Some((report, _)) = sight.last {
        take_over(&mut found, report);
    }
    if found.reachable {
        tokio::select! {
            checked = check_tenants(deployment, store, &mut found) => checked?,
            unanswered = until_unanswered(deployment, store.id()) => {
                found.problems.push(unanswered?.sentence());
            }
        }
    }
    found.ok = found.problems.is_empty();
    Ok(found)
}

/// Comes back when the store does not answer any more.
async fn until_unanswered(
    deployment: &Deployment,
    id: &StoreId,
) -> Result<Unanswered, UnknownStore> {
    loop {
        tokio::time::sleep(ASKED_AGAIN_AFTER).await;
        if let Some(unanswered) = deployment.store_watch().answers(id).await? {
            return Ok(unanswered);
        }
    }
}

async fn check_tenants(
    deployment: &Deployment,
    store: &dyn LedgerStore,
    found: &mut api::StoreCheck,
) -> Result<(), AppError> {
    let control = deployment.engine().control();
    let mut pairs = Pairs::new(store, &**control);
    let (mut tenants, mut problems) = (0, 0_u64);
    loop {
        let pair = match pairs.next().await {
            Ok(Some(pair)) => pair,
            Ok(None) => break,
            Err(PairError::Control(error)) => return Err(error.into()),
            Err(PairError::Store(error)) => {
                found.problems.push(error.to_string());
                break;
            }
        };
        let tenant = pair.tenant;
        let here = pair.route.as_ref().is_some_and(|route| route.store == *store.id());
        if let Some(row) = &pair.ledger {
            tenants += 1;
            if found.tenants.len() < TENANTS_LISTED {
                let row = documents::tenant_in_store(tenant, store.id(), &row.ledger, here);
                found.tenants.push(row);
            }
        }
        let problem = match (&pair.ledger, &pair.route) {
            (Some(row), route)
                if row.ledger.epoch > route.as_ref().map_or_else(Default::default, |r| r.n) =>
            {
                Some(format!(
                    "tenant {tenant}: the store has epoch {}, which the control plane \
                         never issued; check, then run `rehome recover`",
                    row.ledger.epoch
                ))
            }
            (_, Some(route)) if here => unfinished_removal(route),
            _ => None,
        };
        if let Some(problem) = problem {
            problems += 1;
            if found.problems.len() < PROBLEMS_LISTED {
                found.problems.push(problem);
            }
        }
    }
    if problems > PROBLEMS_LISTED as u64 {
        found.problems.push(format!("{problems} tenants have such problems"));
    }
    found.tenants_total = Some(tenants);
    Ok(())
}

fn take_over(found: &mut api::StoreCheck, report: StoreReport) {
    if !report.durable {
        let how = &report.durability;
        found.problems.push(format!("a power failure can lose a commit ({how})"));
    }
    if report.durability.contains("read-only") {
        found.problems.push("is read-only; make its file and folder writable".to_owned());
    }
    if report.durability.contains("a standby") {
        found.problems.push("is a standby, which accepts no writes; name the primary".to_owned());
    }
    if report.clock_skew_ms.unsigned_abs() > SKEW_MAX_MS {
        found.problems.push(format!("its clock is off by {} ms", report.clock_skew_ms));
    }
    found.problems.extend(report.problems);
    found.problems.extend(report.copied);
    found.engine = Some(report.engine);
    found.format = Some(report.format);
    found.deployment = Some(report.deployment);
    found.identity = Some(report.identity);
    found.durability = Some(report.durability);
    found.durable = Some(report.durable);
    found.clock_skew_ms = Some(report.clock_skew_ms);
}
