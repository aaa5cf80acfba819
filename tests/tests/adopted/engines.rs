//! A tenant of eventsource-py moves between a file of SQLite and a database of PostgreSQL while that library writes to
//! whichever takes it. Rows are compared by the test's own SQL, and by what the library returns.

use std::collections::{BTreeMap, HashSet};
use std::env;
use std::fs::{self, File};
use std::io::copy;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use flate2::read::GzDecoder;
use rehome_cluster::{Cluster, Database, Options};
use rehome_monitor::python::python;
use rehome_tests::process::{Process, wait_for};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{self, TENANT, end, last_line};

const FILE: &str = "file";
const SERVER: &str = "server";
const BYSTANDER: &str = "7a000000-0000-4000-8000-000000000002";

/// A file with the library's tables, a database with them, and a deployment over both.
struct Pair {
    folder: TempDir,
    cluster: Cluster,
    database: Database,
}

/// Rows by event id: every column but the position and the transaction.
type Rows = BTreeMap<String, Value>;

impl Pair {
    /// `fill` makes the file.
    fn new(fill: impl FnOnce(&Self, &Path) -> Result<()>) -> Result<Self> {
        let cluster = Cluster::start(&Options::default().in_memory())?;
        let database = cluster.database()?;
        let folder = tempfile::Builder::new().prefix("rehome-engines-").tempdir()?;
        let pair = Self { folder, cluster, database };
        fill(&pair, &pair.file())?;
        pair.python("schema.py", &[&pair.database.url()])?;
        let config = format!(
            "[control_plane]\nurl = \"sqlite:control.db\"\n\n\
             [[stores]]\nid = \"file\"\nurl = \"sqlite:app.db\"\nlayout = \"eventsource-py\"\ndefault = true\n\n\
             [[stores]]\nid = \"server\"\nurl = \"{}\"\nlayout = \"eventsource-py\"\n\n\
             [[stores]]\nid = \"own\"\nurl = \"sqlite:own.db\"\n",
            pair.database.url()
        );
        let path = pair.folder.path().join("rehome.toml");
        fs::write(&path, config)?;
        // There is a password in it.
        let mut private = fs::metadata(&path)?.permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut private, 0o600);
        fs::set_permissions(&path, private)?;
        Ok(pair)
    }

    /// Filled by the library.
    fn of_the_library() -> Result<Self> {
        Self::new(|pair, file| {
            let file = file.display().to_string();
            let tenants = ["--tenant", TENANT, "--tenant", BYSTANDER];
            pair.python("engines.py", &[&["make", &file], &tenants[..]].concat()).map(drop)
        })
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("app.db")
    }

    /// As the library opens a store.
    fn place(&self, store: &str) -> String {
        if store == FILE { self.file().display().to_string() } else { self.database.url() }
    }

    fn program(&self, name: &str, args: &[&str]) -> Result<Command> {
        let mut command = Command::new(python()?);
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("adopted").join(name);
        command.current_dir(self.folder.path()).arg(program).args(args);
        Ok(command)
    }

    fn python(&self, name: &str, args: &[&str]) -> Result<Value> {
        last_line(&harness::said(&self.program(name, args)?.output()?)?)
    }

    fn run(&self, args: &[&str]) -> Result<String> {
        harness::run(self.folder.path(), args)
    }

    fn json(&self, args: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(&self.run(&[args, &["--json"]].concat())?)?)
    }

    fn adopt(&self) -> Result<()> {
        for store in [FILE, SERVER] {
            self.run(&["store", "adopt", store])?;
        }
        Ok(())
    }

    /// Moves a tenant; answers the migration's id.
    fn move_to(&self, tenant: &str, to: &str, window: &str) -> Result<String> {
        let start = ["migration", "start", "--tenant", tenant, "--to", to];
        let moved = self.json(&[&start[..], &["--rollback-window", window]].concat())?;
        ensure!(moved["state"] == "migrated", "{moved}");
        Ok(moved["id"].as_str().context("an id")?.to_owned())
    }

    /// What the library returns of a tenant at a store.
    fn reads(&self, tenant: &str, store: &str) -> Result<Value> {
        self.python("engines.py", &["read", &self.place(store), "--tenant", tenant])
    }

    /// A process that writes to whichever store takes the tenant.
    fn writer(&self, tenant: &str, number: usize) -> Result<Process> {
        let journal = self.journal(number).display().to_string();
        let (file, server, seed) = (self.place(FILE), self.place(SERVER), number.to_string());
        let args =
            ["write", &file, &server, "--tenant", tenant, "--seed", &seed, "--journal", &journal];
        let name = format!("writer-{number}");
        let writer = Process::start(self.program("engines.py", &args)?, self.folder.path(), &name)?;
        wait_for("a writer that is ready", || {
            Ok(writer.said()?.contains("\"ready\"").then_some(()))
        })?;
        Ok(writer)
    }

    fn journal(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("journal-{number}"))
    }

    /// The acknowledged events, with the place of the store that took each.
    fn acknowledged(&self) -> Result<Vec<(String, u64)>> {
        let mut all = Vec::new();
        for number in WRITERS {
            let said = fs::read_to_string(self.journal(number)).unwrap_or_default();
            for line in said.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
                let line: Value = serde_json::from_str(line)?;
                let id = line["id"].as_str().context("an id")?;
                all.push((id.to_owned(), line["at"].as_u64().context("a place")?));
            }
        }
        Ok(all)
    }

    /// Waits until so many more events were acknowledged at a store.
    fn writes(&self, more: usize, store: &str) -> Result<()> {
        let place = u64::from(store != FILE);
        let at = || {
            Ok::<_, anyhow::Error>(self.acknowledged()?.iter().filter(|it| it.1 == place).count())
        };
        let goal = at()? + more;
        wait_for("the library's writers", || Ok((at()? >= goal).then_some(())))
    }

    fn rows(&self, tenant: &str, store: &str) -> Result<Rows> {
        let rows =
            if store == FILE { self.rows_of_file(tenant)? } else { self.rows_of_server(tenant)? };
        let count = rows.len();
        let id = |row: Value| (row[0].as_str().unwrap_or_default().to_owned(), row);
        let rows: Rows = rows.into_iter().map(id).collect();
        ensure!(rows.len() == count, "{store} has an event twice");
        Ok(rows)
    }

    fn rows_of_file(&self, tenant: &str) -> Result<Vec<Value>> {
        let conn = Connection::open(self.file())?;
        let mut statement = conn.prepare(
            "SELECT event_id, aggregate_id, aggregate_type, event_type, tenant_id, actor_id, version, timestamp, \
             created_at, payload FROM events WHERE tenant_id = ?1 AND typeof(version) = 'integer'",
        )?;
        let rows = statement.query_map([tenant], |row| {
            let text = |n: usize| row.get::<_, Option<String>>(n);
            let texts = (0..6).map(text).collect::<rusqlite::Result<Vec<_>>>()?;
            Ok((texts, row.get::<_, i64>(6)?, [text(7)?, text(8)?], text(9)?))
        })?;
        let mut found = Vec::new();
        for row in rows {
            let (texts, version, times, payload) = row?;
            let mut row: Vec<Value> = texts.into_iter().map(Value::from).collect();
            row.push(version.into());
            for time in times {
                let time = time.context("a time")?;
                let utc = time.strip_suffix("+00:00").context("a time in UTC")?;
                let is_whole = !utc.contains('.');
                row.push(format!("{utc}{}", if is_whole { ".000000" } else { "" }).into());
            }
            row.push(serde_json::from_str(&payload.context("a payload")?)?);
            found.push(row.into());
        }
        Ok(found)
    }

    fn rows_of_server(&self, tenant: &str) -> Result<Vec<Value>> {
        let time = |name: &str| {
            format!("to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US')")
        };
        let sql = format!(
            "SELECT json_build_array(event_id, aggregate_id, aggregate_type, event_type, tenant_id, actor_id, version, \
             {}, {}, payload) FROM events WHERE tenant_id = '{tenant}'",
            time("timestamp"),
            time("created_at")
        );
        let said = self.cluster.sql(self.database.name(), &sql)?;
        said.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }
}

