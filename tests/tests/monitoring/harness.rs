//! A deployment in a folder of its own, the process that serves it, and the tools that watch it.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rehome_api::OptionsPatch;
use rehome_app::migrations::{self, StartRequest};
use rehome_app::{Access, Config};
use rehome_cluster::{Cluster, Database, Options, free_port};
use rehome_domain::ids::{MigrationId, StoreId, TenantId};
use rehome_monitor::{Alertmanager, Prometheus, Receiver, Setup, Target, http};
use rehome_observe::Observed;
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
pub(crate) const EVERY_MS: u32 = 500;
/// What the targets are labelled with.
pub(crate) const DEPLOYMENT: &str = "main";

/// What a site is to be like.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// Histories of so many events, in so named a store.
    pub(crate) histories: &'a [(Uuid, u64, &'a str)],
    /// Rule files.
    pub(crate) rules: &'a [(&'a str, String)],
    /// The configuration of Alertmanager, in which the second text stands for the address of the
    /// receiver; or one that sends everything at once.
    pub(crate) alertmanager: Option<(&'a str, &'a str)>,
    /// How often Prometheus scrapes, in milliseconds.
    pub(crate) every_ms: u32,
    /// There is a second process.
    pub(crate) has_second: bool,
    /// The control plane is in a database of the server, which can be stopped, and not in a file.
    pub(crate) control_on_server: bool,
}

/// Which of the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// The one that there always is.
    First,
    /// The one beside it.
    Second,
}

/// A deployment, and who watches it.
pub(crate) struct Site {
    folder: TempDir,
    /// The server of the store `remote`.
    pub(crate) cluster: Cluster,
    pub(crate) database: Database,
    ports: [u16; 2],
    servers: [RefCell<Option<Process>>; 2],
    begun: Cell<u32>,
    operator: Observed,
    runtime: Runtime,
    pub(crate) prometheus: Prometheus,
    _alertmanager: Alertmanager,
    pub(crate) receiver: Receiver,
}

