//! The port of an import: rows of another program's table or query, read in the order of their positions.

use async_trait::async_trait;

use crate::Fault;

/// Columns that a query may return, named for the parts of an event. The first three are required, the
/// others as described.
pub const PARTS: [&str; 11] = [
    "stream_id",
    "event_type",
    "data",
    "tenant_id",
    "stream_type",
    "event_id",
    "version",
    "occurred_at",
    "recorded_at",
    "metadata",
    "position",
];

/// Rows that are read in one go.
pub const PAGE_ROWS: usize = 1_000;

/// A time as its database gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Microseconds since the Unix epoch, UTC.
    Micros(i64),
    /// A text, which the reader parses.
    Text(String),
}

/// A row of a source. `None` is NULL, or a column that the source does not have.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SourceRow {
    /// The position in the source, or the number of the row where it has none.
    pub position: i64,
    /// The name or id of the tenant.
    pub tenant: Option<String>,
    /// The type of the stream.
    pub stream_type: Option<String>,
    /// The id of the stream.
    pub stream_id: Option<String>,
    /// The id of the event.
    pub event_id: Option<String>,
    /// The type of the event.
    pub event_type: Option<String>,
    /// The version in the stream, from 1.
    pub version: Option<i64>,
    /// When the event happened.
    pub occurred_at: Option<Moment>,
    /// When it was recorded.
    pub recorded_at: Option<Moment>,
    /// The content, as JSON.
    pub data: Option<String>,
    /// The metadata, as JSON.
    pub metadata: Option<String>,
}

impl std::fmt::Debug for SourceRow {
    /// Payloads are customers' data: only the position is shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<the row at position {}>", self.position)
    }
}

/// Which parts a source has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a column that is there or not")]
pub struct SourceParts {
    /// Rows name their tenant.
    pub tenant: bool,
    /// Rows have the id of the event.
    pub event_id: bool,
    /// Rows have the version in the stream.
    pub version: bool,
    /// Rows have the time when the event happened or was recorded.
    pub time: bool,
    /// Rows have positions, from which reading can continue.
    pub position: bool,
    /// A payload that is no JSON is a text; otherwise it is a mistake.
    pub texts: bool,
}

impl SourceParts {
    /// Of a query that returns these columns. The error names all that is wrong with them.
    pub fn of_query(columns: &[String]) -> Result<Self, String> {
        let has = |name: &str| columns.iter().any(|column| column == name);
        let mut wrong = Vec::new();
        for name in ["stream_id", "event_type", "data"] {
            if !has(name) {
                wrong.push(format!("it returns no column {name}"));
            }
        }
        if !has("position") {
            wrong.push(
                "it returns no column position, so its rows have no order; name a column whose value is \
                 higher in each later row, such as SELECT id AS position"
                    .to_owned(),
            );
        }
        if !has("event_id") && !has("version") {
            wrong.push(
                "it returns neither event_id nor version, so a row could not be recognised when it is read again"
                    .to_owned(),
            );
        }
        for (n, column) in columns.iter().enumerate() {
            if !PARTS.contains(&column.as_str()) {
                wrong.push(format!(
                    "its column \"{column}\" is not a part of an event; name it {}, or omit it",
                    nearest(column, &PARTS)
                        .map_or_else(|| format!("one of {}", PARTS.join(", ")), str::to_owned)
                ));
            } else if columns[..n].contains(column) {
                wrong.push(format!("it returns {column} twice"));
            }
        }
        if wrong.is_empty() { Ok(Self::of(columns)) } else { Err(wrong.join("; ")) }
    }

    /// Of these columns, whatever is missing.
    fn of(columns: &[String]) -> Self {
        let has = |name: &str| columns.iter().any(|column| column == name);
        Self {
            tenant: has("tenant_id"),
            event_id: has("event_id"),
            version: has("version"),
            time: has("occurred_at") || has("recorded_at"),
            position: has("position"),
            texts: false,
        }
    }
}

/// The most likely intended name of a misspelt one.
fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let short: String = name.chars().take(64).collect();
    let close = |other: &&'static str| {
        let distance = strsim::levenshtein(&short, other);
        (distance <= 2 && distance < other.len()).then_some((distance, *other))
    };
    let by_edits = known.iter().filter_map(close).min().map(|(_, other)| other);
    let contains =
        |other: &&&'static str| short.len() > 2 && other.len() > 4 && short.contains(**other);
    by_edits.or_else(|| known.iter().find(contains).copied())
}

/// Rows that were read in one go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourcePage {
    /// In the order of their positions.
    pub rows: Vec<SourceRow>,
    /// All rows up to this position have been returned; none comes in behind it any more.
    pub read_to: i64,
    /// Whose end the source waits for before it reads on: a transaction that is open may still write a row
    /// with a lower position than others that can be seen.
    pub waits_for: Option<String>,
}

/// Another program's table or query. It is never written.
#[async_trait]
pub trait EventSource: Send {
    /// What messages call it; no secrets.
    fn name(&self) -> &str;

    /// Which parts its rows have.
    fn parts(&self) -> SourceParts;

    /// Why rows may come in behind others that were read, if they may.
    fn comes_in_behind(&self) -> Option<&str> {
        None
    }

    /// Rows after a position, at most [`PAGE_ROWS`]. No rows, nothing to wait for and `read_to == after`: this is the end, for now.
    async fn page(&mut self, after: i64) -> Result<SourcePage, Fault>;

    /// Begins to read all rows as they are now, in any order, for [`EventSource::next`].
    async fn begin(&mut self) -> Result<(), Fault>;

    /// The next rows since [`EventSource::begin`]; none: that was the last.
    async fn next(&mut self) -> Result<Vec<SourceRow>, Fault>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(columns: &[&str]) -> String {
        let columns: Vec<String> = columns.iter().map(|&name| name.to_owned()).collect();
        SourceParts::of_query(&columns).unwrap_err()
    }

    #[test]
    fn a_query_names_all_that_is_missing_and_what_is_too_much() {
        let all = wrong(&["tenantid", "stream_id", "body"]);
        for part in [
            "no column event_type",
            "no column data",
            "no column position",
            "neither event_id nor version",
            "\"tenantid\" is not a part of an event; name it tenant_id,",
            "\"body\" is not a part of an event; name it one of stream_id,",
        ] {
            assert!(all.contains(part), "{part}: {all}");
        }
        let twice = ["stream_id", "event_type", "data", "version", "position", "data"];
        assert_eq!(wrong(&twice), "it returns data twice");
        let enough: Vec<String> = twice[..5].iter().map(|&name| name.to_owned()).collect();
        let parts = SourceParts::of_query(&enough).unwrap();
        assert_eq!(
            (parts.tenant, parts.event_id, parts.version, parts.time),
            (false, false, true, false)
        );
    }

    #[test]
    fn the_nearest_name_is_found_or_none() {
        for (name, meant) in [
            ("event_typ", Some("event_type")),
            ("evnet_id", Some("event_id")),
            ("my_stream_id", Some("stream_id")),
            ("x", None),
            ("payload", None),
        ] {
            assert_eq!(nearest(name, &PARTS), meant, "{name}");
        }
    }
}
