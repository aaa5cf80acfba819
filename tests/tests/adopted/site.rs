//! Two databases with the library's tables, a third with its routing, and a deployment over them.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail, ensure};
use rehome_cluster::{Cluster, Database, Options};
use rehome_monitor::python::python;
use rehome_tests::process::{Process, wait_for};
use serde_json::Value;
use tempfile::TempDir;

/// The tenant that moves.
pub(crate) const TENANT: &str = "7a000000-0000-4000-8000-000000000001";
/// One that does not.
const BYSTANDER: &str = "7a000000-0000-4000-8000-000000000002";
pub(crate) const SHARED: &str = "shared";
pub(crate) const DEDICATED: &str = "dedicated";
const WRITERS: usize = 2;

/// A deployment whose stores are adopted.
pub(crate) struct Site {
    folder: TempDir,
    /// The one server, or that of the source, of the target, and of the rest.
    clusters: Vec<Cluster>,
    shared: Database,
    dedicated: Database,
    routing: Database,
    control: Database,
    processes: Cell<u32>,
}

/// Plays `scenario` on a site of its own, which is kept if it fails.
pub(crate) fn on_a_site(scenario: impl FnOnce(&Site) -> Result<()>) -> Result<()> {
    play(Site::new(1)?, scenario)
}

