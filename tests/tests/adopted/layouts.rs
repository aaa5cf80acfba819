//! A tenant moves between tables of two layouts, with other names, other orders of columns and other schemas, and returns,
//! while writers in plain SQL that do not use rehome insert into whichever table takes it. The tables are compared by the
//! test's own SQL, part by part.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use rehome_cluster::Database;
use rehome_tests::process::wait_for;
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;
use tokio_postgres::NoTls;

use crate::harness;

/// A table, its layout, and how its writers insert.
#[derive(Clone)]
struct Table {
    tables: String,
    layout: String,
    /// A row of the tenant: `$1` is the number of its stream, `$2` of the event in it from 1.
    insert: String,
    /// All rows of the tenant, part by part, as texts that are the same in both tables.
    rows: String,
}

fn table(tables: &str, layout: &str, insert: &str, rows: &str) -> Table {
    let [tables, layout, insert, rows] = [tables, layout, insert, rows].map(str::to_owned);
    Table { tables, layout, insert, rows }
}

/// What writers insert, in the order tenant, stream, type of stream, version, type, content, metadata, note.
const VALUES: &str = "('acme', 'o-$1', 'Order', $2, 'Placed' || ($2 % 3), '{\"n\": $2, \"price\": 12.50}', \
    '{\"trace\": \"t-$1\"}', CASE WHEN $2 % 4 = 0 THEN NULL ELSE 'a note, (\"' || $2 || '\\\")' END";

/// A table of the house on a server.
fn shop() -> Table {
    let insert = "INSERT INTO shop_events (customer, order_no, kind, revision, what, body, headers, note) VALUES ";
    table(
        "CREATE TABLE shop_events (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, \
            uid uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE, customer text NOT NULL, order_no text NOT NULL, \
            kind text NOT NULL, revision integer NOT NULL, what text NOT NULL, body jsonb NOT NULL, headers jsonb, \
            at timestamptz NOT NULL DEFAULT clock_timestamp(), note text, UNIQUE (customer, kind, order_no, revision))",
        "name = \"shop\"\ntable = \"shop_events\"\n[columns]\ntenant = \"customer\"\nstream_type = \"kind\"\n\
         stream_id = \"order_no\"\nversion = \"revision\"\nposition = \"id\"\nevent_id = \"uid\"\nevent_type = \"what\"\n\
         occurred_at = \"at\"\ndata = \"body\"\nmetadata = \"headers\"\n",
        &format!("{insert}{VALUES})"),
        "SELECT concat_ws('|', order_no, kind, revision, what, body::text, headers::text, \
            to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US'), coalesce(note, 'NULL'), uid) \
         FROM shop_events WHERE customer = 'acme'",
    )
}

/// The same in another schema. In the order of their names, most of its columns are elsewhere than those of the shop.
fn entries() -> Table {
    let insert = "INSERT INTO \"Log\".entries (\"owner of\", a_stream, topic, \"N\", \"b type\", content, z_meta, note) VALUES ";
    table(
        "CREATE SCHEMA \"Log\"; CREATE TABLE \"Log\".entries (content jsonb NOT NULL, \
            loaded timestamptz NOT NULL DEFAULT now(), note text, \"b type\" varchar(90) NOT NULL, z_meta jsonb, \
            \"N\" bigint NOT NULL, \"no\" bigserial PRIMARY KEY, \"When\" timestamptz NOT NULL DEFAULT clock_timestamp(), \
            topic text NOT NULL, a_stream text NOT NULL, \"owner of\" text NOT NULL, \
            entry uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE, UNIQUE (a_stream, topic, \"owner of\", \"N\"))",
        "name = \"log\"\nschema = \"Log\"\ntable = \"entries\"\n[columns]\ntenant = \"owner of\"\nstream_type = \"topic\"\n\
         stream_id = \"a_stream\"\nversion = \"N\"\nposition = \"no\"\nevent_id = \"entry\"\nevent_type = \"b type\"\n\
         occurred_at = \"When\"\ndata = \"content\"\nmetadata = \"z_meta\"\nanew = [\"loaded\"]\n",
        &format!("{insert}{VALUES})"),
        "SELECT concat_ws('|', a_stream, topic, \"N\", \"b type\", content::text, z_meta::text, \
            to_char(\"When\" AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US'), coalesce(note, 'NULL'), entry) \
         FROM \"Log\".entries WHERE \"owner of\" = 'acme'",
    )
}

/// The same on a server with contents that are texts, as a file has them.
fn entries_in_texts() -> Table {
    let Table { tables, layout, insert, rows } = entries();
    Table { tables: tables.replace("jsonb", "text"), layout, insert, rows }
}

