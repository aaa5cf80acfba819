//! Where a benchmark runs: a control plane and some stores, in the files of a folder or on the
//! servers that a file of the folder names.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rehome_domain::ids::{MigrationId, StoreId, TenantId};
use rehome_domain::migration::{CutoverPolicy, Fact, Migration, Options, Phase, State};
use rehome_engine::metrics::{Metrics, RETENTION};
use rehome_engine::migration::{DriveError, Operations, Supervised, Supervisor};
use rehome_engine::telemetry::Logs;
use rehome_engine::{Engine, EngineConfig, Observer, Observers, Stores};
use rehome_ports::clock::{Clock, SystemClock};
use rehome_ports::{ControlError, ControlPlane, EventStore, LedgerStore, LogEntry};
use rehome_postgres::{PgControlPlane, PgStore, PgStoreOptions, PostgresOptions};
use rehome_sqlite::{SqliteControlPlane, SqliteStore, SqliteStoreOptions};
use rehome_workload::load::history::{self, Wanted};
use rehome_workload::load::{Load, LoadOptions, observe::Timeline};
use tokio::time::{sleep, timeout};

/// The store that tenants begin in.
pub(crate) const SHARED: &str = "shared";
/// The store that they move to.
pub(crate) const DEDICATED: &str = "dedicated";
/// The file of a folder that names the servers of its control plane and stores: in each line a
/// name and a URL.
const SERVERS: &str = "servers";
/// The control plane's name in it.
pub(crate) const CONTROL: &str = "control";
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(300);

/// Who listens to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Observed {
    /// Without observation.
    No,
    /// The metrics.
    Yes,
    /// The metrics, and who writes log lines.
    WithLines,
}

/// An engine over the files of one folder.
pub(crate) struct Site {
    pub(crate) engine: Engine,
    pub(crate) operations: Operations,
    pub(crate) supervisor: Supervisor,
    pub(crate) metrics: Metrics,
    folder: PathBuf,
}

impl Site {
    /// Opens the folder's stores, making those that are not there.
    pub(crate) async fn open(folder: &Path, stores: &[&str]) -> Result<Self> {
        Self::open_observed(folder, stores, Observed::Yes).await
    }

    /// The same, with as much that listens to the engine.
    pub(crate) async fn open_observed(
        folder: &Path,
        stores: &[&str],
        observed: Observed,
    ) -> Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let url = |name: &str| server(folder, name);
        let control: Arc<dyn ControlPlane> = match url(CONTROL) {
            Some(url) => server_control(&url).await?,
            None => Arc::new(file_control(folder, Arc::clone(&clock)).await?),
        };
        let mut opened: Vec<Arc<dyn LedgerStore>> = Vec::new();
        for name in stores {
            let deployment = control.deployment().to_owned();
            let store: Arc<dyn LedgerStore> = if let Some(url) = url(name) {
                Arc::new(server_store(name, &url, deployment).await?)
            } else {
                let options = options(name, file(folder, name), deployment)?;
                Arc::new(SqliteStore::open(options).await?)
            };
            opened.push(store);
        }
        let stores = Stores::new(opened, id(SHARED)?)?;
        let metrics = Metrics::new(Arc::clone(&clock), RETENTION);
        let observers = match observed {
            Observed::No => Observers::default(),
            Observed::Yes => Observers::new([metrics.observer()]),
            Observed::WithLines => {
                let lines: Arc<dyn Observer> = Arc::new(Logs::new(Arc::clone(&clock)));
                Observers::new([metrics.observer(), lines])
            }
        };
        let engine = Engine::watched(control, stores, clock, EngineConfig::default(), observers);
        let name = format!("bench-{}", std::process::id());
        Ok(Self {
            operations: Operations::new(&engine, name.clone()),
            supervisor: Supervisor::new(&engine, name),
            engine,
            metrics,
            folder: folder.to_owned(),
        })
    }

    /// Over a deployment that was opened as the command opens it.
    pub(crate) fn of(deployment: &rehome_observe::Observed, folder: &Path) -> Self {
        Self {
            engine: deployment.engine().clone(),
            operations: deployment.operations(),
            supervisor: deployment.supervisor(),
            metrics: deployment.metrics().clone(),
            folder: folder.to_owned(),
        }
    }

    /// An empty store of the same deployment, that the engine does not know.
    pub(crate) async fn sibling(&self, path: &Path) -> Result<SqliteStore> {
        let deployment = self.engine.control().deployment().to_owned();
        Ok(SqliteStore::open(options("sibling", path.to_owned(), deployment)?).await?)
    }

    /// Makes an empty store of the same deployment on a server, that the engine does not know.
    pub(crate) async fn sibling_at(&self, url: &str) -> Result<()> {
        let deployment = self.engine.control().deployment().to_owned();
        server_store("sibling", url, deployment).await?;
        Ok(())
    }

    /// The file of a store.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        file(&self.folder, name)
    }

    pub(crate) fn router(&self) -> Arc<dyn EventStore> {
        Arc::new(self.engine.router().clone())
    }

    pub(crate) async fn fill(&self, wanted: &[Wanted]) -> Result<()> {
        history::make(&self.router(), wanted, 1, |_| {}).await?;
        Ok(())
    }

    pub(crate) fn load(&self, tenant: TenantId, writers: u16, rate: Option<f64>) -> Result<Load> {
        let options = LoadOptions { tenant, writers, rate, seed: 2, journal: None };
        Ok(Load::start(&self.router(), options)?)
    }

    /// Starts a migration and drives it in a task until `enough`.
    pub(crate) async fn start(
        &self,
        tenant: TenantId,
        target: &str,
        options: Options,
        enough: fn(&Migration) -> bool,
    ) -> Result<Moving> {
        let migration = self.operations.start(tenant, &id(target)?, options).await?;
        Ok(self.drive(migration.id, enough))
    }

    pub(crate) fn drive(&self, id: MigrationId, enough: fn(&Migration) -> bool) -> Moving {
        Moving { id, work: self.supervisor.spawn(id, enough) }
    }

    /// Waits until the migration's row is as wanted.
    pub(crate) async fn wait(
        &self,
        id: MigrationId,
        wanted: impl Fn(&Migration) -> bool + Send + Sync,
    ) -> Result<Migration> {
        let seen = self.supervisor.watch(id, Duration::from_millis(2), |migration| {
            wanted(migration) || migration.state.phase() == Phase::Failed
        });
        let migration = timeout(PATIENCE, seen).await.context("it took too long")??;
        if migration.state.phase() == Phase::Failed {
            bail!("the migration failed: {}", migration.error.unwrap_or_default());
        }
        Ok(migration)
    }

    /// Waits until mirroring is on, all is read back, and the verification has passed.
    pub(crate) async fn wait_until_ready(&self, id: MigrationId) -> Result<()> {
        self.wait(id, |migration| migration.state.phase() == Phase::DualWrite).await?;
        let ready = async {
            while self.engine.control().marks(id).await?.verified_seq.is_none() {
                sleep(Duration::from_millis(5)).await;
            }
            Ok::<_, ControlError>(())
        };
        timeout(PATIENCE, ready).await.context("it took too long")??;
        Ok(())
    }

    pub(crate) async fn log(&self, id: MigrationId) -> Result<Vec<LogEntry>> {
        Ok(self.engine.control().log(id, 0, 1_000).await?)
    }

    pub(crate) async fn timeline(&self, id: MigrationId) -> Result<Timeline> {
        Ok(Timeline::of(&self.log(id).await?))
    }

    /// Seconds from the beginning of the copy to its end, by the migration's log.
    pub(crate) async fn copy_seconds(&self, id: MigrationId) -> Result<f64> {
        let log = self.log(id).await?;
        let at = |wanted: fn(&Fact) -> bool| {
            log.iter().find(|entry| wanted(&entry.fact)).map(|entry| entry.at.micros())
        };
        let began = at(|fact| matches!(fact, Fact::CopyStarted)).context("no copy began")?;
        let ended =
            at(|fact| matches!(fact, Fact::CopyCompleted { .. })).context("no copy ended")?;
        Ok((ended - began) as f64 / 1e6)
    }

    pub(crate) async fn close(self) {
        self.engine.shutdown().await;
    }
}

