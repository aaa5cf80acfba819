//! A deployment, opened: the control plane, the stores, and the engine over them.
//!
//! The control plane is opened at once, a store when it is first used, so that an
//! unreachable store affects only what needs it.

mod adopted;
mod lazy_store;
mod open;

use std::collections::BTreeMap;
use std::sync::Arc;

use rehome_domain::event::Timestamp;
use rehome_domain::ids::StoreId;
use rehome_domain::route::Route;
use rehome_engine::migration::{Operations, Supervisor};
use rehome_engine::{Engine, UnknownStore};
use rehome_ports::clock::{Clock, SystemClock};
use rehome_ports::{
    AccessRegistry, ControlError, FaultKind, Fleet, LedgerStore, StoreError, TenantNames,
};

use crate::config::{Config, Url};
use crate::error::{AppError, Kind};
use crate::store_watch::StoreWatch;
pub(crate) use adopted::Adoption;
use lazy_store::{Common, Identities, LazyStore};
pub(crate) use open::is_file;
pub use open::{Access, Opening};
use open::{engine_config, file_options};

/// How the name of a process ends that serves.
const SERVES: &str = ":serve";
/// Longest name and reason in a log.
const ACTOR_CHARS_MAX: usize = 300;
/// Most characters of a reason.
pub const REASON_CHARS_MAX: usize = 200;

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

impl Deployment {
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

/// Whether the holder of a lease is a process that serves, by its name.
pub fn is_server(holder: &str) -> bool {
    holder.ends_with(SERVES)
}