const WRITERS: [usize; 2] = [1, 2];

fn play(pair: Pair, scenario: impl FnOnce(&Pair) -> Result<()>) -> Result<()> {
    let played = scenario(&pair);
    played.map_err(|error| {
        error.context(format!("all of it is kept in {}", pair.folder.keep().display()))
    })
}

#[test]
fn a_tenant_moves_from_a_file_to_postgresql_and_back_under_the_librarys_writers() -> Result<()> {
    play(Pair::of_the_library()?, |pair| moves_there_and_back(pair, TENANT, true))
}

/// A genuine file of the library, where it is there: nine tenants, of which the largest moves.
#[test]
fn the_largest_tenant_of_a_genuine_file_moves_to_postgresql_and_back() -> Result<()> {
    const NAME: &str = "eventsource-py.sqlite.gz";
    let Some(path) = shared_data(NAME) else {
        eprintln!("skipped: {NAME} is not on this machine");
        return Ok(());
    };
    let pair = Pair::new(|_, file| {
        copy(&mut GzDecoder::new(File::open(path)?), &mut File::create(file)?)?;
        Ok(())
    })?;
    let largest = "SELECT tenant_id FROM events GROUP BY 1 ORDER BY count(*) DESC LIMIT 1";
    let tenant: String = Connection::open(pair.file())?.query_row(largest, [], |row| row.get(0))?;
    play(pair, |pair| moves_there_and_back(pair, &tenant, false))
}

