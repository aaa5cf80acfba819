//! The form of another library's table, and whether it can be guarded.

use rehome_domain::layout::{Layout, TenantPart};
use rehome_ports::FaultKind;
use rusqlite::{Connection, OptionalExtension as _};

use crate::error::FileError;

type Read<T> = Result<T, FileError>;

/// How SQLite stores values of a column (datatype3.html, chapter 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Affinity {
    Integer,
    Text,
    Blob,
    Real,
    Numeric,
}

impl Affinity {
    fn of(declared: &str) -> Self {
        let declared = declared.to_ascii_uppercase();
        let has = |words: &[&str]| words.iter().any(|word| declared.contains(word));
        if has(&["INT"]) {
            Self::Integer
        } else if has(&["CHAR", "CLOB", "TEXT"]) {
            Self::Text
        } else if declared.is_empty() || has(&["BLOB"]) {
            Self::Blob
        } else if has(&["REAL", "FLOA", "DOUB"]) {
            Self::Real
        } else {
            Self::Numeric
        }
    }
}

/// A column of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) affinity: Affinity,
    pub(super) declared: String,
    not_null: bool,
    /// Computed from the others.
    generated: bool,
    /// Part of the primary key.
    primary: bool,
}

/// A key that no two rows share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// Columns, with how they are compared. `None`: an expression.
    pub(super) parts: Vec<(Option<String>, String)>,
    partial: bool,
}

impl Key {
    fn columns(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|(name, _)| name.as_deref())
    }
}

/// The table, and its surroundings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) table: String,
    /// In the order of their names.
    pub(super) columns: Vec<Column>,
    pub(super) keys: Vec<Key>,
    /// The statement that made the table.
    sql: String,
    /// Other programs' triggers, with their statements.
    triggers: Vec<(String, String)>,
    /// Tables that refer to it.
    children: Vec<String>,
    /// Columns with which an index begins.
    indexed: Vec<String>,
}

