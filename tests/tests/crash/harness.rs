//! A deployment in a folder of its own: two stores, a tenant with a history, and the processes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rehome_tests::checker::{
    self, Id, Known, Migration, Moment, Place, Places, Report, hex, parse_hex,
};
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tempfile::TempDir;

pub(crate) use rehome_tests::history::TENANT;
use rehome_tests::history::{self, IMPORTED};
use rehome_tests::process::{Process, wait_for};

pub(crate) const SHARED: &str = "shared";
pub(crate) const DEDICATED: &str = "dedicated";
const CONTROL: &str = "control";

const CONFIG: &str = r#"
[control_plane]
url = "sqlite:control.db"

[[stores]]
id = "shared"
url = "sqlite:shared.db"
default = true

[[stores]]
id = "dedicated"
url = "sqlite:dedicated.db"

[migration]
lease_ttl_ms = 1000
batch_events = 200
lag_events_max = 200
"#;

/// The files of a folder.
type Content = Vec<(OsString, Vec<u8>)>;

/// Runs `scenario` on a separate site, which is kept after a failure.
pub(crate) fn on_a_site(scenario: impl FnOnce(&Site) -> Result<()>) -> Result<()> {
    play(Site::new()?, scenario)
}

/// The same with one store on a small disk.
pub(crate) fn on_a_small_disk(
    small: &str,
    mib: u32,
    scenario: impl FnOnce(&Site) -> Result<()>,
) -> Result<()> {
    play(Site::on_small_disk(small, mib)?, |site| {
        let played = scenario(site);
        // So that the folder can be removed; the namespace goes anyway.
        let _ = Command::new("umount").arg("--lazy").arg(site.path().join("small")).status();
        played
    })
}

/// The same on a site where the tenant does not exist yet.
pub(crate) fn on_a_bare_site(scenario: impl FnOnce(&Site) -> Result<()>) -> Result<()> {
    play(Site::bare()?, scenario)
}

fn play(site: Site, scenario: impl FnOnce(&Site) -> Result<()>) -> Result<()> {
    let played = scenario(&site);
    played.map_err(|error| {
        let kept = site.folder.keep();
        error.context(format!("all of it is kept in {}", kept.display()))
    })
}

/// The same for a scenario that stops a process: by chance the process holds the lock of a file
/// then, and none can overtake it. Such a run is repeated.
pub(crate) fn on_a_site_until_free(scenario: impl Fn(&Site) -> Result<Free>) -> Result<()> {
    for _ in 0..5 {
        let mut free = Free::No;
        on_a_site(|site| {
            free = scenario(site)?;
            Ok(())
        })?;
        if free == Free::Yes {
            return Ok(());
        }
    }
    anyhow::bail!("whoever is stopped holds a lock each time")
}

/// Whether the files could be written to while a process was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Free {
    Yes,
    No,
}

/// A deployment, and the sent events.
pub(crate) struct Site {
    folder: TempDir,
    /// Whether the tenant had a history before.
    imported: bool,
    records: RefCell<Vec<PathBuf>>,
    processes: Cell<u32>,
}

impl Site {
    /// A copy of a site with a history, which is imported once.
    fn new() -> Result<Self> {
        static TEMPLATE: OnceLock<Result<Content, String>> = OnceLock::new();
        let template = TEMPLATE.get_or_init(|| template().map_err(|error| format!("{error:#}")));
        let template = template.as_ref().map_err(|error| anyhow::anyhow!(error.clone()))?;
        let folder = tempfile::Builder::new().prefix("rehome-crash-").tempdir()?;
        for (name, bytes) in template {
            fs::write(folder.path().join(name), bytes)?;
        }
        Ok(Self::with(folder, true))
    }

    /// A site whose store `small` is on a disk of its own, of so many MiB. Only in a namespace of
    /// one's own, where a file system can be mounted.
    pub(crate) fn on_small_disk(small: &str, mib: u32) -> Result<Self> {
        let site = Self::new()?;
        let disk = site.path().join("small");
        fs::create_dir(&disk)?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"]).arg(&disk);
        ensure!(mount.status()?.success(), "no file system could be mounted");
        let (from, to) = (site.file(small), disk.join(format!("{small}.db")));
        if from.exists() {
            fs::copy(&from, &to)?;
            fs::remove_file(&from)?;
        }
        // The checker and all processes find it at its old path.
        std::os::unix::fs::symlink(&to, &from)?;
        let config = CONFIG.replace(&format!("{small}.db"), &format!("small/{small}.db"));
        fs::write(site.path().join("rehome.toml"), config)?;
        if !to.exists() {
            site.run(&["store", "check", small])?;
        }
        Ok(site)
    }

