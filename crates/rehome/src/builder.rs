//! Control plane and stores by URL.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rehome_domain::ids::{InvalidStoreId, StoreId};
use rehome_engine::{Engine, EngineConfig, Stores, UnknownStore, holds_history};
use rehome_ports::clock::{Clock, SystemClock};
use rehome_ports::{ControlError, ControlPlane, Fault, LedgerStore};

use crate::store::Rehome;

/// Why the stores were not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nothing, or not everything, was named.
    #[error("{0}")]
    Incomplete(&'static str),
    /// A url is not valid, or its scheme needs a feature. Never repeats the url, which may hold a password.
    #[error("the URL of {what} {problem}")]
    Url {
        /// The control plane, or which store.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The name of a store is not valid.
    #[error(transparent)]
    StoreId(#[from] InvalidStoreId),
    /// The default store is not one of the stores.
    #[error("store {0} is not one of the stores")]
    UnknownStore(String),
    /// A store or the control plane cannot be opened.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The control plane does not answer.
    #[error(transparent)]
    Control(#[from] ControlError),
}

impl From<UnknownStore> for OpenError {
    fn from(error: UnknownStore) -> Self {
        Self::UnknownStore(error.id.to_string())
    }
}

/// Opens a control plane and stores.
#[derive(Clone, Default)]
pub struct Builder {
    control_plane: Option<String>,
    stores: Vec<(String, String)>,
    default_store: Option<String>,
    create: bool,
}

impl Builder {
    /// The control plane: `sqlite:PATH` or `postgres://USER@HOST/DATABASE?schema=NAME`.
    #[must_use]
    pub fn control_plane(mut self, url: impl Into<String>) -> Self {
        self.control_plane = Some(url.into());
        self
    }

    /// A store and its URL, like that of the control plane. All users of this control plane must use the same
    /// names for its stores.
    #[must_use]
    pub fn store(mut self, id: impl Into<String>, url: impl Into<String>) -> Self {
        self.stores.push((id.into(), url.into()));
        self
    }

    /// The store that new tenants go to; without it, the first.
    #[must_use]
    pub fn default_store(mut self, id: impl Into<String>) -> Self {
        self.default_store = Some(id.into());
        self
    }

    /// Whether to make a control plane, and stores, that are not there. A store that holds events according to the
    /// control plane is never made: it is missing.
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Opens everything. Fails where the control plane or one of the stores does not answer.
    pub async fn open(self) -> Result<Rehome, OpenError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let missing = OpenError::Incomplete("no control plane is set: call Builder::control_plane");
        let url = Location::parse("the control plane", &self.control_plane.ok_or(missing)?)?;
        let control = url.control_plane(self.create, &clock).await?;
        let mut stores: Vec<Arc<dyn LedgerStore>> = Vec::new();
        for (id, url) in &self.stores {
            let url = Location::parse(&format!("store {id}"), url)?;
            let id: StoreId = id.parse()?;
            let create = self.create && !url.is_file() && !holds_history(&*control, &id).await?;
            stores.push(url.store(id, control.deployment(), create, &clock).await?);
        }
        let first = self.stores.first().map(|(id, _)| id.clone());
        let none = OpenError::Incomplete("no store is set: call Builder::store");
        let default = self.default_store.or(first).ok_or(none)?;
        let stores = Stores::new(stores, default.parse()?)?;
        Ok(Rehome::over(Engine::new(control, stores, clock, EngineConfig::default())))
    }
}

/// A url, read.
enum Location {
    #[cfg_attr(not(feature = "sqlite"), allow(dead_code, reason = "made with the feature alone"))]
    Sqlite(PathBuf),
    #[cfg(feature = "postgres")]
    Postgres(Box<rehome_postgres::PostgresUrl>),
}

impl Location {
    fn parse(what: &str, url: &str) -> Result<Self, OpenError> {
        let refuse = |problem: String| OpenError::Url { what: what.to_owned(), problem };
        if let Some(path) = url.strip_prefix("sqlite:") {
            if !cfg!(feature = "sqlite") {
                return Err(refuse("needs the feature \"sqlite\" of the crate rehome".to_owned()));
            }
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path == ":memory:" || path.contains(['?', '#', '\0']) {
                return Err(refuse("must name a file, like \"sqlite:shared.db\"".to_owned()));
            }
            return Ok(Self::Sqlite(path.into()));
        }
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            #[cfg(feature = "postgres")]
            return match url.parse() {
                Ok(url) => Ok(Self::Postgres(Box::new(url))),
                Err(problem) => Err(refuse(format!("{problem}"))),
            };
            #[cfg(not(feature = "postgres"))]
            return Err(refuse("needs the feature \"postgres\" of the crate rehome".to_owned()));
        }
        Err(refuse(
            "must be like \"sqlite:shared.db\" or \"postgres://USER@HOST/DATABASE\"".to_owned(),
        ))
    }

    /// Whether it is a file that is there. An empty one is as good as none.
    fn is_file(&self) -> bool {
        let there = |path: &Path| std::fs::metadata(path).is_ok_and(|file| file.len() > 0);
        match self {
            Self::Sqlite(path) => there(path),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => false,
        }
    }

    async fn control_plane(
        self,
        create: bool,
        clock: &Arc<dyn Clock>,
    ) -> Result<Arc<dyn ControlPlane>, Fault> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(path) => {
                let clock = Arc::clone(clock);
                Ok(Arc::new(rehome_sqlite::SqliteControlPlane::open(path, create, clock).await?))
            }
            #[cfg(not(feature = "sqlite"))]
            Self::Sqlite(_) => Err(without_sqlite()),
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => {
                let options = rehome_postgres::PostgresOptions::default();
                Ok(Arc::new(rehome_postgres::PgControlPlane::open(*url, create, options).await?))
            }
        }
    }

    async fn store(
        self,
        id: StoreId,
        deployment: &str,
        create: bool,
        clock: &Arc<dyn Clock>,
    ) -> Result<Arc<dyn LedgerStore>, Fault> {
        let (deployment, clock) = (deployment.to_owned(), Arc::clone(clock));
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(path) => {
                let options =
                    rehome_sqlite::SqliteStoreOptions { id, path, deployment, create, clock };
                Ok(Arc::new(rehome_sqlite::SqliteStore::open(options).await?))
            }
            #[cfg(not(feature = "sqlite"))]
            Self::Sqlite(_) => Err(without_sqlite()),
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => {
                let url = *url;
                let options =
                    rehome_postgres::PgStoreOptions { id, url, deployment, create, clock };
                Ok(Arc::new(rehome_postgres::PgStore::open(options).await?))
            }
        }
    }
}

#[cfg(not(feature = "sqlite"))]
fn without_sqlite() -> Fault {
    let why = "the crate rehome was built without the feature \"sqlite\"".to_owned();
    Fault::new("a SQLite file".to_owned(), rehome_ports::FaultKind::Failing(why))
}
