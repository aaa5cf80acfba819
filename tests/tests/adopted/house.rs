//! Custom tables, the worked examples of `docs/layouts.md`: text tenants and payloads in bytes without event
//! ids; composite keys, quoted names and no position; a tenant before a separator, in partitions. Writers in
//! plain SQL do not use rehome.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rehome_cluster::Database;
use rehome_tests::process::wait_for;
use tokio_postgres::NoTls;

use crate::harness;

/// A table, its layout, and how its writers insert.
struct House {
    tables: &'static str,
    layout: &'static str,
    /// As people name the tenant.
    tenant: &'static str,
    /// A row of the tenant: `$1` is the number of its stream, `$2` of the event in it from 1.
    insert: &'static str,
    /// A row of another tenant.
    bystander: &'static str,
    /// The rows that a move must preserve, in the order of streams and versions.
    rows: &'static str,
    /// A row as `STREAM/EVENT`, by the numbers that it was written with.
    numbers: &'static str,
}

const LEDGER: House = House {
    tables: "CREATE TABLE ledger_events (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        customer text NOT NULL, account text NOT NULL, revision bigint NOT NULL, kind text NOT NULL,
        body bytea NOT NULL, headers json, written_at timestamptz NOT NULL DEFAULT now(),
        UNIQUE (customer, account, revision))",
    layout: "name = \"ledger\"\ntable = \"ledger_events\"\nfirst_version = 0\n\
        [columns]\ntenant = \"customer\"\nstream_id = \"account\"\nversion = \"revision\"\n\
        position = \"id\"\nevent_type = \"kind\"\nrecorded_at = \"written_at\"\ndata = \"body\"\n\
        metadata = \"headers\"\n",
    tenant: "Zoë & \"Söhne\", 100 %",
    insert: "INSERT INTO ledger_events (customer, account, revision, kind, body, headers) VALUES \
        ('Zoë & \"Söhne\", 100 %', 'a\\' || $1::int, $2::int - 1, 'Booked', \
         decode(lpad(to_hex($2::int), 6, '0'), 'hex') || '\\x00ff5c'::bytea, \
         ('{\"n\":  ' || $2::int || ', \"z\": 1.50}')::json)",
    bystander: "INSERT INTO ledger_events (customer, account, revision, kind, body) \
        VALUES ('acme', 'a\\' || $1::int, $2::int - 1, 'Booked', '')",
    rows: "SELECT customer, account, revision, kind, body, headers::text, written_at FROM ledger_events \
        WHERE customer LIKE 'Zo%' ORDER BY account, revision",
    numbers: "substr(account, 3) || '/' || revision + 1",
};

const ORDERS: House = House {
    tables: "CREATE TYPE \"What\" AS ENUM ('Placed', 'Paid', 'Shipped'); \
        CREATE TABLE \"Order Events\" (
        \"Shop\" uuid NOT NULL, \"Year\" smallint NOT NULL, \"Order No\" integer NOT NULL,
        \"Version\" integer NOT NULL, \"What\" \"What\" NOT NULL, \"Payload\" jsonb NOT NULL,
        \"At\" timestamptz NOT NULL, PRIMARY KEY (\"Shop\", \"Year\", \"Order No\", \"Version\"))",
    layout: "name = \"order-events\"\ntable = \"Order Events\"\n\
        [columns]\ntenant = \"Shop\"\nstream_id = [\"Year\", \"Order No\"]\nversion = \"Version\"\n\
        event_type = \"What\"\noccurred_at = \"At\"\ndata = \"Payload\"\n",
    tenant: "5a000000-0000-4000-8000-00000000000a",
    insert: "INSERT INTO \"Order Events\" VALUES ('5a000000-0000-4000-8000-00000000000a', 2026, \
        $1::int, $2::int, (ARRAY['Placed', 'Paid', 'Shipped']::\"What\"[])[1 + $2::int % 3], \
        jsonb_build_object('n', $2::int, 'price', 12.50, 'who', E'a\\tb\\\\c'), clock_timestamp())",
    bystander: "INSERT INTO \"Order Events\" VALUES ('5a000000-0000-4000-8000-00000000000b', 2026, \
        $1::int, $2::int, 'Paid', '{}', clock_timestamp())",
    rows: "SELECT \"Shop\", \"Year\", \"Order No\", \"Version\", \"What\", \"Payload\", \"At\" \
        FROM \"Order Events\" WHERE \"Shop\" = '5a000000-0000-4000-8000-00000000000a' \
        ORDER BY \"Order No\", \"Version\"",
    numbers: "\"Order No\" || '/' || \"Version\"",
};

