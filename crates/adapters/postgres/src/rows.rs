//! Rows to domain values and back. What a row holds is checked: a value that cannot be is
//! [`FaultKind::Corrupt`](rehome_ports::FaultKind::Corrupt), never a guess.

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use crate::error::ServerError;

type Read<T> = Result<T, ServerError>;

/// A value of a row.
pub(crate) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Read<T> {
    row.try_get(column)
        .map_err(|error| ServerError::corrupt(format!("a value of another type ({error})")))
}
