//! What is installed, as the store needs to know it.

use rehome_domain::layout::{ColumnKind, Layout, RowForm, Texts};

use super::shape::Shape;
use crate::rows::Read;

/// What is installed, as the store needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Installed {
    /// The layout, as it was configured.
    pub(super) layout: String,
    /// The columns that travel.
    pub(super) row_columns: Vec<String>,
    pub(super) row_types: Vec<String>,
    /// The columns that name a row here.
    pub(super) key_columns: Vec<String>,
    /// The column that this database numbers rows by.
    pub(super) position: Option<String>,
    pub(super) fingerprint: String,
    /// Columns for a transaction's id that have no default: a copy gives its own.
    pub(super) stamped: Vec<String>,
}

impl Installed {
    pub(super) fn of(shape: &Shape, layout: &Layout) -> Read<Self> {
        let row = shape.row_columns(layout);
        Ok(Self {
            layout: format!("{layout:?}"),
            row_columns: row.iter().map(|column| column.name.clone()).collect(),
            row_types: row.iter().map(|column| column.kind.clone()).collect(),
            key_columns: shape.key(layout)?.iter().map(|column| column.name.clone()).collect(),
            position: layout.position.clone(),
            fingerprint: String::new(),
            stamped: shape.stamped(layout),
        })
    }

    /// The type of a column that travels.
    pub(super) fn kind(&self, name: &str) -> Option<&str> {
        let place = self.row_columns.iter().position(|column| column == name)?;
        self.row_types.get(place).map(String::as_str)
    }

    /// In which texts the rows are.
    pub(super) fn form(&self) -> RowForm {
        let kinds = self.row_types.iter().map(|kind| ColumnKind::of_postgresql(kind));
        RowForm {
            texts: Texts::Postgresql,
            columns: self.row_columns.iter().cloned().zip(kinds).collect(),
        }
    }
}
