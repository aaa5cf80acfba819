//! A deployment in a folder, the command, and what its files hold.

use std::collections::BTreeMap;
use std::io::{BufRead as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rusqlite::types::ValueRef;
use serde_json::Value;
use uuid::Uuid;

/// Only a failing test gets there.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub const CONFIG: &str = r#"
[control_plane]
url = "sqlite:control.db"

[[stores]]
id = "shared"
url = "sqlite:shared.db"
default = true

[[stores]]
id = "dedicated"
url = "sqlite:dedicated.db"
"#;

/// A folder with a configuration of two stores.
pub struct Place {
    folder: tempfile::TempDir,
}

/// How a command ended.
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Place {
    pub fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        place.write("rehome.toml", CONFIG);
        place
    }

    /// The same with so many events of a tenant imported into `shared`.
    pub fn with_tenant(events: u64) -> (Self, Uuid) {
        let (place, tenant) = (Self::new(), Uuid::new_v4());
        place.write("events.ndjson", lines(tenant, 1..=events));
        place.rehome(["import", "--store", "shared", "events.ndjson"]).succeeds();
        (place, tenant)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    /// A file that its owner alone may read.
    pub fn write_private(&self, name: &str, content: impl AsRef<[u8]>) {
        let file = rehome_ports::private::options().write(true).create(true).open(self.path(name));
        file.unwrap().write_all(content.as_ref()).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub fn command<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rehome"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("REHOME_")) {
            command.env_remove(name);
        }
        // Without a rollback window a command, and the work of a server, ends with the switch.
        if self.path("rehome.toml").exists() {
            command.env("REHOME_MIGRATION_ROLLBACK_WINDOW", "0s");
        }
        command.current_dir(self.folder.path()).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the command to its end.
    pub fn rehome<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Ended {
        Running::start(self.command(args)).ends()
    }

    /// The same with something on its standard input.
    pub fn rehome_with_input<'a>(
        &self,
        args: impl IntoIterator<Item = &'a str>,
        input: &[u8],
    ) -> Ended {
        let mut command = self.command(args);
        command.stdin(Stdio::piped());
        let mut running = Running::start(command);
        let mut stdin = running.child.stdin.take().unwrap();
        // A command that refuses early does not read to the end.
        let _ = stdin.write_all(input);
        drop(stdin);
        running.ends()
    }

    /// Starts the command and leaves it running.
    pub fn spawn<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Running {
        Running::start(self.command(args))
    }

    /// The document that the command prints.
    pub fn json<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Value {
        let ended = self.rehome(args.into_iter().chain(["--json"]));
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        ended.document()
    }

    /// A tenant's history as the command exports it.
    pub fn history(&self, tenant: Uuid) -> String {
        self.rehome(["export", "--tenant", &tenant.to_string(), "-"]).succeeds()
    }

    /// The tenant's last migration, as soon as there is one.
    pub fn migration_of(&self, tenant: Uuid) -> String {
        wait_for("a migration", || {
            let found = self.json(["migration", "list", "--tenant", &tenant.to_string()]);
            found.get(0).map(|migration| migration["id"].as_str().unwrap().to_owned())
        })
    }

    /// Waits until a migration's document is as it should be; answers it.
    pub fn until(&self, id: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        wait_for(what, || Some(self.json(["migration", "show", id])).filter(|found| is_so(found)))
    }

    /// All rows of a database file, by table.
    pub fn rows(&self, name: &str) -> BTreeMap<String, Vec<String>> {
        let conn = self.sqlite(name);
        let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
        let mut tables = conn.prepare(tables).unwrap();
        let names: Vec<String> =
            tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        names.into_iter().map(|table| (table.clone(), table_rows(&conn, &table))).collect()
    }

    /// All that the deployment holds, but for leases, which come and go.
    pub fn state(&self) -> BTreeMap<String, BTreeMap<String, Vec<String>>> {
        let names = std::fs::read_dir(self.folder.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut state: BTreeMap<_, _> = names
            .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "db"))
            .map(|name| (name.clone(), self.rows(&name)))
            .collect();
        if let Some(control) = state.get_mut("control.db") {
            control.remove("leases");
        }
        state
    }

    /// The result of a `SELECT count(*)` in a database file.
    pub fn count(&self, name: &str, sql: &str) -> u64 {
        let count: i64 = self.sqlite(name).query_row(sql, [], |row| row.get(0)).unwrap();
        u64::try_from(count).unwrap()
    }

    /// Opens a file directly.
    pub fn sqlite(&self, name: &str) -> rusqlite::Connection {
        let conn = rusqlite::Connection::open(self.path(name)).unwrap();
        conn.busy_timeout(Duration::from_secs(5)).unwrap();
        conn
    }
}

fn table_rows(conn: &rusqlite::Connection, table: &str) -> Vec<String> {
    let mut rows = conn.prepare(&format!("SELECT * FROM {table}")).unwrap();
    let columns = rows.column_count();
    let mut rows: Vec<String> = rows
        .query_map([], |row| {
            let cells = (0..columns).map(|i| match row.get_ref(i).unwrap() {
                ValueRef::Null => "null".to_owned(),
                ValueRef::Integer(n) => n.to_string(),
                ValueRef::Real(n) => n.to_string(),
                ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                ValueRef::Blob(bytes) => format!("{bytes:02x?}"),
            });
            Ok(cells.collect::<Vec<_>>().join(" | "))
        })
        .unwrap()
        .map(Result::unwrap)
        .collect();
    rows.sort();
    rows
}

