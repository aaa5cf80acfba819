//! Obstacles to adopting a table, each with its remedy.
//!
//! | file | subject |
//! |---|---|
//! | `around` | the table as a whole, rights, triggers, foreign keys |
//! | `heads` | the table of streams' heads |
//! | `order` | the keys that keep streams and positions in order |
//! | `parts` | the columns, one by one |

mod around;
mod heads;
mod order;
mod parts;

use rehome_domain::layout::Layout;

use super::{Column, Table};
use crate::schema::names::quoted;

/// Whether it prevents adoption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It does.
    Refuse,
    /// It does not; a remark for the operator.
    Warn,
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The column that it is about.
    pub column: Option<String>,
    /// What it is and what to do.
    pub text: String,
}

/// The differences between a table and a layout, and other obstacles to adoption; obstacles first.
pub fn judge(layout: &Layout, table: &Table) -> Vec<Finding> {
    let mut found = Found { table, findings: Vec::new() };
    if !found.relation() {
        return found.findings;
    }
    found.names();
    found.version(layout);
    found.rights();
    found.tenant(layout);
    found.stream(layout);
    found.key(layout);
    found.position(layout);
    found.event(layout);
    found.of_the_database(layout);
    found.triggers(true);
    let heads = layout.heads().map(|(beside, _)| beside.table.as_str());
    found.foreign_keys(&layout.schema, heads);
    found.findings.sort_by_key(|finding| finding.severity);
    found.findings
}

pub use heads::judge_heads;

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

    /// Compares the table with the library version that the layout was tested with.
    fn version(&mut self, layout: &Layout) {
        let Some(made) = layout.made() else { return };
        let table = self.table;
        let list = |names: Vec<&str>| names.into_iter().map(quoted).collect::<Vec<_>>().join(", ");
        let lacks: Vec<&str> =
            made.columns.iter().copied().filter(|name| table.column(name).is_none()).collect();
        let names = table.columns.iter().map(|column| column.name.as_str());
        let more: Vec<&str> = names.filter(|name| !made.columns.contains(name)).collect();
        let mut differs = Vec::new();
        if !lacks.is_empty() {
            differs.push(format!("it lacks {}", list(lacks)));
        }
        if !more.is_empty() {
            differs.push(format!("it also has {}", list(more)));
        }
        if !differs.is_empty() {
            self.warn(format!(
                "{} differs from the table of {}, which layout \"{}\" was tested with: {}; another version created it, or \
                 it was changed",
                table.quoted(),
                made.by,
                layout.name,
                differs.join(", and ")
            ));
        }
    }

    /// A column that the layout names; a missing one is reported.
    fn column(&mut self, name: &str, part: &str) -> Option<&Column> {
        let table = self.table;
        let column = table.column(name);
        if column.is_none() {
            let alike = table.columns.iter().find(|other| other.name.eq_ignore_ascii_case(name));
            let hint = match alike {
                Some(other) => {
                    format!("it has {}; names are case-sensitive", quoted(&other.name))
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
            "column {} is {}, which cannot be the {part}; it must be {wanted}",
            quoted(&column.name),
            column.kind
        );
        self.add(Severity::Refuse, Some(&column.name), text);
    }
}