/// There, back from nothing, and there again: each acknowledged event is there once, and every row from before is what it
/// was, in every column. With `returns`, also back within the window, and compared at every level.
fn moves_there_and_back(pair: &Pair, tenant: &str, returns: bool) -> Result<()> {
    let history = pair.rows(tenant, FILE)?;
    let returned = pair.reads(tenant, FILE)?;
    ensure!(returned["events"].as_u64() == Some(history.len() as u64), "{returned}");
    pair.adopt()?;
    let plan = pair.run(&["plan", "--tenant", tenant, "--to", SERVER])?;
    ensure!(plan.contains("every column arrives"), "{plan}");

    let writers = WRITERS.map(|number| pair.writer(tenant, number));
    let writers = writers.into_iter().collect::<Result<Vec<_>>>()?;
    pair.writes(20, FILE)?;
    let verified = |id: &str| -> Result<()> {
        for level in ["count", "hash", "full"].into_iter().filter(|_| returns) {
            pair.run(&["migration", "verify", id, "--level", level])?;
        }
        Ok(())
    };
    if returns {
        let there = pair.move_to(tenant, SERVER, "1h")?;
        pair.writes(20, SERVER)?;
        verified(&there)?;
        let back = pair.json(&["migration", "return", &there])?;
        ensure!(back["state"] == "migrated", "{back}");
        pair.writes(20, FILE)?;
    }
    pair.move_to(tenant, SERVER, "0s")?;
    pair.writes(20, SERVER)?;
    // From here on the file has nothing of the tenant: all of it comes from PostgreSQL.
    pair.run(&["tenant", "purge", tenant, "--store", FILE])?;
    ensure!(pair.rows(tenant, FILE)?.is_empty(), "the file was purged");
    let last = pair.move_to(tenant, FILE, "1h")?;
    pair.writes(20, FILE)?;
    end(writers)?;
    verified(&last)?;
    pair.run(&["store", "verify", FILE])?;

    let now = pair.rows(tenant, FILE)?;
    let acknowledged = pair.acknowledged()?;
    let ids: HashSet<&String> = acknowledged.iter().map(|(id, _)| id).collect();
    ensure!(ids.len() == acknowledged.len(), "an event was acknowledged twice");
    ensure!(
        now.len() == history.len() + ids.len(),
        "{} and {} of {}",
        history.len(),
        ids.len(),
        now.len()
    );
    ensure!(ids.iter().all(|id| now.contains_key(*id)), "an acknowledged event is missing");
    for (id, row) in &history {
        ensure!(now.get(id) == Some(row), "{row} became {:?}", now.get(id));
    }

    // Without a writer: the library returns at the other engine what it returned here.
    let returned = pair.reads(tenant, FILE)?;
    pair.move_to(tenant, SERVER, "0s")?;
    ensure!(pair.rows(tenant, SERVER)? == now, "the rows differ");
    ensure!(pair.reads(tenant, SERVER)? == returned, "the library reads other events");
    Ok(())
}