/// The same with a server for each store, and one for the control plane and the routing.
pub(crate) fn on_servers_apart(scenario: impl FnOnce(&Site) -> Result<()>) -> Result<()> {
    play(Site::new(3)?, scenario)
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
    fn new(servers: usize) -> Result<Self> {
        let options = Options::default().in_memory().set("max_prepared_transactions", "20");
        let options = options.set("max_connections", "200");
        let clusters = (0..servers).map(|_| Cluster::start(&options));
        let clusters = clusters.collect::<Result<Vec<_>>>()?;
        let on = |number: usize| clusters[number % servers].database();
        let (shared, dedicated) = (on(0)?, on(1)?);
        let (routing, control) = (on(2)?, on(2)?);
        let folder = tempfile::Builder::new().prefix("rehome-adopted-").tempdir()?;
        let processes = Cell::new(0);
        let site = Self { folder, clusters, shared, dedicated, routing, control, processes };
        for store in [&site.shared, &site.dedicated] {
            site.python("schema.py", &[&store.url()])?;
        }
        site.python("schema.py", &[&site.routing.url(), "--only-routing"])?;
        site.configure()?;
        Ok(site)
    }

    fn configure(&self) -> Result<()> {
        let config = format!(
            r#"
[control_plane]
url = "{control}"

[[stores]]
id = "shared"
url = "{shared}"
layout = "eventsource-py"
default = true

[[stores]]
id = "dedicated"
url = "{dedicated}"
layout = "eventsource-py"

[[publish]]
kind = "eventsource-py"
url = "{routing}"

[migration]
lease_ttl_ms = 1000
"#,
            control = self.control.url(),
            shared = self.shared.url(),
            dedicated = self.dedicated.url(),
            routing = self.routing.url(),
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
        let ask = format!("SELECT store_id FROM tenant_routing WHERE tenant_id = '{TENANT}'");
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
        self.run(&["migration", "start", "--tenant", TENANT, "--to", to, "--rollback-window", "0s"])
            .map(drop)
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

    // The programs with the real library.

    pub(crate) fn program(&self, name: &str, args: &[&str]) -> Result<Command> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("adopted");
        let mut command = Command::new(python()?);
        command.current_dir(self.path()).arg(folder.join(name)).args(args);
        Ok(command)
    }

    /// A program with the library, which has to succeed; what its last line says.
    pub(crate) fn python(&self, name: &str, args: &[&str]) -> Result<Value> {
        let output = self.program(name, args)?.output()?;
        let said = said(&output).with_context(|| format!("{name} {}", args.join(" ")))?;
        last_line(&said)
    }

    /// One process of eight writers that know the library and its router.
    pub(crate) fn writers(&self, number: usize) -> Result<Process> {
        self.writers_with(number, &[])
    }

    /// The same with more arguments.
    pub(crate) fn writers_with(&self, number: usize, more: &[&str]) -> Result<Process> {
        let journal = self.journal(&number.to_string());
        let seed = number.to_string();
        let (shared, dedicated) = (self.shared.url(), self.dedicated.url());
        let (shared, dedicated) = (format!("shared={shared}"), format!("dedicated={dedicated}"));
        let routing = self.routing.url();
        let args = [
            "--routing",
            &routing,
            "--store",
            &shared,
            "--store",
            &dedicated,
            "--tenant",
            TENANT,
            "--bystander",
            BYSTANDER,
            "--seed",
            &seed,
            "--journal",
            &journal,
        ];
        let program = self.program("writers.py", &[&args, more].concat())?;
        let mut writers = Process::start(program, self.path(), &self.name("writers"))?;
        wait_for("writers that are ready", || {
            if let Some(status) = writers.ended()? {
                bail!("the writers ended with {status}: {}", writers.complained()?);
            }
            Ok(writers.said()?.contains("\"ready\"").then_some(()))
        })?;
        Ok(writers)
    }

    /// All processes with writers.
    pub(crate) fn all_writers(&self) -> Result<Vec<Process>> {
        (1..=WRITERS).map(|number| self.writers(number)).collect()
    }

    pub(crate) fn journal(&self, name: &str) -> String {
        self.path().join(format!("journal-{name}")).display().to_string()
    }

    fn journals(&self) -> Result<Vec<PathBuf>> {
        let mut journals = Vec::new();
        for entry in fs::read_dir(self.path())? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with("journal-") {
                journals.push(path);
            }
        }
        Ok(journals)
    }

    /// Acknowledged appends of the tenant so far, by all writers.
    pub(crate) fn acknowledged(&self) -> Result<usize> {
        let mut acknowledged = 0;
        for journal in self.journals()? {
            let said = fs::read_to_string(journal)?;
            let of_tenant = said.lines().filter(|line| line.contains(TENANT));
            acknowledged += of_tenant.filter(|line| line.contains("\"acked\"")).count();
        }
        Ok(acknowledged)
    }

    /// Waits until so many more appends were acknowledged.
    pub(crate) fn writes(&self, more: usize) -> Result<()> {
        let goal = self.acknowledged()? + more;
        wait_for("the library's writers", || Ok((self.acknowledged()? >= goal).then_some(())))
    }

    /// What the checker finds, who holds the journals against the tables.
    pub(crate) fn check(&self, authority: &str, prefix: bool) -> Result<Value> {
        let other = if authority == SHARED { DEDICATED } else { SHARED };
        let (authority, other) = (self.database(authority).url(), self.database(other).url());
        let mut args = vec!["--tenant", TENANT, "--authority", &authority, "--other", &other];
        if prefix {
            args.push("--prefix");
        }
        let journals = self.journals()?;
        let journals: Vec<_> = journals.iter().map(|path| path.display().to_string()).collect();
        args.extend(journals.iter().flat_map(|journal| ["--journal", journal]));
        self.python("checker.py", &args)
    }

    /// The library rebuilds all aggregates at a store; how many there are, and the hash of their states.
    pub(crate) fn fold(&self, store: &str) -> Result<(u64, String)> {
        let url = self.database(store).url();
        let folded = self.python("readers.py", &["fold", &url, "--tenant", TENANT])?;
        ensure!(folded["agree"] == true, "{folded}");
        let digest = folded["digest"].as_str().context("a digest")?.to_owned();
        Ok((folded["feed_events"].as_u64().context("a number")?, digest))
    }
}

fn command(folder: &Path, failpoints: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rehome-failpoints"));
    command.current_dir(folder).args(args).env("REHOME_FAILPOINT", failpoints);
    command
}

/// The command in a folder with a rehome.toml, which has to succeed.
pub(crate) fn run(folder: &Path, args: &[&str]) -> Result<String> {
    said(&command(folder, "", args).output()?).with_context(|| args.join(" "))
}

/// Ends writers, and waits until they have.
pub(crate) fn end(writers: Vec<Process>) -> Result<()> {
    for mut process in writers {
        process.terminate()?;
        process.succeeds()?;
    }
    Ok(())
}

fn said(output: &Output) -> Result<String> {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("it ended with {}: {said}{complaint}", output.status);
    }
    Ok(said)
}

fn last_line(said: &str) -> Result<Value> {
    let line = said.lines().next_back().context("it said nothing")?;
    serde_json::from_str(line).with_context(|| format!("no document: {line}"))
}