/// A migration and the task that works on it.
pub(crate) struct Moving {
    pub(crate) id: MigrationId,
    work: tokio_util::task::AbortOnDropHandle<Result<Supervised, DriveError>>,
}

impl Moving {
    /// Waits until the work is over.
    pub(crate) async fn done(self) -> Result<Migration> {
        let done = timeout(PATIENCE, self.work).await.context("it took too long")???;
        if done.migration.state.phase() == Phase::Failed {
            bail!("the migration failed: {}", done.migration.error.unwrap_or_default());
        }
        Ok(done.migration)
    }
}

/// Options that wait for an operator before the cutover.
pub(crate) fn manual() -> Options {
    Options { cutover: CutoverPolicy::Manual, ..Options::default() }
}

/// The tenant's route points to the target, and the target accepts appends.
pub(crate) fn is_switched(migration: &Migration) -> bool {
    matches!(migration.state, State::Migrated { activated: true, .. })
}

pub(crate) fn id(name: &str) -> Result<StoreId> {
    Ok(name.parse()?)
}

async fn file_control(folder: &Path, clock: Arc<dyn Clock>) -> Result<SqliteControlPlane> {
    Ok(SqliteControlPlane::open(folder.join("control.db"), true, clock).await?)
}

async fn server_control(url: &str) -> Result<Arc<dyn ControlPlane>> {
    let control = PgControlPlane::open(url.parse()?, true, PostgresOptions::default());
    Ok(Arc::new(control.await?))
}

async fn server_store(name: &str, url: &str, deployment: String) -> Result<PgStore> {
    let (id, url, clock) = (id(name)?, url.parse()?, Arc::new(SystemClock));
    Ok(PgStore::open(PgStoreOptions { id, url, deployment, create: true, clock }).await?)
}

/// The URL of a folder's store or control plane on a server; nothing if it is a file.
pub(crate) fn server(folder: &Path, name: &str) -> Option<String> {
    let servers = std::fs::read_to_string(folder.join(SERVERS)).ok()?;
    let mut named = servers.lines().filter_map(|line| line.split_once(' '));
    named.find(|(known, _)| *known == name).map(|(_, url)| url.to_owned())
}

/// Has [`Site::open`] go to servers for all of `urls`, names and URLs.
pub(crate) fn name_servers(folder: &Path, urls: &[(&str, String)]) -> Result<()> {
    let lines: Vec<String> = urls.iter().map(|(name, url)| format!("{name} {url}\n")).collect();
    Ok(std::fs::write(folder.join(SERVERS), lines.concat())?)
}

fn options(name: &str, path: PathBuf, deployment: String) -> Result<SqliteStoreOptions> {
    Ok(SqliteStoreOptions {
        id: id(name)?,
        path,
        deployment,
        create: true,
        clock: Arc::new(SystemClock),
    })
}

/// Whether the folder has a file of this store.
pub(crate) fn is_file(folder: &Path, name: &str) -> bool {
    file(folder, name).is_file()
}

fn file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.db"))
}
