//! A deployment in a folder, and servers of it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rehome_tests::history::{self, TENANT};
use rehome_tests::process::{Process, wait_for};
use serde_json::Value;
use tempfile::TempDir;

/// A deployment, whose servers listen on ports that the system chooses.
pub(crate) struct Site {
    folder: TempDir,
}

impl Site {
    /// `config` is all of the configuration but where the servers listen.
    pub(crate) fn new(config: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("rehome-served-").tempdir()?;
        fs::write(folder.path().join("rehome.toml"), config)?;
        Ok(Self { folder })
    }

    /// The same, with the history of [`TENANT`] in a store.
    pub(crate) fn with_history(config: &str, store: &str) -> Result<Self> {
        let site = Self::new(config)?;
        fs::write(site.path("history.ndjson"), history::lines()?)?;
        let file = site.path("history.ndjson").display().to_string();
        let mut command = site.command("");
        command.args(["import", "--store", store, &file]);
        Process::start(command, site.folder(), "import")?.succeeds().context(TENANT)?;
        Ok(site)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    fn command(&self, failpoints: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rehome-failpoints"));
        // Without a rollback window a command, and the work of a server, ends with the switch.
        command.env("REHOME_MIGRATION_ROLLBACK_WINDOW", "0s");
        command.arg("--config").arg(self.path("rehome.toml")).arg("--json");
        command.env("REHOME_SERVER_BIND", "127.0.0.1:0").env("REHOME_FAILPOINT", failpoints);
        command
    }

    /// Starts the command with these arguments.
    pub(crate) fn command_of(&self, arguments: &[&str], name: &str) -> Result<Process> {
        let mut command = self.command("");
        command.args(arguments);
        Process::start(command, self.folder(), name)
    }

    /// A server that dies or stops at these failpoints, and where it listens.
    pub(crate) fn serve(&self, name: &str, failpoints: &str) -> Result<(Process, SocketAddr)> {
        self.listening(self.command(failpoints), name)
    }

    /// A server that listens there.
    pub(crate) fn serve_at(&self, name: &str, address: SocketAddr) -> Result<Process> {
        let mut command = self.command("");
        command.env("REHOME_SERVER_BIND", address.to_string());
        self.listening(command, name).map(|(server, _)| server)
    }

    fn listening(&self, mut command: Command, name: &str) -> Result<(Process, SocketAddr)> {
        command.arg("serve");
        let mut server = Process::start(command, self.folder(), name)?;
        let address = wait_for(name, || {
            ensure!(server.ended()?.is_none(), "it ended: {}", server.complained()?);
            let said = server.said()?;
            let line = said.lines().find(|line| line.contains("\"listening\""));
            let listening = line.map(serde_json::from_str::<Value>).transpose()?;
            let address = listening.as_ref().and_then(|line| line["address"].as_str());
            Ok(address.map(str::parse).transpose()?)
        })?;
        Ok((server, address))
    }

    /// Keeps the folder of a failed test, and prints its path.
    pub(crate) fn with<T>(self, play: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        let played = play(&self);
        played.map_err(|error| {
            let kept = self.folder.keep();
            error.context(format!("what the processes said is kept in {}", kept.display()))
        })
    }
}
