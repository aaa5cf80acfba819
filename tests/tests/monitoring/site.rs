//! A deployment in a folder of its own, the process that serves it, and the tools that watch it.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rehome_api::OptionsPatch;
use rehome_app::migrations::StartRequest;
use rehome_app::{Access, Config, Deployment};
use rehome_cluster::{Cluster, Database, Options, free_port};
use rehome_domain::ids::{MigrationId, StoreId, TenantId};
use rehome_monitor::{Alertmanager, Prometheus, Receiver, Setup, Target, http};
use rehome_tests::process::{Process, wait_for};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use uuid::Uuid;

/// The store, a file, that all tenants begin in.
pub(crate) const SHARED: &str = "shared";
/// Another file.
pub(crate) const DEDICATED: &str = "dedicated";
/// A database of a server that can be stopped.
pub(crate) const REMOTE: &str = "remote";
/// So many events has each tenant when it begins.
pub(crate) const IMPORTED: u64 = 600;
/// So few events the copy leaves to the mirror.
pub(crate) const LAG_MAX: u64 = 10;
/// How long the series of a migration stay after its end.
const RETENTION: &str = "30s";
/// How often Prometheus scrapes, and evaluates rules, in milliseconds.
const EVERY_MS: u32 = 500;

/// A deployment, and who watches it.
pub(crate) struct Site {
    folder: TempDir,
    /// The server of the store `remote`.
    pub(crate) cluster: Cluster,
    pub(crate) database: Database,
    port: u16,
    server: RefCell<Option<Process>>,
    begun: Cell<u32>,
    operator: Deployment,
    runtime: Runtime,
    pub(crate) prometheus: Prometheus,
    _alertmanager: Alertmanager,
    pub(crate) receiver: Receiver,
}

impl Site {
    /// With the histories of these tenants in `shared`, served, and watched by these rules.
    pub(crate) fn new(tenants: &[Uuid], rules: &[(&str, String)]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("rehome-watched-").tempdir()?;
        let cluster = Cluster::start(&Options::default().in_memory())?;
        let (database, port) = (cluster.database()?, free_port()?);
        fs::write(folder.path().join("rehome.toml"), config(&database, port))?;
        import(folder.path(), tenants)?;

        let runtime = Runtime::new()?;
        let config = Config::load(Some(&folder.path().join("rehome.toml")))?;
        let operator = runtime.block_on(Deployment::open(&config, Access::Create))?;
        let receiver = Receiver::start()?;
        let alertmanager = Alertmanager::start(&receiver)?;
        let prometheus = Prometheus::start(&Setup {
            every_ms: EVERY_MS,
            targets: &[Target { job: "rehome", port }],
            rules,
            alertmanager: Some(alertmanager.port()),
            ..Setup::default()
        })?;
        let site = Self {
            folder,
            cluster,
            database,
            port,
            server: RefCell::default(),
            begun: Cell::new(0),
            operator,
            runtime,
            prometheus,
            _alertmanager: alertmanager,
            receiver,
        };
        site.serve()?;
        Ok(site)
    }

    /// Starts `rehome serve`, always at the same address.
    pub(crate) fn serve(&self) -> Result<()> {
        self.begun.set(self.begun.get() + 1);
        let mut command = command(self.folder.path());
        command.args(["serve", "--json"]);
        let name = format!("serve-{}", self.begun.get());
        let mut process = Process::start(command, self.folder.path(), &name)?;
        wait_for("the server to listen", || {
            if let Some(status) = process.ended()? {
                anyhow::bail!("it ended with {status}: {}", process.complained()?);
            }
            Ok(process.said()?.contains("listening").then_some(()))
        })?;
        self.server.replace(Some(process));
        Ok(())
    }

    /// SIGKILL.
    pub(crate) fn kill(&self) -> Result<()> {
        self.server.take().context("it serves")?.kill()
    }

    /// Keeps the folder, with what the process tells last and what Prometheus has, for whoever wants to
    /// know why a test failed.
    pub(crate) fn keep(self) -> Result<PathBuf> {
        let told = self.scrape("text/plain").unwrap_or_else(|error| format!("{error:#}"));
        let has = self.prometheus.query("{__name__!=\"\"}").map(|all| format!("{all:#?}"));
        let has = has.unwrap_or_else(|error| format!("{error:#}"));
        drop(self.server.take());
        let folder = self.folder.keep();
        fs::write(folder.join("told.txt"), told)?;
        fs::write(folder.join("prometheus.txt"), has)?;
        Ok(folder)
    }

    /// What the process answers to a scrape in the format that is asked for.
    pub(crate) fn scrape(&self, accept: &str) -> Result<String> {
        Ok(http::get(self.port, "/metrics", &[&format!("Accept: {accept}")])?.good()?.body)
    }

    /// Appends events through the gateway, each with a call of its own.
    pub(crate) fn append(&self, tenant: Uuid, events: u64) -> Result<()> {
        (0..events).try_for_each(|_| append(self.port, tenant).map(drop))
    }

    /// The same call, once, from a thread.
    pub(crate) fn append_beside(&self, tenant: Uuid) -> std::thread::JoinHandle<Result<()>> {
        let port = self.port;
        std::thread::spawn(move || append(port, tenant))
    }

    /// Starts a migration that the server finds and works on.
    pub(crate) fn start(
        &self,
        tenant: Uuid,
        target: &str,
        options: OptionsPatch,
    ) -> Result<Moving> {
        let target: StoreId = target.parse()?;
        let request = StartRequest { tenant: TenantId::new(tenant), target, options };
        let started = self.runtime.block_on(self.operator.start(&request, None))?;
        Ok(Moving { id: started.id, tenant })
    }

