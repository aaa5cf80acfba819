//! Positions that the history does not reach: a store was restored from a backup. Never a quiet success.

use serde_json::json;
use uuid::Uuid;

use crate::kit::{Events, Request, Site};

fn feed(tenant: Uuid) -> Request {
    Request::new("GET", format!("/v1/tenants/{tenant}/events"))
}

#[tokio::test]
async fn a_follower_beyond_the_end_is_refused_by_a_status() {
    let (site, tenant) = (Site::new().await, Uuid::new_v4());
    site.fill(tenant, 1..=3).await;
    let follow = || feed(tenant).header("Accept", "text/event-stream");
    let refused = site.ask(follow().header("Last-Event-ID", "4")).await;
    let problem = refused.problem(409, "position_beyond_end");
    assert_eq!((&problem["position"], &problem["end"]), (&json!(4), &json!(3)));
    assert_eq!(problem["tenant_id"], json!(tenant));
    // A page is read by the same position.
    let page = |seq: &str| feed(tenant).header("Last-Event-ID", seq);
    site.ask(page("4")).await.problem(409, "position_beyond_end");
    assert_eq!(site.ask(page("2")).await.is(200)["events"][0]["seq"], 3);
    let mut follower = Events::open(&site, feed(tenant).header("Last-Event-ID", "3")).await;
    site.fill(tenant, 4..=4).await;
    assert_eq!(follower.next().await.unwrap().id, "4");
    site.ends().await;
}

#[tokio::test]
async fn a_checkpoint_beyond_the_end_is_not_set() {
    let (site, tenant) = (Site::new().await, Uuid::new_v4());
    site.fill(tenant, 1..=3).await;
    let path = format!("/v1/tenants/{tenant}/subscriptions/projector");
    let put = |seq: u64| Request::new("PUT", path.clone()).json(&json!({"seq": seq}));
    site.ask(put(3)).await.is(200);
    let problem = site.ask(put(4)).await.problem(409, "position_beyond_end");
    assert_eq!((&problem["position"], &problem["end"]), (&json!(4), &json!(3)));
    assert_eq!(site.get(&path).await.is(200)["seq"], 3);
    site.ask(put(0)).await.is(200);
    site.ends().await;
}

/// A verification of nothing would find nothing wrong, and a list after what is not there would be empty.
#[tokio::test]
async fn a_verification_and_a_list_beyond_the_end_are_refused() {
    let (site, tenant) = (Site::new().await, Uuid::new_v4());
    site.fill(tenant, 1..=3).await;
    let start = json!({"tenant_id": tenant, "target_store": "dedicated"});
    let migration = site.post("/v1/migrations", &start).await.is(201);
    let migration = format!("/v1/migrations/{}", migration["id"].as_str().unwrap());
    site.until(&migration, |shown| shown["state"] == "migrated").await;
    let verify = format!("{migration}/verify");
    site.post(&verify, &json!({"after_seq": 3})).await.is(200);
    let refused = site.post(&verify, &json!({"after_seq": 4})).await;
    let problem = refused.problem(409, "position_beyond_end");
    assert!(problem["detail"].as_str().unwrap().contains("which is 3"), "{problem}");
    site.get(&format!("{migration}/log?after=999")).await.problem(409, "position_beyond_end");

    let nobody = Uuid::new_v4();
    site.get(&format!("/v1/drains?cursor={nobody}")).await.problem(404, "unknown_drain");
    site.get(&format!("/v1/migrations?cursor={nobody}")).await.problem(404, "unknown_migration");
    let request = json!({"from": ["dedicated"], "to": [{"store": "shared"}]});
    let drain = site.post("/v1/drains", &json!({"request": request})).await.is(201);
    let tenants = format!("/v1/drains/{}/tenants", drain["id"].as_str().unwrap());
    let last = site.get(&format!("{tenants}?after=1")).await.is(200);
    assert_eq!(last["tenants"], json!([]));
    site.get(&format!("{tenants}?after=2")).await.problem(409, "position_beyond_end");
    site.ends().await;
}

/// The store is changed under the server, as a restore does it.
#[tokio::test]
async fn a_follower_of_a_history_that_becomes_shorter_is_not_left_waiting() {
    let (site, tenant) = (Site::new().await, Uuid::new_v4());
    site.fill(tenant, 1..=3).await;
    let mut follower = Events::open(&site, feed(tenant)).await;
    for seq in 1..=3 {
        assert_eq!(follower.next().await.unwrap().id, seq.to_string());
    }
    let id = tenant.to_string().parse().unwrap();
    let store = site.deployment.store(&"shared".parse().unwrap()).unwrap();
    let kept = store.digest_at(id, 2).await.unwrap().unwrap();
    let path = match &site.deployment.url(&"shared".parse().unwrap()).unwrap() {
        rehome_app::config::Url::Sqlite(path) => path.clone(),
        other @ rehome_app::config::Url::Postgres(_) => panic!("{other:?}"),
    };
    let outsider = rusqlite::Connection::open(path).unwrap();
    outsider
        .execute("UPDATE ledger SET seq = 2, digest = ?1", [kept.as_bytes().as_slice()])
        .unwrap();
    let last = follower.next().await.unwrap();
    let problem: serde_json::Value = serde_json::from_str(&last.data).unwrap();
    assert_eq!(problem["type"], "urn:rehome:problem:position_beyond_end");
    assert_eq!((&problem["position"], &problem["end"]), (&json!(3), &json!(2)));
    assert_eq!(follower.next().await, None);
    let report = site.get("/health/migration").await.json();
    assert_eq!(report["status"], "healthy", "nothing but the follower knows of event 3: {report}");
    site.ends().await;
}

#[tokio::test]
async fn a_misspelt_query_parameter_is_refused_on_every_path() {
    let (site, tenant) = (Site::new().await, Uuid::new_v4());
    site.fill(tenant, 1..=3).await;
    for path in [
        format!("/v1/tenants/{tenant}/events?after=2"),
        format!("/v1/tenants/{tenant}/streams/order/o-1/events?version=2"),
        format!("/v1/tenants/{tenant}?x=1"),
        "/v1/migrations?status=paused".to_owned(),
        "/v1/stores?x".to_owned(),
        "/health/live?x".to_owned(),
        "/metrics?x=1".to_owned(),
        "/?x=1".to_owned(),
        "/console/plan?source=a".to_owned(),
    ] {
        site.get(&path).await.problem(400, "bad_query");
    }
    let refused = site.get(&format!("/v1/tenants/{tenant}/events?after=2")).await;
    let problem = refused.problem(400, "bad_query");
    assert!(problem["detail"].as_str().unwrap().contains("\"after_seq\""), "{problem}");
    let not_events = feed(tenant).header("Accept", "application/json, text/event-stream;q=0");
    assert_eq!(site.ask(not_events).await.is(200)["next_after_seq"], 3);
    let watch = format!("/v1/migrations/{}/watch", Uuid::new_v4());
    let watch = Request::new("GET", &watch).header("Accept", "text/event-stream; q=0.0");
    site.ask(watch).await.problem(406, "not_acceptable");
    let stray = |accept| Request::new("GET", "/nowhere").header("Accept", accept);
    let page = site.ask(stray("text/html, */*;q=0.1")).await;
    assert!(page.text().starts_with("<!DOCTYPE html>"), "{}", page.text());
    site.ask(stray("application/json, text/html;q=0")).await.problem(404, "no_such_path");
    site.ends().await;
}
