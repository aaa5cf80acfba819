//! The guard's statements for one table, rendered with the layout's names.
//!
//! The triggers run in the SQLite library of the program that writes the table, which parses the whole schema: they need only
//! SQLite 3.8.2. Their messages contain no column name and none of the words by which a library
//! recognises a conflict of versions.

use rehome_domain::layout::{Layout, TenantPart};

use super::row::RowReader;
use super::shape::{Key, Shape, not_set_up, quoted};
use crate::error::FileError;

/// The prefix of all names of the guard.
pub(super) const PREFIX: &str = "rehome_guard_";

const MOVED: &str = "RH001 rehome: this tenant is no longer written in this file; look up where it is now, and \
                     write there";
const COPY: &str = "RH001 rehome: this file has a copy of this tenant, which only its migration writes; look up \
                    where the tenant is, and write there";
const KEPT: &str = "RH002 rehome: rows of a tenant that rehome guards cannot be changed, replaced or deleted; do it \
                    when no migration of the tenant is running";
const SWITCHED: &str = "RH003 rehome: this tenant is being switched to another file; repeat the transaction in a \
                        moment, in the tenant's new file";
const BEHIND: &str = "RH007 rehome: readers may have passed the given position; leave it to \
                      the database";

/// Statements over one table.
#[derive(Debug)]
pub(super) struct Sql {
    /// The statements that make the triggers.
    pub(super) triggers: Vec<String>,
    /// Names of the triggers.
    pub(super) trigger_names: Vec<String>,
    /// Puts a row in; its columns are the parameters.
    pub(super) insert: String,
    /// Removes the row at ?1.
    pub(super) delete: String,
    /// Rows of tenant ?1 after position ?2 up to ?3, ?4 of them: position, then the row.
    pub(super) history: String,
    /// Arrivals of tenant number ?1, ?2 of them: id, position, the position that is there, then the row.
    pub(super) arrivals: String,
    /// Puts the history of tenant ?1, number ?2, before all arrivals, each stream in the order of its versions.
    pub(super) order: String,
    /// Whether a stream of tenant ?1 has versions that contradict positions.
    pub(super) is_disordered: String,
    /// Places after ?1 up to ?2, ?3 of them: place, digest, the position that is there, then the row.
    pub(super) feed: String,
    /// Rows of the stream named by ?5 and on, from version ?3, with places from ?1 to ?2, ?4 of them: as above.
    pub(super) stream: String,
    /// The highest version of the stream, with the same parameters; ?3 and ?4 are not used.
    pub(super) stream_version: String,
    /// Streams with places from ?1 to ?2 after the one named ?4, ?5; rows up to ?3 are counted; ?6 of them.
    pub(super) streams: String,
    /// How many rows tenant ?1 has beyond position ?2, and the last one's position.
    pub(super) count: String,
    /// The highest position in the table.
    pub(super) last: String,
    /// The names of all tenants.
    pub(super) keys: String,
    /// The position's column.
    pub(super) position: String,
}

