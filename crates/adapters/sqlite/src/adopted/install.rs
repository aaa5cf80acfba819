//! Putting the guard beside a table, and taking it out again.

use rehome_domain::event::Timestamp;
use rehome_domain::layout::{ColumnKind, Layout};
use rehome_ports::FaultKind;
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};

use super::cell::kind_of;
use super::render::{PREFIX, Sql};
use super::row::RowReader;
use super::shape::{Column, Shape, not_set_up};
use crate::error::FileError;
use crate::schema::{self, Kind};

type Done<T> = Result<T, FileError>;

/// All objects of the guard, in the order of their removal.
const TABLES: [&str; 8] =
    ["log_anchors", "clashes", "leaving", "arrivals", "positions", "tenants", "installed", "meta"];

/// The table as statements are made of it.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) sql: Sql,
    pub(super) rows: RowReader,
}

/// What was installed, for comparison with the present objects.
#[derive(Debug, PartialEq, Eq)]
struct Installed {
    layout: String,
    columns: String,
    triggers: String,
}

impl Installed {
    fn of(table: &Table, layout: &Layout) -> Self {
        Self {
            layout: format!("{layout:?}"),
            columns: table.rows.names().collect::<Vec<_>>().join("\n"),
            triggers: table.sql.triggers.join(";\n"),
        }
    }

    fn read(conn: &Connection) -> Done<Self> {
        let sql = "SELECT layout, columns, triggers FROM rehome_guard_installed";
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Self { layout: row.get(0)?, columns: row.get(1)?, triggers: row.get(2)? })
        };
        conn.prepare_cached(sql)?
            .query_row([], read)
            .optional()?
            .ok_or_else(|| FileError::corrupt("nothing in the table rehome_guard_installed"))
    }

    /// The kinds of the copied columns of `shape`, by what was installed; `None`: it has the texts of SQLite.
    fn kinds(
        &self,
        conn: &Connection,
        shape: &Shape,
        layout: &Layout,
    ) -> Done<Option<Vec<ColumnKind>>> {
        let sql = "SELECT kinds FROM rehome_guard_installed";
        let kinds: Option<String> = conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        let Some(kinds) = kinds else { return Ok(None) };
        let known: Vec<(&str, &str)> = self.columns.lines().zip(kinds.lines()).collect();
        let kind = |column: &Column| {
            let found = known.iter().find(|(name, _)| *name == column.name);
            let (_, kind) = found.ok_or_else(|| {
                FileError::corrupt(format!("no kind of column \"{}\" was recorded", column.name))
            })?;
            Ok(kind.parse().unwrap_or_else(|_| ColumnKind::Other((*kind).to_owned())))
        };
        shape.row_columns(layout).into_iter().map(kind).collect::<Done<_>>().map(Some)
    }
}

/// The table as it is now, as a new guard would have it.
fn table(conn: &Connection, layout: &Layout) -> Done<(Shape, Table)> {
    let shape = shape(conn, layout)?;
    let columns = shape.row_columns(layout).into_iter();
    let kinds = columns.map(|column| kind_of(column, layout)).collect();
    let table = made(&shape, layout, Some(kinds))?;
    Ok((shape, table))
}

fn shape(conn: &Connection, layout: &Layout) -> Done<Shape> {
    let shape = Shape::of(conn, layout)?.ok_or_else(|| {
        not_set_up(format!(
            "it has no table \"{}\", which layout {} names",
            layout.table, layout.name
        ))
    })?;
    let refused = shape.refused(layout);
    if !refused.is_empty() {
        return Err(not_set_up(format!(
            "its table \"{}\" cannot be adopted: {}",
            shape.table,
            refused.join("; ")
        )));
    }
    Ok(shape)
}

fn made(shape: &Shape, layout: &Layout, kinds: Option<Vec<ColumnKind>>) -> Done<Table> {
    let rows = RowReader::new(shape, layout, kinds)?;
    let sql = Sql::new(shape, layout, &rows)?;
    Ok(Table { sql, rows })
}

/// The table of a store that was adopted; refuses another layout than that of then. A column that came later is in
/// no digest, so it is not read.
pub(super) fn open(conn: &Connection, layout: &Layout) -> Done<Table> {
    let installed = Installed::read(conn)?;
    if installed.layout != format!("{layout:?}") {
        return Err(FileError::Kind(FaultKind::Foreign(format!(
            "its guard was installed for another layout than {}; release the store with that layout, and adopt it \
             again",
            layout.name
        ))));
    }
    let mut shape = shape(conn, layout)?;
    let then: Vec<&str> = installed.columns.lines().collect();
    let later: Vec<String> = shape
        .row_columns(layout)
        .into_iter()
        .map(|column| column.name.clone())
        .filter(|name| !then.contains(&name.as_str()))
        .collect();
    shape.columns.retain(|column| !later.contains(&column.name));
    let kinds = installed.kinds(conn, &shape, layout)?;
    made(&shape, layout, kinds)
}

/// What an installation does, a sentence each, in order.
pub(super) fn plan(conn: &Connection, layout: &Layout) -> Done<Vec<String>> {
    let (shape, table) = table(conn, layout)?;
    if !is_there(conn)? {
        refuse_taken_names(conn)?;
    }
    let travels: Vec<&str> = table.rows.names().collect();
    let mut steps = vec![
        format!("the tables {}", TABLES.map(|name| format!("{PREFIX}{name}")).join(", ")),
        format!("triggers on \"{}\": {}", shape.table, table.sql.trigger_names.join(", ")),
        format!("a row is identified by {}", table.sql.position),
        format!("the copied columns are {}", travels.join(", ")),
        format!("PostgreSQL's table of the layout has them as {}", kinds(&table)),
    ];
    let left = shape.columns.iter().filter(|column| !travels.contains(&column.name.as_str()));
    let left: Vec<&str> = left.map(|column| column.name.as_str()).collect();
    steps.push(format!("the target computes: {}", left.join(", ")));
    steps.extend(shape.warned(layout).into_iter().map(|warning| format!("note: {warning}")));
    Ok(steps)
}

