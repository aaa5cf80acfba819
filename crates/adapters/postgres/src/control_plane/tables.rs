//! The statements on the control plane's tables, but for the recording of facts.

mod leases;
mod migrations;
mod notes;
mod routes;

use rehome_domain::ids::MigrationId;
use rehome_ports::ControlError;
use tokio_postgres::Row;

pub(super) use leases::{beside, lease, lease_holder, leases, now, release};
pub(super) use migrations::{log, migration, migrations};
pub(super) use notes::{
    checkpoint, checkpoints, furthest_checkpoints, marks, memo, put_checkpoint, set_marks, set_memo,
};
pub(super) use routes::{
    cordon, create_route, log_anchors, mark_created, put_route, route, routes,
};

use super::Answer;
use super::rows::Columns;
use crate::error::ServerError;

/// How often something is tried again because others were first.
const TRIES: usize = 64;

type Done<T> = Result<T, ServerError>;

pub(super) fn first<T>(
    rows: &[Row],
    read: impl FnOnce(&mut Columns<'_>) -> Done<T>,
) -> Done<Option<T>> {
    rows.first().map(|row| read(&mut Columns::of(row))).transpose()
}

pub(super) fn all<T>(rows: &[Row], read: impl Fn(&mut Columns<'_>) -> Done<T>) -> Done<Vec<T>> {
    rows.iter().map(|row| read(&mut Columns::of(row))).collect()
}

/// A result about a migration that may not exist; the first column shows whether it does.
fn of_known<T>(
    id: MigrationId,
    rows: &[Row],
    read: impl FnOnce(&mut Columns<'_>) -> Done<T>,
) -> Answer<T> {
    let read = |columns: &mut Columns<'_>| {
        if columns.next()? { read(columns).map(Some) } else { Ok(None) }
    };
    let found = first(rows, read)?.flatten();
    Ok(found.ok_or(ControlError::UnknownMigration(id))?)
}