impl Ended {
    fn new(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self {
            // Killed by a signal: no code.
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// What it printed; it must have succeeded.
    #[track_caller]
    pub fn succeeds(self) -> String {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stdout
    }

    /// Its error output; it must have ended with this code.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stderr
    }

    /// The error document; it must have ended with this code.
    #[track_caller]
    pub fn error(self, code: i32) -> Value {
        let stderr = self.fails(code);
        let last = stderr.lines().last().unwrap_or_default();
        let document: Value = serde_json::from_str(last).unwrap_or_else(|_| panic!("{stderr}"));
        assert_eq!(document["error"]["exit_code"], code);
        document["error"].clone()
    }

    /// The document on stdout.
    #[track_caller]
    pub fn document(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

/// A running command; killed if a test does not end it.
pub struct Running {
    child: Child,
    stdout: Option<std::thread::JoinHandle<Vec<u8>>>,
    stderr: Option<std::thread::JoinHandle<Vec<u8>>>,
}

impl Running {
    /// Starts the command.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stdout = drain(child.stdout.take());
        let stderr = drain(child.stderr.take());
        Self { child, stdout, stderr }
    }

    /// Waits for its end.
    #[track_caller]
    pub fn ends(mut self) -> Ended {
        let status = wait_for("the end of the command", || self.child.try_wait().unwrap());
        let text =
            |thread: Option<std::thread::JoinHandle<Vec<u8>>>| thread.unwrap().join().unwrap();
        let (stdout, stderr) = (text(self.stdout.take()), text(self.stderr.take()));
        Ended::new(&Output { status, stdout, stderr })
    }

    /// Starts a command and waits for its first line on stdout; answers both.
    #[track_caller]
    pub fn announced(command: Command) -> (Self, String) {
        Self::announced_with(command, "")
    }

    /// The same for the first line on stdout that has this text.
    #[track_caller]
    pub fn announced_with(mut command: Command, text: &'static str) -> (Self, String) {
        let mut child = command.spawn().unwrap();
        let (stdout, line) = first_line(child.stdout.take().unwrap(), text);
        let stderr = drain(child.stderr.take());
        let this = Self { child, stdout: Some(stdout), stderr };
        (this, line.recv_timeout(DEADLINE).unwrap())
    }

    /// The same of stderr.
    #[track_caller]
    pub fn announced_on_stderr(mut command: Command) -> (Self, String) {
        let mut child = command.spawn().unwrap();
        let stdout = drain(child.stdout.take());
        let (stderr, line) = first_line(child.stderr.take().unwrap(), "");
        let this = Self { child, stdout, stderr: Some(stderr) };
        (this, line.recv_timeout(DEADLINE).unwrap())
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Kills it as a loss of power would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends it a signal by its name.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn drain(
    from: Option<impl std::io::Read + Send + 'static>,
) -> Option<std::thread::JoinHandle<Vec<u8>>> {
    let mut from = from?;
    Some(std::thread::spawn(move || {
        let mut all = Vec::new();
        let _ = from.read_to_end(&mut all);
        all
    }))
}

/// The first line of an output that has this text, as soon as it is there; the thread answers the
/// whole output.
fn first_line(
    from: impl std::io::Read + Send + 'static,
    text: &'static str,
) -> (std::thread::JoinHandle<Vec<u8>>, std::sync::mpsc::Receiver<String>) {
    let (send, line) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let mut from = std::io::BufReader::new(from);
        let mut all = Vec::new();
        let mut began = 0;
        while from.read_until(b'\n', &mut all).is_ok_and(|bytes| bytes > 0) {
            let line = String::from_utf8_lossy(&all[began..]);
            if line.contains(text) {
                let _ = send.send(line.into_owned());
                break;
            }
            began = all.len();
        }
        let _ = from.read_to_end(&mut all);
        all
    });
    (thread, line)
}

/// Repeats until there is a result, for at most [`DEADLINE`].
#[track_caller]
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(since.elapsed() < DEADLINE, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Event `n` of a tenant, the same every time.
pub fn event_id(tenant: Uuid, n: u64) -> Uuid {
    Uuid::from_u128(tenant.as_u128().rotate_left(40) ^ u128::from(n))
}

/// One line; event `n` is in stream `n % 7`.
pub fn line(tenant: Uuid, n: u64) -> String {
    format!(
        "{{\"tenant_id\":\"{tenant}\",\"stream_type\":\"order\",\"stream_id\":\"o-{}\",\
         \"event_id\":\"{}\",\"event_type\":\"OrderChanged\",\
         \"occurred_at\":\"2024-06-15T10:30:00.{:06}+02:00\",\"data\":{{ \"n\":{n}}},\
         \"metadata\":{{}}}}",
        n % 7,
        event_id(tenant, n),
        n % 1_000_000
    )
}

pub fn lines(tenant: Uuid, numbers: impl IntoIterator<Item = u64>) -> String {
    numbers.into_iter().map(|n| line(tenant, n) + "\n").collect()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn gunzip(bytes: &[u8]) -> String {
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_string(&mut text).unwrap();
    text
}

/// The text of a line behind `"data":`, to the end of `metadata`, verbatim.
pub fn payload(line: &str) -> &str {
    let from = line.find("\"data\":").unwrap();
    let to = line.find(",\"recorded_at\":").unwrap_or(line.trim_end().len() - 1);
    &line[from..to]
}
