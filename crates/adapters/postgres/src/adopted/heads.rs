//! Streams' heads: a table of the library's with a row for each stream, which says how long it is. A copy writes the
//! rows of its events' streams, and a cut takes them back, each in its own transaction.

use std::collections::BTreeMap;

use rehome_domain::layout::{Beside, Heads, Layout, TenantPart};
use tokio_postgres::types::{ToSql, Type};

use super::kept::Values;
use super::render;
use super::shape::{Shape, not_set_up, qualified};
use crate::rows::Read;
use crate::schema::names::quoted;
use crate::server::{Client, Transaction};

/// What statements about heads are made of.
#[derive(Clone, Debug)]
pub(super) struct Headed {
    /// Writes the heads of some streams: an array for each column.
    put: String,
    /// Of the columns that travel with an event: which name its stream, and which has the version.
    key: Vec<usize>,
    version: usize,
    /// How many columns travel behind those of the event.
    pub(super) travels: usize,
}

/// The pairs of columns by which a head `h` is that of row `t`.
fn key<'a>(layout: &'a Layout, heads: &'a Heads) -> Vec<(&'a str, &'a str)> {
    let named = heads.stream_id.iter().zip(&layout.stream_id);
    let same = heads.same.iter().map(|name| (name, name));
    named.chain(same).map(|(head, row)| (head.as_str(), row.as_str())).collect()
}

fn table(layout: &Layout, beside: &Beside) -> String {
    format!("{}.{}", quoted(&layout.schema), quoted(&beside.table))
}

fn matches(key: &[(&str, &str)], alias: &str) -> String {
    let pairs =
        key.iter().map(|(head, row)| format!("h.{} = {alias}.{}", quoted(head), quoted(row)));
    pairs.collect::<Vec<_>>().join(" AND ")
}

/// What travels of the head of row `t`, as texts.
pub(super) fn travelling(layout: &Layout) -> Vec<String> {
    let Some((beside, heads)) = layout.heads() else { return Vec::new() };
    let (table, matches) = (table(layout, beside), matches(&key(layout, heads), "t"));
    let one = |name: &String| {
        format!("(SELECT h.{}::text FROM {table} AS h WHERE {matches})", quoted(name))
    };
    heads.travels.iter().map(one).collect()
}

/// The table, if the layout has one, as SQL names it.
pub(super) fn in_text(layout: &Layout) -> Option<String> {
    layout.heads().map(|(beside, _)| table(layout, beside))
}

/// The table's name, if it has a row of the tenant `v_key`; else NULL.
pub(super) fn of_tenant(layout: &Layout) -> String {
    let (Some((beside, heads)), Some(tenant)) = (layout.heads(), layout.tenant_of_heads()) else {
        return "NULL::text".to_owned();
    };
    let is_tenant = match tenant {
        TenantPart::Prefix { separator } => {
            let first = heads.stream_id.first().map_or("", String::as_str);
            render::begins_with_tenant(&format!("h.{}", quoted(first)), &separator)
        }
        TenantPart::Column(name) | TenantPart::Json { column: name, .. } => {
            format!("h.{}::text COLLATE \"C\" = v_key", quoted(&name))
        }
    };
    let table = table(layout, beside);
    let name = render::escaped(&table);
    format!("(SELECT {name}::text FROM {table} AS h WHERE {is_tenant} LIMIT 1)")
}

/// What comes behind the deletion of rows `t`: a head of a stream that has rows left gets the version of its last, and that of
/// a stream without rows goes.
pub(super) fn cut(layout: &Layout, delete: &str) -> String {
    let Some((beside, heads)) = layout.heads() else { return format!("{delete};") };
    let key = key(layout, heads);
    let (table, matches) = (table(layout, beside), matches(&key, "l"));
    let same = key.iter().map(|(_, row)| format!("e.{0} = g.{0}", quoted(row)));
    let same = same.collect::<Vec<_>>().join(" AND ");
    let events = qualified(layout);
    let names: Vec<_> = key.iter().map(|(_, row)| quoted(row)).collect();
    let of_row: Vec<_> = names.iter().map(|name| format!("t.{name}")).collect();
    let (names, of_row) = (names.join(", "), of_row.join(", "));
    let (of_events, of_head) = (quoted(&layout.version), quoted(&heads.version));
    // This statement still sees the rows that it deletes: they are those from the lowest of them on.
    format!(
        "WITH gone AS ({delete} RETURNING {of_row}, t.{of_events}),\n    \
         g AS (SELECT {names}, min({of_events}) AS lowest FROM gone GROUP BY {names}),\n    \
         l AS (SELECT g.*, (SELECT max(e.{of_events}) FROM {events} AS e WHERE {same} AND e.{of_events} < g.lowest) \
             AS last FROM g),\n    \
         shorter AS (UPDATE {table} AS h SET {of_head} = l.last FROM l WHERE {matches} AND l.last IS NOT NULL)\n    \
         DELETE FROM {table} AS h USING l WHERE {matches} AND l.last IS NULL;"
    )
}