    pub(crate) fn tune(&self, moving: &Moving, options: &OptionsPatch) -> Result<()> {
        self.runtime.block_on(self.operator.tune(moving.id, options))?;
        Ok(())
    }

    pub(crate) fn request_cutover(&self, moving: &Moving) -> Result<()> {
        self.runtime.block_on(self.operator.request_cutover(moving.id))?;
        Ok(())
    }

    pub(crate) fn abort(&self, moving: &Moving) -> Result<()> {
        self.runtime.block_on(self.operator.abort(moving.id, false))?;
        Ok(())
    }

    /// Waits until the control plane has the migration in this state.
    pub(crate) fn wait_for_state(&self, moving: &Moving, state: &str) -> Result<()> {
        wait_for(state, || {
            let migration = self.runtime.block_on(self.operator.migration(moving.id))?;
            Ok((migration.state == state).then_some(()))
        })
    }

    /// What the control plane's log says of a migration: the name of each entry.
    pub(crate) fn log(&self, moving: &Moving) -> Result<Vec<String>> {
        let log = self.runtime.block_on(self.operator.log(moving.id, 0))?;
        Ok(log.into_iter().map(|entry| entry.event).collect())
    }

    /// The log lines of the server that was started as the `which`th, from 1.
    pub(crate) fn lines(&self, which: u32) -> Result<Vec<Value>> {
        let lines = fs::read_to_string(self.folder.path().join(format!("serve-{which}.err")))?;
        let parse =
            |line: &str| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"));
        lines.lines().map(parse).collect()
    }

    /// Changes the file of a store, as nobody but a test does.
    pub(crate) fn plant(&self, store: &str, sql: &str) -> Result<usize> {
        let file = Connection::open(self.folder.path().join(format!("{store}.db")))?;
        file.busy_timeout(rehome_tests::process::PATIENCE)?;
        Ok(file.execute(sql, [])?)
    }

    /// Lets nobody write events to `remote` until the lock is dropped; reading goes on.
    pub(crate) fn lock_remote(&self) -> Result<Locked<'_>> {
        let url = self.database.url();
        let lock = self.runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
            let connection = tokio::spawn(async { drop(connection.await) });
            client.batch_execute("BEGIN; LOCK TABLE rehome.events IN SHARE MODE").await?;
            anyhow::Ok((client, connection))
        });
        let (client, connection) = lock?;
        Ok(Locked { site: self, client, connection })
    }
}

/// A lock that is held on `remote`.
pub(crate) struct Locked<'a> {
    site: &'a Site,
    client: tokio_postgres::Client,
    connection: tokio::task::JoinHandle<()>,
}

impl Locked<'_> {
    pub(crate) fn release(self) -> Result<()> {
        let Self { site, client, connection } = self;
        site.runtime.block_on(async {
            client.batch_execute("COMMIT").await?;
            drop(client);
            Ok(connection.await?)
        })
    }
}

/// A migration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moving {
    pub(crate) id: MigrationId,
    pub(crate) tenant: Uuid,
}

impl Moving {
    /// A series of the migration: the name with its label and further ones.
    pub(crate) fn of(&self, name: &str, more: &str) -> String {
        format!("{name}{{migration_id=\"{}\"{}{more}}}", self.id, comma(more))
    }

    /// The same of its tenant.
    pub(crate) fn of_tenant(&self, name: &str, more: &str) -> String {
        format!("{name}{{tenant_id=\"{}\"{}{more}}}", self.tenant, comma(more))
    }
}

fn comma(more: &str) -> &'static str {
    if more.is_empty() { "" } else { "," }
}

fn append(port: u16, tenant: Uuid) -> Result<()> {
    let event = json!({"event_id": Uuid::new_v4(), "event_type": "Touched", "data": {"n": 1}});
    let document =
        json!({"stream_type": "order", "stream_id": Uuid::new_v4().to_string(), "events": [event]});
    let answer = http::post(port, &format!("/v1/tenants/{tenant}/append"), &document)?;
    ensure!(answer.status == 201, "status {}: {}", answer.status, answer.body);
    Ok(())
}

fn config(database: &Database, port: u16) -> String {
    format!(
        "[control_plane]\nurl = \"sqlite:control.db\"\n\
         [[stores]]\nid = \"{SHARED}\"\nurl = \"sqlite:{SHARED}.db\"\ndefault = true\n\
         [[stores]]\nid = \"{DEDICATED}\"\nurl = \"sqlite:{DEDICATED}.db\"\n\
         [[stores]]\nid = \"{REMOTE}\"\nurl = \"{}\"\n\
         [server]\nbind = \"127.0.0.1:{port}\"\n\
         [migration]\nlease_ttl_ms = 1000\nbatch_events = 20\ncutover = \"manual\"\nlag_events_max = {LAG_MAX}\n\
         [telemetry]\nmetrics_retention = \"{RETENTION}\"\nlog = \"json\"\n",
        database.url()
    )
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rehome-failpoints"));
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
    let file: PathBuf = folder.join("history.ndjson");
    fs::write(&file, lines)?;
    let imported = command(folder).args(["import", "--store", SHARED]).arg(&file).output()?;
    ensure!(imported.status.success(), "import: {}", String::from_utf8_lossy(&imported.stderr));
    Ok(())
}
