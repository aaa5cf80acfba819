//! The programs of `tests/adopted`, with the real library.

use std::env;
use std::fs;
use std::iter;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use rehome_monitor::python::python;
use rehome_tests::process::{Process, wait_for};
use serde_json::Value;

use super::library::EVENTSOURCE_PY;
use super::{DEDICATED, SHARED, Site, last_line, said};

/// How many processes write.
const WRITERS: usize = 2;

impl Site {
    pub(crate) fn program(&self, name: &str, args: &[&str]) -> Result<Command> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("adopted");
        let mut command = Command::new(python()?);
        command.current_dir(self.path()).arg(folder.join(name)).args(args);
        // A library's own installation calls psql.
        let path = env::var_os("PATH").unwrap_or_default();
        let psql = self.middle().programs().to_owned();
        command.env("PATH", env::join_paths(iter::once(psql).chain(env::split_paths(&path)))?);
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
            "--library",
            self.library.name,
            "--routing",
            &routing,
            "--store",
            &shared,
            "--store",
            &dedicated,
            "--tenant",
            self.library.tenant,
            "--bystander",
            self.library.bystander,
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
            let tenant = format!("\"{}\"", self.library.tenant);
            let of_tenant = said.lines().filter(|line| line.contains(&tenant));
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
        let of = ["--library", self.library.name, "--tenant", self.library.tenant];
        let mut args = [&of[..], &["--authority", &authority, "--other", &other]].concat();
        if prefix {
            args.push("--prefix");
        }
        let journals = self.journals()?;
        let journals: Vec<_> = journals.iter().map(|path| path.display().to_string()).collect();
        args.extend(journals.iter().flat_map(|journal| ["--journal", journal]));
        self.python("checker.py", &args)
    }

    /// The library's own tests of its store pass, writing for the tenant: how many there are.
    pub(crate) fn suite(&self, store: &str) -> Result<u64> {
        let (url, tenant) = (self.database(store).url(), self.library.tenant);
        let report =
            self.python("store.py", &[self.library.name, "suite", &url, "--tenant", tenant])?;
        ensure!(report["ok"] == true, "{report}");
        report["passed"].as_u64().context("a number")
    }

    /// The library rebuilds all aggregates at a store; how many there are, and the hash of their states.
    pub(crate) fn fold(&self, store: &str) -> Result<(u64, String)> {
        let url = self.database(store).url();
        let tenant = ["--tenant", self.library.tenant];
        let folded = if self.library.name == EVENTSOURCE_PY.name {
            self.python("readers.py", &[&["fold", &url], &tenant[..]].concat())?
        } else {
            self.python("store.py", &[&[self.library.name, "fold", &url], &tenant[..]].concat())?
        };
        ensure!(folded["agree"] == true, "{folded}");
        let digest = folded["digest"].as_str().context("a digest")?.to_owned();
        Ok((folded["feed_events"].as_u64().context("a number")?, digest))
    }
}
