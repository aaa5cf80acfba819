//! Layouts: which column of somebody else's table is what.

use serde::{Deserialize, Serialize};

/// A layout and the file that says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutFile {
    /// What it is called.
    pub name: String,
    /// The schema of the table.
    pub schema: String,
    /// The table.
    pub table: String,
    /// The file's text.
    pub toml: String,
}

/// What a look at a layout found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutCheck {
    /// What it is called.
    pub name: String,
    /// The schema of the table.
    pub schema: String,
    /// The table.
    pub table: String,
    /// Whether nothing stands in the way of adopting it, as far as was looked.
    pub ok: bool,
    /// Where the table was looked at, without any secret; `null`: only the file was read.
    pub database: Option<String>,
    /// The columns of the table, and what each is.
    pub columns: Vec<LayoutColumn>,
    /// How many rows there are; `null`: they were not looked at.
    pub rows: Option<u64>,
    /// Of how many streams; `null`: they were not looked at.
    pub streams: Option<u64>,
    /// Of how many tenants; `null`: they were not looked at.
    pub tenants: Option<u64>,
    /// What was found, what stands in the way first.
    pub findings: Vec<LayoutFinding>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutColumn {
    /// Its name.
    pub name: String,
    /// Its type as SQL writes it; `null`: the table has no such column.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Which part of an event it is; `null`: none, it travels with the row.
    pub part: Option<String>,
    /// Whether it may be NULL.
    pub nullable: bool,
}

/// What was found about a layout or its table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutFinding {
    /// `refuse`: it stands in the way; `warn`: it is good to know.
    pub severity: String,
    /// The column that it is about.
    pub column: Option<String>,
    /// What it is and what to do.
    pub text: String,
}

/// A draft of a layout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutGuess {
    /// The file's text, each key with why it has its value.
    pub toml: String,
    /// Whether every key that a layout needs was guessed.
    pub complete: bool,
    /// What was not guessed, a sentence each; the file has names that begin with `?` there.
    pub open: Vec<String>,
}
