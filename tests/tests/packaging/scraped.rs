//! The exported configuration of Prometheus, with a token: the real Prometheus scrapes a server that takes tokens.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rehome_app::tokens::TokenHash;
use rehome_tests::process::{Process, wait_for};
use serde_json::Value;

const TOKEN: &str = "rehome_prometheus_of_the_tests";

#[test]
fn prometheus_scrapes_a_server_that_takes_tokens() -> Result<()> {
    let folder = tempfile::Builder::new().prefix("rehome-scraped-").tempdir()?;
    let hash = TokenHash::of(TOKEN);
    let config = format!(
        "[control_plane]\nurl = \"sqlite:control.db\"\n\
         [[stores]]\nid = \"shared\"\nurl = \"sqlite:shared.db\"\ndefault = true\n\
         [[auth.tokens]]\nname = \"prometheus\"\nrole = \"metrics\"\nsha256 = \"{hash}\"\n"
    );
    fs::write(folder.path().join("rehome.toml"), config)?;
    fs::write(folder.path().join("rehome.token"), TOKEN)?;
    let rehome = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rehome-failpoints"));
        command.current_dir(folder.path()).arg("--json");
        command.env("REHOME_SERVER_BIND", "127.0.0.1:0");
        command
    };
    let mut serve = rehome();
    serve.arg("serve");
    let mut server = Process::start(serve, folder.path(), "serve")?;
    let address = wait_for("the server", || {
        ensure!(server.ended()?.is_none(), "it ended: {}", server.complained()?);
        let said = server.said()?;
        let line = said.lines().find(|line| line.contains("\"listening\""));
        let listening = line.map(serde_json::from_str::<Value>).transpose()?;
        Ok(listening.and_then(|line| line["address"].as_str().map(ToOwned::to_owned)))
    })?;

    let exported = rehome()
        .args(["monitoring", "export", "watch", "--token-file", "rehome.token"])
        .output()?;
    ensure!(exported.status.success(), "{exported:?}");
    let file = folder.path().join("watch/prometheus.yml");
    let example = fs::read_to_string(&file)?;
    ensure!(example.contains("127.0.0.1:7411"), "another target");
    // Nothing but where it is, and how often a test can wait.
    let ours = example
        .replace("127.0.0.1:7411", &address)
        .replace("scrape_interval: 10s", "scrape_interval: 1s");
    fs::write(&file, ours)?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut prometheus = Command::new("prometheus");
    prometheus.current_dir(folder.path().join("watch")).args([
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=../data",
        &format!("--web.listen-address=127.0.0.1:{port}"),
    ]);
    let mut prometheus = Process::start(prometheus, folder.path(), "prometheus")?;
    let up = || -> Result<Option<String>> {
        let query = format!("http://127.0.0.1:{port}");
        let asked = Command::new("promtool")
            .args(["query", "instant", "--format=json", &query, "up{job=\"rehome\"}"])
            .output()
            .context("promtool is missing; `./x setup` installs it")?;
        let found: Value = serde_json::from_slice(&asked.stdout).unwrap_or_default();
        Ok(found[0]["value"][1].as_str().map(ToOwned::to_owned))
    };
    wait_for("a scrape", || {
        ensure!(prometheus.ended()?.is_none(), "it ended: {}", prometheus.complained()?);
        Ok(up()?.filter(|up| up == "1"))
    })?;
    // It is the token that lets it in.
    fs::write(folder.path().join("rehome.token"), "rehome_of_nobody")?;
    wait_for("a refusal", || Ok(up()?.filter(|up| up == "0")))?;
    prometheus.kill_if_it_runs()
}
