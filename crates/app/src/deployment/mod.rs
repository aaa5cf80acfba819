//! A deployment, opened: the control plane, the stores, and the engine over them.
//!
//! The control plane is opened at once, a store when it is first used, so that an
//! unreachable store affects only what needs it.

mod adopted;
mod lazy_store;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rehome_domain::event::Timestamp;
use rehome_domain::ids::StoreId;
use rehome_domain::route::Route;
use rehome_engine::migration::{Operations, Supervisor};
use rehome_engine::telemetry::Logs;
use rehome_engine::{
    Engine, EngineConfig, Observer, Observers, Stores, UnknownStore, holds_history,
};
use rehome_ports::clock::{Clock, SystemClock};
use rehome_ports::{
    AccessRegistry, ControlError, ControlPlane, Fault, FaultKind, Fleet, LedgerStore, StoreError,
    TenantNames,
};
use rehome_postgres::{PgControlPlane, PgStore, PostgresOptions};
use rehome_sqlite::{FileOptions, SqliteControlPlane};
use uuid::Uuid;

use crate::config::{Config, Url};
use crate::error::{AppError, Kind};
use crate::hooks::ConfiguredHooks;
use crate::publication::Publications;
use crate::store_watch::StoreWatch;
pub(crate) use adopted::Adoption;
use lazy_store::{Common, Identities, LazyStore};

/// How the name of a process ends that serves.
const SERVES: &str = ":serve";
/// Longest name and reason in a log.
const ACTOR_CHARS_MAX: usize = 300;
/// Most characters of a reason.
pub const REASON_CHARS_MAX: usize = 200;

/// Whether files, schemas and tables may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// All that is needed has to be there.
    Existing,
    /// A control plane that is not there is made; so are stores that hold nothing yet
    /// by the control plane's word. What should hold a history is never made anew.
    Create,
}

/// A deployment, opened. Cheap to clone.
#[derive(Clone)]
pub struct Deployment {
    config: Arc<Config>,
    engine: Engine,
    registry: Arc<dyn AccessRegistry>,
    fleet: Arc<dyn Fleet>,
    names: TenantNames,
    stores: Arc<BTreeMap<StoreId, Arc<LazyStore>>>,
    store_watch: Arc<StoreWatch>,
    clock: Arc<dyn Clock>,
    holder: Arc<str>,
    /// In whose name operators' facts are recorded.
    actor: Arc<str>,
    only_at: Option<u64>,
}

/// The parts of a deployment that an observer of the engine may need while it is being opened.
pub struct Opening<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The control plane, which is open.
    pub control: &'a Arc<dyn ControlPlane>,
    /// This process's clock.
    pub clock: &'a Arc<dyn Clock>,
    /// The name of this process.
    pub holder: &'a str,
}

impl Deployment {
    /// Opens the control plane and prepares the stores, without observers.
    pub async fn open(config: &Config, access: Access) -> Result<Self, AppError> {
        Self::open_observed(config, access, |_| Vec::new()).await
    }

