//! What stands in the way of adopting a table: each with what to do about it.
//!
//! | file | what it looks at |
//! |---|---|
//! | `around` | the table as a whole, rights, triggers, foreign keys |
//! | `order` | the keys that keep streams and positions in order |
//! | `parts` | the columns, one by one |

mod around;
mod order;
mod parts;

use rehome_domain::layout::Layout;

use super::{Column, Table};
use crate::schema::names::quoted;

/// Whether it keeps a table from being adopted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It does.
    Refuse,
    /// It does not; whoever adopts the table should know.
    Warn,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The column that it is about.
    pub column: Option<String>,
    /// What it is and what to do.
    pub text: String,
}

/// What of a table does not go with a layout, or with being adopted at all; what keeps it from that first.
pub fn judge(layout: &Layout, table: &Table) -> Vec<Finding> {
    let mut found = Found { table, findings: Vec::new() };
    if !found.relation() {
        return found.findings;
    }
    found.names();
    found.rights();
    found.tenant(layout);
    found.stream(layout);
    found.key(layout);
    found.position(layout);
    found.event(layout);
    found.of_the_database(layout);
    found.triggers();
    found.foreign_keys();
    found.findings.sort_by_key(|finding| finding.severity);
    found.findings
}

struct Found<'a> {
    table: &'a Table,
    findings: Vec<Finding>,
}

impl Found<'_> {
    fn add(&mut self, severity: Severity, column: Option<&str>, text: String) {
        self.findings.push(Finding { severity, column: column.map(str::to_owned), text });
    }

    fn refuse(&mut self, text: String) {
        self.add(Severity::Refuse, None, text);
    }

    fn warn(&mut self, text: String) {
        self.add(Severity::Warn, None, text);
    }

    /// A column that the layout names; what is missing is said.
    fn column(&mut self, name: &str, part: &str) -> Option<&Column> {
        let table = self.table;
        let column = table.column(name);
        if column.is_none() {
            let alike = table.columns.iter().find(|other| other.name.eq_ignore_ascii_case(name));
            let hint = match alike {
                Some(other) => {
                    format!("it has {}; names are as they are, not folded", quoted(&other.name))
                }
                None => "correct the layout".to_owned(),
            };
            let text =
                format!("{} has no column {} for the {part}; {hint}", table.quoted(), quoted(name));
            self.add(Severity::Refuse, Some(name), text);
        }
        column
    }

    fn wrong_type(&mut self, column: &Column, part: &str, wanted: &str) {
        let text = format!(
            "column {} is {}, which cannot be the {part}; it has to be {wanted}",
            quoted(&column.name),
            column.kind
        );
        self.add(Severity::Refuse, Some(&column.name), text);
    }
}
