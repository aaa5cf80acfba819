//! Two databases with the library's tables, a third with its routing, and a deployment over them.

mod library;
mod programs;

use std::cell::Cell;
use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail, ensure};
use rehome_cluster::{Cluster, Database, Options};
use rehome_tests::process::{Process, wait_for};
use serde_json::Value;
use tempfile::TempDir;

use library::EVENTSOURCE_PY;
pub(crate) use library::{EMMETT, Library, MESSAGE_DB, PYEVENTSOURCING};

/// The tenant that moves.
pub(crate) const TENANT: &str = "7a000000-0000-4000-8000-000000000001";
/// One that does not.
const BYSTANDER: &str = "7a000000-0000-4000-8000-000000000002";
pub(crate) const SHARED: &str = "shared";
pub(crate) const DEDICATED: &str = "dedicated";
/// A deployment whose stores are adopted.
pub(crate) struct Site {
    library: &'static Library,
    folder: TempDir,
    /// The one server, or that of the source, of the target, and of the rest.
    clusters: Vec<Cluster>,
    shared: Database,
    dedicated: Database,
    routing: Database,
    control: Database,
    processes: Cell<u32>,
}

/// Which of the library's tables a store has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Table {
    Plain,
    Partitioned,
}

/// Runs `scenario` on a separate site, which is kept after a failure.
pub(crate) fn on_a_site(scenario: impl FnOnce(&Site) -> Result<()>) -> Result<()> {
    play(Site::new(&EVENTSOURCE_PY, 1, Table::Plain)?, scenario)
}

/// The same with a server for each store, and one for the control plane and the routing.
pub(crate) fn on_servers_apart(scenario: impl FnOnce(&Site) -> Result<()>) -> Result<()> {
    play(Site::new(&EVENTSOURCE_PY, 3, Table::Plain)?, scenario)
}

/// On one server, with the library's table in partitions by time.
pub(crate) fn on_partitions(scenario: impl FnOnce(&Site) -> Result<()>) -> Result<()> {
    play(Site::new(&EVENTSOURCE_PY, 1, Table::Partitioned)?, scenario)
}

/// On one server, with the tables of another library.
pub(crate) fn on_a_site_of(
    library: &'static Library,
    scenario: impl FnOnce(&Site) -> Result<()>,
) -> Result<()> {
    play(Site::new(library, 1, Table::Plain)?, scenario)
}

fn play(site: Site, scenario: impl FnOnce(&Site) -> Result<()>) -> Result<()> {
    let played = scenario(&site);
    played.map_err(|error| {
        let kept = site.folder.keep();
        error.context(format!("all of it is kept in {}", kept.display()))
    })
}

impl Site {
    /// On servers of its own: the library's feed ends at the oldest transaction of the whole server.
    fn new(library: &'static Library, servers: usize, table: Table) -> Result<Self> {
        let options = Options::default().in_memory().set("max_prepared_transactions", "20");
        let options = options.set("max_connections", "200");
        let clusters = (0..servers).map(|_| Cluster::start(&options));
        let clusters = clusters.collect::<Result<Vec<_>>>()?;
        let on = |number: usize| clusters[number % servers].database();
        let (shared, dedicated) = (on(0)?, on(1)?);
        let (routing, control) = (on(2)?, on(2)?);
        let folder = tempfile::Builder::new().prefix("rehome-adopted-").tempdir()?;
        let processes = Cell::new(0);
        let site =
            Self { library, folder, clusters, shared, dedicated, routing, control, processes };
        if library.name == EVENTSOURCE_PY.name {
            site.make_tables(table)?;
        } else {
            for store in [SHARED, DEDICATED] {
                site.make_tables_of(library, store)?;
            }
            site.python("store.py", &[library.name, "routing", &site.routing.url()])?;
        }
        site.configure()?;
        Ok(site)
    }

    /// The tables of eventsource-py.
    fn make_tables(&self, table: Table) -> Result<()> {
        for store in [&self.shared, &self.dedicated] {
            let year = self.middle().sql(self.control.name(), "SELECT extract(year FROM now())")?;
            let partitioned = ["--partitioned", "--months", &year];
            let more = if table == Table::Partitioned { &partitioned[..] } else { &[] };
            self.python("schema.py", &[&[&*store.url()], more].concat())?;
        }
        self.python("schema.py", &[&self.routing.url(), "--only-routing"]).map(drop)
    }

    /// Those of another library, by its own means.
    fn make_tables_of(&self, library: &Library, store: &str) -> Result<()> {
        let database = self.database(store);
        if library.handed_over.is_empty() {
            self.python("store.py", &[library.name, "make", &database.url()])?;
        } else {
            let url = self.cluster_of(store).administrator_url(database.name());
            self.python("store.py", &[library.name, "make", &url])?;
            self.sql(store, &library.handed_over.replace("$1", database.name()))?;
        }
        Ok(())
    }

