//! In which texts a store has its rows, and whether the rows of two stores can be compared.

use std::fmt;
use std::str::FromStr;

use super::{Layout, Part, RowOrder};

/// What the values of a column are. Of the kinds with a name, each value has one text in PostgreSQL, which [`value`]
/// computes also where the database is another one.
///
/// [`value`]: super::value
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// PostgreSQL's `uuid`.
    Uuid,
    /// `text`, or `character varying` of any length.
    Text,
    /// `smallint`, `integer` or `bigint`.
    Integer,
    /// `timestamp with time zone`.
    Time,
    /// `jsonb`.
    Json,
    /// `bytea`.
    Bytes,
    /// Any other, by the name that its database has for it.
    Other(String),
}

impl ColumnKind {
    /// All that have a name.
    const NAMED: [Self; 6] =
        [Self::Uuid, Self::Text, Self::Integer, Self::Time, Self::Json, Self::Bytes];

    fn name(&self) -> &str {
        match self {
            Self::Uuid => "uuid",
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Time => "timestamptz",
            Self::Json => "jsonb",
            Self::Bytes => "bytea",
            Self::Other(name) => name,
        }
    }

    /// Of a type of PostgreSQL, by the name that `format_type` gives.
    pub fn of_postgresql(kind: &str) -> Self {
        match kind {
            "smallint" | "integer" | "bigint" => Self::Integer,
            "timestamp with time zone" | "timestamp(6) with time zone" => Self::Time,
            "character varying" => Self::Text,
            _ if kind.starts_with("character varying(") && kind.ends_with(')') => Self::Text,
            _ => kind.parse().unwrap_or_else(|InvalidKind| Self::Other(kind.to_owned())),
        }
    }
}

impl fmt::Display for ColumnKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is not the name of a kind that has one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a column's kind")]
pub struct InvalidKind;

impl FromStr for ColumnKind {
    type Err = InvalidKind;

    fn from_str(text: &str) -> Result<Self, InvalidKind> {
        Self::NAMED.into_iter().find(|kind| kind.name() == text).ok_or(InvalidKind)
    }
}

/// Who writes the texts of which a row consists, and so what its digest covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Texts {
    /// PostgreSQL does.
    Postgresql,
    /// SQLite has the table, and the texts are those that PostgreSQL would write for the same values.
    AsPostgresql,
    /// SQLite has the table, and the texts are its own.
    Sqlite,
}

/// A copied column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormColumn {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub kind: ColumnKind,
    /// The parts of an event that it has; none: it is known by its name.
    pub parts: Vec<Part>,
}

impl FormColumn {
    /// Whether a column of another table is for the same: by its parts of an event, or by its name where neither has any.
    pub(super) fn is_counterpart(&self, other: &Self) -> bool {
        self.parts == other.parts && (!self.parts.is_empty() || self.name == other.name)
    }
}

/// In which texts a store has the rows of another library's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowForm {
    /// Whose texts they are.
    pub texts: Texts,
    /// The copied columns, in the order of a row.
    pub columns: Vec<FormColumn>,
}

impl RowForm {
    /// Of a table of a layout, with its copied columns.
    pub fn of(
        texts: Texts,
        layout: &Layout,
        columns: impl IntoIterator<Item = (String, ColumnKind)>,
    ) -> Self {
        let column = |(name, kind): (String, ColumnKind)| {
            let parts = layout.parts_of(&name);
            FormColumn { name, kind, parts }
        };
        Self { texts, columns: columns.into_iter().map(column).collect() }
    }

    /// The same columns as a tenant's rows are digested.
    #[must_use]
    pub fn in_order(&self, order: &RowOrder) -> Self {
        Self { texts: self.texts, columns: order.digested(&self.columns) }
    }

    /// Whether rows of both forms are compared column by column, as they are.
    pub fn matches(&self, other: &Self) -> bool {
        let mut pairs = self.columns.iter().zip(&other.columns);
        self.columns.len() == other.columns.len()
            && pairs.all(|(ours, theirs)| ours.is_counterpart(theirs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_read_as_it_is_written() {
        for kind in ColumnKind::NAMED {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        for (sql, kind) in [
            ("bigint", ColumnKind::Integer),
            ("uuid", ColumnKind::Uuid),
            ("character varying", ColumnKind::Text),
            ("character varying(255)", ColumnKind::Text),
            ("timestamp with time zone", ColumnKind::Time),
            ("jsonb", ColumnKind::Json),
        ] {
            assert_eq!(ColumnKind::of_postgresql(sql), kind);
        }
        // Each keeps less of a value, or writes it otherwise.
        for sql in ["json", "timestamp(3) with time zone", "character(3)", "numeric", "varchar"] {
            assert_eq!(ColumnKind::of_postgresql(sql), ColumnKind::Other(sql.to_owned()));
        }
    }
}