impl Headed {
    /// Looks at the table of the heads, if the layout has one. `row_columns`: those that travel with an event.
    pub(super) async fn of(
        client: &mut Client,
        layout: &Layout,
        row_columns: &[String],
    ) -> Read<Option<Self>> {
        let Some((beside, heads)) = layout.heads() else { return Ok(None) };
        let mut named = layout.clone();
        named.table = beside.table.clone();
        let shape = Shape::of(client, &named).await?;
        let key = key(layout, heads);
        let place = |name: &str| {
            row_columns.iter().position(|column| column == name).ok_or_else(|| {
                not_set_up(format!(
                    "column \"{name}\" does not travel, and the heads of streams need it"
                ))
            })
        };
        let places = key.iter().map(|(_, row)| place(row)).collect::<Read<Vec<_>>>()?;
        let columns = key.iter().map(|(head, _)| *head).chain([heads.version.as_str()]);
        let columns: Vec<&str> = columns.chain(heads.travels.iter().map(String::as_str)).collect();
        let names: Vec<_> = columns.iter().map(|name| quoted(name)).collect();
        let cast = columns
            .iter()
            .enumerate()
            .map(|(n, name)| Ok(format!("x.c{}::{}", n + 1, shape.column(name)?.kind)));
        let cast = cast.collect::<Read<Vec<_>>>()?;
        let arrays: Vec<_> = (1..=columns.len()).map(|n| format!("${n}::text[]")).collect();
        let parts: Vec<_> = (1..=columns.len()).map(|n| format!("c{n}")).collect();
        let keys: Vec<_> = key.iter().map(|(head, _)| quoted(head)).collect();
        let set = std::iter::once(&heads.version).chain(&heads.travels);
        let set: Vec<_> = set.map(|name| format!("{0} = excluded.{0}", quoted(name))).collect();
        let put = format!(
            "INSERT INTO {} ({}) SELECT {} FROM unnest({}) AS x ({}) ON CONFLICT ({}) DO UPDATE SET {}",
            shape.quoted(),
            names.join(", "),
            cast.join(", "),
            arrays.join(", "),
            parts.join(", "),
            keys.join(", "),
            set.join(", ")
        );
        let version = place(&layout.version)?;
        Ok(Some(Self { put, key: places, version, travels: heads.travels.len() }))
    }

    /// Writes the heads of the streams of rows, as they are after the last of them.
    pub(super) async fn put(&self, tx: &mut Transaction<'_>, rows: &[Values]) -> Read<()> {
        let mut heads: BTreeMap<Vec<Option<String>>, Vec<Option<String>>> = BTreeMap::new();
        for columns in rows {
            let key = self.key.iter().map(|&place| columns[place].clone()).collect();
            let travels = columns[columns.len() - self.travels..].iter().cloned();
            let values = std::iter::once(columns[self.version].clone()).chain(travels);
            heads.insert(key, values.collect());
        }
        let width = self.key.len() + 1 + self.travels;
        let mut arrays: Vec<Vec<Option<String>>> = vec![Vec::with_capacity(heads.len()); width];
        for (key, values) in heads {
            for (array, value) in arrays.iter_mut().zip(key.into_iter().chain(values)) {
                array.push(value);
            }
        }
        let params: Vec<(&(dyn ToSql + Sync), Type)> =
            arrays.iter().map(|array| (array as &(dyn ToSql + Sync), Type::TEXT_ARRAY)).collect();
        tx.query(&self.put, &params).await.map(drop)
    }
}
