//! A tenant moves between tables of two layouts, with other names, other orders of columns and other schemas, and returns,
//! while writers in plain SQL that do not use rehome insert into whichever table takes it. The tables are compared by the
//! test's own SQL, part by part.

mod own;
mod tables;
mod writers;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use rehome_cluster::Database;
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;

use tables::{Table, entries, entries_in_a_file, entries_in_texts, shop, shop_in_a_file};
use writers::{Writers, filled};

use crate::harness;

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
            let _ = write!(
                config,
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
        let named = "every column arrives: \"at\" to \"When\", \"body\" to \"content\", \"customer\" to \"owner of\"";
        ensure!(plan.split_whitespace().collect::<Vec<_>>().join(" ").contains(named), "{plan}");
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
        self.run(&["store", "verify", NAMES[1]])?;
        Ok(())
    }
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
