//! A deployment for clients: two servers, one with TLS, and the token of an administrator.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rehome_app::tokens::TokenHash;
use rehome_tests::process::{Process, wait_for};
use serde_json::Value;
use tempfile::TempDir;

const TOKEN: &str = "rehome_root_of_the_clients";

/// Servers that end with it.
pub(crate) struct Site {
    folder: TempDir,
    urls: Vec<(&'static str, String)>,
    servers: Vec<Process>,
}

/// The folder of a client.
pub(crate) fn client(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients").join(name)
}

impl Site {
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("rehome-clients-").tempdir()?;
        let token = TokenHash::of(TOKEN);
        let config = format!(
            "[control_plane]\nurl = \"sqlite:control.db\"\n\
             [[stores]]\nid = \"shared\"\nurl = \"sqlite:shared.db\"\ndefault = true\n\
             [[stores]]\nid = \"dedicated\"\nurl = \"sqlite:dedicated.db\"\n\
             [migration]\nlease_ttl_ms = 1000\nbatch_events = 200\nlag_events_max = 200\n\
             [[auth.tokens]]\nname = \"root\"\nrole = \"admin\"\nsha256 = \"{token}\"\n"
        );
        fs::write(folder.path().join("rehome.toml"), config)?;
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
        fs::write(folder.path().join("server.crt"), made.cert.pem())?;
        fs::write(folder.path().join("server.key"), made.signing_key.serialize_pem())?;
        let mut site = Self { folder, urls: Vec::new(), servers: Vec::new() };
        site.serve("REHOME_URL", &[])?;
        site.serve("REHOME_OTHER", &[])?;
        let tls =
            [("REHOME_SERVER_TLS_CERT", "server.crt"), ("REHOME_SERVER_TLS_KEY", "server.key")];
        site.serve("REHOME_TLS", &tls)?;
        Ok(site)
    }

    fn serve(&mut self, name: &'static str, set: &[(&str, &str)]) -> Result<()> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rehome-failpoints"));
        command.current_dir(self.folder.path()).args(["--json", "serve"]);
        command.env("REHOME_SERVER_BIND", "127.0.0.1:0").envs(set.iter().copied());
        let mut server = Process::start(command, self.folder.path(), name)?;
        let url = wait_for(name, || {
            ensure!(server.ended()?.is_none(), "it ended: {}", server.complained()?);
            let said = server.said()?;
            let line = said.lines().find(|line| line.contains("\"listening\""));
            let listening = line.map(serde_json::from_str::<Value>).transpose()?;
            Ok(listening.as_ref().and_then(|line| line["url"].as_str()).map(ToOwned::to_owned))
        })?;
        // The name in its certificate.
        self.urls.push((name, url.replace("https://127.0.0.1", "https://localhost")));
        self.servers.push(server);
        Ok(())
    }

    /// That of the server with TLS, who vouches for itself.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("server.crt")
    }

    /// Runs the tests of a client with the servers' addresses; they must pass.
    pub(crate) fn succeeds(self, mut tests: Command, name: &str) -> Result<()> {
        tests.envs(self.urls.iter().cloned()).env("REHOME_TOKEN", TOKEN);
        tests.env("REHOME_CA", self.certificate());
        let output = tests.output().with_context(|| format!("{name} cannot be started"))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        eprintln!("{said}");
        if !output.status.success() {
            let (kept, complaint) =
                (self.folder.keep(), String::from_utf8_lossy(&output.stderr).into_owned());
            anyhow::bail!(
                "{name} failed: {said}{complaint}\nwhat the servers said is in {}",
                kept.display()
            );
        }
        Ok(())
    }
}
