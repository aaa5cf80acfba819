//! A server: begin, stop, kill, pause, and SQL as its administrator.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::disk;
use crate::install::{self, User, command_as, run};
use crate::keeper::Keeper;
use crate::port;

/// Longest wait for a server; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Another program may take a port just before the server does.
pub(crate) const PORTS_TRIED: usize = 20;
pub(crate) const ADMINISTRATOR: &str = "administrator";

/// How a server is set up. By default as one in production, with the sizes of a test: `fsync` and
/// `synchronous_commit` are on.
#[derive(Clone, Debug, Default)]
pub struct Options {
    settings: Vec<(String, String)>,
    in_memory: bool,
    small_disk_mib: Option<u32>,
}

impl Options {
    /// On a file system in memory, if this machine has one with room: a server that begins, syncs and
    /// recovers in no time. What the operating system holds survives a `kill -9` there as anywhere.
    #[must_use]
    pub fn in_memory(mut self) -> Self {
        self.in_memory = true;
        self
    }

    /// With a disk of this size, which only this server sees and which is removed with it; [`Cluster::database_on_small_disk`]
    /// creates a database on it. It must be mounted: by root, or in a user namespace if the machine
    /// allows that to all users.
    #[must_use]
    pub fn small_disk(mut self, mib: u32) -> Self {
        self.small_disk_mib = Some(mib);
        self
    }

    /// With one more line for `postgresql.conf`, after ours.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A running PostgreSQL server; when it is dropped, or this process ends, it is stopped and all of it
/// removed.
#[derive(Debug)]
pub struct Cluster {
    keeper: Mutex<Kept>,
    programs: PathBuf,
    folder: PathBuf,
    port: u16,
    password: String,
    databases: AtomicU64,
}

#[derive(Debug)]
struct Kept {
    keeper: Keeper,
    /// The server's first process, while it runs.
    server: Option<u32>,
}

impl Cluster {
    /// Makes a server and starts it.
    pub fn start(options: &Options) -> Result<Self> {
        let programs = install::programs()?;
        let user = install::other_than_root()?;
        let folder = folder("rehome-pg-", user, options.in_memory)?;
        let password = format!("{:016x}", port::random());
        let made = make(&programs, user, &folder, &password, options);
        let shell = match options.small_disk_mib {
            Some(mib) => disk::shell(user, mib),
            None => command_as(user, Path::new("/bin/sh")),
        };
        let started = made.and_then(|()| start(&programs, shell, &folder));
        let (kept, port) = started.inspect_err(|_| {
            // Report the first error.
            let _ = fs::remove_dir_all(&folder);
        })?;
        let (keeper, databases) = (Mutex::new(kept), AtomicU64::new(0));
        Ok(Self { keeper, programs, folder, port, password, databases })
    }