    /// Opens the control plane and prepares the stores. `observers` returns those that the engine notifies,
    /// beside the one that writes log lines.
    pub async fn open_observed(
        config: &Config,
        access: Access,
        observers: impl FnOnce(&Opening<'_>) -> Vec<Arc<dyn Observer>>,
    ) -> Result<Self, AppError> {
        config.warn_of_wide_files();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let create = access == Access::Create;
        let opened = open_control_plane(&config.control_plane, create, &clock).await;
        let (control, registry, fleet) = opened.map_err(|fault| match fault.kind {
            FaultKind::Missing(_) => AppError::failed(
                "missing",
                format!(
                    "{fault}; if the deployment is new, `rehome serve` or the first `rehome import` creates it"
                ),
            ),
            _ => fault.into(),
        })?;

        let names = TenantNames::default();
        let publications = Publications::new(&config.publish, control.deployment(), &names)?;
        let hooks = ConfiguredHooks::new(&config.hooks, control.deployment(), &names)?;
        let common = Common {
            deployment: control.deployment(),
            file: file_options(&engine_config(config)),
            clock: &clock,
            identities: &Identities::default(),
            names: &names,
        };
        let mut stores = BTreeMap::new();
        let mut made = Vec::new();
        for store in &config.stores {
            // A schema is checked when it is opened.
            let is_file = store.url.file().is_some_and(is_file);
            let create = create
                && !is_file
                && store.layout.is_none()
                && !holds_history(&*control, &store.id).await?;
            let store = LazyStore::new(store, create, &common);
            if create {
                made.push(Arc::clone(&store));
            }
            stores.insert(store.id().clone(), store);
        }
        join_all(made.iter().map(async |store| {
            if let Err(error) = store.reach().await {
                tracing::warn!(store = store.id().as_str(), %error, "the store was not created");
            }
        }))
        .await;
        let by_id = stores.values().map(|store| Arc::clone(store) as Arc<dyn LedgerStore>);
        let by_id = Stores::new(by_id, config.default_store.clone())?;
        let store_watch = Arc::new(StoreWatch::new(&by_id, &clock));
        let holder = holder();
        let opening = Opening { config, control: &control, clock: &clock, holder: &holder };
        let mut observers = observers(&opening);
        observers.push(Arc::new(Logs::new(Arc::clone(&clock))));
        let observers = Observers::new(observers);
        let of_engine = Arc::clone(&clock);
        let engine = Engine::watched(control, by_id, of_engine, engine_config(config), observers);
        let engine = engine.with_fleet(Arc::clone(&fleet));
        let engine = match publications {
            Some(publications) => engine.publishing(Arc::new(publications)),
            None => engine,
        };
        let engine = match hooks {
            Some(hooks) => engine.hooked(Arc::new(hooks)),
            None => engine,
        };
        Ok(Self {
            config: Arc::new(config.clone()),
            engine,
            registry,
            fleet,
            names,
            stores: Arc::new(stores),
            store_watch,
            actor: format!("operator at {holder}").into(),
            holder: holder.into(),
            only_at: None,
            clock,
        })
    }

    /// Makes a store that holds nothing yet by the control plane's word.
    pub async fn create_store(config: &Config, id: &StoreId) -> Result<Self, AppError> {
        let deployment = Self::open(config, Access::Existing).await?;
        let store = deployment.stores.get(id);
        store.ok_or_else(|| unknown_store(config, id))?;
        let url = deployment.url(id).ok_or_else(|| unknown_store(config, id))?;
        if deployment.stores.get(id).is_some_and(|store| store.adoption().is_some()) {
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
        if holds_history(&**deployment.engine.control(), id).await? {
            return Err(AppError::refused(format!(
                "store \"{id}\" is missing at {url}, and the control plane has it as the store of \
                 tenants; restore it or correct its URL"
            )));
        }
        let deployment = Self::open(config, Access::Create).await?;
        deployment.reach(id).await?;
        Ok(deployment)
    }

    /// Router, stores, control plane.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Who may enter, by the control plane.
    pub fn access_registry(&self) -> &Arc<dyn AccessRegistry> {
        &self.registry
    }

    /// Drains, cordons and pins, by the control plane.
    pub fn fleet(&self) -> &Arc<dyn Fleet> {
        &self.fleet
    }

    /// What tenants are called in tables of other libraries, as far as this process has seen.
    pub(crate) fn names(&self) -> &TenantNames {
        &self.names
    }

    /// The stores, as they last answered.
    pub fn store_watch(&self) -> &StoreWatch {
        &self.store_watch
    }

    /// The same deployment in a server: its name as a lease holder marks it as one, because a
    /// server exports what it drives, and none of its pages waits long for a store.
    #[must_use]
    pub fn serving(self) -> Self {
        self.store_watch.serve();
        if is_server(&self.holder) {
            return self;
        }
        Self { holder: format!("{}{SERVES}", self.holder).into(), ..self }
    }

    /// The time by this process's clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The name under which this process holds leases: unique per process.
    pub fn holder(&self) -> &str {
        &self.holder
    }

    /// Who works on migrations in this process.
    pub fn supervisor(&self) -> Supervisor {
        Supervisor::new(&self.engine, Arc::clone(&self.holder))
    }

    /// The same deployment, in the name of a caller: the migrations' logs record the actor and the
    /// reason, if any.
    #[must_use]
    pub fn acting_as(&self, who: &str, why: Option<&str>) -> Self {
        let why = why.map(str::trim).filter(|why| !why.is_empty());
        let actor = why.map_or_else(|| who.to_owned(), |why| format!("{who}: {why}"));
        // One line, and not without end: it is shown in tables.
        let fits = actor.chars().map(|c| if c.is_control() { ' ' } else { c });
        let actor: String = fits.take(ACTOR_CHARS_MAX).collect();
        Self { actor: actor.into(), ..self.clone() }
    }

    /// The same in the name of the user who runs this process, with the given reason.
    pub fn because(&self, why: Option<&str>) -> Result<Self, AppError> {
        check_reason(why)?;
        Ok(self.acting_as(&self.actor, why))
    }

    /// In whose name operators' facts are recorded.
    pub(crate) fn actor(&self) -> &str {
        &self.actor
    }

    /// The operator's side of migrations, in the name of the actor.
    pub fn operations(&self) -> Operations {
        Operations::new(&self.engine, &*self.actor).only_at(self.only_at)
    }

    /// The same, conditional on the state last read: a migration is changed only while
    /// its tenant's route has this revision (see [`crate::migrations::revision`]).
    #[must_use]
    pub fn only_at(self, rev: Option<u64>) -> Self {
        Self { only_at: rev, ..self }
    }

    /// Refuses when the route is not the one that was seen.
    pub(crate) fn check_seen(&self, route: &Route) -> Result<(), ControlError> {
        match self.only_at {
            Some(rev) if rev != route.rev => Err(ControlError::Stale(Box::new(route.clone()))),
            _ => Ok(()),
        }
    }

    /// The store of that name.
    pub fn store(&self, id: &StoreId) -> Result<&Arc<dyn LedgerStore>, UnknownStore> {
        self.engine.stores().get(id)
    }

    /// The table that a store adopts, without a control plane: for inspection only.
    pub(crate) fn table_alone(config: &Config, id: &StoreId) -> Option<Adoption> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let common = Common {
            deployment: "",
            file: file_options(&engine_config(config)),
            clock: &clock,
            identities: &Identities::default(),
            names: &TenantNames::default(),
        };
        let store = config.stores.iter().find(|store| store.id == *id)?;
        LazyStore::new(store, false, &common).adoption().cloned()
    }

    /// The table that a store adopts, if it is one of another library.
    pub(crate) fn adopted(&self, id: &StoreId) -> Option<&Adoption> {
        self.stores.get(id)?.adoption()
    }

    /// Opens the store of that name if that was not done yet.
    pub async fn reach(&self, id: &StoreId) -> Result<(), AppError> {
        let store = self.stores.get(id).ok_or_else(|| unknown_store(&self.config, id))?;
        store.reach().await.map(drop).map_err(|error| match error {
            StoreError::Fault(fault)
                if matches!(fault.kind, FaultKind::Missing(_)) && self.is_configured(id) =>
            {
                AppError::failed(
                    "missing",
                    format!("{fault}; if it is new, `rehome store create {id}` creates it"),
                )
            }
            error => error.into(),
        })
    }

    /// Where the store of that name is.
    pub fn url(&self, id: &StoreId) -> Option<&Url> {
        self.config.stores.iter().find(|store| store.id == *id).map(|store| &store.url)
    }

    fn is_configured(&self, id: &StoreId) -> bool {
        self.url(id).is_some()
    }

    /// Finishes accepted operations. Handles that are still held keep the files open.
    pub async fn close(self) {
        self.engine.shutdown().await;
    }
}

/// Refuses a reason that would not be shown as it was given.
pub fn check_reason(why: Option<&str>) -> Result<(), AppError> {
    let fits =
        |why: &str| why.chars().count() <= REASON_CHARS_MAX && !why.chars().any(char::is_control);
    if why.map(str::trim).is_none_or(fits) {
        return Ok(());
    }
    let message = format!("a reason is one line of at most {REASON_CHARS_MAX} characters");
    Err(AppError::new(Kind::Usage, "bad_reason", message))
}

/// The store of that name is not in the configuration.
pub(crate) fn unknown_store(config: &Config, id: &StoreId) -> AppError {
    let known: Vec<_> = config.stores.iter().map(|store| store.id.as_str()).collect();
    AppError::new(
        Kind::NotFound,
        "unknown_store",
        format!(
            "store \"{id}\" is not configured; the configured stores are: {}",
            known.join(", ")
        ),
    )
}

/// What a control plane is for: routes and logs, who may enter, and drains.
type Opened = (Arc<dyn ControlPlane>, Arc<dyn AccessRegistry>, Arc<dyn Fleet>);

async fn open_control_plane(
    url: &Url,
    create: bool,
    clock: &Arc<dyn Clock>,
) -> Result<Opened, Fault> {
    Ok(match url {
        Url::Sqlite(path) => {
            all(Arc::new(SqliteControlPlane::open(path.clone(), create, Arc::clone(clock)).await?))
        }
        Url::Postgres(url) => {
            let url = (**url).clone();
            all(Arc::new(PgControlPlane::open(url, create, PostgresOptions::default()).await?))
        }
    })
}

fn all<T: ControlPlane + AccessRegistry + Fleet + 'static>(opened: Arc<T>) -> Opened {
    let registry: Arc<dyn AccessRegistry> = opened.clone();
    (opened.clone(), registry, opened)
}

