//! Rows as they are copied.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::RowForm;
use crate::digest::{Digest, sha256};

/// A complete row of another library's table, in its database's text format: all columns except the
/// position and those that the target computes, in the order of the columns' names, as one record
/// (PostgreSQL 15, chapter 8.16.6: nothing for NULL, quoted where necessary).
///
/// Two rows are equal if their values are, and if each value is of the same column or of its counterpart: the form says of
/// which. A database may have more of a row than its values, such as the blanks in a JSON
/// text: that goes with the row to a database of the same kind, and is neither compared nor in the digest.
#[derive(Clone)]
pub struct ForeignRow {
    values: Box<str>,
    own: Option<Box<str>>,
    form: Option<Arc<RowForm>>,
}

/// The text is not a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a row that is not a record")]
pub struct InvalidRow;

impl ForeignRow {
    /// Wraps the text of a record.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self { values: text.into(), own: None, form: None }
    }

    /// The same row, with the record that its own database would write: that has more than the values.
    #[must_use]
    pub fn with_own(self, own: &Self) -> Self {
        Self { own: Some(own.values.clone()), ..self }
    }

    /// The same row, with the form of the rows that it was read among.
    #[must_use]
    pub fn with_form(self, form: &Arc<RowForm>) -> Self {
        Self { form: Some(Arc::clone(form)), ..self }
    }

    /// Of which columns the values are, in their order; `None`: a row that no store has read.
    pub fn form(&self) -> Option<&Arc<RowForm>> {
        self.form.as_ref()
    }

    /// The row as its own database would write it, where that has more than the values.
    pub fn own(&self) -> Option<Self> {
        let own = self.own.clone()?;
        Some(Self { values: own, own: None, form: self.form.clone() })
    }

    /// Approximate size in memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.values.len() + self.own.as_ref().map_or(0, |own| own.len())
    }

    /// Writes the texts of columns as a record, as PostgreSQL does; `None` is NULL.
    pub fn of<'a>(columns: impl IntoIterator<Item = Option<&'a str>>) -> Self {
        let mut record = String::from("(");
        for (n, column) in columns.into_iter().enumerate() {
            if n > 0 {
                record.push(',');
            }
            let Some(text) = column else { continue };
            let special = |c: char| matches!(c, '"' | '\\' | '(' | ')' | ',' | ' ' | '\t'..='\r');
            if !text.is_empty() && !text.contains(special) {
                record.push_str(text);
                continue;
            }
            record.push('"');
            for c in text.chars() {
                if matches!(c, '"' | '\\') {
                    record.push(c);
                }
                record.push(c);
            }
            record.push('"');
        }
        record.push(')');
        Self::new(record)
    }

    /// The text of the record.
    pub fn as_str(&self) -> &str {
        &self.values
    }

    /// SHA-256 of the text. The guard in the database computes the same.
    pub fn digest(&self) -> Digest {
        sha256(&[self.values.as_bytes()])
    }

    /// The columns' texts; `None` is NULL.
    pub fn columns(&self) -> Result<Vec<Option<String>>, InvalidRow> {
        let inner = self.values.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
        let mut rest = inner.ok_or(InvalidRow)?.chars().peekable();
        let mut columns = Vec::new();
        loop {
            let mut text = String::new();
            let (mut given, mut quoted) = (false, false);
            let more = loop {
                match rest.next() {
                    None if quoted => return Err(InvalidRow),
                    None => break false,
                    Some(',') if !quoted => break true,
                    Some('"') if quoted && rest.peek() == Some(&'"') => {
                        text.extend(rest.next());
                    }
                    Some('"') => (given, quoted) = (true, !quoted),
                    Some('\\') => text.push(rest.next().ok_or(InvalidRow)?),
                    Some(other) => text.push(other),
                }
            };
            columns.push((given || !text.is_empty()).then_some(text));
            if !more {
                return Ok(columns);
            }
        }
    }
}

impl PartialEq for ForeignRow {
    fn eq(&self, other: &Self) -> bool {
        let of_the_same = match (&self.form, &other.form) {
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs) || ours.matches(theirs),
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        };
        of_the_same && self.values == other.values
    }
}

