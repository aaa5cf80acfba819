//! The Debian package, in a folder that is a root to dpkg: its scripts run with `DPKG_ROOT`, and what it installed is
//! started as the unit starts it. There is no systemd in it, so enabling and stopping the unit are not seen here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rehome_tests::process::{Process, wait_for};
use serde_json::Value;
use tempfile::TempDir;

use crate::examples::packaging;

struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("rehome-deb-").tempdir()?;
        for part in ["root/var/lib/dpkg/updates", "root/var/lib/dpkg/info", "root/etc", "root/tmp"]
        {
            fs::create_dir_all(folder.path().join(part))?;
        }
        fs::write(folder.path().join("root/var/lib/dpkg/status"), "")?;
        Ok(Self { folder })
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn has(&self, file: &str) -> bool {
        self.root().join(file).exists()
    }

    /// The package of this version, with the command of a build for tests in it.
    fn package(&self, version: &str) -> Result<PathBuf> {
        let binary = self.folder.path().join("rehome");
        let mut strip = Command::new("strip");
        succeeds(strip.arg("-o").arg(&binary).arg(env!("CARGO_BIN_EXE_rehome-failpoints")))?;
        let mut build = Command::new("sh");
        build.arg(packaging("deb/build.sh")).arg(&binary).arg(version).arg(self.folder.path());
        // It is not distributed.
        build.env("COMPRESSION", "none");
        Ok(PathBuf::from(succeeds(&mut build)?.trim()))
    }

    /// dpkg on this root, as its owner: in a user namespace where we are not root.
    fn dpkg(&self, arguments: &[&str]) -> Result<String> {
        let is_root = succeeds(Command::new("id").arg("-u"))?.trim() == "0";
        let mut dpkg = Command::new(if is_root { "dpkg" } else { "unshare" });
        if !is_root {
            dpkg.args(["--map-root-user", "dpkg"]);
        }
        dpkg.arg(format!("--root={}", self.root().display()));
        // What it depends on is on the real machine.
        dpkg.args([
            "--force-script-chrootless",
            "--force-depends",
            "--force-not-root",
            "--force-confold",
        ]);
        dpkg.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        succeeds(dpkg.args(arguments))
    }

    /// Starts what the unit starts, with its files in this root, and has it answer; it ends as systemd ends it.
    fn serves(&self, name: &str, migrations: u64) -> Result<()> {
        let unit = fs::read_to_string(self.root().join("usr/lib/systemd/system/rehome.service"))?;
        let started = unit.lines().find_map(|line| line.strip_prefix("ExecStart="));
        let words: Vec<_> = started.context("no ExecStart")?.split(' ').collect();
        ensure!(
            words == ["/usr/bin/rehome", "serve", "--config", "/etc/rehome/rehome.toml"],
            "{words:?}"
        );
        let state = self.root().join("var/lib/rehome");
        fs::create_dir_all(&state)?;
        let mut server = self.command(&["serve"]);
        server.env("REHOME_SERVER_BIND", "127.0.0.1:0");
        let mut server = Process::start(server, self.folder.path(), name)?;
        let url = wait_for(name, || {
            ensure!(server.ended()?.is_none(), "it ended: {}", server.complained()?);
            let said = server.said()?;
            let line = said.lines().find(|line| line.contains("\"listening\""));
            let listening = line.map(serde_json::from_str::<Value>).transpose()?;
            Ok(listening.and_then(|line| line["url"].as_str().map(ToOwned::to_owned)))
        })?;
        let list = succeeds(self.command(&["migration", "list"]).args(["--server", &url]))?;
        let list: Value = serde_json::from_str(&list)?;
        ensure!(list.as_array().map(Vec::len) == usize::try_from(migrations).ok(), "{list}");
        server.terminate()?;
        server.succeeds()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let (root, state) = (self.root(), self.root().join("var/lib/rehome"));
        let mut command = Command::new(root.join("usr/bin/rehome"));
        command
            .arg("--json")
            .arg("--config")
            .arg(root.join("etc/rehome/rehome.toml"))
            .args(arguments);
        for (key, file) in [
            ("CONTROL_PLANE", "control"),
            ("STORES_SHARED", "shared"),
            ("STORES_DEDICATED", "dedicated"),
        ] {
            let url = format!("sqlite:{}/{file}.db", state.display());
            command.env(format!("REHOME_{key}_URL"), url);
        }
        command
    }
}