impl Shape {
    /// Reads the table of a layout. `None`: there is none.
    pub(super) fn of(conn: &Connection, layout: &Layout) -> Read<Option<Self>> {
        let made =
            "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND lower(name) = lower(?1)";
        let found = conn
            .query_row(made, [&layout.table], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((table, sql)) = found else { return Ok(None) };
        let table: String = table;
        let mut shape = Self {
            columns: columns(conn, &table)?,
            keys: Vec::new(),
            sql,
            triggers: triggers(conn, &table)?,
            children: children(conn, &table)?,
            indexed: Vec::new(),
            table,
        };
        shape.look_at_indexes(conn)?;
        Ok(Some(shape))
    }

    fn look_at_indexes(&mut self, conn: &Connection) -> Read<()> {
        let mut list =
            conn.prepare("SELECT name, \"unique\", partial FROM pragma_index_list(?1)")?;
        let mut parts =
            conn.prepare("SELECT name, coll FROM pragma_index_xinfo(?1) WHERE key ORDER BY seqno")?;
        let mut found = list.query([&self.table])?;
        while let Some(row) = found.next()? {
            let (name, unique, partial): (String, bool, bool) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            let parts = parts.query_map([&name], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let parts = parts.collect::<Result<Vec<(Option<String>, String)>, _>>()?;
            self.indexed.extend(parts.first().and_then(|(first, _)| first.clone()));
            if unique {
                self.keys.push(Key { parts, partial });
            }
        }
        self.keys.sort_by(|a, b| a.parts.cmp(&b.parts));
        Ok(())
    }

    pub(super) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The copied columns of a row, in the order of their names: all except the position and those that the
    /// target computes.
    pub(super) fn row_columns(&self, layout: &Layout) -> Vec<&Column> {
        let travels = |column: &&Column| {
            !column.generated
                && layout.position.as_deref() != Some(&column.name)
                && !layout.anew.contains(&column.name)
        };
        self.columns.iter().filter(travels).collect()
    }

    /// What prevents guarding the table, a sentence each, with the remedy.
    pub(super) fn refused(&self, layout: &Layout) -> Vec<String> {
        let mut refused = Vec::new();
        let row: Vec<&str> = self.row_columns(layout).iter().map(|c| c.name.as_str()).collect();
        for name in named(layout) {
            if self.column(name).is_none() {
                refused.push(format!("it has no column \"{name}\", which the layout names"));
            } else if !row.contains(&name) {
                refused.push(format!(
                    "column \"{name}\" is computed or in anew, so it is not copied; name the one from which it is \
                     made of"
                ));
            }
        }
        if let Some((beside, _)) = layout.heads() {
            refused.push(format!(
                "the streams' heads in \"{}\" go with the events on PostgreSQL only",
                beside.table
            ));
        }
        if refused.is_empty() {
            self.refuse_columns(layout, &mut refused);
            self.refuse_position(layout, &mut refused);
            self.refuse_keys(layout, &mut refused);
            self.refuse_triggers(&mut refused);
        }
        refused
    }

    fn refuse_columns(&self, layout: &Layout, refused: &mut Vec<String>) {
        let of = |name: &str| self.column(name).map(|column| (column.affinity, column.not_null));
        let tenant = match &layout.tenant {
            TenantPart::Column(name) => Some(name.as_str()),
            TenantPart::Prefix { .. } => layout.stream_id.first().map(String::as_str),
            TenantPart::Json { .. } => None,
        };
        match tenant {
            None => refused.push(
                "the tenant is under a key of a JSON column, and the SQLite of the library that writes the table \
                 may not support JSON; put the tenant into a column of its own"
                    .to_owned(),
            ),
            Some(name) if of(name).is_some_and(|(affinity, _)| affinity != Affinity::Text) => {
                refused.push(format!("column \"{name}\", which names the tenant, is not declared as TEXT"));
            }
            Some(_) => {}
        }
        let is_count = |affinity| matches!(affinity, Affinity::Integer | Affinity::Numeric);
        if of(&layout.version).is_some_and(|(affinity, _)| !is_count(affinity)) {
            refused
                .push(format!("the version, \"{}\", is not declared as INTEGER", layout.version));
        }
        for name in streams(layout).chain([layout.version.as_str()]) {
            if of(name).is_some_and(|(_, not_null)| !not_null) {
                refused.push(format!("column \"{name}\" may be NULL; declare it NOT NULL"));
            }
        }
    }

    /// Only a position that SQLite draws and never draws again orders rows for readers.
    fn refuse_position(&self, layout: &Layout, refused: &mut Vec<String>) {
        let Some(name) = &layout.position else {
            refused.push("the layout names no position, which SQLite needs".to_owned());
            return;
        };
        let Some(column) = self.column(name) else {
            refused.push(format!("it has no column \"{name}\", which the layout names"));
            return;
        };
        let alone = self.columns.iter().filter(|column| column.primary).count() == 1;
        let is_rowid = column.primary && alone && column.declared.eq_ignore_ascii_case("INTEGER");
        if !(is_rowid && self.sql.to_ascii_uppercase().contains("AUTOINCREMENT")) {
            refused.push(format!(
                "the position, \"{name}\", is not INTEGER PRIMARY KEY AUTOINCREMENT: SQLite reuses the position of a \
                 deleted row, and readers would skip the new row"
            ));
        }
    }

    fn refuse_keys(&self, layout: &Layout, refused: &mut Vec<String>) {
        for key in &self.keys {
            let known = |(name, coll): &(Option<String>, String)| {
                name.is_some() && ["BINARY", "NOCASE", "RTRIM"].contains(&coll.as_str())
            };
            if key.partial || !key.parts.iter().all(known) {
                refused.push(format!(
                    "a unique index over ({}) is partial, contains an expression, or compares by rules of the \
                     application; INSERT OR REPLACE could remove rows without a trigger",
                    key.columns().collect::<Vec<_>>().join(", ")
                ));
            }
        }
        let tenant = match &layout.tenant {
            TenantPart::Column(name) => Some(name.as_str()),
            TenantPart::Json { .. } | TenantPart::Prefix { .. } => None,
        };
        let may: Vec<&str> =
            streams(layout).chain([layout.version.as_str()]).chain(tenant).collect();
        let tells_apart = |key: &Key| {
            let has: Vec<&str> = key.columns().collect();
            has.contains(&layout.version.as_str())
                && layout.stream_id.iter().all(|name| has.contains(&name.as_str()))
                && has.iter().all(|name| may.contains(name))
        };
        if !self.keys.iter().any(tells_apart) {
            refused.push(format!(
                "no unique key prevents two events of a stream with one version; create one: CREATE UNIQUE INDEX \
                 ... ON \"{}\" ({})",
                self.table,
                streams(layout).chain([layout.version.as_str()]).collect::<Vec<_>>().join(", ")
            ));
        }
    }

    /// A trigger that changes rows behind the guard's back would have its writers refused.
    fn refuse_triggers(&self, refused: &mut Vec<String>) {
        for (name, sql) in &self.triggers {
            if self.changes_rows(sql) {
                refused.push(format!(
                    "trigger \"{name}\" may change rows of the table after they were inserted, which the guard refuses; drop \
                     it while the table is adopted"
                ));
            }
        }
    }

    fn changes_rows(&self, sql: &str) -> bool {
        let words: Vec<String> = sql
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .map(str::to_ascii_lowercase)
            .collect();
        let body = words.iter().position(|word| word == "begin").unwrap_or_default();
        let has = |word: &str| words[body..].iter().any(|other| other == word);
        has(&self.table.to_ascii_lowercase())
            && ["update", "delete", "replace"].into_iter().any(has)
    }

    /// Remarks for an operator.
    pub(super) fn warned(&self, layout: &Layout) -> Vec<String> {
        let mut warned = Vec::new();
        for (name, _) in self.triggers.iter().filter(|(_, sql)| !self.changes_rows(sql)) {
            warned.push(format!(
                "trigger \"{name}\" does not fire for rows that are copied or purged"
            ));
        }
        for child in &self.children {
            warned.push(format!("table \"{child}\" refers to it; its rows are not copied"));
        }
        match &layout.tenant {
            TenantPart::Column(name) => {
                if self.column(name).is_some_and(|column| !column.not_null) {
                    warned.push(format!("rows without \"{name}\" are not guarded and never move"));
                }
                if !self.indexed.contains(name) {
                    warned.push(format!(
                        "no index starts with \"{name}\": each read of a tenant's history reads the whole table"
                    ));
                }
            }
            TenantPart::Json { .. } | TenantPart::Prefix { .. } => warned.push(
                "no column has the tenant: each read of a tenant's history reads the whole table"
                    .to_owned(),
            ),
        }
        warned
    }
}

/// The columns that the layout names for parts of an event.
fn named(layout: &Layout) -> Vec<&str> {
    let tenant = match &layout.tenant {
        TenantPart::Column(name) | TenantPart::Json { column: name, .. } => Some(name),
        TenantPart::Prefix { .. } => None,
    };
    let some = [&layout.event_id, &layout.occurred_at, &layout.recorded_at, &layout.metadata];
    tenant
        .into_iter()
        .chain(some.into_iter().flatten())
        .map(String::as_str)
        .chain(streams(layout))
        .chain([layout.version.as_str(), layout.event_type.as_str(), layout.data.as_str()])
        .collect()
}

/// The columns that name a stream.
fn streams(layout: &Layout) -> impl Iterator<Item = &str> {
    layout.stream_type.iter().chain(&layout.stream_id).map(String::as_str)
}

fn columns(conn: &Connection, table: &str) -> Read<Vec<Column>> {
    let sql = "SELECT name, type, \"notnull\", hidden, pk FROM pragma_table_xinfo(?1)";
    let mut statement = conn.prepare(sql)?;
    let read = statement.query_map([table], |row| {
        let declared: String = row.get(1)?;
        Ok(Column {
            name: row.get(0)?,
            affinity: Affinity::of(&declared),
            declared,
            not_null: row.get(2)?,
            generated: row.get::<_, i64>(3)? > 1,
            primary: row.get::<_, i64>(4)? > 0,
        })
    })?;
    let mut columns = read.collect::<Result<Vec<_>, _>>()?;
    columns.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(columns)
}

fn triggers(conn: &Connection, table: &str) -> Read<Vec<(String, String)>> {
    let sql = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND lower(tbl_name) = lower(?1) \
               AND name NOT LIKE 'rehome\\_guard\\_%' ESCAPE '\\' ORDER BY name";
    let mut statement = conn.prepare(sql)?;
    let found = statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(found.collect::<Result<_, _>>()?)
}

fn children(conn: &Connection, table: &str) -> Read<Vec<String>> {
    let sql = "SELECT DISTINCT m.name FROM sqlite_schema AS m, pragma_foreign_key_list(m.name) AS f \
               WHERE m.type = 'table' AND lower(f.\"table\") = lower(?1) ORDER BY m.name";
    let mut statement = conn.prepare(sql)?;
    let found = statement.query_map([table], |row| row.get(0))?;
    Ok(found.collect::<Result<_, _>>()?)
}

pub(crate) fn not_set_up(why: impl Into<String>) -> FileError {
    FileError::Kind(FaultKind::NotSetUp(why.into()))
}

/// A name as SQL writes it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
