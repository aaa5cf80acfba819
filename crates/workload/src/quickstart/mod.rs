//! `quickstart`: a tenant moves while writers write, and the writers' measurements are reported.
//!
//! ```text
//! folder ─▶ make or import ─▶ writers on ─▶ before ─▶ migrate ─▶ after ─▶ writers off ─▶ verdict
//!                                                        └─ and back, if asked ─┘
//! ```
//!
//! Everything runs on stores in files, in one process, through the same router, engine and
//! operations as a deployment. The verdict compares the writers' own record with the stores.

mod fill;
mod folder;
mod foreign;
mod journey;
#[cfg(test)]
mod tests;
pub mod verdict;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rehome_domain::ids::TenantId;
use rehome_engine::Status;
use rehome_ports::EventStore;

use crate::load::history::Wanted;
use crate::load::observe::Latencies;
use crate::load::{Load, LoadOptions, WRITERS_MAX};
use folder::{Folder, Stores};
pub use foreign::{PlainWriter, write as write_plainly};
use journey::Journey;
use rehome_app::error::{AppError, Kind};
use rehome_app::transfer::{Input, Rounds};
use rehome_app::{Access, Config, Deployment};
use rehome_observe::Observed;
use verdict::Verdict;

/// The store in which tenants begin.
pub const SOURCE: &str = "shared";
/// The store to which one of them moves.
pub const TARGET: &str = "dedicated";

/// The layout of the files that another program's processes write.
const PLAIN_LAYOUT: &str = "eventsource-py";
/// Most of these processes.
const PROCESSES_MAX: u16 = 64;

/// Maximum rate of all writers after the verdict, in events per second.
pub const SLOW_RATE: f64 = 20.0;
/// Maximum time for a writer's last append.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What to show.
#[derive(Clone, Debug)]
pub struct QuickstartOptions {
    /// Tenants to make, each with a third of the events of the one before.
    pub tenants: u16,
    /// Events of the largest.
    pub events: u64,
    /// Writers on the tenant that moves.
    pub writers: u16,
    /// Events per second of all writers together.
    pub rate: f64,
    /// Events to import instead of making some: NDJSON, as it is or gzipped.
    pub input: Option<PathBuf>,
    /// The tenant to move; the largest if none is named.
    pub tenant: Option<TenantId>,
    /// A folder for the stores; a new temporary one if none is named.
    pub folder: Option<PathBuf>,
    /// What made data is drawn from.
    pub seed: u64,
    /// Whether the tenant then returns.
    pub there_and_back: bool,
    /// Whether the events are in tables of another program, whose processes write them.
    pub layout: Option<String>,
    /// The server on which these tables are, in databases that are made for it; files if none is named.
    pub postgres: Option<String>,
    /// How long the writers are watched before the migration, and after it.
    pub watch: Duration,
}

impl Default for QuickstartOptions {
    fn default() -> Self {
        Self {
            tenants: 3,
            events: 60_000,
            writers: 8,
            rate: 800.0,
            input: None,
            tenant: None,
            folder: None,
            seed: 42,
            there_and_back: false,
            layout: None,
            postgres: None,
            watch: Duration::from_secs(2),
        }
    }
}

impl QuickstartOptions {
    fn check(&self) -> Result<(), AppError> {
        let refuse = |what: &str| Err(AppError::new(Kind::Usage, "bad_option", what));
        if self.tenants == 0 || self.tenants > 1_000 {
            return refuse("--tenants must be 1 to 1000");
        }
        if self.events == 0 {
            return refuse("--events must be at least 1");
        }
        if self.writers == 0 || self.writers > WRITERS_MAX {
            return refuse("--writers must be 1 to 4000");
        }
        if !(self.rate.is_finite() && self.rate > 0.0) {
            return refuse("--rate must be a number of events per second above 0");
        }
        match self.layout.as_deref() {
            None | Some(PLAIN_LAYOUT) => {}
            Some(_) => {
                return refuse("--layout is eventsource-py, the only one with tables to show");
            }
        }
        if self.layout.is_some() && self.writers > PROCESSES_MAX {
            return refuse("--writers must be 1 to 64 with --layout: each is a process");
        }
        Ok(())
    }
}

/// The steps, for a display. Nothing waits for it.
#[derive(Clone, Debug)]
pub enum Step {
    /// The stores are open.
    Opened {
        /// Where they are.
        folder: PathBuf,
        /// The configuration with which other commands find them.
        config: PathBuf,
        /// The databases that are made for them, if they are not files.
        databases: Vec<String>,
    },
    /// History is being made or imported.
    Filling {
        /// Events that are in the store.
        events: u64,
        /// Events that will be, if that is known.
        total: Option<u64>,
    },
    /// The history is there.
    Filled {
        /// Who has how much of it, the largest first.
        tenants: Vec<Wanted>,
        /// Who moves.
        moving: TenantId,
        /// Its duration.
        took: Duration,
    },
    /// Writers write and nothing else happens.
    Watching {
        /// Before the migration, or after it.
        stage: Stage,
        /// What the writers see.
        writers: Seen,
    },
    /// The migration is running.
    Moving {
        /// How far it is.
        status: Box<Status>,
        /// What the writers see.
        writers: Seen,
    },
    /// The stores are compared.
    Verifying,
    /// The writers' record is compared with the stores.
    Checking {
        /// Events that have to be there.
        acked: u64,
    },
}

