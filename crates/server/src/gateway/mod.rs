//! Applications: append, read, follow, checkpoints. Everything goes through the router, which
//! hides migrations from applications.

mod append;
mod checkpoints;
mod events;
mod feed;
mod pages;
mod read;
mod refused;
mod tenant;

use axum::http::StatusCode;
use rehome_domain::stream::StreamName;
use rehome_ports::{BeyondEnd, ReadError};

use crate::response::Problem;

pub(crate) use append::{__path_append_to, __path_append_to_path, append_to, append_to_path};
pub(crate) use checkpoints::{
    __path_checkpoint, __path_move_checkpoint, checkpoint, move_checkpoint,
};
pub(crate) use feed::{__path_feed, feed};
pub(crate) use read::{__path_read_of, __path_read_of_path, read_of, read_of_path};
pub(crate) use refused::Refused;
pub(crate) use tenant::{__path_tenant, tenant};

/// Default number of events of a page.
const EVENTS_DEFAULT: u32 = 100;
/// Most events of a page.
const EVENTS_MAX: u32 = 1_000;

fn stream(kind: &str, id: &str) -> Result<StreamName, Problem> {
    StreamName::new(kind, id)
        .map_err(|error| Problem::bad_request("bad_stream_name", error.to_string()))
}

fn page(limit: Option<u32>) -> Result<usize, Problem> {
    let limit = limit.unwrap_or(EVENTS_DEFAULT);
    if (1..=EVENTS_MAX).contains(&limit) {
        return Ok(limit as usize);
    }
    let detail = format!("limit must be 1 to {EVENTS_MAX}");
    Err(Problem::bad_request("bad_query", detail).limit(EVENTS_MAX.into()))
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::UnknownTenant(tenant) => {
                let detail = format!("tenant {tenant} is unknown; it has no event yet");
                Self::new(StatusCode::NOT_FOUND, "unknown_tenant", detail)
                    .with(|document| document.tenant_id = Some(tenant.uuid()))
            }
            ReadError::BeyondEnd(beyond) => {
                let BeyondEnd { tenant, position, end, .. } = beyond;
                tracing::warn!(
                    tenant_id = %tenant, position, end, "a reader is beyond the end of the history"
                );
                Self::new(StatusCode::CONFLICT, "position_beyond_end", beyond.to_string()).with(
                    |document| {
                        document.tenant_id = Some(tenant.uuid());
                        document.position = Some(position);
                        document.end = Some(end);
                    },
                )
            }
            error => rehome_app::AppError::from(error).into(),
        }
    }
}
