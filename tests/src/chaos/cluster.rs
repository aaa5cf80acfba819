//! A deployment on three servers, with a proxy between each process and each server.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rehome_cluster::{Cluster, Database, Proxy};
use tempfile::TempDir;

use super::{Server, Servers, Who};
use crate::checker::{self, Id, Known, Migration, Moment, Place, Places, Report, parse_hex};
use crate::history::{self, TENANT};
use crate::process::Process;

/// The schema that a URL means if it names none.
const SCHEMA: &str = "rehome";

/// A deployment with a history in its default store, and the sent events.
pub struct Stage<'a> {
    servers: &'a Servers,
    /// Whether the tenant had a history before.
    imported: bool,
    databases: BTreeMap<Server, Database>,
    proxies: BTreeMap<(Who, Server), Proxy>,
    folder: TempDir,
    programs: PathBuf,
    records: RefCell<Records>,
}

#[derive(Default)]
struct Records {
    processes: u32,
    loads: Vec<(Who, PathBuf)>,
    /// By name.
    subscribers: BTreeMap<String, PathBuf>,
    readers: BTreeMap<Who, PathBuf>,
}

impl<'a> Stage<'a> {
    /// Creates a deployment on the servers and imports the history. `migration` are lines for
    /// `[migration]` of its configuration, in addition to ours.
    pub fn new(servers: &'a Servers, migration: &str) -> Result<Self> {
        Self::make(servers, migration, &history::lines()?)
    }

    /// Imports these lines: all of the history, or nothing.
    fn make(servers: &'a Servers, migration: &str, lines: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("rehome-chaos-").tempdir()?;
        let database = |server: Server| Ok((server, servers.database(server)?));
        let databases: BTreeMap<_, _> =
            Server::ALL.into_iter().map(database).collect::<Result<_>>()?;
        let mut proxies = BTreeMap::new();
        for who in Who::ALL {
            for (server, cluster) in servers.alone() {
                proxies.insert((who, server), Proxy::start(cluster.port())?);
            }
        }
        let records = RefCell::default();
        let programs = programs()?;
        let imported = !lines.is_empty();
        let stage = Self { servers, imported, databases, proxies, folder, programs, records };
        for who in Who::ALL.into_iter().map(Some).chain([None]) {
            fs::write(stage.config(who), stage.configuration(who, migration)?)?;
        }
        let events = stage.path().join("history.ndjson");
        fs::write(&events, lines)?;
        let mut import = stage.command(None, "");
        let import = import.args(["import", "--allow-empty", "--store", Server::Shared.name()]);
        let import = import.arg(&events);
        let import = import.output()?;
        ensure!(import.status.success(), "import: {}", String::from_utf8_lossy(&import.stderr));
        // The first use creates it, which the checker needs.
        stage.run(&["store", "check", Server::Dedicated.name()])?;
        Ok(stage)
    }