/// When the writers are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before the migration.
    Before,
    /// After the switch.
    After,
}

/// What the writers have seen lately.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// Events acknowledged so far.
    pub acked: u64,
    /// Latencies of the last second.
    pub lately: Latencies,
}

impl Seen {
    fn of(load: &Load) -> Self {
        Self { acked: load.acked(), lately: load.latency_lately(Duration::from_secs(1)) }
    }
}

/// The receiver of the steps.
pub type Tell<'a> = &'a (dyn Fn(Step) + Send + Sync);

/// A quickstart with its verdict and an open deployment: the migration's charts are still
/// available.
pub struct Stay {
    /// What came out.
    pub verdict: Verdict,
    /// Where it happened.
    pub deployment: Observed,
}

/// Does all of it, and closes the deployment.
pub async fn run(options: &QuickstartOptions, tell: Tell<'_>) -> Result<Verdict, AppError> {
    let Stay { verdict, deployment } = Box::pin(stay(options, tell)).await?;
    deployment.close().await;
    Ok(verdict)
}

/// Runs everything, and leaves the deployment open. The writers have stopped, and no process drives the
/// migration.
pub async fn stay(options: &QuickstartOptions, tell: Tell<'_>) -> Result<Stay, AppError> {
    options.check()?;
    if let Some(layout) = &options.layout {
        return Box::pin(foreign::stay(options, layout, tell)).await;
    }
    // A file that is not there or no NDJSON is found before a folder is made.
    let input = match &options.input {
        Some(path) => Some(Rounds::open(&Input::new(path.clone(), None)).await?),
        None => None,
    };
    let folder = Folder::prepare(options.folder.as_deref(), Stores::files(None))?;
    // Not the environment: it may name stores with real events.
    let config = Config::load_from(Some(&folder.config), [])?;
    tell(folder.opened());
    let deployment = Observed::open(&config, Access::Create).await?;

    let tenants = fill::fill(&deployment, options, input, tell).await?;
    let moving = chosen(&tenants, options.tenant)?;
    tell(Step::Filled { took: tenants.took, tenants: tenants.all, moving: moving.tenant });

    let load = writers(&deployment, options, moving.tenant, options.rate)?;
    watch(&load, options.watch, Stage::Before, tell).await;

    let mut journeys = Vec::new();
    let mut on_the_way = Journey::there(&deployment, moving.tenant).await?;
    loop {
        on_the_way.until_switched(&|| Seen::of(&load), tell).await?;
        watch(&load, options.watch, Stage::After, tell).await;
        if journeys.is_empty() && options.there_and_back {
            let back = on_the_way.and_back().await?;
            journeys.push(std::mem::replace(&mut on_the_way, back));
        } else {
            break;
        }
    }
    let record = load.stop(PATIENCE).await;
    tell(Step::Verifying);
    let verification = on_the_way.verify().await?;
    journeys.push(on_the_way);
    tell(Step::Checking { acked: record.acked() });
    let verdict =
        verdict::judge(&deployment, &folder, options, moving, &journeys, &record, verification)
            .await?;
    Ok(Stay { verdict, deployment })
}

impl Stay {
    /// The writers continue slowly, so that there is something to see and to move.
    pub fn write_slowly(&self, options: &QuickstartOptions) -> Result<Load, AppError> {
        let tenant = TenantId::new(self.verdict.tenant_id);
        writers(&self.deployment, options, tenant, options.rate.min(SLOW_RATE))
    }
}

/// Writers that append through the router, so many events per second in all.
fn writers(
    deployment: &Deployment,
    options: &QuickstartOptions,
    tenant: TenantId,
    rate: f64,
) -> Result<Load, AppError> {
    let router: Arc<dyn EventStore> = Arc::new(deployment.engine().router().clone());
    let options = LoadOptions {
        tenant,
        writers: options.writers,
        rate: Some(rate),
        seed: options.seed,
        journal: None,
    };
    Load::start(&router, options)
        .map_err(|error| AppError::failed("writers", format!("the writers did not start: {error}")))
}

/// The tenant that moves.
fn chosen(tenants: &fill::Filled, named: Option<TenantId>) -> Result<Wanted, AppError> {
    let found = match named {
        Some(tenant) => tenants.all.iter().find(|one| one.tenant == tenant),
        None => tenants.all.first(),
    };
    found.copied().ok_or_else(|| match named {
        Some(tenant) => {
            let message = format!("tenant {tenant} has no event here");
            AppError::new(Kind::NotFound, "unknown_tenant", message).tenant(tenant)
        }
        None => AppError::failed("no_events", "there is no event, so there is nothing to move"),
    })
}

async fn watch(load: &Load, time: Duration, stage: Stage, tell: Tell<'_>) {
    const EVERY: Duration = Duration::from_millis(100);
    let began = tokio::time::Instant::now();
    while began.elapsed() < time {
        tokio::time::sleep(EVERY).await;
        tell(Step::Watching { stage, writers: Seen::of(load) });
    }
}