pub(crate) fn succeeds(command: &mut Command) -> Result<String> {
    let name = format!("{command:?}");
    let output = command.output().with_context(|| name.clone())?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{name}: {said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(said)
}

#[test]
fn the_package_is_installed_used_upgraded_and_removed() -> Result<()> {
    let machine = Machine::new()?;
    let package = machine.package("0.1.0~test1")?;
    machine.dpkg(&["--install", &package.display().to_string()])?;
    for file in [
        "usr/bin/rehome",
        "usr/lib/systemd/system/rehome.service",
        "usr/share/man/man1/rehome.1.gz",
        "usr/share/man/man1/rehome-migration-start.1.gz",
        "usr/share/bash-completion/completions/rehome",
        "usr/share/zsh/vendor-completions/_rehome",
        "usr/share/fish/vendor_completions.d/rehome.fish",
        "usr/share/doc/rehome/copyright",
    ] {
        ensure!(machine.has(file), "{file} is missing");
    }
    let users = fs::read_to_string(machine.root().join("etc/passwd"))?;
    ensure!(users.lines().any(|line| line.starts_with("rehome:")), "no user: {users}");
    verified(&machine.root())?;
    machine.serves("first", 0)?;

    // What a tenant has, and what an administrator wrote, outlive the package.
    let config = machine.root().join("etc/rehome/rehome.toml");
    let written = fs::read_to_string(&config)? + "# the administrator's\n";
    fs::write(&config, &written)?;
    succeeds(machine.command(&["import", "--store", "shared"]).arg(history(&machine)?))?;
    let start =
        ["migration", "start", "--tenant", TENANT, "--to", "dedicated", "--rollback-window", "0s"];
    succeeds(&mut machine.command(&start))?;

    let newer = machine.package("0.1.0~test2")?;
    machine.dpkg(&["--install", &newer.display().to_string()])?;
    let version = machine.dpkg(&["--status", "rehome"])?;
    ensure!(version.contains("Version: 0.1.0~test2"), "{version}");
    ensure!(fs::read_to_string(&config)? == written, "the configuration was written over");
    machine.serves("second", 1)?;

    machine.dpkg(&["--remove", "rehome"])?;
    ensure!(
        !machine.has("usr/bin/rehome") && !machine.has("usr/share/man/man1/rehome.1.gz"),
        "it is left"
    );
    ensure!(machine.has("etc/rehome/rehome.toml"), "the configuration went with the package");
    let said = machine.dpkg(&["--purge", "rehome"])?;
    ensure!(said.contains("/var/lib/rehome"), "it is not said that the events are left: {said}");
    ensure!(!machine.has("etc/rehome/rehome.toml"), "the configuration is left");
    ensure!(machine.has("var/lib/rehome/dedicated.db"), "the events went with the package");
    Ok(())
}

const TENANT: &str = "824a8fcf-0c14-513f-bd3a-4c35d1078706";

fn history(machine: &Machine) -> Result<PathBuf> {
    let file = machine.folder.path().join("history.ndjson");
    let line = |n: u32| {
        format!(
            "{{\"tenant_id\":\"{TENANT}\",\"stream_type\":\"order\",\"stream_id\":\"o-1\",\
             \"event_id\":\"10000000-0000-4000-8000-{n:012}\",\"event_type\":\"Placed\",\
             \"occurred_at\":\"2024-06-15T10:30:00Z\",\"data\":{{}},\"metadata\":{{}}}}\n"
        )
    };
    fs::write(&file, (1..=10).map(line).collect::<String>())?;
    Ok(file)
}

/// systemd reads the unit with what the package adds to it, where there is a systemd.
fn verified(root: &Path) -> Result<()> {
    let mut verify = Command::new("systemd-analyze");
    // Before the units of this machine.
    verify.env("SYSTEMD_UNIT_PATH", format!("{}:", root.join("usr/lib/systemd/system").display()));
    let Ok(verified) = verify.args(["verify", "rehome.service"]).output() else {
        eprintln!("no systemd-analyze here: the unit was not looked at");
        return Ok(());
    };
    let said = String::from_utf8_lossy(&verified.stderr);
    // The program is where the package puts it, which need not be on this machine.
    let wrong = said.lines().filter(|line| line.contains("rehome.service"));
    let wrong: Vec<_> = wrong.filter(|line| !line.contains("/usr/bin/rehome")).collect();
    ensure!(wrong.is_empty(), "{wrong:?}");
    Ok(())
}