const MESSAGES: House = House {
    tables: "CREATE SCHEMA log; CREATE SEQUENCE log.numbers; CREATE TABLE log.messages (
        number bigint NOT NULL DEFAULT nextval('log.numbers'), stream text NOT NULL,
        at bigint NOT NULL, id uuid NOT NULL DEFAULT gen_random_uuid(), kind text NOT NULL, body text NOT NULL,
        day date NOT NULL DEFAULT '2026-01-01',
        length integer GENERATED ALWAYS AS (length(body)) STORED,
        PRIMARY KEY (number, stream), UNIQUE (stream, at), UNIQUE (id, stream))
        PARTITION BY HASH (stream);
        CREATE TABLE log.m0 PARTITION OF log.messages FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE log.m1 PARTITION OF log.messages FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
    layout: "name = \"messages\"\nschema = \"log\"\ntable = \"messages\"\n\
        [columns]\ntenant = { prefix = \"-\" }\nstream_id = \"stream\"\nversion = \"at\"\n\
        position = \"number\"\nevent_id = \"id\"\nevent_type = \"kind\"\noccurred_at = \"day\"\n\
        data = \"body\"\n",
    tenant: "north",
    insert: "INSERT INTO log.messages (stream, at, kind, body) VALUES \
        ('north-order-' || $1::int, $2::int, 'Said', E'it''s\\n' || $2::int)",
    bystander: "INSERT INTO log.messages (stream, at, kind, body) VALUES \
        ('northern-order-' || $1::int, $2::int, 'Said', '')",
    rows: "SELECT stream, at, id, kind, body, day, length FROM log.messages \
        WHERE stream LIKE 'north-%' ORDER BY stream, at",
    numbers: "split_part(stream, '-', 3) || '/' || at",
};

#[test]
fn texts_and_bytes_without_ids_move() -> Result<()> {
    moves(&LEDGER)
}

#[test]
fn composite_keys_and_quoted_names_without_positions_move() -> Result<()> {
    moves(&ORDERS)
}

#[test]
fn a_tenant_before_a_separator_moves_between_partitions() -> Result<()> {
    moves(&MESSAGES)
}

fn moves(house: &House) -> Result<()> {
    let place = Place::new(house)?;
    let played = place.play(house);
    played.map_err(|error| {
        let kept = place.folder.keep();
        error.context(format!("all of it is kept in {}", kept.display()))
    })
}

/// Two databases with the table, and a deployment over them.
struct Place {
    folder: tempfile::TempDir,
    stores: [Database; 2],
}

/// A writer's rest between two events.
const REST: Duration = Duration::from_millis(5);
const NAMES: [&str; 2] = ["shared", "dedicated"];