/// A random UUID, and the present time as the libraries write it.
const IN_A_FILE: &str = ", lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2) \
    || '-8' || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))), \
    strftime('%Y-%m-%dT%H:%M:%f000+00:00', 'now'))";

/// The shop in a file.
fn shop_in_a_file() -> Table {
    let insert = "INSERT INTO shop_events (customer, order_no, kind, revision, what, body, headers, note, uid, at) VALUES ";
    table(
        "CREATE TABLE shop_events (id INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT NOT NULL UNIQUE, customer TEXT NOT NULL, \
            order_no TEXT NOT NULL, kind TEXT NOT NULL, revision INTEGER NOT NULL, what TEXT NOT NULL, body TEXT NOT NULL, \
            headers TEXT, at TEXT NOT NULL, note TEXT, UNIQUE (customer, kind, order_no, revision)); \
         CREATE INDEX of_customer ON shop_events (customer)",
        &shop().layout,
        &format!("{insert}{VALUES}{IN_A_FILE}"),
        "SELECT order_no || '|' || kind || '|' || revision || '|' || what || '|' || body || '|' || headers || '|' \
            || substr(at, 1, 26) || '|' || coalesce(note, 'NULL') || '|' || uid FROM shop_events WHERE customer = 'acme'",
    )
}

/// The log in a file.
fn entries_in_a_file() -> Table {
    let insert = "INSERT INTO entries (\"owner of\", a_stream, topic, \"N\", \"b type\", content, z_meta, note, entry, \"When\") \
        VALUES ";
    table(
        "CREATE TABLE entries (content TEXT NOT NULL, note TEXT, \"b type\" TEXT NOT NULL, z_meta TEXT, \
            \"N\" INTEGER NOT NULL, \"no\" INTEGER PRIMARY KEY AUTOINCREMENT, \"When\" TEXT NOT NULL, topic TEXT NOT NULL, \
            a_stream TEXT NOT NULL, \"owner of\" TEXT NOT NULL, entry TEXT NOT NULL UNIQUE, \
            loaded TEXT DEFAULT CURRENT_TIMESTAMP, UNIQUE (a_stream, topic, \"owner of\", \"N\")); \
         CREATE INDEX of_owner ON entries (\"owner of\")",
        &entries().layout,
        &format!("{insert}{VALUES}{IN_A_FILE}"),
        "SELECT a_stream || '|' || topic || '|' || \"N\" || '|' || \"b type\" || '|' || content || '|' || z_meta || '|' \
            || substr(\"When\", 1, 26) || '|' || coalesce(note, 'NULL') || '|' || entry FROM entries \
         WHERE \"owner of\" = 'acme'",
    )
}

#[test]
fn a_tenant_moves_between_tables_of_two_layouts_on_servers_and_returns() -> Result<()> {
    moves(Pair::new([On::server(shop())?, On::server(entries())?])?)
}

#[test]
fn a_tenant_moves_between_tables_of_two_layouts_in_files_and_returns() -> Result<()> {
    moves(Pair::new([On::File(shop_in_a_file()), On::File(entries_in_a_file())])?)
}

#[test]
fn a_tenant_moves_from_a_file_to_a_table_of_another_layout_on_a_server_and_returns() -> Result<()> {
    moves(Pair::new([On::File(shop_in_a_file()), On::server(entries_in_texts())?])?)
}

fn moves(pair: Pair) -> Result<()> {
    let played = pair.play();
    played.map_err(|error| {
        error.context(format!("all of it is kept in {}", pair.folder.keep().display()))
    })
}

/// A table and where it is.
enum On {
    Server(Table, Database),
    /// In the folder of the deployment.
    File(Table),
}

impl On {
    fn server(table: Table) -> Result<Self> {
        Ok(Self::Server(table, rehome_cluster::shared().database()?))
    }

    const fn table(&self) -> &Table {
        match self {
            Self::Server(table, _) | Self::File(table) => table,
        }
    }
}

/// Two stores with a table each, and a deployment over them.
struct Pair {
    folder: TempDir,
    on: [On; 2],
}

const NAMES: [&str; 2] = ["here", "there"];
const TENANT: &str = "acme";
const LEVELS: [&str; 3] = ["count", "hash", "full"];

