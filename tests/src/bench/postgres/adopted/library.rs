//! Compares the library's own migration of a tenant with ours: the same rows, the same two processes of the library's
//! writers, two servers each. Its programs are in `tests/adopted`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rehome_cluster::Database;
use rehome_domain::ids::TenantId;
use rehome_domain::migration::{Fact, Options};
use rehome_monitor::python::python;
use rehome_tests::process::{Process, wait_for};
use serde_json::Value;
use tokio::process::Command;
use uuid::Uuid;

use super::super::Servers;
use super::table;
use crate::Sizes;
use crate::harness::{DEDICATED, SHARED};
use crate::report::Line;

const PROCESSES: usize = 2;
const WRITERS: &str = "4";
/// Longest duration of the library's copy, and of its cutover, in seconds.
const DEADLINE: &str = "60";

/// The longest that a writer rests between two appends: with less the library's cutover finds a lag each time.
const THINK_MS: &str = "10";

/// The output of both migrations; a migration that did not finish has no number.
struct Moved {
    rows_per_second: Option<f64>,
    pause_ms: Option<f64>,
    lost: Option<f64>,
    ended: String,
}

/// A move by the library, and one by rehome. Without the library: nothing.
pub(in super::super) async fn beside(
    servers: &Servers,
    folder: &Path,
    sizes: &Sizes,
) -> Result<Vec<Line>> {
    if let Err(why) = python() {
        eprintln!("adopted_library: {why:#}");
        return Ok(Vec::new());
    }
    let rows = sizes.large / 30;
    let theirs = Place::new(servers, folder, "theirs", rows).await?.moved_by_the_library().await?;
    let ours = Place::new(servers, folder, "ours", rows).await?;
    let ours = Box::pin(ours.moved_by_rehome(servers)).await?;
    let what = format!("{rows} rows, {PROCESSES} processes of {WRITERS} writers");
    let line = |name: &str, moved: &Moved, seen: Option<f64>, unit| {
        seen.map(|seen| Line::seen(name, seen, unit, format!("{what}{}", moved.ended)))
    };
    let lines = [
        line("copy of rehome", &ours, ours.rows_per_second, " rows/s"),
        line("copy of the library", &theirs, theirs.rows_per_second, " rows/s"),
        line("pause at the cutover of rehome", &ours, ours.pause_ms, " ms"),
        line("pause at the cutover of the library", &theirs, theirs.pause_ms, " ms"),
        line("acknowledged and lost by rehome", &ours, ours.lost, ""),
        line("acknowledged and lost by the library", &theirs, theirs.lost, ""),
    ];
    Ok(lines.into_iter().flatten().collect())
}

/// Databases with the library's own schema.
struct Place {
    folder: PathBuf,
    shared: Database,
    dedicated: Database,
    routing: Database,
    tenant: Uuid,
}

impl Place {
    async fn new(servers: &Servers, folder: &Path, name: &str, rows: u64) -> Result<Self> {
        let folder = folder.join(name);
        std::fs::create_dir(&folder)?;
        let (shared, dedicated) = (servers.source.database()?, servers.target.database()?);
        let (routing, tenant) = (servers.source.database()?, Uuid::new_v4());
        let place = Self { folder, shared, dedicated, routing, tenant };
        place.python("schema.py", &[place.shared.url()]).await?;
        place.python("schema.py", &[place.dedicated.url()]).await?;
        place.python("schema.py", &[place.routing.url(), "--only-routing".to_owned()]).await?;
        table::fill(&place.shared, &[tenant, Uuid::new_v4()], rows).await?;
        Ok(place)
    }

    async fn moved_by_the_library(&self) -> Result<Moved> {
        let mut args = self.writing(0);
        let other = self.journal(1);
        args.extend(["--other-journal", &other, "--deadline", DEADLINE].map(str::to_owned));
        let (switched, said) = self.say("coordinator.py", &args).await?;
        let number = |name: &str| said[name].as_f64();
        let ended = if switched {
            format!(", {} cutovers refused before", said["refused_cutovers"])
        } else {
            format!(", not switched within {DEADLINE} s: {}", said["error"])
        };
        Ok(Moved {
            rows_per_second: number("copy_events_per_second"),
            pause_ms: number("pause_ms").filter(|_| switched),
            lost: number("acked_lost"),
            ended,
        })
    }

