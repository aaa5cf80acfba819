//! The form of an adopted table, as far as statements need it.

use rehome_domain::layout::Layout;
use rehome_ports::FaultKind;
use tokio_postgres::types::Type;

use crate::error::ServerError;
use crate::rows::{Read, get};
use crate::schema::names::quoted;
use crate::server::Client;

/// A column of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// As SQL writes it, with the schema where it needs one.
    pub(crate) kind: String,
    /// Computed by the database from the others.
    pub(crate) generated: bool,
    /// The sequence of its values, quoted.
    pub(crate) sequence: Option<String>,
    /// Whether it is what its default gives, where nothing is said.
    pub(crate) given: bool,
}

/// The table and what names its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) schema: String,
    pub(crate) table: String,
    pub(crate) columns: Vec<Column>,
    /// Keys that no two rows share, of columns that are never NULL.
    pub(crate) unique: Vec<Vec<String>>,
    /// The tables that hold rows: partitions, or the table itself; quoted.
    pub(crate) leaves: Vec<String>,
}

const COLUMNS: &str = "\
    SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), a.attgenerated <> '', \
        pg_get_serial_sequence($1, a.attname::text), \
        (SELECT min(d.refobjid::regclass::text) FROM pg_depend AS d \
            JOIN pg_attrdef AS f ON f.oid = d.objid AND d.classid = 'pg_attrdef'::regclass \
            JOIN pg_class AS c ON c.oid = d.refobjid AND c.relkind = 'S' \
            WHERE f.adrelid = a.attrelid AND f.adnum = a.attnum AND d.refclassid = 'pg_class'::regclass), \
        a.atthasdef \
    FROM pg_attribute AS a \
    WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped \
    ORDER BY a.attname COLLATE \"C\"";

pub(super) const UNIQUE: &str = "\
    SELECT array_agg(a.attname::text ORDER BY k.n) \
    FROM pg_index AS i \
    CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n) \
    JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
    WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid AND i.indimmediate \
        AND i.indpred IS NULL AND i.indexprs IS NULL AND k.n <= i.indnkeyatts \
    GROUP BY i.indexrelid HAVING bool_and(a.attnotnull) \
    ORDER BY count(*), i.indexrelid";

const LEAVES: &str = "\
    SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) \
    FROM pg_partition_tree(to_regclass($1)) AS p \
    JOIN pg_class AS c ON c.oid = p.relid JOIN pg_namespace AS n ON n.oid = c.relnamespace \
    WHERE p.isleaf ORDER BY 1";

impl Shape {
    /// Reads the table of a layout.
    pub(crate) async fn of(client: &mut Client, layout: &Layout) -> Read<Self> {
        let table = qualified(layout);
        let name: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 1] = [(&table, Type::TEXT)];
        let columns = client.read(COLUMNS, &name).await?;
        if columns.is_empty() {
            return Err(not_set_up(format!(
                "it has no table {table}, which layout {} names",
                layout.name
            )));
        }
        let column = |row: &tokio_postgres::Row| {
            let serial: Option<String> = get(row, 3)?;
            let default: Option<String> = get(row, 4)?;
            Ok(Column {
                name: get(row, 0)?,
                kind: get(row, 1)?,
                generated: get(row, 2)?,
                sequence: serial.or(default),
                given: get(row, 5)?,
            })
        };
        let columns = columns.iter().map(column).collect::<Read<Vec<_>>>()?;
        let unique = client.read(UNIQUE, &name).await?;
        let unique = unique.iter().map(|row| get(row, 0)).collect::<Read<Vec<_>>>()?;
        let leaves = client.read(LEAVES, &name).await?;
        let leaves = leaves.iter().map(|row| get(row, 0)).collect::<Read<Vec<_>>>()?;
        let leaves = if leaves.is_empty() { vec![table] } else { leaves };
        let (schema, table) = (layout.schema.clone(), layout.table.clone());
        Ok(Self { schema, table, columns, unique, leaves })
    }

    /// The table as SQL names it.
    pub(crate) fn quoted(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.table))
    }

    /// A column by its name.
    pub(crate) fn column(&self, name: &str) -> Read<&Column> {
        let found = self.columns.iter().find(|column| column.name == name);
        found.ok_or_else(|| {
            not_set_up(format!("its table {} has no column \"{name}\"", self.quoted()))
        })
    }

    /// The copied columns of a row, in the order of their names: all except the position and those that the
    /// target computes.
    pub(crate) fn row_columns(&self, layout: &Layout) -> Vec<&Column> {
        let stays = |column: &&Column| {
            !column.generated
                && layout.position.as_deref() != Some(&column.name)
                && !layout.anew.contains(&column.name)
        };
        self.columns.iter().filter(stays).collect()
    }

    /// The columns that a copy gives the id of its own transaction: nothing else would.
    pub(crate) fn stamped(&self, layout: &Layout) -> Vec<String> {
        let is = |column: &&Column| {
            column.kind == "xid8" && !column.given && layout.anew.contains(&column.name)
        };
        self.columns.iter().filter(is).map(|column| column.name.clone()).collect()
    }

    /// The columns that name a row here: the position if no two rows share it, else the shortest key that has
    /// it, the event's id, or the version in it.
    pub(crate) fn key(&self, layout: &Layout) -> Read<Vec<&Column>> {
        let wanted = [layout.position.as_ref(), layout.event_id.as_ref(), Some(&layout.version)];
        let found = wanted
            .into_iter()
            .flatten()
            .find_map(|column| self.unique.iter().find(|key| key.contains(column)));
        let key = found.ok_or_else(|| {
            not_set_up(format!(
                "its table {} has no unique key that contains the position, the event id or the version; rows \
                 could not be identified",
                self.quoted()
            ))
        })?;
        key.iter().map(|name| self.column(name)).collect()
    }
}

/// The table of a layout as SQL names it.
pub(crate) fn qualified(layout: &Layout) -> String {
    format!("{}.{}", quoted(&layout.schema), quoted(&layout.table))
}

pub(crate) fn not_set_up(why: String) -> ServerError {
    ServerError::new(FaultKind::NotSetUp(why))
}
