//! In which texts a store has its rows, and whether the rows of two stores can be compared.

use std::fmt;
use std::str::FromStr;

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

/// In which texts a store has the rows of another library's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowForm {
    /// Whose texts they are.
    pub texts: Texts,
    /// The copied columns, in the order of a row.
    pub columns: Vec<(String, ColumnKind)>,
}

impl RowForm {
    /// Why a row of `self` would not be the same row at `target`, a sentence each; none: it would be. Types are left
    /// to the servers between two tables in PostgreSQL: a value that changes on the way is found when it is read back.
    pub fn differences(&self, target: &Self) -> Vec<String> {
        if (self.texts == Texts::Sqlite) != (target.texts == Texts::Sqlite) {
            let which = if self.texts == Texts::Sqlite { "source" } else { "target" };
            return vec![format!(
                "the {which} was adopted by an earlier rehome, which compared the texts of SQLite only; while no migration \
                 of it is under way, run `rehome store release` and `rehome store adopt` for it"
            )];
        }
        let mut found = Vec::new();
        let lacks = |one: &Self, other: &Self| {
            let has = |name: &String| other.columns.iter().any(|(column, _)| column == name);
            let missing = one.columns.iter().map(|(name, _)| name).filter(|name| !has(name));
            missing.cloned().collect::<Vec<_>>()
        };
        for name in lacks(self, target) {
            found.push(format!("column \"{name}\" would be lost: the target has no such column"));
        }
        for name in lacks(target, self) {
            found.push(format!(
                "the target has a column \"{name}\", and rows of the source have no value for it"
            ));
        }
        let by_the_servers = (self.texts, target.texts) == (Texts::Postgresql, Texts::Postgresql);
        if !found.is_empty() || by_the_servers {
            return found;
        }
        for ((name, ours), (_, theirs)) in self.columns.iter().zip(&target.columns) {
            if ours != theirs {
                found.push(format!(
                    "column \"{name}\" is {ours} at the source and {theirs} at the target, whose values have other texts"
                ));
            } else if matches!(ours, ColumnKind::Other(_)) && self.texts != target.texts {
                found.push(format!(
                    "column \"{name}\" is {ours}, whose values rehome does not compare between SQLite and PostgreSQL"
                ));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(texts: Texts, columns: &[(&str, &str)]) -> RowForm {
        let column =
            |(name, kind): &(&str, &str)| ((*name).to_owned(), ColumnKind::of_postgresql(kind));
        RowForm { texts, columns: columns.iter().map(column).collect() }
    }

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

    #[test]
    fn rows_are_compared_where_equal_rows_have_equal_texts() {
        let ours = form(Texts::AsPostgresql, &[("a", "uuid"), ("b", "character varying(9)")]);
        let theirs = form(Texts::Postgresql, &[("a", "uuid"), ("b", "text")]);
        assert_eq!(ours.differences(&theirs), Vec::<String>::new());
        assert_eq!(theirs.differences(&ours), Vec::<String>::new());
        let old = form(Texts::Sqlite, &[("a", "uuid"), ("b", "text")]);
        assert_eq!(old.differences(&old), Vec::<String>::new());
        for (one, other, side) in [(&old, &theirs, "source"), (&ours, &old, "target")] {
            let found = one.differences(other).join("\n");
            assert!(found.contains(side) && found.contains("rehome store release"), "{found}");
        }
    }

    #[test]
    fn a_column_that_would_be_lost_is_named() {
        let texts = Texts::Postgresql;
        let source = form(texts, &[("a", "uuid"), ("headers", "text")]);
        let lost = source.differences(&form(texts, &[("a", "uuid")])).join("\n");
        assert!(lost.contains("column \"headers\" would be lost"), "{lost}");
        // As many, and not the same.
        let other = source.differences(&form(texts, &[("a", "uuid"), ("actor", "text")]));
        assert_eq!(other.len(), 2, "{other:?}");
        let kinds = form(texts, &[("a", "uuid"), ("headers", "jsonb")]);
        assert_eq!(source.differences(&kinds), Vec::<String>::new(), "PostgreSQL casts it");
        let file = form(Texts::AsPostgresql, &[("a", "uuid"), ("headers", "jsonb")]);
        let found = file.differences(&source).join("\n");
        assert!(found.contains("\"headers\" is jsonb at the source and text"), "{found}");
        let real = form(Texts::AsPostgresql, &[("a", "real")]);
        assert_eq!(real.differences(&real), Vec::<String>::new());
        let found = real.differences(&form(texts, &[("a", "real")])).join("\n");
        assert!(found.contains("\"a\" is real"), "{found}");
    }
}
