//! A deployment in which one component can be frozen, and the process that serves it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use rehome_api::OptionsPatch;
use rehome_api::drain::{DrainRequest, DrainSettings, DrainStart, DrainTarget};
use rehome_app::migrations::{self, StartRequest};
use rehome_app::{Access, Config, drains};
use rehome_cluster::{Cluster, Database, Direction, Options, Proxy, free_port, shared};
use rehome_domain::ids::{DrainId, MigrationId, TenantId};
use rehome_observe::Observed;
use rehome_tests::process::{Process, wait_for};
use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::truth::Place;

/// What hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Component {
    /// SIGSTOP to the source's server.
    Source,
    /// SIGSTOP to the target's server.
    Target,
    /// SIGSTOP to the control plane's server.
    ControlPlane,
    /// A network that drops all that goes to the target and comes from it.
    BlackHole,
    /// A third party holds the write lock of the target, a file.
    HeldLock,
}

/// So many events has each tenant when it begins.
pub(crate) const IMPORTED: u64 = 600;
/// The stores: where all begin, where they go, and where the one in its cutover goes.
pub(crate) const STORES: [&str; 3] = ["source", "target", "aside"];

/// A deployment. One of its servers can be frozen.
pub(crate) struct Site {
    folder: TempDir,
    component: Component,
    /// The server that freezes; the others are those of the process.
    own: Option<Cluster>,
    databases: [Option<Database>; 3],
    /// Before the source's server, and before the target's.
    pub(crate) before_source: Proxy,
    before_target: Option<Proxy>,
    port: u16,
    server: Option<Process>,
    operator: Observed,
    pub(crate) runtime: Runtime,
}

impl Site {
    /// With the histories of these tenants, served.
    pub(crate) fn new(component: Component, tenants: &[Uuid]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("rehome-frozen-").tempdir()?;
        let freezes = |what: &[Component]| what.contains(&component);
        let own = freezes(&[Component::Source, Component::Target, Component::ControlPlane])
            .then(|| Cluster::start(&Options::default().in_memory()))
            .transpose()?;
        let cluster = |is_own: bool| own.as_ref().filter(|_| is_own).unwrap_or_else(|| shared());
        let control = cluster(component == Component::ControlPlane).database()?;
        let of_source = cluster(component == Component::Source);
        let of_target = cluster(component == Component::Target);
        let file = component == Component::HeldLock;
        let target = if file { None } else { Some(of_target.database()?) };
        let databases = [Some(of_source.database()?), target, Some(of_target.database()?)];
        let before_source = Proxy::start(of_source.port())?;
        let hole = component == Component::BlackHole;
        let before_target = hole.then(|| Proxy::start(of_target.port())).transpose()?;
        let port = free_port()?;

        let mut config = format!("[control_plane]\nurl = \"{}\"\n", control.url());
        for (store, database) in STORES.iter().zip(&databases) {
            let url = match (database, &before_target) {
                (None, _) => format!("sqlite:{store}.db"),
                (Some(database), _) if *store == "source" => database.url_at(before_source.port()),
                (Some(database), Some(proxy)) => database.url_at(proxy.port()),
                (Some(database), None) => database.url(),
            };
            let default = *store == "source";
            writeln!(config, "[[stores]]\nid = \"{store}\"\nurl = \"{url}\"\ndefault = {default}")?;
        }
        write!(
            config,
            "[server]\nbind = \"127.0.0.1:{port}\"\n\
             [migration]\nbatch_events = 100\ncutover = \"manual\"\nlag_events_max = 20\n\
             [telemetry]\nlog = \"json\"\n"
        )?;
        fs::write(folder.path().join("rehome.toml"), config)?;
        import(folder.path(), tenants)?;
        let runtime = Runtime::new()?;
        let config = Config::load(Some(&folder.path().join("rehome.toml")))?;
        let operator = runtime.block_on(Observed::open(&config, Access::Create))?;
        let mut site = Self {
            folder,
            component,
            own,
            databases,
            before_source,
            before_target,
            port,
            server: None,
            operator,
            runtime,
        };
        site.serve()?;
        Ok(site)
    }