impl Eq for ForeignRow {}

impl Hash for ForeignRow {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.values.hash(state);
    }
}

impl fmt::Debug for ForeignRow {
    /// Payloads are customers' data: only the size is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<a row of {} bytes>", self.values.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{ColumnKind, Layout, Texts};

    #[test]
    fn equal_texts_of_other_columns_are_another_row() {
        let form = |names: [&str; 2]| {
            let layout = Layout::built_in("eventsource-py").unwrap();
            let columns = names.map(|name| (name.to_owned(), ColumnKind::Text));
            Arc::new(RowForm::of(Texts::Postgresql, &layout, columns))
        };
        let row = |names| ForeignRow::of([Some("a"), Some("a")]).with_form(&form(names));
        assert_eq!(row(["actor_id", "event_type"]), row(["actor_id", "event_type"]));
        assert_ne!(row(["actor_id", "event_type"]), row(["event_type", "actor_id"]));
        assert_ne!(row(["actor_id", "event_type"]), ForeignRow::of([Some("a"), Some("a")]));
    }

    #[test]
    fn a_record_is_read_as_postgresql_writes_it() {
        let columns = |text: &str| ForeignRow::new(text).columns();
        let texts =
            |texts: &[Option<&str>]| Ok(texts.iter().map(|t| t.map(str::to_owned)).collect());
        assert_eq!(columns("(a,,\"\",b c)"), texts(&[Some("a"), None, Some(""), Some("b c")]));
        // The result of `SELECT ROW('say "hi"', 'a\b', 'x,y', '(z)', E'l\n')::text`.
        let written = "(\"say \"\"hi\"\"\",\"a\\\\b\",\"x,y\",\"(z)\",\"l\n\")";
        let expected = [Some("say \"hi\""), Some("a\\b"), Some("x,y"), Some("(z)"), Some("l\n")];
        assert_eq!(columns(written), texts(&expected));
        assert_eq!(ForeignRow::of(expected).as_str(), written);
        let plain = [Some("a"), None, Some(""), Some("é\0"), Some("b c"), Some("\t\u{b}\r")];
        assert_eq!(ForeignRow::of(plain).as_str(), "(a,,\"\",é\0,\"b c\",\"\t\u{b}\r\")");
        assert_eq!(ForeignRow::of(plain).columns(), texts(&plain));
        assert_eq!(columns("()"), texts(&[None]));
        for bad in ["", "a", "(\"a)", "(a\\)", "(a"] {
            assert_eq!(columns(bad), Err(InvalidRow), "{bad}");
        }
    }

    #[test]
    fn two_rows_are_the_same_if_their_values_are() {
        use std::collections::HashSet;

        let row = ForeignRow::new("(1,\"{\"\"a\"\": 1}\")");
        let spaced = ForeignRow::new("(1,\"{ \"\"a\"\":1 }\")");
        let with_own = row.clone().with_own(&spaced);
        assert_eq!((row.own(), with_own.own()), (None, Some(spaced.clone())));
        assert_eq!((&row, row.digest()), (&with_own, with_own.digest()));
        assert_ne!((&row, row.digest()), (&spaced, spaced.digest()));
        let rows = HashSet::from([row.clone(), with_own.clone(), spaced.clone()]);
        assert_eq!(rows.len(), 2);
        // What it has beside its values takes memory too.
        assert_eq!((row.bytes(), spaced.bytes(), with_own.bytes()), (16, 17, 33));
        assert_eq!(format!("{row:?}"), "<a row of 16 bytes>", "and no payload");
    }

    #[test]
    fn equal_rows_have_equal_hashes() {
        use std::hash::DefaultHasher;

        let hash = |row: &ForeignRow| {
            let mut hasher = DefaultHasher::new();
            row.hash(&mut hasher);
            hasher.finish()
        };
        let row = ForeignRow::new("(1)");
        let with_own = row.clone().with_own(&ForeignRow::new("( 1)"));
        assert_eq!(hash(&row), hash(&with_own));
        assert_ne!(hash(&row), hash(&ForeignRow::new("(2)")));
    }
}