/// The columns' kinds for an operator: a tenant moves to PostgreSQL where its table has the same.
fn kinds(table: &Table) -> String {
    let columns = table.rows.form().columns.iter();
    columns.map(|it| format!("{} {}", it.name, it.kind)).collect::<Vec<_>>().join(", ")
}

pub(super) fn is_there(conn: &Connection) -> Done<bool> {
    schema::is_marked(conn, Kind::Guard)
}

fn refuse_taken_names(conn: &Connection) -> Done<()> {
    let sql =
        "SELECT name FROM sqlite_schema WHERE name LIKE 'rehome\\_guard\\_%' ESCAPE '\\' LIMIT 1";
    match conn.query_row(sql, [], |row| row.get::<_, String>(0)).optional()? {
        None => Ok(()),
        Some(name) => {
            Err(not_set_up(format!("it has a \"{name}\" that rehome did not create; rename it")))
        }
    }
}

/// Installs the guard in one transaction. Done already, by the same layout: nothing.
pub(super) fn adopt(
    conn: &mut Connection,
    layout: &Layout,
    deployment: &str,
    now: Timestamp,
) -> Done<()> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Some(meta) = schema::identify(&tx, Kind::Guard)? {
        meta.check_deployment(deployment)?;
        return open(&tx, layout).map(drop);
    }
    refuse_taken_names(&tx)?;
    let (_, table) = table(&tx, layout)?;
    schema::install(&tx, Kind::Guard, deployment, now)?;
    for trigger in &table.sql.triggers {
        tx.execute_batch(trigger)?;
    }
    let Installed { layout, columns, triggers } = Installed::of(&table, layout);
    let kinds = table.rows.form().columns.iter().map(|column| column.kind.to_string());
    let kinds = kinds.collect::<Vec<_>>().join("\n");
    let sql = "INSERT INTO rehome_guard_installed (id, layout, columns, triggers, kinds) VALUES (1, ?1, ?2, ?3, ?4)";
    tx.execute(sql, (layout, columns, triggers, kinds))?;
    tx.commit().map_err(FileError::Commit)
}

/// Changes since the installation, a sentence each.
pub(super) fn changes(conn: &Connection, layout: &Layout) -> Done<Vec<String>> {
    let installed = Installed::read(conn)?;
    let (_, now) = match table(conn, layout) {
        Ok(table) => table,
        Err(FileError::Kind(FaultKind::NotSetUp(why))) => return Ok(vec![why]),
        Err(error) => return Err(error),
    };
    if Installed::of(&now, layout) != installed {
        return Ok(vec![format!(
            "table \"{}\" has changed columns or keys since it was adopted; release the store and adopt it again",
            layout.table
        )]);
    }
    let sql = "SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND name = ?1";
    let mut statement = conn.prepare_cached(sql)?;
    for (name, trigger) in now.sql.trigger_names.iter().zip(&now.sql.triggers) {
        let there = statement.query_row([name], |row| row.get::<_, String>(0)).optional()?;
        if there.as_ref() != Some(trigger) {
            return Ok(vec![format!(
                "trigger {name} was changed since installation; rows may be missing from the guard: no tenant is \
                 switched until the store is released and adopted again"
            )]);
        }
    }
    Ok(Vec::new())
}

/// Removes everything; restores the schema. Refused while a tenant lives elsewhere, unless no old writer
/// is left.
pub(super) fn release(conn: &mut Connection, no_writers_left: bool) -> Done<Vec<String>> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if !is_there(&tx)? {
        return Err(not_set_up("it is not adopted"));
    }
    let kept = kept(&tx)?;
    if !kept.is_empty() && !no_writers_left {
        return Err(not_set_up(format!(
            "it still refuses tenants that live elsewhere: {}; without the guard it would accept an old writer's rows, \
             and lose them. If no such writer is left: --no-writers-left --reason",
            kept.join(", ")
        )));
    }
    let triggers: Vec<String> = tx
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name LIKE 'rehome\\_guard\\_%' ESCAPE '\\'")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for name in &triggers {
        tx.execute_batch(&format!("DROP TRIGGER {}", super::shape::quoted(name)))?;
    }
    for name in TABLES {
        tx.execute_batch(&format!("DROP TABLE IF EXISTS {PREFIX}{name}"))?;
    }
    tx.commit().map_err(FileError::Commit)?;
    Ok(vec![
        format!("dropped the triggers {}", triggers.join(", ")),
        format!("dropped the tables {}", TABLES.map(|name| format!("{PREFIX}{name}")).join(", ")),
    ])
}

/// The tenants that keep a store from being released: those that it is not the authority of.
fn kept(tx: &Transaction<'_>) -> Done<Vec<String>> {
    let sql =
        "SELECT key, role FROM rehome_guard_tenants WHERE role <> 'active' ORDER BY key LIMIT 20";
    let mut statement = tx.prepare(sql)?;
    let named = statement.query_map([], |row| {
        Ok(format!("{} ({})", row.get::<_, String>(0)?, row.get::<_, String>(1)?))
    })?;
    Ok(named.collect::<Result<_, _>>()?)
}