impl Place {
    fn new(house: &House) -> Result<Self> {
        let cluster = rehome_cluster::shared();
        let stores = [cluster.database()?, cluster.database()?];
        let folder = tempfile::Builder::new().prefix("rehome-house-").tempdir()?;
        let place = Self { folder, stores };
        for store in &place.stores {
            let name = store.name();
            let grant = format!("GRANT ALL ON SCHEMA public TO {name}; SET ROLE {name}");
            cluster.sql(name, &format!("{grant}; {}", house.tables))?;
        }
        fs::write(place.folder.path().join("house.layout.toml"), house.layout)?;
        let stores = NAMES.iter().zip(&place.stores).map(|(id, store)| {
            let url = store.url();
            format!(
                "[[stores]]\nid = \"{id}\"\nurl = \"{url}\"\nlayout = \"house.layout.toml\"\n\
                 default = {}\n",
                *id == NAMES[0]
            )
        });
        let stores: String = stores.collect();
        let control = "[control_plane]\nurl = \"sqlite:control.db\"\n";
        let file = place.folder.path().join("rehome.toml");
        fs::write(&file, format!("{control}{stores}"))?;
        fs::set_permissions(file, fs::Permissions::from_mode(0o600))?;
        Ok(place)
    }

    fn run(&self, args: &[&str]) -> Result<String> {
        harness::run(self.folder.path(), args)
    }

    fn sql(&self, store: usize, statements: &str) -> Result<String> {
        rehome_cluster::shared().sql(self.stores[store].name(), statements)
    }

    /// The schemas of both databases.
    fn dumps(&self) -> Result<[String; 2]> {
        let dump = |store: &Database| {
            let file = self.folder.path().join("dump.sql");
            rehome_cluster::shared().dump_schema(store.name(), &file)?;
            let text = fs::read_to_string(file)?;
            // A random word that makes psql refuse commands in the dump.
            let lines = text.lines().filter(|line| !line.contains("restrict "));
            Ok::<_, anyhow::Error>(lines.collect::<Vec<_>>().join("\n"))
        };
        Ok([dump(&self.stores[0])?, dump(&self.stores[1])?])
    }

    fn play(&self, house: &House) -> Result<()> {
        let before = self.dumps()?;
        // A history that was there before.
        for (stream, event) in (1..=3).flat_map(|stream| (1..=40).map(move |event| (stream, event)))
        {
            for insert in [house.insert, house.bystander] {
                self.sql(0, &filled(insert, stream, event))?;
            }
        }
        self.run(&[
            "store",
            "layout",
            "check",
            "house.layout.toml",
            "--url",
            &self.stores[0].url(),
        ])?;
        // It shows what it would do before there is a control plane, and does nothing.
        let shown = self.run(&["store", "adopt", NAMES[0], "--dry-run"])?;
        ensure!(shown.contains("nothing was installed"), "{shown}");
        ensure!(self.dumps()? == before, "looking changed something");
        let writers = Writers::start(&self.stores, house)?;
        for store in NAMES {
            self.run(&["store", "adopt", store])?;
        }
        let start =
            ["migration", "start", "--tenant", house.tenant, "--rollback-window", "0s", "--to"];
        self.run(&["plan", "--tenant", house.tenant, "--to", NAMES[1]])?;
        for to in [1, 0, 1] {
            self.run(&[&start[..], &[NAMES[to]]].concat())
                .with_context(|| format!("to {}", NAMES[to]))?;
            writers.writes(30)?;
            // Level, row for row: what the copy has of the other store is what that has.
            let old = self.sql(1 - to, house.rows)?;
            let new = self.sql(to, house.rows)?;
            let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
            let missing = old.iter().find(|row| !new.contains(row));
            ensure!(missing.is_none(), "not as it was: {missing:?}");
            ensure!(new.len() > old.len(), "writers go on at {}", NAMES[to]);
        }
        let acknowledged = writers.end()?;
        let (_, from) = house.rows.split_once(" FROM ").context("rows come from a table")?;
        let there = self.sql(1, &format!("SELECT {} FROM {from}", house.numbers))?;
        let there: Vec<&str> = there.lines().collect();
        let times = |one: &String| there.iter().filter(|row| *row == one).count();
        let wrong: Vec<_> = acknowledged.iter().filter(|one| times(one) != 1).collect();
        ensure!(wrong.is_empty(), "not there once, of {}: {wrong:?}", acknowledged.len());
        ensure!(there.len() == acknowledged.len() + 3 * 40, "{} rows", there.len());
        // The old copy must be purged first; otherwise its store refuses the tenant.
        self.run(&["tenant", "purge", house.tenant, "--store", NAMES[0]])?;
        for store in NAMES {
            let reason = ["--no-writers-left", "--reason", "the end of the test"];
            self.run(&[&["store", "release", store], &reason[..]].concat())?;
        }
        let after = self.dumps()?;
        ensure!(before == after, "the schema is not what it was");
        // Adopted again, it moves again.
        for store in NAMES {
            self.run(&["store", "adopt", store])?;
        }
        self.run(&["plan", "--tenant", house.tenant, "--to", NAMES[0]])?;
        self.run(&[&start[..], &[NAMES[0]]].concat())?;
        ensure!(self.sql(0, house.rows)? == self.sql(1, house.rows)?, "not the same rows");
        Ok(())
    }
}