impl Pair {
    fn new(on: [On; 2]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("rehome-layouts-").tempdir()?;
        let pair = Self { folder, on };
        let mut config = "[control_plane]\nurl = \"sqlite:control.db\"\n".to_owned();
        for (n, name) in NAMES.iter().enumerate() {
            fs::write(pair.path(&format!("{name}.layout.toml")), &pair.on[n].table().layout)?;
            let url = match &pair.on[n] {
                On::Server(table, database) => {
                    let role = database.name();
                    let grant = format!("GRANT ALL ON SCHEMA public TO {role}; SET ROLE {role}");
                    rehome_cluster::shared().sql(role, &format!("{grant}; {}", table.tables))?;
                    database.url()
                }
                On::File(table) => {
                    let file = Connection::open(pair.path(&format!("{name}.db")))?;
                    file.execute_batch(&format!("PRAGMA journal_mode = WAL; {}", table.tables))?;
                    format!("sqlite:{name}.db")
                }
            };
            config += &format!(
                "[[stores]]\nid = \"{name}\"\nurl = \"{url}\"\nlayout = \"{name}.layout.toml\"\ndefault = {}\n",
                n == 0
            );
        }
        let file = pair.path("rehome.toml");
        fs::write(&file, config)?;
        fs::set_permissions(file, fs::Permissions::from_mode(0o600))?;
        Ok(pair)
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

    fn adopt(&self) -> Result<()> {
        NAMES.iter().try_for_each(|store| self.run(&["store", "adopt", store]).map(drop))
    }

    fn sql(&self, store: usize, statements: &str) -> Result<()> {
        match &self.on[store] {
            On::Server(_, database) => {
                rehome_cluster::shared().sql(database.name(), statements).map(drop)
            }
            On::File(_) => Ok(Connection::open(self.path(&format!("{}.db", NAMES[store])))?
                .execute_batch(statements)?),
        }
    }

    /// The tenant's rows in a store, as texts.
    fn rows(&self, store: usize) -> Result<BTreeSet<String>> {
        let rows = &self.on[store].table().rows;
        let all: Vec<String> = match &self.on[store] {
            On::Server(_, database) => {
                let said = rehome_cluster::shared().sql(database.name(), rows)?;
                said.lines().map(str::to_owned).collect()
            }
            On::File(_) => {
                let file = Connection::open(self.path(&format!("{}.db", NAMES[store])))?;
                let mut statement = file.prepare(rows)?;
                let found = statement.query_map([], |row| row.get(0))?;
                found.collect::<Result<_, _>>()?
            }
        };
        let count = all.len();
        let rows: BTreeSet<String> = all.into_iter().collect();
        ensure!(rows.len() == count, "{} has a row twice", NAMES[store]);
        Ok(rows)
    }

    /// Moves the tenant; answers the migration's id.
    fn move_to(&self, store: usize, window: &str) -> Result<String> {
        let start = ["migration", "start", "--tenant", TENANT, "--to", NAMES[store]];
        let moved = self.json(&[&start[..], &["--rollback-window", window]].concat())?;
        ensure!(moved["state"] == "migrated", "{moved}");
        Ok(moved["id"].as_str().context("an id")?.to_owned())
    }

    /// Every row that the old store has is in the new one, in all its parts, and the writers write there.
    fn has_moved(&self, to: usize, writers: &Writers) -> Result<()> {
        writers.write(30)?;
        let (old, new) = (self.rows(1 - to)?, self.rows(to)?);
        let missing = old.difference(&new).next();
        ensure!(missing.is_none(), "not as it was: {missing:?}");
        ensure!(new.len() > old.len(), "writers continue at {}", NAMES[to]);
        Ok(())
    }

    fn verified(&self, id: &str) -> Result<()> {
        let verify = |level| self.run(&["migration", "verify", id, "--level", level]).map(drop);
        LEVELS.into_iter().try_for_each(verify)
    }

    fn history(&self) -> Result<()> {
        let insert = &self.on[0].table().insert;
        for (stream, event) in (1..=3).flat_map(|stream| (1..=40).map(move |event| (stream, event)))
        {
            let own = filled(insert, stream, event);
            self.sql(0, &format!("{own}; {}", own.replace("'acme'", "'acme & co'")))?;
        }
        Ok(())
    }

    fn play(&self) -> Result<()> {
        self.history()?;
        let history = self.rows(0)?;
        self.adopt()?;
        let plan = self.run(&["plan", "--tenant", TENANT, "--to", NAMES[1]])?;
        ensure!(plan.contains("layout shop at the source, layout log at the target"), "{plan}");
        ensure!(plan.contains("every column arrives"), "{plan}");
        let writers = Writers::start(self)?;

        // There, and back within the window, with what was written since.
        let there = self.move_to(1, "1h")?;
        self.has_moved(1, &writers)?;
        self.verified(&there)?;
        let back = self.json(&["migration", "return", &there, "--rollback-window", "0s"])?;
        ensure!(back["state"] == "migrated", "{back}");
        self.has_moved(0, &writers)?;
        // There again, on top of the first copy. Then all of it comes back from there.
        self.move_to(1, "0s")?;
        self.has_moved(1, &writers)?;
        self.run(&["tenant", "purge", TENANT, "--store", NAMES[0]])?;
        ensure!(self.rows(0)?.is_empty(), "it was purged");
        let last = self.move_to(0, "1h")?;
        self.has_moved(0, &writers)?;
        let acknowledged = writers.end()?;
        self.verified(&last)?;
        self.run(&["store", "verify", NAMES[0]])?;

        let now = self.rows(0)?;
        ensure!(history.is_subset(&now), "a row of the history has changed");
        let event = |row: &String| row.split('|').take(3).collect::<Vec<_>>().join("|");
        let events: BTreeSet<String> = now.iter().map(event).collect();
        let missing: Vec<_> = acknowledged.difference(&events).collect();
        ensure!(missing.is_empty(), "acknowledged and not there: {missing:?}");
        ensure!(now.len() == history.len() + acknowledged.len(), "{} rows", now.len());
        // Without writers: the same rows, in every part.
        self.move_to(1, "0s")?;
        ensure!(self.rows(1)? == now, "the rows differ");
        Ok(())
    }
}

fn filled(statement: &str, stream: u32, event: u32) -> String {
    statement.replace("$1", &stream.to_string()).replace("$2", &event.to_string())
}

/// A writer's rest between two events.
const REST: Duration = Duration::from_millis(5);

/// Writers that append to their own streams, at the store that accepts them, and record the acknowledged events.
struct Writers {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU32>,
    threads: Vec<thread::JoinHandle<Result<u32>>>,
}

const STREAMS: std::ops::Range<u32> = 10..13;

impl Writers {
    fn start(pair: &Pair) -> Result<Self> {
        let (stop, written) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
        let threads = STREAMS.map(|stream| {
            let (stop, written) = (Arc::clone(&stop), Arc::clone(&written));
            let stores = [Address::of(pair, 0), Address::of(pair, 1)];
            thread::spawn(move || writes(stream, &stores, &stop, &written))
        });
        let writers = Self { threads: threads.collect(), stop, written };
        writers.write(20)?;
        Ok(writers)
    }

