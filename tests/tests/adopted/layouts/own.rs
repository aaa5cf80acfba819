//! A tenant moves from a table into rehome's own tables while writers in plain SQL insert into the table until it refuses them.
//! Then it is written through rehome, and moves on to a store of the other engine. The tables are read by the test's own SQL.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result, anyhow, ensure};
use rehome_cluster::Database;
use rehome_tests::process::wait_for;
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::tables::{shop, shop_in_a_file};
use super::writers::{Address, filled, until_refused};
use super::{LEVELS, On, TENANT};
use crate::harness;

#[test]
fn a_tenant_moves_from_a_table_in_a_file_into_own_tables_and_on_to_a_server() -> Result<()> {
    moves(Scene::new(On::File(shop_in_a_file()), [None, Some(database()?)])?)
}

#[test]
fn a_tenant_moves_from_a_table_on_a_server_into_own_tables_and_on_to_a_file() -> Result<()> {
    moves(Scene::new(On::server(shop())?, [Some(database()?), None])?)
}

#[test]
fn a_tenant_moves_from_a_table_in_a_file_into_own_tables_on_a_server() -> Result<()> {
    moves(Scene::new(On::File(shop_in_a_file()), [Some(database()?), Some(database()?)])?)
}

fn database() -> Result<Database> {
    rehome_cluster::shared().database()
}

fn moves(scene: Scene) -> Result<()> {
    let played = scene.play();
    played.map_err(|error| {
        error.context(format!("all of it is kept in {}", scene.folder.keep().display()))
    })
}

/// A store over a table, and two with rehome's own tables, each in a file or a database.
struct Scene {
    folder: TempDir,
    on: On,
    own: [Option<Database>; 2],
}

const HERE: &str = "here";
const OWN: [&str; 2] = ["own", "next"];
const STREAMS: std::ops::Range<u32> = 10..13;

/// The columns of the table that are copied, in the order of their names.
const COLUMNS: [&str; 10] =
    ["at", "body", "customer", "headers", "kind", "note", "order_no", "revision", "uid", "what"];

impl Scene {
    fn new(on: On, own: [Option<Database>; 2]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("rehome-own-").tempdir()?;
        let scene = Self { folder, on, own };
        fs::write(scene.path("shop.layout.toml"), &scene.on.table().layout)?;
        let url = match &scene.on {
            On::Server(table, database) => {
                let role = database.name();
                let grant = format!("GRANT ALL ON SCHEMA public TO {role}; SET ROLE {role}");
                rehome_cluster::shared().sql(role, &format!("{grant}; {}", table.tables))?;
                database.url()
            }
            On::File(table) => {
                let file = Connection::open(scene.path("here.db"))?;
                file.execute_batch(&format!("PRAGMA journal_mode = WAL; {}", table.tables))?;
                "sqlite:here.db".to_owned()
            }
        };
        let mut config = format!(
            "[control_plane]\nurl = \"sqlite:control.db\"\n[[stores]]\nid = \"here\"\nurl = \"{url}\"\n\
             layout = \"shop.layout.toml\"\ndefault = true\n"
        );
        for (name, database) in OWN.iter().zip(&scene.own) {
            let file = || format!("sqlite:{name}.db");
            let url = database.as_ref().map_or_else(file, Database::url);
            let _ = write!(config, "[[stores]]\nid = \"{name}\"\nurl = \"{url}\"\n");
        }
        let file = scene.path("rehome.toml");
        fs::write(&file, config)?;
        fs::set_permissions(file, fs::Permissions::from_mode(0o600))?;
        Ok(scene)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Result<String> {
        harness::run(self.folder.path(), args)
    }

    fn refused(&self, args: &[&str]) -> Result<String> {
        harness::refused(self.folder.path(), args)
    }

    fn json(&self, args: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(&self.run(&[args, &["--json"]].concat())?)?)
    }