fn filled(statement: &str, stream: u32, event: u32) -> String {
    statement.replace("$1", &stream.to_string()).replace("$2", &event.to_string())
}

/// Writers that append to their own streams, at the store that accepts them, and record the acknowledged events.
struct Writers {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU32>,
    threads: Vec<thread::JoinHandle<Result<Vec<String>>>>,
}

impl Writers {
    fn start(stores: &[Database; 2], house: &House) -> Result<Self> {
        let (stop, written) = (Arc::<AtomicBool>::default(), Arc::<AtomicU32>::default());
        let threads = (10..14).map(|stream| {
            let urls = [stores[0].url(), stores[1].url()];
            let (stop, written) = (Arc::clone(&stop), Arc::clone(&written));
            let insert = house.insert;
            thread::spawn(move || writes(stream, &urls, insert, &stop, &written))
        });
        let writers = Self { threads: threads.collect(), stop, written };
        writers.writes(20)?;
        Ok(writers)
    }

    /// Waits until they have written so much more.
    fn writes(&self, more: u32) -> Result<()> {
        let goal = self.written.load(Ordering::Relaxed) + more;
        wait_for("the writers", || {
            let ended = self.threads.iter().any(thread::JoinHandle::is_finished);
            ensure!(!ended, "a writer ended");
            Ok((self.written.load(Ordering::Relaxed) >= goal).then_some(()))
        })
    }

    /// The acknowledged events, as `STREAM/EVENT`.
    fn end(self) -> Result<Vec<String>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for thread in self.threads {
            all.extend(thread.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??);
        }
        Ok(all)
    }
}

/// One writer, with one stream: it sends each event until a store accepts it.
#[tokio::main(flavor = "current_thread")]
async fn writes(
    stream: u32,
    urls: &[String; 2],
    insert: &str,
    stop: &AtomicBool,
    written: &AtomicU32,
) -> Result<Vec<String>> {
    let mut sessions = Vec::new();
    for url in urls {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
        tokio::spawn(connection);
        client.batch_execute("SET search_path = public, log").await?;
        sessions.push(client);
    }
    let (mut at, mut event) = (0, 1);
    while !stop.load(Ordering::Relaxed) {
        // No faster than a move can follow on a busy machine.
        tokio::time::sleep(REST).await;
        match sessions[at].batch_execute(&filled(insert, stream, event)).await {
            Ok(()) => {
                written.fetch_add(1, Ordering::Relaxed);
                event += 1;
            }
            Err(error) => {
                let code = error.code().map_or("", |code| code.code()).to_owned();
                ensure!(["RH001", "40001"].contains(&&*code), "event {event}: {code} {error:?}");
                // The tenant is elsewhere: this writer's routing is to try the other store.
                at = if code == "RH001" { 1 - at } else { at };
            }
        }
    }
    Ok((1..event).map(|event| format!("{stream}/{event}")).collect())
}
