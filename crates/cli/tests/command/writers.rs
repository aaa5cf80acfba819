//! Writers of another process, which are not informed of the migration.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rehome_app::{Access, Config, Deployment};
use rehome_domain::append::Append;
use rehome_domain::event::{EventType, Json, NewEvent};
use rehome_domain::ids::{EventId, TenantId};
use rehome_domain::stream::{ExpectedVersion, StreamName};
use rehome_ports::EventStore as _;
use uuid::Uuid;

use crate::kit::Place;

/// One writer, one stream, always with the exact version; answers the ids that were acknowledged.
async fn write(deployment: Deployment, tenant: Uuid, n: usize, stop: Arc<AtomicBool>) -> Vec<Uuid> {
    let mut acknowledged = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let id = Uuid::new_v4();
        let event = NewEvent {
            id: EventId::new(id),
            event_type: EventType::new("Written").unwrap(),
            occurred_at: None,
            recorded_at: None,
            data: Json::trusted(format!("{{\"writer\":{n}}}")),
            metadata: Json::trusted("{}"),
        };
        let append = Append {
            stream: StreamName::new("writer", n.to_string()).unwrap(),
            expected: ExpectedVersion::Exact(acknowledged.len() as u64),
            events: vec![event],
        };
        let appended =
            deployment.engine().router().append(TenantId::new(tenant), append).await.unwrap();
        acknowledged.push(id);
        assert_eq!(appended.last_version, acknowledged.len() as u64);
        tokio::task::yield_now().await;
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_writers_lose_nothing_while_the_command_moves_their_tenant_there_and_back() {
    let (place, tenant) = Place::with_tenant(4_000);
    let config = Config::load_from(Some(&place.path("rehome.toml")), []).unwrap();
    let deployment = Deployment::open(&config, Access::Existing).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..8)
        .map(|n| tokio::spawn(write(deployment.clone(), tenant, n, Arc::clone(&stop))))
        .collect();

    let place = tokio::task::spawn_blocking(move || {
        let id = tenant.to_string();
        let there = place.json([
            "migration",
            "start",
            "--tenant",
            &id,
            "--to",
            "dedicated",
            "--rollback-window",
            "1h",
        ]);
        assert_eq!(there["state"], "migrated");
        let back = place.json(["migration", "return", there["id"].as_str().unwrap()]);
        assert_eq!(back["state"], "migrated");
        place
    })
    .await
    .unwrap();
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.push(writer.await.unwrap());
    }
    deployment.close().await;

    assert!(acknowledged.iter().all(|ids| !ids.is_empty()));
    let history = place.history(tenant);
    for (n, ids) in acknowledged.iter().enumerate() {
        let stream = format!("\"stream_type\":\"writer\",\"stream_id\":\"{n}\"");
        let found: Vec<Uuid> = history
            .lines()
            .filter(|line| line.contains(&stream))
            .map(|line| line.split('"').nth(15).unwrap().parse().unwrap())
            .collect();
        assert_eq!(&found, ids, "writer {n}");
    }
}
