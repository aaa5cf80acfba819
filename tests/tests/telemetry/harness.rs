//! A deployment in a folder, whose processes write JSON lines and send spans.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rehome_tests::checker::{Migration, Place, Places, parse_hex};
use rehome_tests::history::{self, TENANT};
use rehome_tests::process::{Process, wait_for};
use serde_json::Value;
use tempfile::TempDir;

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

[telemetry]
log = "json"
span_sample_ratio = 1.0
"#;

/// A deployment with a tenant that has a history.
pub(crate) struct Site {
    folder: TempDir,
    telemetry: Vec<(&'static str, String)>,
    environment: Vec<(&'static str, String)>,
}

impl Site {
    /// `telemetry`: more keys of the configuration's section.
    pub(crate) fn new(telemetry: &[(&'static str, &str)]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("rehome-telemetry-").tempdir()?;
        let telemetry = telemetry.iter().map(|(key, text)| (*key, (*text).to_owned())).collect();
        let site = Self { folder, telemetry, environment: Vec::new() };
        let keys: Vec<_> =
            site.telemetry.iter().map(|(key, text)| format!("{key} = {text:?}\n")).collect();
        fs::write(site.path("rehome.toml"), format!("{CONFIG}{}", keys.concat()))?;
        fs::write(site.path("history.ndjson"), history::lines()?)?;
        let history = site.path("history.ndjson").display().to_string();
        site.spawn("import", "", &["import", "--store", "shared", &history])?.succeeds()?;
        Ok(site)
    }

    /// The same, with these variables for every process from here on.
    pub(crate) fn with(mut self, environment: &[(&'static str, String)]) -> Self {
        self.environment = environment.to_vec();
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command, to die or to stop at these failpoints.
    pub(crate) fn spawn(&self, name: &str, failpoints: &str, args: &[&str]) -> Result<Process> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rehome-failpoints"));
        // Without a rollback window a command, and the work of a server, ends with the switch.
        command.env("REHOME_MIGRATION_ROLLBACK_WINDOW", "0s");
        command.arg("--config").arg(self.path("rehome.toml")).args(["--log-level", "info"]);
        command.args(args).env("REHOME_FAILPOINT", failpoints);
        command.env("REHOME_SERVER_BIND", "127.0.0.1:0");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Process::start(command, self.folder.path(), name)
    }

    /// `migration start` to the other store.
    pub(crate) fn start(&self, name: &str, failpoints: &str, more: &[&str]) -> Result<Process> {
        let args = ["migration", "start", "--tenant", TENANT, "--to", "dedicated"];
        self.spawn(name, failpoints, &[&args, more].concat())
    }

    /// Writers in a process of their own.
    pub(crate) fn load(&self) -> Result<Process> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rehome-load"));
        command.arg("--config").arg(self.path("rehome.toml"));
        command.args(["--tenant", TENANT, "--record"]).arg(self.path("load.record"));
        command.args(["--writers", "2", "--rate", "100"]);
        let load = Process::start(command, self.folder.path(), "load")?;
        wait_for("writers", || Ok(load.said()?.contains("writing").then_some(())))?;
        Ok(load)
    }

    pub(crate) fn last(&self) -> Result<Option<Migration>> {
        let place = |name: &str| Place::Sqlite(self.path(&format!("{name}.db")));
        let stores = ["shared", "dedicated"].map(|name| (name.to_owned(), place(name)));
        let places = Places { control: place("control"), stores: stores.into_iter().collect() };
        Ok(places.control.migrations(parse_hex(TENANT)?)?.pop())
    }

    pub(crate) fn wait_for_phase(&self, phase: &str) -> Result<Migration> {
        wait_for(phase, || Ok(self.last()?.filter(|last| last.phase == phase)))
    }
}

/// The address that a server listens on.
pub(crate) fn address(server: &mut Process) -> Result<String> {
    wait_for("the server", || {
        let said = server.said()?;
        let line = said.lines().find(|line| line.contains("\"listening\""));
        let Some(line) = line else {
            ensure!(server.ended()?.is_none(), "it ended: {}", server.complained()?);
            return Ok(None);
        };
        let listening: Value = serde_json::from_str(line)?;
        Ok(listening["address"].as_str().map(str::to_owned))
    })
}

/// Appends one event through a server, as part of a caller's trace.
pub(crate) fn append(address: &str, traceparent: &str) -> Result<()> {
    let body = r#"{"expected_version":"any","events":[{"event_type":"Traced","data":{}}]}"#;
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(rehome_tests::process::PATIENCE))?;
    write!(
        stream,
        "POST /v1/tenants/{TENANT}/streams/trace/one/events HTTP/1.1\r\nHost: {address}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\ntraceparent: {traceparent}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    Ok(())
}

/// The lines of a process, each of which is a JSON object.
pub(crate) fn lines(process: &Process) -> Result<Vec<Value>> {
    let written = process.complained()?;
    let read = |line| serde_json::from_str(line).with_context(|| format!("not JSON: {line}"));
    written.lines().filter(|line| line.starts_with('{')).map(read).collect()
}

/// A page of the documentation.
pub(crate) fn page(name: &str) -> Result<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/monitoring").join(name);
    fs::read_to_string(&page).with_context(|| page.display().to_string())
}