/// What PostgreSQL would not keep is named before anything moves, by its column, and nothing is changed.
#[test]
fn a_value_that_postgresql_would_change_is_named_and_the_tenant_stays() -> Result<()> {
    play(Pair::of_the_library()?, |pair| {
        let conn = Connection::open(pair.file())?;
        let change = |column: &str, value: &str| {
            let sql = format!(
                "UPDATE events SET {column} = ?1 WHERE global_position = (SELECT max(global_position) FROM events \
                 WHERE tenant_id = ?2)"
            );
            Ok::<_, anyhow::Error>(conn.execute(&sql, (value, TENANT))?)
        };
        pair.adopt()?;
        let plan = ["plan", "--tenant", TENANT, "--to", SERVER];
        pair.run(&plan)?;
        for (column, value) in [
            ("payload", r#"{"a":1,"a":2}"#),
            ("payload", r#"{"a":"\u0000"}"#),
            ("created_at", "2026-11-30 12:00:00"),
            ("timestamp", "2026-11-30T12:00:00+02:00"),
            ("actor_id", "a\0b"),
        ] {
            let get = format!(
                "SELECT {column} FROM events WHERE tenant_id = ?1 ORDER BY global_position DESC LIMIT 1"
            );
            let was: String = conn.query_row(&get, [TENANT], |row| row.get(0))?;
            change(column, value)?;
            let refused = harness::refused(pair.folder.path(), &plan)?;
            ensure!(refused.contains(&format!("column \"{column}\"")), "{column}: {refused}");
            let start = ["migration", "start", "--tenant", TENANT, "--to", SERVER];
            let refused = harness::refused(pair.folder.path(), &start)?;
            ensure!(refused.contains(&format!("column \"{column}\"")), "{column}: {refused}");
            change(column, &was)?;
        }
        ensure!(pair.rows(TENANT, SERVER)?.is_empty(), "nothing was copied");

        // One that comes while the copy runs stops it before the switch.
        let start =
            ["migration", "start", "--tenant", TENANT, "--to", SERVER, "--cutover", "manual"];
        let mut driver = Process::start(
            harness::command(pair.folder.path(), "", &start),
            pair.folder.path(),
            "driver",
        )?;
        let id = wait_for("a copy that is level", || {
            let list = pair.json(&["migration", "list"])?;
            let level = list[0]["state"] == "dual_write";
            Ok(list[0]["id"].as_str().filter(|_| level).map(str::to_owned))
        })?;
        let sql = "INSERT INTO events (event_id, aggregate_id, aggregate_type, event_type, tenant_id, version, timestamp, \
                   payload) VALUES ('0dd00000-0000-4000-8000-000000000001', '0dd00000-0000-4000-8000-000000000002', \
                   'Order', 'Odd', ?1, 1, '2026-11-30T12:00:00+00:00', '{}')";
        conn.execute(sql, [TENANT])?;
        let shown = wait_for("the reason", || {
            let shown = pair.run(&["migration", "show", &id])?;
            Ok(shown.contains("column \"created_at\"").then_some(shown))
        })?;
        ensure!(shown.contains("dual_write"), "{shown}");
        ensure!(!pair.rows(TENANT, SERVER)?.contains_key("0dd00000-0000-4000-8000-000000000001"));
        pair.run(&["migration", "abort", &id, "--purge-target"])?;
        driver.end()?;
        ensure!(pair.rows(TENANT, SERVER)?.is_empty(), "the copy was removed");
        Ok(())
    })
}

/// A table whose columns or types differ is refused by `plan`, and so is one of rehome's own.
#[test]
fn a_column_that_would_be_lost_is_named() -> Result<()> {
    play(Pair::of_the_library()?, |pair| {
        Connection::open(pair.file())?
            .execute_batch("ALTER TABLE events ADD COLUMN headers TEXT")?;
        pair.adopt()?;
        let plan = ["plan", "--tenant", TENANT, "--to", SERVER];
        let refused = harness::refused(pair.folder.path(), &plan)?;
        ensure!(refused.contains("column \"headers\" would be lost"), "{refused}");
        let drain = ["drain", "plan", "--from", FILE, "--to", SERVER];
        let drained = harness::refused(pair.folder.path(), &drain)?;
        ensure!(drained.contains("column \"headers\" would be lost"), "{drained}");
        pair.run(&["store", "release", SERVER])?;
        let alter = "ALTER TABLE events ADD COLUMN headers json";
        pair.cluster.sql(pair.database.name(), alter)?;
        pair.run(&["store", "adopt", SERVER])?;
        let refused = harness::refused(pair.folder.path(), &plan)?;
        ensure!(refused.contains("\"headers\" is text at the source and json"), "{refused}");
        let own = ["plan", "--tenant", TENANT, "--to", "own"];
        let plan = pair.run(&own)?;
        let plan = plan.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(plan.contains("in the row only, and neither in the API nor in an export: \"actor_id\", \"headers\""), "{plan}");
        ensure!(plan.contains("none: the tenant cannot return"), "{plan}");
        Ok(())
    })
}

fn shared_data(name: &str) -> Option<PathBuf> {
    let named = env::var_os("REHOME_SHARED_DATA").map(PathBuf::from);
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let beside = above.map(|folder| folder.join("shared").join("data"));
    named.into_iter().chain(beside).map(|folder| folder.join(name)).find(|path| path.exists())
}

/// A row as JSON has no order of keys, and its numbers are numbers.
#[test]
fn rows_are_compared_by_value() {
    let same =
        |a: &str, b: &str| serde_json::from_str::<Value>(a).ok() == serde_json::from_str(b).ok();
    assert!(same(r#"{"a":1e20,"b":2.50}"#, r#"{"b": 2.5, "a": 100000000000000000000}"#));
    assert!(!same("[1, 2]", "[2, 1]"));
    assert_eq!(json!(null), Value::from(None::<String>));
}