    /// The lines of a query in a store; `{s}` is the schema of rehome's own tables.
    fn lines(&self, database: Option<&Database>, file: &str, sql: &str) -> Result<Vec<String>> {
        if let Some(database) = database {
            let sql = sql.replace("{s}", "rehome.");
            let said = rehome_cluster::shared().sql(database.name(), &sql)?;
            return Ok(said.lines().map(str::to_owned).collect());
        }
        let file = Connection::open(self.path(&format!("{file}.db")))?;
        let mut statement = file.prepare(&sql.replace("{s}", ""))?;
        let found = statement.query_map([], |row| row.get(0))?;
        Ok(found.collect::<Result<_, _>>()?)
    }

    fn insert(&self, stream: u32, event: u32) -> Result<()> {
        let insert = filled(&self.on.table().insert, stream, event);
        match &self.on {
            On::Server(_, database) => {
                rehome_cluster::shared().sql(database.name(), &insert).map(drop)
            }
            On::File(_) => Ok(Connection::open(self.path("here.db"))?.execute_batch(&insert)?),
        }
    }

    /// The tenant's rows in the table.
    fn table(&self) -> Result<BTreeSet<String>> {
        let database = match &self.on {
            On::Server(_, database) => Some(database),
            On::File(_) => None,
        };
        let rows = self.lines(database, HERE, &self.on.table().rows)?;
        Ok(rows.into_iter().collect())
    }

    /// The rows that an own store keeps, in the order of their events, each as the table's own SQL writes it, and the same parts
    /// of the event beside it.
    fn kept(&self, store: usize) -> Result<Vec<String>> {
        let database = self.own[store].as_ref();
        let text = if database.is_some() { "convert_from(record, 'UTF8')" } else { "record" };
        let records = format!("SELECT {text} FROM {{s}}event_rows ORDER BY position");
        let records = self.lines(database, OWN[store], &records)?;
        let events = self.events(store)?;
        let rows = records.iter().zip(&events).map(|(record, event)| {
            let values = columns(record).context("a record")?;
            ensure!(values.len() == COLUMNS.len(), "{record}");
            let row: BTreeMap<_, _> = COLUMNS.into_iter().zip(values).collect();
            let of = |name: &str| row[name].clone().unwrap_or_else(|| "NULL".to_owned());
            ensure!(of("customer") == TENANT, "{record}");
            let part =
                ["order_no", "kind", "revision", "what", "body", "headers"].map(of).join("|");
            ensure!(*event == part, "the event is {event}, and its row {part}");
            Ok([part, time(&of("at"))?, of("note"), of("uid")].join("|"))
        });
        rows.collect()
    }

    /// The events of an own store in their order, by its public view: the parts that the rows have too.
    fn events(&self, store: usize) -> Result<Vec<String>> {
        let sql = "SELECT stream_id || '|' || stream_type || '|' || version || '|' || event_type || '|' || data || '|' || metadata \
            FROM {s}history ORDER BY seq";
        self.lines(self.own[store].as_ref(), OWN[store], sql)
    }

    /// Each row of the table is kept once, as it is there, each stream in the order of its versions.
    fn has_all(&self, store: usize) -> Result<usize> {
        let kept = self.kept(store)?;
        let mut versions: BTreeMap<&str, u32> = BTreeMap::new();
        for row in &kept {
            let parts: Vec<&str> = row.split('|').collect();
            let version = versions.entry(parts[0]).or_default();
            *version += 1;
            ensure!(parts[2] == version.to_string(), "{row} is not the {version}. of its stream");
        }
        let count = kept.len();
        let kept: BTreeSet<String> = kept.into_iter().collect();
        ensure!(kept.len() == count, "a row is kept twice");
        let table = self.table()?;
        let differs = kept.symmetric_difference(&table).next();
        ensure!(differs.is_none(), "not as in the table: {differs:?}");
        Ok(count)
    }

    /// A migration that waits for an operator, in the phase of dual writes; and its process.
    fn begun(&self) -> Result<(String, std::process::Child)> {
        let start =
            ["migration", "start", "--tenant", TENANT, "--to", OWN[0], "--cutover", "manual"];
        let mut command = harness::command(self.folder.path(), "", &start);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let id = wait_for("dual_write", || {
            let list = self.json(&["migration", "list"])?;
            let last = list.as_array().and_then(|all| all.first());
            let last = last.filter(|last| last["state"] == "dual_write");
            Ok(last.and_then(|last| last["id"].as_str()).map(str::to_owned))
        })?;
        Ok((id, child))
    }