    async fn moved_by_rehome(&self, servers: &Servers) -> Result<Moved> {
        let stores = [(SHARED, &self.shared), (DEDICATED, &self.dedicated)];
        let site = super::open(servers, &self.folder, &stores, Some(&self.routing)).await?;
        let mut writers = Vec::new();
        for number in 0..PROCESSES {
            let mut command = std::process::Command::new(python()?);
            command.arg(program("writers.py")).args(self.writing(number));
            let name = format!("writers-{number}");
            let mut process = Process::start(command, &self.folder, &name)?;
            wait_for("writers that are ready", || {
                if let Some(status) = process.ended()? {
                    bail!("the writers ended with {status}: {}", process.complained()?);
                }
                Ok(process.said()?.contains("\"ready\"").then_some(()))
            })?;
            writers.push(process);
        }
        let options = Options { rollback_window_ms: 0, ..Options::default() };
        let moving = site.start(TenantId::new(self.tenant), DEDICATED, options, |_| false).await?;
        let id = moving.id;
        moving.done().await?;
        let copied = site.copy_seconds(id).await?;
        let log = site.log(id).await?;
        site.close().await;
        for process in &mut writers {
            process.terminate()?;
            process.succeeds()?;
        }
        let at = |wanted: fn(&Fact) -> bool| {
            log.iter().rfind(|entry| wanted(&entry.fact)).map(|entry| entry.at.micros())
        };
        let from = at(|fact| matches!(fact, Fact::CutoverStarted { .. })).context("no cutover")?;
        let to = at(|fact| matches!(fact, Fact::TargetActivated { .. })).context("not told")?;
        let events = log.iter().find_map(|entry| match entry.fact {
            Fact::CopyCompleted { events } => Some(events),
            _ => None,
        });
        Ok(Moved {
            rows_per_second: Some(events.context("no copy")? as f64 / copied),
            pause_ms: Some((to - from) as f64 / 1_000.0),
            lost: Some(self.lost().await?),
            ended: String::new(),
        })
    }

    /// Acknowledged events that are not at the target, by the checker.
    async fn lost(&self) -> Result<f64> {
        let mut args = vec!["--tenant".to_owned(), self.tenant.to_string()];
        args.extend(["--authority".to_owned(), self.dedicated.url()]);
        args.extend(["--other".to_owned(), self.shared.url()]);
        for number in 0..PROCESSES {
            args.extend(["--journal".to_owned(), self.journal(number)]);
        }
        // It complains of the rows that were there before the writers.
        let said = self.say("checker.py", &args).await?.1;
        said["lost"].as_f64().with_context(|| format!("the checker does not say: {said}"))
    }

    fn journal(&self, number: usize) -> String {
        self.folder.join(format!("journal-{number}")).display().to_string()
    }

    /// The arguments of the library's writers.
    fn writing(&self, number: usize) -> Vec<String> {
        let (shared, dedicated) = (self.shared.url(), self.dedicated.url());
        let pairs = [
            ("--routing", self.routing.url()),
            ("--store", format!("{SHARED}={shared}")),
            ("--store", format!("{DEDICATED}={dedicated}")),
            ("--tenant", self.tenant.to_string()),
            ("--seed", number.to_string()),
            ("--writers", WRITERS.to_owned()),
            ("--think-ms", THINK_MS.to_owned()),
            ("--journal", self.journal(number)),
        ];
        pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }

    /// Whether a program succeeded, and its last line.
    async fn say(&self, name: &str, args: &[String]) -> Result<(bool, Value)> {
        let mut command = Command::new(python()?);
        command.arg(program(name)).args(args).current_dir(&self.folder).kill_on_drop(true);
        let output = command.output().await?;
        let said = String::from_utf8_lossy(&output.stdout);
        let complained = || format!("{name}: {}", String::from_utf8_lossy(&output.stderr));
        let line = said.lines().next_back().with_context(complained)?;
        Ok((output.status.success(), serde_json::from_str(line).with_context(complained)?))
    }

    /// A program that has to succeed.
    async fn python(&self, name: &str, args: &[String]) -> Result<Value> {
        let (succeeded, said) = self.say(name, args).await?;
        anyhow::ensure!(succeeded, "{name} did not succeed: {said}");
        Ok(said)
    }
}

fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("adopted").join(name)
}