    /// A hot standby of this server: it has all its data, follows its writes, serves
    /// reads and refuses writes.
    pub fn standby(&self) -> Result<Self> {
        let user = install::other_than_root()?;
        let folder = folder("rehome-pg-", user, false)?;
        let mut backup = command_as(user, &self.programs.join("pg_basebackup"));
        backup.current_dir(&folder).args(["--pgdata=data", "--write-recovery-conf", "--no-sync"]);
        backup.args(["--checkpoint=fast", "--dbname", &self.administrator_url("postgres")]);
        let shell = command_as(user, Path::new("/bin/sh"));
        let started = run(&mut backup).and_then(|_| start(&self.programs, shell, &folder));
        let (kept, port) = started.inspect_err(|_| {
            // Report the first error.
            let _ = fs::remove_dir_all(&folder);
        })?;
        let (programs, password) = (self.programs.clone(), self.password.clone());
        let (keeper, databases) = (Mutex::new(kept), AtomicU64::new(0));
        Ok(Self { keeper, programs, folder, port, password, databases })
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder with `psql` and the other programs of its version.
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// The folder with all its files.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it wrote to its log so far.
    pub fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.folder.join("server.log"))?)
    }

    /// The URL of `database` for the server's administrator.
    pub fn administrator_url(&self, database: &str) -> String {
        let Self { port, password, .. } = self;
        format!("postgres://{ADMINISTRATOR}:{password}@127.0.0.1:{port}/{database}")
    }

    /// Runs `statements` as the administrator; what they answer, a row per line and `|` between columns.
    pub fn sql(&self, database: &str, statements: &str) -> Result<String> {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args(["--set", "ON_ERROR_STOP=1", "--dbname", &self.administrator_url(database)])
            .args(["--command", statements]);
        Ok(run(&mut psql)?.trim_end().to_owned())
    }

    /// Writes all of `database` to `file`, as backups are made.
    pub fn dump(&self, database: &str, file: &Path) -> Result<()> {
        let mut dump = Command::new(self.programs.join("pg_dump"));
        dump.args(["--clean", "--if-exists", "--dbname", &self.administrator_url(database)]);
        run(dump.arg("--file").arg(file)).map(drop)
    }

    /// Writes the schema of `database` to `file`, without data.
    pub fn dump_schema(&self, database: &str, file: &Path) -> Result<()> {
        let mut dump = Command::new(self.programs.join("pg_dump"));
        dump.args(["--schema-only", "--dbname", &self.administrator_url(database)]);
        run(dump.arg("--file").arg(file)).map(drop)
    }

    /// Makes `database` again what it was when it was dumped.
    pub fn restore(&self, database: &str, file: &Path) -> Result<()> {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["--no-psqlrc", "--quiet", "--single-transaction", "--set", "ON_ERROR_STOP=1"])
            .args(["--dbname", &self.administrator_url(database)]);
        run(psql.arg("--file").arg(file)).map(drop)
    }

    /// A number that no other database of this server has.
    pub(crate) fn next_database(&self) -> u64 {
        self.databases.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Starts a server that was stopped or killed, and waits until it accepts connections.
    pub fn begin(&self) -> Result<()> {
        let mut kept = self.kept();
        ensure!(kept.server.is_none(), "the server runs");
        match begin(&mut kept, &self.folder, self.port)? {
            Begun::Ready => Ok(()),
            Begun::Ended => bail!("the server does not start:\n{}", tail(&self.folder)),
        }
    }

    /// Stops it as an administrator does who does not wait for clients ("fast").
    pub fn stop(&self) -> Result<()> {
        self.ended_by("INT")
    }

    /// Stops and begins.
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        self.begin()
    }

    /// Has it offer TLS with this certificate and key, both PEM, from now on. Restarts it.
    pub fn use_tls(&self, certificate: &str, key: &str) -> Result<()> {
        let user = install::other_than_root()?;
        // The names are the server's defaults.
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let file = self.folder.join("data").join(name);
            fs::write(&file, text)?;
            // A key that others can read is refused.
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
            owned_by(user, &file)?;
        }
        self.sql("postgres", "ALTER SYSTEM SET ssl = on")?;
        self.restart()
    }

    /// Puts lines before those of `pg_hba.conf`, and has it let clients in by them from now on.
    pub fn admit(&self, lines: &str) -> Result<()> {
        let file = self.folder.join("data/pg_hba.conf");
        let before = fs::read_to_string(&file)?;
        let first = "# Of a test.\n";
        let own =
            before.split_once("# The server's own.\n").map_or(before.as_str(), |(_, own)| own);
        fs::write(&file, format!("{first}{lines}\n# The server's own.\n{own}"))?;
        self.restart()
    }

    /// Makes it require client certificates of this authority, PEM. Restarts it.
    pub fn trust_clients_of(&self, authority: &str) -> Result<()> {
        let file = self.folder.join("data/clients.crt");
        fs::write(&file, authority)?;
        owned_by(install::other_than_root()?, &file)?;
        self.sql("postgres", "ALTER SYSTEM SET ssl_ca_file = 'clients.crt'")?;
        self.restart()
    }

    /// `kill -9` to all its processes, as if the machine had lost them; a later [`Self::begin`] recovers.
    pub fn kill(&self) -> Result<()> {
        // A process that is stopped makes no further children.
        let server = self.server()?;
        signal(server, Signal::STOP)?;
        let children = children_of(server)?;
        self.ended_by("KILL")?;
        children.iter().try_for_each(|child| signal(*child, Signal::KILL))?;
        wait_for("the server's processes to be gone", || {
            Ok(children.iter().all(|child| state_of(*child).is_none()).then_some(()))
        })
    }

    /// SIGSTOP to all its processes: connections stay open, and nothing answers.
    pub fn pause(&self) -> Result<()> {
        let server = self.server()?;
        signal(server, Signal::STOP)?;
        children_of(server)?.into_iter().try_for_each(|child| signal(child, Signal::STOP))
    }

    /// SIGCONT, after a pause.
    pub fn resume(&self) -> Result<()> {
        let server = self.server()?;
        children_of(server)?.into_iter().try_for_each(|child| signal(child, Signal::CONT))?;
        signal(server, Signal::CONT)
    }

    /// Begins it if it was stopped, resumes it if it was paused.
    pub fn mend(&self) -> Result<()> {
        let server = self.kept().server;
        if server.is_some() { self.resume() } else { self.begin() }
    }

    fn ended_by(&self, signal: &str) -> Result<()> {
        let mut kept = self.kept();
        kept.server.take().context("the server does not run")?;
        kept.keeper.stop(signal)
    }

    fn server(&self) -> Result<u32> {
        self.kept().server.context("the server does not run")
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // A test that failed in between leaves nothing half done here.
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An empty folder that only the server's user can access.
pub(crate) fn folder(prefix: &str, user: Option<User>, in_memory: bool) -> Result<PathBuf> {
    let mut named = tempfile::Builder::new();
    named.prefix(prefix);
    let folder = match install::memory().filter(|_| in_memory) {
        Some(memory) => named.tempdir_in(memory)?,
        None => named.tempdir()?,
    };
    owned_by(user, folder.path())?;
    // Its keeper removes it.
    Ok(folder.keep())
}

/// Gives the file to the server's user.
pub(crate) fn owned_by(user: Option<User>, file: &Path) -> Result<()> {
    let Some(user) = user else { return Ok(()) };
    Ok(std::os::unix::fs::chown(file, Some(user.uid), Some(user.gid))?)
}

fn make(
    programs: &Path,
    user: Option<User>,
    folder: &Path,
    password: &str,
    options: &Options,
) -> Result<()> {
    let secret = folder.join("password");
    fs::write(&secret, password)?;
    owned_by(user, &secret)?;
    let initdb = |more: &[&str]| {
        let mut initdb = command_as(user, &programs.join("initdb"));
        initdb.current_dir(folder).args(["--pgdata=data", "--no-sync", "--encoding=UTF8"]);
        initdb.args(["--auth=scram-sha-256", "--pwfile=password", "--username", ADMINISTRATOR]);
        run(initdb.args(more))
    };
    // Text has a linguistic order, if the server supports it: statements that need the order of bytes
    // must say so.
    initdb(&["--locale=C", "--locale-provider=icu", "--icu-locale=en-US"])
        .or_else(|_| initdb(&["--locale=C"]))?;

    let theirs = options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let file = folder.join("data/postgresql.conf");
    let mut settings = fs::read_to_string(&file)?;
    for (name, value) in OURS.into_iter().chain(theirs) {
        writeln!(settings, "{name} = '{}'", value.replace('\'', "''"))?;
    }
    Ok(fs::write(&file, settings)?)
}

const OURS: [(&str, &str); 8] = [
    ("listen_addresses", "127.0.0.1"),
    ("unix_socket_directories", ""),
    ("max_connections", "300"),
    ("shared_buffers", "32MB"),
    ("timezone", "UTC"),
    ("log_line_prefix", "%m [%p] %u@%d "),
    // Space for the writes between two checkpoints, without filling a shared disk.
    ("max_wal_size", "256MB"),
    // A test's short life should not end in one long checkpoint.
    ("checkpoint_timeout", "1min"),
];

/// A keeper with a server that is ready, and the server's port.
fn start(programs: &Path, shell: Command, folder: &Path) -> Result<(Kept, u16)> {
    let (server, data) = (programs.join("postgres"), folder.join("data"));
    let keeper = Keeper::start(shell, folder, &[server.as_path(), Path::new("-D"), &data])?;
    let mut kept = Kept { keeper, server: None };
    for _ in 0..PORTS_TRIED {
        let (port, _) = port::listen()?;
        match begin(&mut kept, folder, port)? {
            Begun::Ready => return Ok((kept, port)),
            Begun::Ended if tail(folder).contains("Address already in use") => {}
            Begun::Ended => bail!("the server does not start:\n{}", tail(folder)),
        }
    }
    bail!("no free port for a server")
}

enum Begun {
    Ready,
    Ended,
}

fn begin(kept: &mut Kept, folder: &Path, port: u16) -> Result<Begun> {
    let server = kept.keeper.begin(port)?;
    kept.server = Some(server);
    let begun = wait_for("the server to begin", || {
        if matches!(state_of(server), None | Some('Z')) {
            return Ok(Some(Begun::Ended));
        }
        Ok(is_ready(server, folder).then_some(Begun::Ready))
    })?;
    if matches!(begun, Begun::Ended) {
        kept.server = None;
        kept.keeper.stop("TERM")?;
    }
    Ok(begun)
}

/// As `pg_ctl` finds out: the server writes its state into the eighth line of this file.
fn is_ready(server: u32, folder: &Path) -> bool {
    fs::read_to_string(folder.join("data/postmaster.pid")).is_ok_and(|lines| {
        let mut lines = lines.lines();
        lines.next() == Some(&server.to_string()) && lines.nth(6).map(str::trim) == Some("ready")
    })
}

/// The last lines of the log.
pub(crate) fn tail(folder: &Path) -> String {
    let log = fs::read_to_string(folder.join("server.log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

/// A process that has ended needs no signal.
pub(crate) fn signal(process: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw).context("a process id")?;
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("process {process}: no signal")),
    }
}

/// Its state and its parent, as /proc has them; nothing once it is gone.
fn stat(process: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // pid (name) state parent ...
    let mut fields = stat.rsplit(')').next()?.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

pub(crate) fn state_of(process: u32) -> Option<char> {
    stat(process).map(|(state, _)| state)
}

pub(crate) fn children_of(parent: u32) -> Result<Vec<u32>> {
    let processes =
        fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(processes.filter(|process| stat(*process).is_some_and(|(_, of)| of == parent)).collect())
}

pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look().with_context(|| format!("waiting for {what}"))? {
            return Ok(seen);
        }
        ensure!(Instant::now() < deadline, "it took too long: {what}");
        thread::sleep(LOOK_EVERY);
    }
}