    fn plan(&self) -> Result<()> {
        let plan = self.run(&["plan", "--tenant", TENANT, "--to", OWN[0]])?;
        let plan = plan.split_whitespace().collect::<Vec<_>>().join(" ");
        for said in [
            "layout shop at the source, rehome's own at the target",
            "in the row only, and neither in the API nor in an export: \"note\"",
            "not copied, because it is of this table: \"id\"",
            "none: the tenant cannot return",
        ] {
            ensure!(plan.contains(said), "{said}: {plan}");
        }
        let start = ["migration", "start", "--tenant", TENANT, "--to", OWN[0]];
        let refused = self.refused(&[&start[..], &["--rollback-window", "1h"]].concat())?;
        ensure!(refused.contains("cannot return") && refused.contains("0s"), "{refused}");
        ensure!(self.json(&["migration", "list"])? == json!([]), "nothing was started");
        Ok(())
    }

    fn aborts(&self) -> Result<()> {
        let (id, mut child) = self.begun()?;
        let tune = ["migration", "tune", &id, "--rollback-window", "1h"];
        let refused = self.refused(&tune)?;
        ensure!(refused.contains("cannot return"), "{refused}");
        self.run(&["migration", "abort", &id, "--purge-target"])?;
        child.wait()?;
        ensure!(self.kept(0)?.is_empty() && self.events(0)?.is_empty(), "the copy is removed");
        let forms = self.lines(self.own[0].as_ref(), OWN[0], "SELECT 'x' FROM {s}row_forms")?;
        ensure!(forms.is_empty(), "with what it was of");
        Ok(())
    }

    /// Moves the tenant with a configured window, which such a move leaves out.
    fn moves(&self) -> Result<String> {
        let start = ["migration", "start", "--tenant", TENANT, "--to", OWN[0]];
        let mut command = harness::command(self.folder.path(), "", &start);
        let output = command.env("REHOME_MIGRATION_ROLLBACK_WINDOW", "1h").output()?;
        harness::said(&output)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(said.contains("the tenant cannot return afterwards"), "it said: {said}");
        let list = self.json(&["migration", "list"])?;
        ensure!(list[0]["state"] == "migrated", "{list}");
        let id = list[0]["id"].as_str().context("an id")?;
        let shown = self.run(&["migration", "show", id])?;
        ensure!(shown.contains("none: the tenant cannot return"), "{shown}");
        Ok(id.to_owned())
    }

    /// Appends through rehome; the versions go on after those of the table.
    fn appends(&self, id: &str, stream: u32, written: u32) -> Result<()> {
        let tenant = self.json(&["migration", "show", id])?["tenant_id"].clone();
        let mut lines = String::new();
        for version in written + 1..=written + 5 {
            let line = json!({
                "tenant_id": tenant, "stream_type": "Order", "stream_id": format!("o-{stream}"),
                "event_type": "Closed", "data": {"n": version}, "version": version,
            });
            let _ = writeln!(lines, "{line}");
        }
        let file = self.path("more.ndjson");
        fs::write(&file, lines)?;
        self.run(&["import", &file.display().to_string()]).map(drop)
    }