    /// Waits until they have written so much more.
    fn write(&self, more: u32) -> Result<()> {
        let goal = self.written.load(Ordering::Relaxed) + more;
        wait_for("the writers", || {
            let ended = self.threads.iter().any(thread::JoinHandle::is_finished);
            ensure!(!ended, "a writer ended");
            Ok((self.written.load(Ordering::Relaxed) >= goal).then_some(()))
        })
    }

    /// The acknowledged events: stream, its type, version.
    fn end(self) -> Result<BTreeSet<String>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = BTreeSet::new();
        for (stream, thread) in STREAMS.zip(self.threads) {
            let written = thread.join().map_err(|_| anyhow!("a writer panicked"))??;
            all.extend((1..=written).map(|event| format!("o-{stream}|Order|{event}")));
        }
        Ok(all)
    }
}

/// How a writer reaches a store, and what it sends.
struct Address {
    url: Result<String, PathBuf>,
    insert: String,
}

impl Address {
    fn of(pair: &Pair, store: usize) -> Self {
        let url = match &pair.on[store] {
            On::Server(_, database) => Ok(database.url()),
            On::File(_) => Err(pair.path(&format!("{}.db", NAMES[store]))),
        };
        Self { url, insert: pair.on[store].table().insert.clone() }
    }
}

/// A session of a writer.
enum Session {
    Server(tokio_postgres::Client),
    File(Connection),
}

impl Session {
    async fn open(address: &Address) -> Result<Self> {
        match &address.url {
            Ok(url) => {
                let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
                tokio::spawn(connection);
                Ok(Self::Server(client))
            }
            Err(path) => Self::of_file(path),
        }
    }

    fn of_file(path: &Path) -> Result<Self> {
        let file = Connection::open(path)?;
        file.busy_timeout(Duration::from_secs(10))?;
        Ok(Self::File(file))
    }

    /// Whether the row is in; if not, whether the tenant is elsewhere.
    async fn send(&self, statement: &str) -> Result<Result<(), bool>> {
        let refused = match self {
            Self::Server(client) => match client.batch_execute(statement).await {
                Ok(()) => return Ok(Ok(())),
                Err(error) => {
                    let code = error.code().map_or("", |code| code.code()).to_owned();
                    ensure!(["RH001", "40001"].contains(&&*code), "{code} {error:?}");
                    code == "RH001"
                }
            },
            Self::File(file) => match file.execute_batch(statement) {
                Ok(()) => return Ok(Ok(())),
                Err(error) => {
                    ensure!(error.to_string().contains("rehome"), "{error:?}");
                    true
                }
            },
        };
        Ok(Err(refused))
    }
}