    /// Runs on a separate stage, whose folder is kept after a failure.
    pub fn with<T>(
        servers: &Servers,
        migration: &str,
        play: impl FnOnce(&Stage<'_>) -> Result<T>,
    ) -> Result<T> {
        Stage::new(servers, migration)?.play(play)
    }

    /// The same where the tenant does not exist yet.
    pub fn bare<T>(
        servers: &Servers,
        migration: &str,
        play: impl FnOnce(&Stage<'_>) -> Result<T>,
    ) -> Result<T> {
        Stage::make(servers, migration, "")?.play(play)
    }

    fn play<T>(self, play: impl FnOnce(&Stage<'_>) -> Result<T>) -> Result<T> {
        let stage = self;
        let played = play(&stage);
        played.map_err(|error| {
            let kept = stage.folder.keep();
            error.context(format!("what the processes said is kept in {}", kept.display()))
        })
    }

    /// The folder with its files: configurations, records, output of processes.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A server.
    pub fn server(&self, server: Server) -> &Cluster {
        self.servers.of(server)
    }

    /// Runs statements in the deployment's database there; what they answer.
    pub fn sql(&self, server: Server, statements: &str) -> Result<String> {
        self.servers.sql(server, self.databases[&server].name(), statements)
    }

    /// Backs the deployment's database there up to a file.
    pub fn dump(&self, server: Server, file: &Path) -> Result<()> {
        self.server(server).dump(self.databases[&server].name(), file)
    }

    /// Makes the deployment's database there again what it was when it was backed up.
    pub fn restore(&self, server: Server, file: &Path) -> Result<()> {
        self.server(server).restore(self.databases[&server].name(), file)
    }

    /// A session of a third party in that database, which runs statements from its stdin.
    pub fn session(&self, server: Server) -> Result<Process> {
        let mut psql = Command::new(self.server(server).programs().join("psql"));
        let database = self.databases[&server].name();
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--set", "ON_ERROR_STOP=1"]);
        psql.args(["--dbname", &self.server(server).administrator_url(database)]);
        Process::start(psql, self.path(), &self.next_name("session"))
    }

    /// The proxy between a process and a server.
    pub fn proxy(&self, who: Who, server: Server) -> &Proxy {
        &self.proxies[&(who, server)]
    }

    /// Removes all faults of the proxies.
    pub fn mend_proxies(&self) -> Result<()> {
        for proxy in self.proxies.values() {
            proxy.flow();
            proxy.accept()?;
        }
        Ok(())
    }

    /// A process's configuration; without a process, one without proxies.
    fn config(&self, who: Option<Who>) -> PathBuf {
        let name = who.map_or("nobody".to_owned(), Who::name);
        self.path().join(format!("{name}.toml"))
    }

    fn configuration(&self, who: Option<Who>, migration: &str) -> Result<String> {
        let url = |server| match who {
            Some(who) if self.proxies.contains_key(&(who, server)) => {
                self.databases[&server].url_at(self.proxy(who, server).port())
            }
            // No proxy is before a cluster with failover: its members are the URL's.
            _ => self.databases[&server].url(),
        };
        let mut config = format!("[control_plane]\nurl = \"{}\"\n", url(Server::Control));
        for server in [Server::Shared, Server::Dedicated] {
            let (name, default) = (server.name(), server == Server::Shared);
            write!(
                config,
                "[[stores]]\nid = \"{name}\"\nurl = \"{}\"\ndefault = {default}\n",
                url(server)
            )?;
        }
        write!(
            config,
            "[migration]\nlease_ttl_ms = 1000\nbatch_events = 200\nlag_events_max = 200\n{migration}\n"
        )?;
        Ok(config)
    }

    /// A name for a process that no other had.
    pub(super) fn next_name(&self, what: &str) -> String {
        let mut records = self.records.borrow_mut();
        records.processes += 1;
        format!("{:03}-{what}", records.processes)
    }

    /// A program that is killed when its parent ends: drivers would otherwise run forever.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(self.programs.join(name));
        command
    }

    /// The command with a failpoint, by way of that process's proxies.
    pub(super) fn command(&self, who: Option<Who>, failpoint: &str) -> Command {
        let mut command = self.program("rehome-failpoints");
        command.arg("--config").arg(self.config(who)).args(["--log-level", "info"]);
        command.env("REHOME_FAILPOINT", failpoint);
        // Without a rollback window a command, and the work of a server, ends with the switch.
        command.env("REHOME_MIGRATION_ROLLBACK_WINDOW", "0s");
        command
    }

    /// Runs the command to its good end, past all proxies.
    pub fn run(&self, args: &[&str]) -> Result<()> {
        let output = self.command(None, "").args(args).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "rehome {}: {said}", args.join(" "));
        Ok(())
    }

    /// Runs the command with a failpoint, past all proxies; whether it came to a good end.
    pub fn run_with_failpoint(&self, failpoint: &str, args: &[&str]) -> Result<bool> {
        Ok(self.command(None, failpoint).args(args).output()?.status.success())
    }

    /// An application, not yet started: writers with a new record, a subscriber and a reader that continue
    /// their records.
    pub(super) fn application(&self, who: Who, name: &str, failpoint: &str, load: Load) -> Command {
        let at = |ending: &str| self.path().join(format!("{name}.{ending}"));
        let (record, watcher) = (at("record"), who.name());
        let (seen, reads) = (
            self.path().join(format!("{watcher}.seen")),
            self.path().join(format!("{watcher}.reads")),
        );
        let mut command = self.program("rehome-load");
        command.arg("--config").arg(self.config(Some(who))).args(["--tenant", TENANT]);
        command.arg("--record").arg(&record);
        // A subscriber or reader of a tenant that does not exist yet gets an error, and ends.
        if self.imported {
            command.arg("--seen").arg(&seen).arg("--reads").arg(&reads);
            command.args(["--subscriber", &watcher]);
        }
        command.args(["--writers", &load.writers.to_string(), "--rate", &load.rate.to_string()]);
        command.env("REHOME_FAILPOINT", failpoint);
        let mut records = self.records.borrow_mut();
        records.loads.push((who, record));
        records.subscribers.insert(watcher, seen);
        records.readers.insert(who, reads);
        command
    }

    /// Where its databases are.
    pub fn places(&self) -> Places {
        let place = |server: Server| {
            let url = self.databases[&server].url();
            Place::Postgres { url, schema: SCHEMA.to_owned() }
        };
        let stores = [Server::Shared, Server::Dedicated];
        Places {
            control: place(Server::Control),
            stores: stores.map(|server| (server.name().to_owned(), place(server))).into(),
        }
    }

    /// All that is known to have been sent and seen, as the records have it now.
    pub fn known(&self) -> Result<Known> {
        let records = self.records.borrow();
        let mut known = if self.imported { history::known()? } else { Known::default() };
        for (_, load) in records.loads.iter().filter(|(_, load)| load.exists()) {
            known.add_load(load)?;
        }
        for (name, seen) in records.subscribers.iter().filter(|(_, seen)| seen.exists()) {
            known.add_subscriber(name, seen)?;
        }
        for reads in records.readers.values().filter(|reads| reads.exists()) {
            known.add_reader(reads)?;
        }
        Ok(known)
    }

    /// The number of all events acknowledged to one process.
    pub fn acked(&self, who: Who) -> Result<u64> {
        let records = self.records.borrow();
        let mut known = Known::default();
        for (_, load) in records.loads.iter().filter(|(of, load)| *of == who && load.exists()) {
            known.add_load(load)?;
        }
        Ok(known.acked())
    }

    /// The longest duration of one of its appends, in milliseconds.
    pub fn longest_ms(&self, who: Who) -> Result<u64> {
        let records = self.records.borrow();
        let mut known = Known::default();
        for (_, load) in records.loads.iter().filter(|(of, load)| *of == who && load.exists()) {
            known.add_load(load)?;
        }
        Ok(known.longest_micros() / 1_000)
    }

    /// The tenant's migrations, oldest first; an error while the control plane is down.
    pub fn migrations(&self) -> Result<Vec<Migration>> {
        self.places().control.migrations(tenant()?)
    }

    /// The one that was started last.
    pub fn last(&self) -> Result<Migration> {
        self.migrations()?.pop().context("no migration")
    }

    /// Checks the current rows against the records.
    pub fn check(&self, moment: Moment) -> Result<Report> {
        checker::check(&self.places(), tenant()?, moment, || self.known())?.clean()
    }
}

/// How much an application writes.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Writers at once.
    pub writers: u16,
    /// Events per second of all of them.
    pub rate: u32,
}

fn tenant() -> Result<Id> {
    parse_hex(TENANT)
}

/// The folder of `rehome-load` and `rehome-failpoints`, which are built with this program.
fn programs() -> Result<PathBuf> {
    let ours = std::env::current_exe()?;
    let found = ours.ancestors().skip(1).take(2).find(|folder| {
        ["rehome-load", "rehome-failpoints"].iter().all(|name| folder.join(name).is_file())
    });
    found.map(Path::to_owned).context("rehome-load and rehome-failpoints are not built")
}
