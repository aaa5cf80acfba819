//! Layouts: the mapping of columns in another library's table.

use serde::{Deserialize, Serialize};

/// A layout and its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutFile {
    /// Its name.
    pub name: String,
    /// The schema of the table.
    pub schema: String,
    /// The table.
    pub table: String,
    /// The file's text.
    pub toml: String,
}

/// The result of checking a layout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutCheck {
    /// Its name.
    pub name: String,
    /// The schema of the table.
    pub schema: String,
    /// The table.
    pub table: String,
    /// Whether the table can be adopted, as far as it was checked.
    pub ok: bool,
    /// The database of the table, without any secret; `null`: only the file was checked.
    pub database: Option<String>,
    /// The columns of the table with their parts.
    pub columns: Vec<LayoutColumn>,
    /// The number of rows; `null`: not counted.
    pub rows: Option<u64>,
    /// The number of streams; `null`: not counted.
    pub streams: Option<u64>,
    /// The number of tenants; `null`: not counted.
    pub tenants: Option<u64>,
    /// The findings, obstacles first.
    pub findings: Vec<LayoutFinding>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutColumn {
    /// Its name.
    pub name: String,
    /// Its SQL type; `null`: the table has no such column.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The part of an event that it is; `null`: none, the column is only copied.
    pub part: Option<String>,
    /// Whether it may be NULL.
    pub nullable: bool,
}

/// A finding about a layout or its table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutFinding {
    /// `refuse`: an obstacle; `warn`: a remark.
    pub severity: String,
    /// The column.
    pub column: Option<String>,
    /// The finding and the remedy.
    pub text: String,
}

/// A draft of a layout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutGuess {
    /// The file's text, each key with the reason for its value.
    pub toml: String,
    /// Whether every required key was guessed.
    pub complete: bool,
    /// What could not be guessed, a sentence each; the file has names that begin with `?` there.
    pub open: Vec<String>,
}