    fn play(&self) -> Result<()> {
        for (stream, event) in (1..=3).flat_map(|stream| (1..=40).map(move |event| (stream, event)))
        {
            self.insert(stream, event)?;
        }
        let history = self.table()?;
        self.run(&["store", "adopt", HERE])?;
        self.plan()?;
        let writers = Writers::start(self)?;
        self.aborts()?;
        writers.write(30)?;
        let id = self.moves()?;
        let acknowledged = writers.end()?;

        // Each acknowledged row and the history are kept, and nothing else is.
        let count = self.has_all(0)?;
        let table = self.table()?;
        ensure!(history.is_subset(&table), "a row of the history has changed");
        let event = |row: &String| row.split('|').take(3).collect::<Vec<_>>().join("|");
        let there: BTreeSet<String> = table.iter().map(event).collect();
        let all: BTreeSet<String> = (acknowledged.iter())
            .flat_map(|(stream, last)| (1..=*last).map(move |n| format!("o-{stream}|Order|{n}")))
            .collect();
        let missing: Vec<_> = all.difference(&there).collect();
        ensure!(missing.is_empty(), "acknowledged and not there: {missing:?}");
        ensure!(count == history.len() + all.len(), "{count} rows");
        for level in LEVELS {
            self.run(&["migration", "verify", &id, "--level", level])?;
        }
        let again = self.insert(1, 41);
        ensure!(again.is_err(), "the table accepts a row of a tenant that is elsewhere");

        // It is written through rehome, and moves on with its rows.
        let (stream, last) = acknowledged[0];
        self.appends(&id, stream, last)?;
        let events = self.events(0)?;
        ensure!(events.len() == count + 5 && self.has_all(0)? == count, "{} events", events.len());
        self.run(&["store", "verify", OWN[0]])?;
        let next = ["migration", "start", "--tenant", TENANT, "--to", OWN[1]];
        let moved = self.json(&[&next[..], &["--rollback-window", "0s"]].concat())?;
        ensure!(moved["state"] == "migrated", "{moved}");
        ensure!(self.events(1)? == events && self.kept(1)? == self.kept(0)?, "they differ");
        ensure!(self.has_all(1)? == count, "as they were in the table");
        self.run(&["store", "verify", OWN[1]])?;
        let back = self.refused(&["plan", "--tenant", TENANT, "--to", HERE])?;
        ensure!(back.contains("a table of another library, which writes it"), "{back}");
        self.run(&["tenant", "purge", TENANT, "--store", OWN[0]])?;
        ensure!(self.kept(0)?.is_empty() && self.events(0)?.is_empty(), "it was purged");
        Ok(())
    }
}

/// Writers that insert into the table until it refuses them.
struct Writers {
    written: Arc<AtomicU32>,
    threads: Vec<JoinHandle<Result<u32>>>,
}

impl Writers {
    fn start(scene: &Scene) -> Result<Self> {
        let written = Arc::<AtomicU32>::default();
        let threads = STREAMS.map(|stream| {
            let (written, at) =
                (Arc::clone(&written), Address::at(&scene.on, scene.path("here.db")));
            thread::spawn(move || until_refused(stream, &at, &written))
        });
        let writers = Self { threads: threads.collect(), written };
        writers.write(20)?;
        Ok(writers)
    }

    /// Waits until they have written so much more.
    fn write(&self, more: u32) -> Result<()> {
        let goal = self.written.load(Ordering::Relaxed) + more;
        wait_for("the writers", || {
            ensure!(!self.threads.iter().any(JoinHandle::is_finished), "a writer ended");
            Ok((self.written.load(Ordering::Relaxed) >= goal).then_some(()))
        })
    }

    /// How many rows each has written, once all were refused.
    fn end(self) -> Result<Vec<(u32, u32)>> {
        let ended = STREAMS.zip(self.threads).map(|(stream, thread)| {
            let written = thread.join().map_err(|_| anyhow!("a writer panicked"))??;
            Ok((stream, written))
        });
        ended.collect()
    }
}

/// The texts of a record as PostgreSQL writes it; `None`: it is none.
fn columns(record: &str) -> Option<Vec<Option<String>>> {
    let inner = record.strip_prefix('(')?.strip_suffix(')')?;
    let (mut all, mut text, mut quoted, mut given) = (Vec::new(), String::new(), false, false);
    let mut rest = inner.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '"' if quoted && rest.peek() == Some(&'"') => text.extend(rest.next()),
            '"' => (quoted, given) = (!quoted, true),
            '\\' => text.extend(rest.next()),
            ',' if !quoted => {
                all.push((given || !text.is_empty()).then(|| std::mem::take(&mut text)));
                given = false;
            }
            other => text.push(other),
        }
    }
    all.push((given || !text.is_empty()).then_some(text));
    Some(all)
}

/// A time as the table's own SQL writes it, from PostgreSQL's text in UTC.
fn time(text: &str) -> Result<String> {
    let utc = text.strip_suffix("+00").with_context(|| format!("not in UTC: {text}"))?;
    let (seconds, digits) = utc.split_once('.').unwrap_or((utc, ""));
    Ok(format!("{}.{digits:0<6}", seconds.replace(' ', "T")))
}