    /// Fills the small disk to its last byte.
    pub(crate) fn fill_small_disk(&self) -> Result<()> {
        let mut ballast = fs::File::create(self.path().join("small/ballast"))?;
        let full = std::io::copy(&mut std::io::repeat(0), &mut ballast);
        let full = full.map(drop).map_err(|error| error.kind());
        ensure!(full == Err(std::io::ErrorKind::StorageFull), "the disk took all: {full:?}");
        Ok(())
    }

    /// Makes room again.
    pub(crate) fn clear_small_disk(&self) -> Result<()> {
        Ok(fs::remove_file(self.path().join("small/ballast"))?)
    }

    /// A site with stores and a control plane, and no tenant.
    fn bare() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("rehome-crash-").tempdir()?;
        fs::write(folder.path().join("rehome.toml"), CONFIG)?;
        fs::write(folder.path().join("nothing.ndjson"), "")?;
        let site = Self::with(folder, false);
        // An import creates a missing tenant.
        let nothing = site.path().join("nothing.ndjson");
        let nothing = nothing.to_str().context("a path in UTF-8")?;
        site.run(&["import", "--allow-empty", "--store", SHARED, nothing])?;
        site.run(&["store", "check", DEDICATED])?;
        Ok(site)
    }

    fn with(folder: TempDir, imported: bool) -> Self {
        Self { folder, imported, records: RefCell::default(), processes: Cell::new(0) }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The database of a store.
    pub(crate) fn file(&self, store: &str) -> PathBuf {
        file(self.path(), store)
    }

    fn name(&self, what: &str) -> String {
        self.processes.set(self.processes.get() + 1);
        format!("{:02}-{what}", self.processes.get())
    }

    /// The command with these arguments, to die or to stop at these failpoints.
    pub(crate) fn spawn(&self, failpoints: &str, args: &[&str]) -> Result<Process> {
        let command = command(self.path(), failpoints, args);
        let what = args.iter().take(2).copied().collect::<Vec<_>>().join("-");
        Process::start(command, self.path(), &self.name(&what))
    }

    /// `migration start` to the other store.
    pub(crate) fn start(&self, failpoints: &str, more: &[&str]) -> Result<Process> {
        let args = ["migration", "start", "--tenant", TENANT, "--to", DEDICATED];
        self.spawn(failpoints, &[&args, more].concat())
    }

    /// Runs the command to its good end.
    pub(crate) fn run(&self, args: &[&str]) -> Result<()> {
        self.spawn("", args)?.succeeds()
    }

    /// Runs the command to its end.
    pub(crate) fn ends(&self, args: &[&str]) -> Result<ExitStatus> {
        self.spawn("", args)?.end()
    }

    /// Runs a command on the tenant's last migration to its good end.
    pub(crate) fn on_last(&self, command: &str, more: &[&str]) -> Result<()> {
        let id = self.last_id()?;
        self.run(&[&["migration", command, &id], more].concat())
    }

    /// Starts writers with a record of their own.
    pub(crate) fn load(&self, failpoints: &str, writers: u16, rate: u32) -> Result<Process> {
        let name = self.name("load");
        let record = self.path().join(format!("{name}.record"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_rehome-load"));
        command.arg("--config").arg(self.path().join("rehome.toml"));
        command.args(["--tenant", TENANT, "--record"]).arg(&record);
        command.args(["--writers", &writers.to_string(), "--rate", &rate.to_string()]);
        command.env("REHOME_FAILPOINT", failpoints);
        let mut load = Process::start(command, self.path(), &name)?;
        self.records.borrow_mut().push(record);
        wait_for("writers", || {
            let begun = load.said()?.contains("writing") || load.ended()?.is_some();
            Ok(begun.then_some(()))
        })?;
        Ok(load)
    }

    /// Everything that is known to have been sent, as the records have it now.
    pub(crate) fn known(&self) -> Result<Known> {
        let mut known = if self.imported { history::known()? } else { Known::default() };
        for record in self.records() {
            known.add_load(&record)?;
        }
        Ok(known)
    }

    /// The writers' records.
    pub(crate) fn records(&self) -> Vec<PathBuf> {
        self.records.borrow().iter().filter(|record| record.exists()).cloned().collect()
    }

    /// Waits until so many more events are acknowledged.
    pub(crate) fn wait_for_acks(&self, more: u64) -> Result<()> {
        let before = self.known()?.acked();
        wait_for("acknowledgements", || Ok((self.known()?.acked() >= before + more).then_some(())))
    }

    pub(crate) fn migrations(&self) -> Result<Vec<Migration>> {
        places(self.path()).control.migrations(tenant()?)
    }

    pub(crate) fn last(&self) -> Result<Migration> {
        self.migrations()?.pop().context("no migration")
    }

    pub(crate) fn last_id(&self) -> Result<String> {
        Ok(hex(&self.last()?.id))
    }

    /// Waits until the tenant's last migration is in this phase.
    pub(crate) fn wait_for_phase(&self, phase: &str) -> Result<Migration> {
        wait_for(phase, || Ok(self.migrations()?.pop().filter(|last| last.phase == phase)))
    }

    /// Waits until the log of some migration has such an entry.
    pub(crate) fn wait_for_fact(&self, fact: &str) -> Result<()> {
        let like = format!("{{\"fact\":\"{fact}\"%");
        wait_for(fact, || {
            let control = self.connection(CONTROL)?;
            let sql = "SELECT count(*) FROM log WHERE fact LIKE ?1";
            let found: u32 = control.query_row(sql, [&like], |row| row.get(0))?;
            Ok((found > 0).then_some(()))
        })
    }

    /// Deletes an event from a store directly.
    pub(crate) fn delete_event(&self, store: &str, seq: u64) -> Result<()> {
        let sql = "DELETE FROM events WHERE position % 1099511627776 = ?1";
        let deleted = self.connection(store)?.execute(sql, [i64::try_from(seq)?])?;
        ensure!(deleted == 1, "event {seq} is there");
        Ok(())
    }

    fn connection(&self, name: &str) -> Result<Connection> {
        let connection = Connection::open(self.file(name))?;
        connection.busy_timeout(Duration::from_secs(5))?;
        Ok(connection)
    }

    /// Whether every file can be written to.
    pub(crate) fn free(&self) -> Result<Free> {
        for name in [SHARED, DEDICATED, CONTROL] {
            let mut connection = Connection::open(self.file(name))?;
            connection.busy_timeout(Duration::from_secs(2))?;
            match connection.transaction_with_behavior(TransactionBehavior::Immediate) {
                Ok(transaction) => transaction.rollback()?,
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                    return Ok(Free::No);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Free::Yes)
    }

    /// The files as they are, in the middle of it all.
    pub(crate) fn check_between(&self) -> Result<Report> {
        self.check(Moment::Between)
    }

    fn check(&self, moment: Moment) -> Result<Report> {
        checker::check(&places(self.path()), tenant()?, moment, || self.known())?.clean()
    }

    /// After everything: the tenant is writable, lives in `authority`, and all is well.
    pub(crate) fn finish(&self, authority: &str) -> Result<Report> {
        let load = self.load("", 1, 200)?;
        self.wait_for_acks(1).context("the tenant is not writable")?;
        load.ends_well()?;
        let report = self.check(Moment::End)?;
        ensure!(report.authority == authority, "the tenant lives in {}", report.authority);
        let imported = if self.imported { IMPORTED } else { 0 };
        ensure!(report.acked > imported, "nobody wrote");
        Ok(report)
    }
}

/// The databases of the site in that folder.
pub(crate) fn places(folder: &Path) -> Places {
    let place = |name: &str| Place::Sqlite(file(folder, name));
    let stores = [SHARED, DEDICATED].map(|name| (name.to_owned(), place(name)));
    Places { control: place(CONTROL), stores: BTreeMap::from(stores) }
}

fn file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.db"))
}

/// The imported events, and those of these records.
pub(crate) fn known(records: &[PathBuf]) -> Result<Known> {
    let mut known = history::known()?;
    for record in records {
        known.add_load(record)?;
    }
    Ok(known)
}

pub(crate) fn tenant() -> Result<Id> {
    parse_hex(TENANT)
}

fn command(folder: &Path, failpoints: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rehome-failpoints"));
    // Without a rollback window a command, and the work of a server, ends with the switch.
    command.env("REHOME_MIGRATION_ROLLBACK_WINDOW", "0s");
    command.arg("--config").arg(folder.join("rehome.toml")).args(["--log-level", "info"]);
    command.args(args).env("REHOME_FAILPOINT", failpoints);
    command
}

/// The files of a site with a history.
fn template() -> Result<Content> {
    let folder = tempfile::Builder::new().prefix("rehome-crash-").tempdir()?;
    fs::write(folder.path().join("rehome.toml"), CONFIG)?;
    fs::write(folder.path().join("history.ndjson"), history::lines()?)?;
    let events = folder.path().join("history.ndjson");
    let mut import = command(folder.path(), "", &["import", "--store", SHARED]);
    let import = import.arg(events).output()?;
    ensure!(import.status.success(), "import: {}", String::from_utf8_lossy(&import.stderr));
    fs::read_dir(folder.path())?
        .map(|entry| {
            let entry = entry?;
            Ok((entry.file_name(), fs::read(entry.path())?))
        })
        .collect()
}