fn is_file(path: &Path) -> bool {
    // An empty file is as good as none: SQLite leaves one when it is stopped while making it.
    std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0 || !metadata.is_file())
}

fn engine_config(config: &Config) -> EngineConfig {
    let defaults = EngineConfig::default();
    let set = |ms: Option<u32>, default| ms.map_or(default, |ms| Duration::from_millis(ms.into()));
    EngineConfig {
        write_pause_timeout: set(
            config.migration.write_pause_timeout_ms,
            defaults.write_pause_timeout,
        ),
        lease_ttl: set(config.migration.lease_ttl_ms, defaults.lease_ttl),
        create_tenants: !config.server.refuse_unknown_tenants,
        brake_goal: match config.migration.throttle {
            Some(false) => None,
            _ => config.migration.throttle_goal.or(defaults.brake_goal),
        },
        replica_lag_max: match config.migration.throttle_replica_lag_ms {
            Some(0) => None,
            Some(ms) => Some(Duration::from_millis(ms.into())),
            None => defaults.replica_lag_max,
        },
        ..defaults
    }
}

/// A store reports that it is locked while the waiting appends can still use the error: half of
/// the time that they wait for a response.
fn file_options(engine: &EngineConfig) -> FileOptions {
    let defaults = FileOptions::default();
    let locked_after = (engine.write_pause_timeout / 2).min(defaults.locked_after);
    FileOptions { locked_after, ..defaults }
}

/// Whether the holder of a lease is a process that serves, by its name.
pub fn is_server(holder: &str) -> bool {
    holder.ends_with(SERVES)
}

/// A unique name for a lease holder that shows where it runs.
fn holder() -> String {
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    let unique = Uuid::new_v4().simple().to_string();
    format!("{host}:{}:{}", std::process::id(), &unique[..8])
}