impl Sql {
    pub(super) fn new(shape: &Shape, layout: &Layout, rows: &RowReader) -> Result<Self, FileError> {
        let table = quoted(&shape.table);
        let name = layout.position.as_deref().ok_or_else(|| not_set_up("no position"))?;
        let at = |alias: &str| format!("{alias}.{}", quoted(name));
        let position = at("t");
        let tenant = tenant(layout, "t");
        let row = rows.select("t");
        let version = format!("t.{}", quoted(&layout.version));
        let first = 1 - i64::from(layout.first_version);
        let stream_columns: Vec<String> = layout
            .stream_type
            .iter()
            .chain(&layout.stream_id)
            .map(|name| format!("t.{}", quoted(name)))
            .collect();
        let partition = stream_columns.join(", ");
        let is_stream: Vec<String> = stream_columns
            .iter()
            .enumerate()
            .map(|(n, column)| format!("{column} = ?{} COLLATE BINARY", n + 5))
            .collect();
        let is_stream = is_stream.join(" AND ");
        let joined =
            "JOIN rehome_guard_positions AS p ON p.position = {at} AND p.place BETWEEN ?1 AND ?2"
                .replace("{at}", &position);
        let stream_type = layout.stream_type.as_ref().map_or_else(
            || "'stream'".to_owned(),
            |name| format!("CAST(t.{} AS TEXT)", quoted(name)),
        );
        let ids = layout.stream_id.iter().map(|name| format!("CAST(t.{} AS TEXT)", quoted(name)));
        let stream_id = ids.collect::<Vec<_>>().join(" || '/' || ");
        let columns: Vec<String> = rows.names().map(quoted).collect();
        let values: Vec<String> = (1..=columns.len()).map(|n| format!("?{n}")).collect();
        let triggers = triggers(shape, layout, name);
        let trigger_names = triggers.iter().map(|(name, _)| name.clone()).collect();
        Ok(Self {
            triggers: triggers.into_iter().map(|(_, sql)| sql).collect(),
            trigger_names,
            insert: format!(
                "INSERT INTO {table} ({}) VALUES ({})",
                columns.join(", "),
                values.join(", ")
            ),
            delete: format!("DELETE FROM {table} AS t WHERE {position} = ?1"),
            history: format!(
                "SELECT {position}, {row} FROM {table} AS t \
                 WHERE {tenant} = ?1 AND {position} > ?2 AND {position} <= ?3 ORDER BY {position} LIMIT ?4"
            ),
            arrivals: format!(
                "SELECT a.id, a.position, {position}, {row} FROM rehome_guard_arrivals AS a \
                 LEFT JOIN {table} AS t ON {position} = a.position \
                 WHERE a.tenant_no = ?1 ORDER BY a.id LIMIT ?2"
            ),
            order: format!(
                "INSERT INTO rehome_guard_arrivals (id, tenant_no, position) \
                 SELECT (SELECT coalesce(min(a.id), 0) FROM rehome_guard_arrivals AS a WHERE a.id < 0) \
                     + row_number() OVER (ORDER BY h.place, h.version, h.position) - count(*) OVER () - 1, \
                     ?2, h.position \
                 FROM (SELECT {position} AS position, {version} AS version, \
                           max({position}) OVER (PARTITION BY {partition} ORDER BY {version}) AS place \
                       FROM {table} AS t WHERE {tenant} = ?1 AND {position} <= ?3) AS h"
            ),
            is_disordered: format!(
                "SELECT EXISTS (SELECT 1 FROM (SELECT {position} AS position, \
                     lag({position}) OVER (PARTITION BY {partition} ORDER BY {version}) AS earlier \
                 FROM {table} AS t WHERE {tenant} = ?1 AND {position} <= ?2) WHERE earlier > position)"
            ),
            feed: format!(
                "SELECT p.place, p.digest, {position}, {row} FROM rehome_guard_positions AS p \
                 LEFT JOIN {table} AS t ON {position} = p.position \
                 WHERE p.place > ?1 AND p.place <= ?2 ORDER BY p.place LIMIT ?3"
            ),
            stream: format!(
                "SELECT p.place, p.digest, {position}, {row} FROM {table} AS t {joined} \
                 WHERE {is_stream} AND {version} + {first} >= ?3 ORDER BY {version} LIMIT ?4"
            ),
            stream_version: format!(
                "SELECT coalesce(max({version}) + {first}, 0) FROM {table} AS t {joined} \
                 WHERE {is_stream}"
            ),
            streams: format!(
                "SELECT s.stream_type, s.stream_id, s.version, s.events, s.last FROM ( \
                     SELECT r.stream_type, r.stream_id, max(r.version) AS version, \
                         sum(r.place <= ?3) AS events, \
                         max(CASE WHEN r.place <= ?3 THEN r.version END) AS last \
                     FROM (SELECT p.place, {stream_type} AS stream_type, {stream_id} AS stream_id, \
                               {version} + {first} AS version \
                           FROM rehome_guard_positions AS p JOIN {table} AS t ON {position} = p.position \
                           WHERE p.place BETWEEN ?1 AND ?2) AS r \
                     WHERE (r.stream_type, r.stream_id) > (?4, ?5) \
                     GROUP BY r.stream_type, r.stream_id) AS s \
                 WHERE s.events > 0 ORDER BY s.stream_type, s.stream_id LIMIT ?6"
            ),
            count: format!(
                "SELECT count(*), max({position}) FROM {table} AS t WHERE {tenant} = ?1 AND {position} > ?2"
            ),
            last: format!("SELECT coalesce(max({position}), 0) FROM {table} AS t"),
            keys: format!("SELECT DISTINCT {tenant} FROM {table} AS t WHERE {tenant} IS NOT NULL"),
            position: name.to_owned(),
        })
    }
}

