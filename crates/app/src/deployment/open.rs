//! Opening a deployment: the control plane at once, the stores when they are first used.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rehome_engine::telemetry::Logs;
use rehome_engine::{Engine, EngineConfig, Observer, Observers, Stores, holds_history};
use rehome_ports::clock::{Clock, SystemClock};
use rehome_ports::{
    AccessRegistry, ControlPlane, Fault, FaultKind, Fleet, LedgerStore, TenantNames,
};
use rehome_postgres::{PgControlPlane, PostgresOptions};
use rehome_sqlite::{FileOptions, SqliteControlPlane};
use uuid::Uuid;

use super::Deployment;
use super::lazy_store::{Common, Identities, LazyStore};
use crate::config::{Config, Url};
use crate::error::AppError;
use crate::hooks::ConfiguredHooks;
use crate::publication::Publications;
use crate::store_watch::StoreWatch;

/// Whether files, schemas and tables may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// All that is needed has to be there.
    Existing,
    /// A control plane that is not there is made; so are stores that hold nothing yet
    /// by the control plane's word. What should hold a history is never made anew.
    Create,
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
            actor: format!("{} at {}", person(), host()).into(),
            holder: holder.into(),
            only_at: None,
            clock,
        })
    }
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

/// Whether something is there that is not an empty file.
pub(crate) fn is_file(path: &Path) -> bool {
    // An empty file is as good as none: SQLite leaves one when it is stopped while making it.
    std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0 || !metadata.is_file())
}

/// The engine's settings, from the configuration and its defaults.
pub(super) fn engine_config(config: &Config) -> EngineConfig {
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
pub(super) fn file_options(engine: &EngineConfig) -> FileOptions {
    let defaults = FileOptions::default();
    let locked_after = (engine.write_pause_timeout / 2).min(defaults.locked_after);
    FileOptions { locked_after, ..defaults }
}

/// A unique name for a lease holder that shows where it runs.
fn holder() -> String {
    let unique = Uuid::new_v4().simple().to_string();
    format!("{}:{}:{}", host(), std::process::id(), &unique[..8])
}

fn host() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}

/// The person of the operating system who runs this process; behind `sudo` the one who called it.
fn person() -> String {
    let named = ["SUDO_USER", "LOGNAME", "USER"].into_iter().filter_map(std::env::var_os);
    let named = named.map(|name| name.to_string_lossy().into_owned());
    // The end of a name is where a log's actor ends and its reason begins.
    let is_name = |name: &String| {
        !name.is_empty() && !name.contains([':', ' ']) && !name.contains(char::is_control)
    };
    let name = named.into_iter().find(is_name);
    name.or_else(owner).unwrap_or_else(|| "operator".to_owned())
}

/// The owner of this process, by the system's list of users, or else by number.
#[cfg(unix)]
fn owner() -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let number = std::fs::metadata("/proc/self").ok()?.uid().to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut users = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = users.find(|fields| fields.get(2) == Some(&number.as_str()));
    Some(found.map_or_else(|| format!("user {number}"), |fields| fields[0].to_owned()))
}

#[cfg(not(unix))]
fn owner() -> Option<String> {
    None
}