impl Site {
    /// As it is wanted, served by the first process, and watched.
    pub(crate) fn new(wanted: &Wanted<'_>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("rehome-watched-").tempdir()?;
        let cluster = Cluster::start(&Options::default().in_memory())?;
        let (database, ports) = (cluster.database()?, [free_port()?, free_port()?]);
        let control = if wanted.control_on_server {
            cluster.database()?.url()
        } else {
            "sqlite:control.db".to_owned()
        };
        let write = |name: &str, port, database: Option<&Database>| {
            fs::write(folder.path().join(name), config(folder.path(), &control, database, port))
        };
        write(CONFIGS[0], ports[0], Some(&database))?;
        write(CONFIGS[1], ports[1], Some(&database))?;
        write(LACKING, ports[1], None)?;
        wanted.histories.iter().try_for_each(|history| import(folder.path(), *history))?;

        let runtime = Runtime::new()?;
        let config = Config::load(Some(&folder.path().join("rehome.toml")))?;
        let operator = runtime.block_on(Observed::open(&config, Access::Create))?;
        let receiver = Receiver::start()?;
        let alertmanager = match wanted.alertmanager {
            Some((settings, address)) => {
                let to = format!("127.0.0.1:{}", receiver.port());
                Alertmanager::start_with(settings.replace(address, &to))?
            }
            None => Alertmanager::start(&receiver)?,
        };
        let targets = ports.map(|port| Target { job: "rehome", port, deployment: DEPLOYMENT });
        let prometheus = Prometheus::start(&Setup {
            every_ms: wanted.every_ms,
            targets: &targets[..=usize::from(wanted.has_second)],
            rules: wanted.rules,
            alertmanager: Some(alertmanager.port()),
            ..Setup::default()
        })?;
        let site = Self {
            folder,
            cluster,
            database,
            ports,
            servers: Default::default(),
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
        self.serve_that(Which::First)
    }

    /// Starts that process.
    pub(crate) fn serve_that(&self, which: Which) -> Result<()> {
        self.begin(which, CONFIGS[which as usize])
    }

    /// Starts the second process, whose configuration lacks `remote`.
    pub(crate) fn serve_lacking(&self) -> Result<()> {
        self.begin(Which::Second, LACKING)
    }

    /// How many processes were started so far: the number of the last one.
    pub(crate) fn begun(&self) -> u32 {
        self.begun.get()
    }

    fn begin(&self, which: Which, config: &str) -> Result<()> {
        self.begun.set(self.begun.get() + 1);
        let mut command = command(self.folder.path(), config);
        command.args(["serve", "--json"]);
        let name = format!("serve-{}", self.begun.get());
        let mut process = Process::start(command, self.folder.path(), &name)?;
        wait_for("the server to listen", || {
            if let Some(status) = process.ended()? {
                anyhow::bail!("it ended with {status}: {}", process.complained()?);
            }
            Ok(process.said()?.contains("listening").then_some(()))
        })?;
        self.servers[which as usize].replace(Some(process));
        Ok(())
    }

    /// SIGKILL.
    pub(crate) fn kill(&self) -> Result<()> {
        self.kill_that(Which::First)
    }

    /// SIGKILL.
    pub(crate) fn kill_that(&self, which: Which) -> Result<()> {
        self.servers[which as usize].take().context("it serves")?.kill()
    }

    /// SIGSTOP.
    pub(crate) fn put_to_sleep(&self, which: Which) -> Result<()> {
        self.servers[which as usize].borrow_mut().as_mut().context("it serves")?.stop()
    }

    /// SIGCONT.
    pub(crate) fn wake(&self, which: Which) -> Result<()> {
        self.servers[which as usize].borrow_mut().as_mut().context("it serves")?.wake()
    }

    /// The label of the process in series.
    pub(crate) fn instance(&self, which: Which) -> String {
        format!("instance=\"127.0.0.1:{}\"", self.ports[which as usize])
    }

    /// Keeps the folder, with the last metrics of the process and the data of Prometheus, to diagnose a
    /// failed test.
    pub(crate) fn keep(self) -> Result<PathBuf> {
        let told = self.scrape("text/plain").unwrap_or_else(|error| format!("{error:#}"));
        let has = self.prometheus.query("{__name__!=\"\"}").map(|all| format!("{all:#?}"));
        let has = has.unwrap_or_else(|error| format!("{error:#}"));
        self.servers.iter().for_each(|server| drop(server.take()));
        let folder = self.folder.keep();
        fs::write(folder.join("told.txt"), told)?;
        fs::write(folder.join("prometheus.txt"), has)?;
        Ok(folder)
    }

    /// The process's response to a scrape in the requested format.
    pub(crate) fn scrape(&self, accept: &str) -> Result<String> {
        Ok(http::get(self.ports[0], "/metrics", &[&format!("Accept: {accept}")])?.good()?.body)
    }

    /// Appends events through the gateway, each with a call of its own.
    pub(crate) fn append(&self, tenant: Uuid, events: u64) -> Result<()> {
        (0..events).try_for_each(|_| append(self.ports[0], tenant).map(drop))
    }

    /// The same call, once, from a thread.
    pub(crate) fn append_beside(&self, tenant: Uuid) -> std::thread::JoinHandle<Result<()>> {
        let port = self.ports[0];
        std::thread::spawn(move || append(port, tenant))
    }

    /// Removes a tenant by the command, with a failpoint; whether it came to a good end.
    pub(crate) fn remove(&self, tenant: Uuid, events: u64, failpoint: &str) -> Result<bool> {
        let mut remove = command(self.folder.path(), CONFIGS[0]);
        let (tenant, events) = (tenant.to_string(), events.to_string());
        remove.args(["tenant", "remove", &tenant, "--events", &events]);
        Ok(remove.env("REHOME_FAILPOINT", failpoint).output()?.status.success())
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

    /// What an operator asks for.
    pub(crate) fn ask<T>(
        &self,
        what: impl AsyncFnOnce(&Observed) -> Result<T, rehome_app::AppError>,
    ) -> Result<T> {
        Ok(self.runtime.block_on(what(&self.operator))?)
    }

    pub(crate) fn tune(&self, moving: &Moving, options: &OptionsPatch) -> Result<()> {
        self.runtime.block_on(migrations::tune(&self.operator, moving.id, options))?;
        Ok(())
    }

    /// The receiver of the publication does not acknowledge from here on.
    pub(crate) fn hold_publication(&self) -> Result<()> {
        Ok(fs::write(self.folder.path().join(SILENT), "")?)
    }

    /// And does.
    pub(crate) fn release_publication(&self) -> Result<()> {
        Ok(fs::remove_file(self.folder.path().join(SILENT))?)
    }

    pub(crate) fn request_cutover(&self, moving: &Moving) -> Result<()> {
        self.runtime.block_on(migrations::request_cutover(&self.operator, moving.id))?;
        Ok(())
    }

    pub(crate) fn abort(&self, moving: &Moving) -> Result<()> {
        self.runtime.block_on(migrations::abort(&self.operator, moving.id, false))?;
        Ok(())
    }

    pub(crate) fn pause(&self, moving: &Moving) -> Result<()> {
        self.runtime.block_on(migrations::pause(&self.operator, moving.id))?;
        Ok(())
    }

    pub(crate) fn resume(&self, moving: &Moving) -> Result<()> {
        self.runtime.block_on(migrations::resume(&self.operator, moving.id, false))?;
        Ok(())
    }

    pub(crate) fn acknowledge(&self, moving: &Moving) -> Result<()> {
        self.runtime.block_on(migrations::acknowledge(&self.operator, moving.id))?;
        Ok(())
    }

    /// Waits until the control plane has the migration in this state.
    pub(crate) fn wait_for_state(&self, moving: &Moving, state: &str) -> Result<()> {
        wait_for(state, || {
            let migration = self.runtime.block_on(migrations::show(&self.operator, moving.id))?;
            Ok((migration.state == state).then_some(()))
        })
    }

    /// The control plane's log of a migration: the name of each entry.
    pub(crate) fn log(&self, moving: &Moving) -> Result<Vec<String>> {
        let log = self.runtime.block_on(migrations::log(&self.operator, moving.id, 0))?;
        Ok(log.into_iter().map(|entry| entry.event).collect())
    }

    /// The log lines of the server that was started as the `which`th, from 1.
    pub(crate) fn lines(&self, which: u32) -> Result<Vec<Value>> {
        let lines = fs::read_to_string(self.folder.path().join(format!("serve-{which}.err")))?;
        let parse =
            |line: &str| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"));
        lines.lines().map(parse).collect()
    }

    /// Changes the file of a store directly.
    pub(crate) fn plant(&self, store: &str, sql: &str) -> Result<usize> {
        let file = Connection::open(self.folder.path().join(format!("{store}.db")))?;
        file.busy_timeout(rehome_tests::process::PATIENCE)?;
        Ok(file.execute(sql, [])?)
    }

    /// What a store in a file has of the event at that position of a tenant that is alone in it.
    pub(crate) fn event_data(&self, store: &str, position: u32) -> Result<String> {
        let file = Connection::open(self.folder.path().join(format!("{store}.db")))?;
        let sql = "SELECT data FROM events WHERE position % 1099511627776 = ?1";
        Ok(file.query_row(sql, [position], |row| row.get(0))?)
    }

    /// Holds the write lock of a store's file meanwhile.
    pub(crate) fn while_locked(
        &self,
        store: &str,
        during: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let file = Connection::open(self.folder.path().join(format!("{store}.db")))?;
        file.busy_timeout(rehome_tests::process::PATIENCE)?;
        file.execute_batch("BEGIN IMMEDIATE")?;
        during()?;
        Ok(file.execute_batch("ROLLBACK")?)
    }

    /// Blocks writes of events to `remote` until the lock is dropped; reads continue.
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

/// The configurations of the two processes, and that of a second one which lacks a store.
const CONFIGS: [&str; 2] = ["rehome.toml", "second.toml"];
const LACKING: &str = "lacking.toml";

/// While this file exists, the receiver of the publication does not acknowledge.
const SILENT: &str = "silent";

fn config(folder: &Path, control: &str, database: Option<&Database>, port: u16) -> String {
    let silent = folder.join(SILENT).display().to_string();
    let remote = database.map_or_else(String::new, |database| {
        format!("[[stores]]\nid = \"{REMOTE}\"\nurl = \"{}\"\n", database.url())
    });
    format!(
        "[control_plane]\nurl = \"{control}\"\n\
         [[stores]]\nid = \"{SHARED}\"\nurl = \"sqlite:{SHARED}.db\"\ndefault = true\n\
         [[stores]]\nid = \"{DEDICATED}\"\nurl = \"sqlite:{DEDICATED}.db\"\n\
         {remote}\
         [[publish]]\nkind = \"command\"\ncommand = [\"test\", \"!\", \"-e\", \"{silent}\"]\n\
         [server]\nbind = \"127.0.0.1:{port}\"\nverify_stores_every = \"1s\"\n\
         [migration]\nrollback_window = \"0s\"\nlease_ttl_ms = 1000\nbatch_events = 20\ncutover = \"manual\"\nlag_events_max = {LAG_MAX}\n\
         [telemetry]\nmetrics_retention = \"{RETENTION}\"\nlog = \"json\"\n"
    )
}

fn command(folder: &Path, config: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rehome-failpoints"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("REHOME_")) {
        command.env_remove(name);
    }
    command.arg("--config").arg(folder.join(config)).args(["--log-level", "info"]);
    command
}

fn import(folder: &Path, (tenant, events, store): (Uuid, u64, &str)) -> Result<()> {
    let mut lines = String::new();
    for number in 0..events {
        let event = json!({
            "tenant_id": tenant, "stream_type": "order", "stream_id": format!("o-{number}"),
            "event_id": Uuid::new_v4(), "event_type": "Placed",
            "occurred_at": "2025-03-01T00:00:00Z", "data": {"number": number}, "metadata": {},
        });
        writeln!(lines, "{event}")?;
    }
    let file: PathBuf = folder.join("history.ndjson");
    fs::write(&file, lines)?;
    let imported =
        command(folder, CONFIGS[0]).args(["import", "--store", store]).arg(&file).output()?;
    ensure!(imported.status.success(), "import: {}", String::from_utf8_lossy(&imported.stderr));
    Ok(())
}
