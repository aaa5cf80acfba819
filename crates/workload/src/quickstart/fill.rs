//! The history to begin with: made, or imported.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rehome_domain::ids::TenantId;
use rehome_ports::{AppendError, EventStore};

use super::{QuickstartOptions, Step, Tell};
use crate::load::history::{self, Wanted};
use rehome_app::Deployment;
use rehome_app::error::AppError;
use rehome_app::transfer::{self, Rounds};

/// Who has how many events.
pub(super) struct Filled {
    /// The largest first.
    pub(super) all: Vec<Wanted>,
    pub(super) took: Duration,
}

pub(super) async fn fill(
    deployment: &Deployment,
    options: &QuickstartOptions,
    input: Option<Rounds>,
    tell: Tell<'_>,
) -> Result<Filled, AppError> {
    let began = Instant::now();
    match input {
        Some(rounds) => {
            let told = |report: &rehome_api::ImportReport| {
                tell(Step::Filling { events: report.events_imported, total: None });
            };
            transfer::import_into(deployment, rounds, None, told).await?;
        }
        None => make(deployment, options, tell).await?,
    }
    let mut all = counts(deployment).await?;
    all.sort_by_key(|wanted| (std::cmp::Reverse(wanted.events), wanted.tenant));
    Ok(Filled { all, took: began.elapsed() })
}

async fn make(
    deployment: &Deployment,
    options: &QuickstartOptions,
    tell: Tell<'_>,
) -> Result<(), AppError> {
    let mut wanted = history::tenants(options.tenants, options.events, options.seed);
    if let (Some(named), Some(largest)) = (options.tenant, wanted.first_mut()) {
        largest.tenant = named;
    }
    let total: u64 = wanted.iter().map(|wanted| wanted.events).sum();
    let router: Arc<dyn EventStore> = Arc::new(deployment.engine().router().clone());
    history::make(&router, &wanted, options.seed, |events| {
        tell(Step::Filling { events, total: Some(total) });
    })
    .await
    .map_err(|error| not_made(&error))
}

fn not_made(error: &AppendError) -> AppError {
    AppError::failed("history", format!("the history could not be created: {error}"))
}

/// The contents of the default store.
async fn counts(deployment: &Deployment) -> Result<Vec<Wanted>, AppError> {
    const PAGE: usize = 1_000;
    let store = deployment.store(deployment.engine().stores().default_id())?;
    let mut all = Vec::new();
    let mut after: Option<TenantId> = None;
    loop {
        let page = store.tenants(after, PAGE).await?;
        after = page.last().map(|one| one.tenant);
        let over = page.len() < PAGE;
        let held = page.into_iter().filter(|one| one.ledger.head.seq > 0);
        all.extend(held.map(|one| Wanted { tenant: one.tenant, events: one.ledger.head.seq }));
        if over {
            return Ok(all);
        }
    }
}