    fn configure(&self) -> Result<()> {
        let config = format!(
            r#"
[control_plane]
url = "{control}"

[[stores]]
id = "shared"
url = "{shared}"
layout = "{library}"
default = true

[[stores]]
id = "dedicated"
url = "{dedicated}"
layout = "{library}"

[[publish]]
{publish}
url = "{routing}"

[migration]
lease_ttl_ms = 1000
"#,
            control = self.control.url(),
            shared = self.shared.url(),
            dedicated = self.dedicated.url(),
            routing = self.routing.url(),
            library = self.library.name,
            publish = self.library.publish,
        );
        let file = self.path().join("rehome.toml");
        fs::write(&file, config)?;
        // There are passwords in it.
        Ok(fs::set_permissions(file, fs::Permissions::from_mode(0o600))?)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The server of a store.
    pub(crate) fn cluster_of(&self, store: &str) -> &Cluster {
        &self.clusters[usize::from(store != SHARED) % self.clusters.len()]
    }

    /// The server of the control plane and of the routing.
    pub(crate) fn middle(&self) -> &Cluster {
        &self.clusters[self.clusters.len() - 1]
    }

    pub(crate) fn database(&self, store: &str) -> &Database {
        if store == SHARED { &self.shared } else { &self.dedicated }
    }

    /// Runs `statements` in the database of a store as the server's administrator.
    pub(crate) fn sql(&self, store: &str, statements: &str) -> Result<String> {
        self.cluster_of(store).sql(self.database(store).name(), statements)
    }

    /// Where the library's router sends the tenant.
    pub(crate) fn routed_to(&self) -> Result<String> {
        let ask = self.library.route.replace("$1", self.library.tenant);
        self.middle().sql(self.routing.name(), &ask)
    }

    fn name(&self, what: &str) -> String {
        self.processes.set(self.processes.get() + 1);
        format!("{:02}-{what}", self.processes.get())
    }

    // What a user types.

    fn command(&self, failpoints: &str, args: &[&str]) -> Command {
        command(self.path(), failpoints, args)
    }

    /// The command in the background, to die or to stop at these failpoints.
    pub(crate) fn spawn(&self, failpoints: &str, args: &[&str]) -> Result<Process> {
        let name = self.name(&args.iter().take(2).copied().collect::<Vec<_>>().join("-"));
        Process::start(self.command(failpoints, args), self.path(), &name)
    }

    /// The command in the background with these variables.
    pub(crate) fn spawn_with(&self, set: &[(&str, &str)], args: &[&str]) -> Result<Process> {
        let mut command = self.command("", args);
        command.envs(set.iter().copied());
        Process::start(command, self.path(), &self.name(args[0]))
    }

    /// The command, which has to succeed.
    pub(crate) fn run(&self, args: &[&str]) -> Result<String> {
        run(self.path(), args)
    }

    /// The command, which has to fail; what it complains of.
    pub(crate) fn fails(&self, args: &[&str]) -> Result<String> {
        let output = self.command("", args).output()?;
        ensure!(!output.status.success(), "{} succeeded", args.join(" "));
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// The command's document.
    pub(crate) fn json(&self, args: &[&str]) -> Result<Value> {
        let args: Vec<_> = args.iter().copied().chain(["--json"]).collect();
        let said = self.run(&args)?;
        serde_json::from_str(&said).with_context(|| format!("no document: {said}"))
    }

    /// Both stores with their guards.
    pub(crate) fn adopt(&self) -> Result<()> {
        for store in [SHARED, DEDICATED] {
            self.run(&["store", "adopt", store])?;
        }
        Ok(())
    }

    /// Moves the tenant, and comes back when it is switched.
    pub(crate) fn move_to(&self, to: &str) -> Result<()> {
        let start = ["migration", "start", "--tenant", self.library.tenant, "--to", to];
        self.run(&[&start[..], &["--rollback-window", "0s"]].concat()).map(drop)
    }

    /// The last migration.
    pub(crate) fn last(&self) -> Result<Value> {
        self.last_if_any()?.context("there is no migration")
    }

    fn last_if_any(&self) -> Result<Option<Value>> {
        let list = self.json(&["migration", "list"])?;
        Ok(list.as_array().context("a list")?.first().cloned())
    }

    /// Waits until the last migration is in this state.
    pub(crate) fn comes_to(&self, state: &str) -> Result<Value> {
        wait_for(state, || Ok(self.last_if_any()?.filter(|last| last["state"] == state)))
    }
}

pub(crate) fn command(folder: &Path, failpoints: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rehome-failpoints"));
    // Without a rollback window a command, and the work of a server, ends with the switch.
    command.env("REHOME_MIGRATION_ROLLBACK_WINDOW", "0s");
    command.current_dir(folder).args(args).env("REHOME_FAILPOINT", failpoints);
    command
}

/// The command in a folder with a rehome.toml, which has to succeed.
pub(crate) fn run(folder: &Path, args: &[&str]) -> Result<String> {
    said(&command(folder, "", args).output()?).with_context(|| args.join(" "))
}

/// The command in such a folder, which has to fail; what it prints.
pub(crate) fn refused(folder: &Path, args: &[&str]) -> Result<String> {
    let output = command(folder, "", args).output()?;
    ensure!(!output.status.success(), "{} succeeded", args.join(" "));
    Ok([output.stdout, output.stderr]
        .map(|said| String::from_utf8_lossy(&said).into_owned())
        .concat())
}

/// Ends writers, and waits until they have.
pub(crate) fn end(writers: Vec<Process>) -> Result<()> {
    for mut process in writers {
        process.terminate()?;
        process.succeeds()?;
    }
    Ok(())
}

pub(crate) fn said(output: &Output) -> Result<String> {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("it ended with {}: {said}{complaint}", output.status);
    }
    Ok(said)
}

pub(crate) fn last_line(said: &str) -> Result<Value> {
    let line = said.lines().next_back().context("it said nothing")?;
    serde_json::from_str(line).with_context(|| format!("no document: {line}"))
}