/// Whose the row called `alias` is.
fn tenant(layout: &Layout, alias: &str) -> String {
    match &layout.tenant {
        TenantPart::Column(name) | TenantPart::Json { column: name, .. } => {
            format!("{alias}.{}", quoted(name))
        }
        TenantPart::Prefix { separator } => {
            let first = layout.stream_id.first().map_or("", String::as_str);
            let (stream, separator) = (format!("{alias}.{}", quoted(first)), literal(separator));
            format!(
                "CASE WHEN instr({stream}, {separator}) > 0 \
                 THEN substr({stream}, 1, instr({stream}, {separator}) - 1) END"
            )
        }
    }
}

pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The triggers by their names.
///
/// INSERT OR REPLACE removes rows, and fires no trigger for them unless the writer enables it. The rows that it will
/// remove are recorded before, and checked after: a row that clashed and is gone, or whose place is taken, was replaced.
fn triggers(shape: &Shape, layout: &Layout, position: &str) -> Vec<(String, String)> {
    let table = quoted(&shape.table);
    let (new, old) = (tenant(layout, "NEW"), tenant(layout, "OLD"));
    let raise = |text: &str| format!("RAISE(ABORT, {})", literal(text));
    let role = format!(
        "CASE g.role WHEN 'replica' THEN {} WHEN 'absent' THEN {} \
         ELSE CASE g.settled WHEN 1 THEN {} ELSE {} END END",
        raise(COPY),
        raise(MOVED),
        raise(MOVED),
        raise(SWITCHED)
    );
    let behind = raise(BEHIND);
    let kept = raise(KEPT);
    let at = quoted(position);
    let keys = shape.keys.iter().map(|key| same(key, "e", "NEW"));
    let keys = keys.chain([format!("e.{at} = NEW.{at}")]);
    let theirs = tenant(layout, "e");
    let clashes: Vec<String> = keys
        .map(|same| {
            format!(
                "INSERT INTO rehome_guard_clashes (position) SELECT e.{at} FROM {table} AS e WHERE {same} \
                 AND EXISTS (SELECT 1 FROM rehome_guard_tenants AS g WHERE g.key = {theirs}) \
                 AND NOT EXISTS (SELECT 1 FROM rehome_guard_clashes AS c WHERE c.position = e.{at});\n"
            )
        })
        .collect();
    let clashes = clashes.concat();
    let replaced = format!(
        "SELECT {kept} WHERE EXISTS (SELECT 1 FROM rehome_guard_clashes AS c WHERE c.position = NEW.{at} \
         OR NOT EXISTS (SELECT 1 FROM {table} AS e WHERE e.{at} = c.position));\n"
    );
    [
        (
            "insert",
            "BEFORE INSERT",
            format!(
                "SELECT {role} FROM rehome_guard_tenants AS g WHERE g.key = {new} AND g.role <> 'active';\n{clashes}"
            ),
        ),
        (
            "note",
            "AFTER INSERT",
            format!(
                "{replaced}\
                 SELECT CASE WHEN g.role <> 'active' THEN {role} WHEN NEW.{at} <= g.floor THEN {behind} END \
                 FROM rehome_guard_tenants AS g WHERE g.key = {new};\n\
                 INSERT INTO rehome_guard_arrivals (tenant_no, position) SELECT g.tenant_no, NEW.{at} \
                 FROM rehome_guard_tenants AS g WHERE g.key = {new};\n"
            ),
        ),
        (
            "update",
            "BEFORE UPDATE",
            format!(
                "SELECT {kept} FROM rehome_guard_tenants AS g WHERE g.key = {old} OR g.key = {new};\n{clashes}"
            ),
        ),
        ("updated", "AFTER UPDATE", replaced.clone()),
        (
            "delete",
            "BEFORE DELETE",
            format!("SELECT {kept} FROM rehome_guard_tenants AS g WHERE g.key = {old};\n"),
        ),
    ]
    .into_iter()
    .map(|(name, when, body)| {
        let name = format!("{PREFIX}{name}");
        let sql = format!("CREATE TRIGGER {name} {when} ON {table} FOR EACH ROW BEGIN\n{body}END");
        (name, sql)
    })
    .collect()
}

/// Whether two rows share a key.
fn same(key: &Key, one: &str, other: &str) -> String {
    let parts = key.parts.iter().filter_map(|(name, coll)| {
        let name = quoted(name.as_deref()?);
        Some(format!("{one}.{name} = {other}.{name} COLLATE {coll}"))
    });
    parts.collect::<Vec<_>>().join(" AND ")
}
