//! What is installed, as the store needs to know it.

use std::sync::Arc;

use rehome_domain::layout::{ColumnKind, Layout, RowForm, RowOrder, Texts};

use super::shape::Shape;
use crate::error::ServerError;
use crate::rows::Read;

/// What is installed, as the store needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Installed {
    /// The layout, as it was configured.
    pub(super) layout: String,
    /// The columns that travel.
    pub(super) row_columns: Vec<String>,
    pub(super) row_types: Vec<String>,
    /// In which texts the rows are.
    pub(super) form: Arc<RowForm>,
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
        let row_columns: Vec<String> = row.iter().map(|column| column.name.clone()).collect();
        let row_types: Vec<String> = row.iter().map(|column| column.kind.clone()).collect();
        Ok(Self {
            layout: format!("{layout:?}"),
            form: form(layout, &row_columns, &row_types),
            row_columns,
            row_types,
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

    /// The form of rows that are digested in this order.
    pub(super) fn form_in(&self, order: Option<&str>) -> Read<Arc<RowForm>> {
        let Some(order) = order else { return Ok(Arc::clone(&self.form)) };
        let read: Result<RowOrder, _> = order.parse();
        let order = read.ok().filter(|order| order.columns() == self.row_columns.len());
        let order = order.ok_or_else(|| {
            ServerError::corrupt("an order of columns that does not fit its table")
        })?;
        Ok(Arc::new(self.form.in_order(&order)))
    }
}

/// In which texts the rows are.
pub(super) fn form(layout: &Layout, columns: &[String], types: &[String]) -> Arc<RowForm> {
    let kinds = types.iter().map(|kind| ColumnKind::of_postgresql(kind));
    Arc::new(RowForm::of(Texts::Postgresql, layout, columns.iter().cloned().zip(kinds)))
}
