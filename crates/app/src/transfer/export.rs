//! Export: a tenant's history as lines, in its order, page by page.
//!
//! It ends where the history ended when the export started, so that it terminates while writers
//! continue, and it is the same on both sides of a cutover, because positions are. The chain is
//! recomputed during the export.

use rehome_api::ndjson::EventLine;
use rehome_api::{ExportReport, Time};
use rehome_domain::digest::{Digest, chain};
use rehome_domain::event::{Event, Json};
use rehome_domain::ids::{StoreId, TenantId};
use rehome_domain::ledger::{Head, Role};
use rehome_ports::{BatchLimit, EventStore as _};
use serde_json::value::RawValue;

pub use super::output::Output;
use super::output::Sink;
use crate::deployment::Deployment;
use crate::error::{AppError, Kind};

/// What to export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportRequest {
    /// Whose history.
    pub tenant: TenantId,
    /// From which store, whatever it is for the tenant. `None`: from the one that has the
    /// authority, also when that changes meanwhile.
    pub store: Option<StoreId>,
    /// To where.
    pub output: Output,
}

/// Exports, and periodically calls `progress` with the number of written events and the total.
pub async fn export(
    deployment: &Deployment,
    request: &ExportRequest,
    mut progress: impl FnMut(u64, u64),
) -> Result<ExportReport, AppError> {
    let tenant = request.tenant;
    let (role, head) = extent(deployment, request).await?;
    let end = head.seq;
    let (mut digest, mut damaged) = (Digest::EMPTY, None);
    let unwritable = |error: std::io::Error| unwritable(&request.output, &error);
    let mut sink = request.output.open().map_err(unwritable)?;
    let mut after = 0;
    let mut text = Vec::with_capacity(1 << 20);
    while after < end {
        let events = page(deployment, request, after).await?;
        text.clear();
        for event in events.iter().take_while(|event| event.seq <= end) {
            if event.seq != after + 1 {
                return Err(gap(tenant, after + 1));
            }
            after = event.seq;
            if chain(&digest, event) != event.digest {
                damaged.get_or_insert(event.seq);
            }
            digest = event.digest;
            line(tenant, event, &mut text)?;
        }
        if text.is_empty() {
            return Err(gap(tenant, after + 1));
        }
        sink = write(sink, &mut text).await.map_err(unwritable)?;
        progress(after, end);
    }
    tokio::task::spawn_blocking(move || sink.finish())
        .await
        .unwrap_or_else(|panic| Err(std::io::Error::other(panic)))
        .map_err(unwritable)?;
    if digest != head.digest {
        damaged.get_or_insert(end);
    }
    if let Some(seq) = damaged {
        return Err(damage(tenant, seq));
    }
    Ok(ExportReport {
        tenant_id: tenant.uuid(),
        store: request.store.as_ref().map(StoreId::to_string),
        role: role.as_str().to_owned(),
        events: end,
        file: match &request.output {
            Output::Stdout => None,
            Output::File(path) => Some(path.display().to_string()),
        },
    })
}

/// What the store is for the tenant, and where the history ends now.
async fn extent(
    deployment: &Deployment,
    request: &ExportRequest,
) -> Result<(Role, Head), AppError> {
    let tenant = request.tenant;
    if let Some(id) = &request.store {
        let ledger = deployment.store(id)?.ledger(tenant).await?;
        if ledger.role == Role::Absent {
            let place = match deployment.engine().control().route(tenant).await? {
                Some(route) if !route.is_removed() => {
                    format!("it lives in store \"{}\"", route.store)
                }
                _ => "it is unknown; import or append its first event".to_owned(),
            };
            return Err(AppError::new(
                Kind::NotFound,
                "unknown_tenant",
                format!("store \"{id}\" holds no event of tenant {tenant}; {place}"),
            )
            .tenant(tenant));
        }
        return Ok((ledger.role, ledger.head));
    }
    loop {
        let route = deployment.engine().control().known_route(tenant).await?;
        let ledger = deployment.store(&route.store)?.ledger(tenant).await?;
        // Read again: the store may have been left while it answered.
        let now = deployment.engine().control().route(tenant).await?;
        if now.is_some_and(|now| now.store == route.store) {
            if ledger.head.seq < route.base {
                return Err(gap(tenant, ledger.head.seq + 1));
            }
            return Ok((ledger.role, ledger.head));
        }
    }
}

async fn page(
    deployment: &Deployment,
    request: &ExportRequest,
    after: u64,
) -> Result<Vec<Event>, AppError> {
    let limit = BatchLimit::PAGE;
    Ok(match &request.store {
        Some(id) => deployment.store(id)?.read_feed(request.tenant, after, limit).await?.events,
        None => deployment.engine().router().read_feed(request.tenant, after, limit).await?,
    })
}

fn line(tenant: TenantId, event: &Event, out: &mut Vec<u8>) -> Result<(), AppError> {
    let spoiled = |_| {
        let message = format!("the event at seq {} is not valid JSON", event.seq);
        AppError::failed("corrupt", message).tenant(tenant)
    };
    let raw = |json: &Json| serde_json::from_str::<&RawValue>(json.as_str()).map(ToOwned::to_owned);
    let (data, metadata) =
        (raw(&event.data).map_err(spoiled)?, raw(&event.metadata).map_err(spoiled)?);
    let line = EventLine {
        tenant_id: tenant.uuid(),
        stream_type: event.stream.stream_type().into(),
        stream_id: event.stream.stream_id().into(),
        event_id: event.id.uuid(),
        event_type: (&*event.event_type).into(),
        occurred_at: Time(event.occurred_at.micros()),
        data: &data,
        metadata: &metadata,
        recorded_at: Some(Time(event.recorded_at.micros())),
        version: Some(event.version),
        seq: Some(event.seq),
    };
    line.write(out).map_err(spoiled)
}

/// Writing may block, on a pipe for as long as its reader likes.
async fn write(mut sink: Sink, text: &mut Vec<u8>) -> std::io::Result<Sink> {
    let taken = std::mem::take(text);
    let written = tokio::task::spawn_blocking(move || {
        sink.write(&taken)?;
        Ok((sink, taken))
    });
    let (sink, taken) = written.await.unwrap_or_else(|panic| Err(std::io::Error::other(panic)))?;
    *text = taken;
    Ok(sink)
}

fn unwritable(output: &Output, error: &std::io::Error) -> AppError {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return AppError::failed("broken_pipe", "the reader of the output is gone");
    }
    let name = match output {
        Output::Stdout => "the standard output".to_owned(),
        Output::File(path) => path.display().to_string(),
    };
    AppError::failed("unwritable_output", format!("{name} cannot be written: {error}"))
}

/// Everything was written, because the rest of a damaged history may be needed. But it must not be mistaken for
/// the stored history.
fn damage(tenant: TenantId, seq: u64) -> AppError {
    let message = format!(
        "the whole history was exported, but it is damaged from seq {seq} on: the row does \
         not match its digest; run `rehome store verify` on the store"
    );
    AppError::new(Kind::Violated, "damaged", message).tenant(tenant)
}

fn gap(tenant: TenantId, seq: u64) -> AppError {
    let message = format!("the history has no event at seq {seq}, although the ledger counts one");
    AppError::failed("corrupt", message).tenant(tenant)
}