    fn serve(&mut self) -> Result<()> {
        let mut command = command(self.folder.path());
        command.args(["serve", "--json"]);
        let mut process = Process::start(command, self.folder.path(), "serve")?;
        wait_for("the server to listen", || {
            if let Some(status) = process.ended()? {
                bail!("it ended with {status}: {}", process.complained()?);
            }
            Ok(process.said()?.contains("listening").then_some(()))
        })?;
        self.server = Some(process);
        Ok(())
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A store, past all proxies.
    pub(crate) fn place(&self, store: &str) -> Result<Place> {
        let nth = STORES.iter().position(|one| *one == store).context("a store")?;
        Ok(match &self.databases[nth] {
            Some(database) => Place::Server(database.url()),
            None => Place::File(self.folder.path().join(format!("{store}.db"))),
        })
    }

    /// Starts a migration that the server finds and works on.
    pub(crate) fn start(
        &self,
        tenant: Uuid,
        target: &str,
        options: OptionsPatch,
    ) -> Result<MigrationId> {
        let tenant = TenantId::new(tenant);
        let request = StartRequest { tenant, target: target.parse()?, options };
        Ok(self.runtime.block_on(self.operator.start(&request, None))?.id)
    }

    /// Starts a drain of this tenant alone, whose window does not open while anybody looks.
    pub(crate) fn start_drain(&self, tenant: Uuid) -> Result<Uuid> {
        let settings = DrainSettings {
            window: Some("2099-06-01 01:00-05:00 UTC".to_owned()),
            ..DrainSettings::default()
        };
        let request = DrainRequest {
            from: vec!["source".to_owned()],
            to: vec![DrainTarget { store: "aside".to_owned(), weight: 1 }],
            tenants: vec![tenant],
            settings,
            ..DrainRequest::default()
        };
        let start = DrainStart { request: Some(request), ..DrainStart::default() };
        Ok(self.runtime.block_on(drains::start(&self.operator, &start, None))?.uuid())
    }

    /// The migration of the drain's tenant, once it waits for the window.
    pub(crate) fn wait_for_drain(&self, id: Uuid) -> Result<()> {
        let id = DrainId::new(id);
        wait_for("the drain's tenant to wait for the window", || {
            let page = self.operator.drain_tenants(id, Some("moving"), 0, 1);
            let page = self.runtime.block_on(page)?;
            let Some(move_id) = page.tenants.first().and_then(|row| row.migration_id) else {
                return Ok(None);
            };
            let migration = migrations::show(&self.operator, MigrationId::new(move_id));
            let state = self.runtime.block_on(migration).map(|migration| migration.state);
            Ok(state.is_ok_and(|state| state == "dual_write").then_some(()))
        })
    }

    pub(crate) fn request_cutover(&self, id: MigrationId) -> Result<()> {
        self.runtime.block_on(migrations::request_cutover(&self.operator, id))?;
        Ok(())
    }

    /// Waits until the control plane has the migration in this state.
    pub(crate) fn wait_for_state(&self, id: MigrationId, state: &str) -> Result<()> {
        wait_for(state, || {
            let migration = self.runtime.block_on(migrations::show(&self.operator, id))?;
            Ok((migration.state == state).then_some(()))
        })
    }

    /// Freezes the component until the returned value is dropped.
    pub(crate) fn freeze(&self) -> Result<Frozen<'_>> {
        let lock = match (&self.own, &self.before_target) {
            (Some(cluster), _) => {
                cluster.pause()?;
                None
            }
            (None, Some(proxy)) => {
                proxy.stall(Direction::Up);
                proxy.stall(Direction::Down);
                None
            }
            (None, None) => {
                ensure!(self.component == Component::HeldLock, "there is something to freeze");
                let file = Connection::open(self.folder.path().join("target.db"))?;
                file.busy_timeout(rehome_tests::process::PATIENCE)?;
                file.execute_batch("BEGIN IMMEDIATE")?;
                Some(file)
            }
        };
        Ok(Frozen { site: self, _lock: lock })
    }

    /// Keeps the folder, to diagnose a failed test.
    pub(crate) fn keep(mut self) -> PathBuf {
        drop(self.server.take());
        self.folder.keep()
    }
}

/// A component that hangs.
pub(crate) struct Frozen<'a> {
    site: &'a Site,
    /// Ends with its connection.
    _lock: Option<Connection>,
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        if let Some(cluster) = &self.site.own {
            // One that cannot be resumed ends with the test.
            let _ = cluster.resume();
        }
        if let Some(proxy) = &self.site.before_target {
            proxy.flow();
        }
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rehome-failpoints"));
    // Without a rollback window a command, and the work of a server, ends with the switch.
    command.env("REHOME_MIGRATION_ROLLBACK_WINDOW", "0s");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("REHOME_")) {
        command.env_remove(name);
    }
    command.arg("--config").arg(folder.join("rehome.toml")).args(["--log-level", "info"]);
    command
}

fn import(folder: &Path, tenants: &[Uuid]) -> Result<()> {
    let mut lines = String::new();
    for tenant in tenants {
        for number in 0..IMPORTED {
            let event = json!({
                "tenant_id": tenant, "stream_type": "order", "stream_id": format!("o-{number}"),
                "event_id": Uuid::new_v4(), "event_type": "Placed",
                "occurred_at": "2025-03-01T00:00:00Z", "data": {"number": number}, "metadata": {},
            });
            writeln!(lines, "{event}")?;
        }
    }
    let file = folder.join("history.ndjson");
    fs::write(&file, lines)?;
    let imported = command(folder).args(["import", "--store", "source"]).arg(&file).output()?;
    ensure!(imported.status.success(), "import: {}", String::from_utf8_lossy(&imported.stderr));
    Ok(())
}
