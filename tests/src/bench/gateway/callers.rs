//! The callers: an application with the library, or a client of a server.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use rehome_domain::append::Append;
use rehome_domain::event::{EventType, NewEvent};
use rehome_domain::ids::{EventId, TenantId};
use rehome_domain::stream::{ExpectedVersion, StreamName};
use rehome_ports::json::{self, JsonLimits};
use rehome_ports::{BatchLimit, EventStore};
use serde_json::json;
use uuid::Uuid;

use super::http::Connection;

/// Events per read.
const PAGE: usize = 100;

/// What a caller does again and again.
#[derive(Clone, Copy)]
pub(super) enum Work {
    /// One event to the caller's own stream.
    Append,
    /// The beginning of a stream.
    ReadStream,
    /// The beginning of the history.
    ReadFeed,
}

pub(super) enum Caller {
    Library(Arc<dyn EventStore>),
    Gateway(Connection),
}

fn data() -> String {
    format!("{{\"note\":\"{}\"}}", "x".repeat(200))
}

impl Caller {
    /// One call; the position of the appended event, or 0.
    pub(super) async fn call(
        &mut self,
        tenant: TenantId,
        number: usize,
        work: Work,
    ) -> Result<u64> {
        let stream = format!("o-{number}");
        match self {
            Self::Library(store) => library(&**store, tenant, &stream, work).await,
            Self::Gateway(connection) => gateway(connection, tenant, &stream, work).await,
        }
    }
}

async fn library(
    store: &dyn EventStore,
    tenant: TenantId,
    stream: &str,
    work: Work,
) -> Result<u64> {
    let stream = StreamName::new("bench", stream)?;
    match work {
        Work::Append => {
            let event = NewEvent {
                id: EventId::new(Uuid::new_v4()),
                event_type: EventType::new("OrderPlaced")?,
                occurred_at: None,
                recorded_at: None,
                data: json::parse(&data(), JsonLimits::default())?,
                metadata: json::parse("{}", JsonLimits::default())?,
            };
            let append = Append { stream, expected: ExpectedVersion::Any, events: vec![event] };
            Ok(store.append(tenant, append).await?.last_seq)
        }
        Work::ReadStream => {
            store.read_stream(tenant, &stream, 1, BatchLimit::events(PAGE)).await?;
            Ok(0)
        }
        Work::ReadFeed => {
            store.read_feed(tenant, 0, BatchLimit::events(PAGE)).await?;
            Ok(0)
        }
    }
}

async fn gateway(
    connection: &mut Connection,
    tenant: TenantId,
    stream: &str,
    work: Work,
) -> Result<u64> {
    let path = match work {
        Work::Append | Work::ReadStream => {
            format!("/v1/tenants/{tenant}/streams/bench/{stream}/events")
        }
        Work::ReadFeed => format!("/v1/tenants/{tenant}/events"),
    };
    if matches!(work, Work::ReadStream | Work::ReadFeed) {
        let (status, _) = connection.ask("GET", &format!("{path}?limit={PAGE}"), "").await?;
        ensure!(status == 200, "{path}: {status}");
        return Ok(0);
    }
    let body = json!({
        "expected_version": "any",
        "events": [{
            "event_id": Uuid::new_v4(),
            "event_type": "OrderPlaced",
            "data": serde_json::from_str::<serde_json::Value>(&data())?,
        }]
    });
    let (status, answer) = connection.ask("POST", &path, &body.to_string()).await?;
    ensure!(status == 201, "{path}: {status} {}", String::from_utf8_lossy(&answer));
    let answer: serde_json::Value = serde_json::from_slice(&answer)?;
    answer["last_seq"].as_u64().context("the position")
}