/// One writer, with one stream: it sends each event until a store accepts it. Answers how many.
#[tokio::main(flavor = "current_thread")]
async fn writes(
    stream: u32,
    stores: &[Address; 2],
    stop: &AtomicBool,
    written: &AtomicU32,
) -> Result<u32> {
    let sessions = [Session::open(&stores[0]).await?, Session::open(&stores[1]).await?];
    let (mut at, mut event) = (0, 1);
    while !stop.load(Ordering::Relaxed) {
        // No faster than a move can follow on a busy machine.
        tokio::time::sleep(REST).await;
        match sessions[at].send(&filled(&stores[at].insert, stream, event)).await? {
            Ok(()) => {
                written.fetch_add(1, Ordering::Relaxed);
                event += 1;
            }
            // The tenant is elsewhere: this writer's routing is to try the other store.
            Err(elsewhere) => at = if elsewhere { 1 - at } else { at },
        }
    }
    Ok(event - 1)
}

/// What would be lost, and what could not be filled, is named by its column: by `plan`, by the start of a migration, and by
/// the plan of a drain. Nothing is changed. With the columns there, the tenant moves.
#[test]
fn each_column_that_would_be_lost_or_not_filled_is_named() -> Result<()> {
    let (mut ours, mut theirs) = (shop(), entries());
    ours.tables = ours.tables.replace("note text,", "note text, discount numeric,");
    theirs.tables =
        theirs.tables.replace("note text,", "note text, region text NOT NULL DEFAULT 'eu',");
    theirs.tables = theirs.tables.replace("z_meta jsonb", "z_meta json");
    theirs.layout = theirs.layout.replace("[columns]", "first_version = 0\n[columns]");
    let pair = Pair::new([On::server(ours)?, On::server(theirs)?])?;
    let played = refuses(&pair);
    played.map_err(|error| {
        error.context(format!("all of it is kept in {}", pair.folder.keep().display()))
    })
}

fn refuses(pair: &Pair) -> Result<()> {
    pair.history()?;
    pair.adopt()?;
    let lost = "column \"discount\" would be lost: the target has no such column; add it to the table there, and adopt that \
        store again; \
        column \"revision\" would change: the versions of a stream begin at 1 at the source, and in \"N\" of the target at 0; \
        both layouts need the same `first_version`; \
        the target has a column \"region\", and rows of the source have no value for it; if it has a default or may be NULL, \
        list it in `anew` of the target's layout, and adopt that store again";
    let plan = ["plan", "--tenant", TENANT, "--to", NAMES[1]];
    let start = ["migration", "start", "--tenant", TENANT, "--to", NAMES[1]];
    let drain = ["drain", "plan", "--from", NAMES[0], "--to", NAMES[1]];
    for command in [&plan[..], &start[..], &drain[..]] {
        let refused = pair.refused(command)?;
        ensure!(refused.contains(lost), "{command:?}: {refused}");
    }
    ensure!(pair.rows(1)?.is_empty(), "nothing was copied");

    // As each message asks: then what is left is the type of a column.
    pair.run(&["store", "release", NAMES[1]])?;
    pair.sql(1, "ALTER TABLE \"Log\".entries ADD COLUMN discount numeric")?;
    let layout = pair.on[1].table().layout.replace("first_version = 0", "first_version = 1");
    let layout = layout.replace("anew = [\"loaded\"]", "anew = [\"loaded\", \"region\"]");
    fs::write(pair.path("there.layout.toml"), layout)?;
    pair.run(&["store", "adopt", NAMES[1]])?;
    let texts = "column \"headers\" is jsonb at the source and its counterpart \"z_meta\" at the target is json, whose values \
        have other texts";
    let refused = pair.refused(&plan)?;
    ensure!(refused.contains(texts), "{refused}");
    pair.run(&["store", "release", NAMES[1]])?;
    pair.sql(1, "ALTER TABLE \"Log\".entries ALTER COLUMN z_meta TYPE jsonb")?;
    pair.run(&["store", "adopt", NAMES[1]])?;
    pair.run(&plan)?;
    pair.move_to(1, "0s")?;
    ensure!(pair.rows(0)? == pair.rows(1)?, "the rows differ");
    Ok(())
}
