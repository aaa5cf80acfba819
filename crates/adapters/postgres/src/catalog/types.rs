//! Which type can be which part of an event. A domain is judged by the type below it.

use super::{Column, Given};

/// Texts, by the names that PostgreSQL writes.
pub fn is_text(column: &Column) -> bool {
    let plain = without_modifier(&column.base);
    let named = plain.rsplit('.').next().unwrap_or(plain);
    matches!(plain, "text" | "character varying" | "character" | "name") || named == "citext"
}

/// Whole numbers of at most eight bytes, or a `numeric` without a fraction.
pub fn is_integer(column: &Column) -> bool {
    matches!(column.base.as_str(), "smallint" | "integer" | "bigint")
        || column.base.strip_prefix("numeric(").is_some_and(|rest| rest.ends_with(",0)"))
}

/// What can name a stream, a tenant or a type: the same value always has the same text.
pub fn is_name(column: &Column) -> bool {
    column.base == "uuid" || column.is_enum || is_text(column) || is_integer(column)
}

/// Moments.
pub fn is_time(column: &Column) -> bool {
    column.base.starts_with("timestamp") || column.base == "date"
}

/// The usual types of a content.
pub fn is_payload(column: &Column) -> bool {
    matches!(column.base.as_str(), "json" | "jsonb" | "bytea" | "xml") || is_text(column)
}

/// Whether it can contain a JSON object: a text that is JSON will do.
pub(super) fn is_object(column: &Column) -> bool {
    matches!(column.base.as_str(), "json" | "jsonb") || is_text(column)
}

/// Values that mean something in their own database only: positions in its log, and its transactions.
pub fn is_of_the_database(column: &Column) -> bool {
    let kinds = ["xid8", "xid", "cid", "tid", "pg_snapshot", "txid_snapshot", "pg_lsn"]
        .contains(&column.base.as_str());
    let calls = [
        "txid_current",
        "pg_current_xact_id",
        "pg_current_snapshot",
        "pg_current_wal",
        "pg_backend_pid",
    ];
    let default = match &column.given {
        Given::Default(default) => default.as_str(),
        Given::Nothing | Given::Identity | Given::Generated => "",
    };
    kinds || calls.iter().any(|call| default.contains(call))
}

/// Numbers of objects of their own database, or texts that depend on its settings.
pub(super) fn is_of_little_meaning_elsewhere(column: &Column) -> bool {
    column.base == "oid" || column.base == "money" || column.base.starts_with("reg")
}

fn without_modifier(kind: &str) -> &str {
    kind.split('(').next().unwrap_or(kind).trim()
}
