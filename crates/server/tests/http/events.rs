//! Appends, reads and checkpoints.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::kit::{Request, Site, event};

fn path(tenant: Uuid, stream: &str) -> String {
    format!("/v1/tenants/{tenant}/streams/{stream}/events")
}

#[tokio::test]
async fn an_append_is_answered_the_same_however_often_it_is_sent() {
    let (site, tenant) = (Site::new().await, Uuid::new_v4());
    let (path, one, two) = (path(tenant, "order/o-1"), event(tenant, 1), event(tenant, 2));
    let first = json!({"expected_version": "no_stream", "events": [one, two]});
    let answer = json!({"first_version": 1, "last_version": 2, "first_seq": 1, "last_seq": 2});
    assert_eq!(site.post(&path, &first).await.is(201), answer);
    let next = json!({"expected_version": 2, "events": [event(tenant, 3)]});
    assert_eq!(site.post(&path, &next).await.is(201)["first_seq"], 3);
    assert_eq!(site.post(&path, &first).await.is(201), answer);

    let late = json!({"expected_version": 2, "events": [event(tenant, 4)]});
    let problem = site.post(&path, &late).await.problem(409, "version_conflict");
    assert_eq!(problem["actual_version"], 3);
    assert_eq!(problem["tenant_id"], tenant.to_string());
    let mut other = event(tenant, 1);
    other["data"] = json!("other");
    let problem = site.post(&path, &json!({"events": [other]})).await.problem(409, "id_conflict");
    assert_eq!(problem["event_id"], one["event_id"]);
    site.ends().await;
}

#[tokio::test]
async fn appends_at_once_are_each_answered_by_their_own_outcome() {
    let (site, tenant) = (Site::new().await, Uuid::new_v4());
    let path = path(tenant, "order/o-1");
    let appends = (1..=40_u64).map(|n| {
        let body = json!({"expected_version": "no_stream", "events": [event(tenant, n)]});
        let (site, path) = (&site, &path);
        async move { site.post(path, &body).await.status }
    });
    let statuses = futures_util::future::join_all(appends).await;
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 39, "{statuses:?}");
    site.ends().await;
}

#[tokio::test]
async fn what_was_appended_is_read_byte_by_byte() {
    let (site, tenant) = (Site::new().await, Uuid::new_v4());
    let data = r#"{ "a":1,"a" : 123456789012345678901234567890.0e400, "s":"\u0000\ud800 é" }"#;
    let body = format!(
        r#"{{"events":[{{"event_type":"A","data":{data},"metadata":{{ "m" :1}},
        "occurred_at":"2024-06-15T12:00:00+02:00"}}]}}"#
    );
    let append = Request::new("POST", path(tenant, "order/o-1")).body("application/json", body);
    site.ask(append).await.is(201);
    for path in [path(tenant, "order/o-1"), format!("/v1/tenants/{tenant}/events")] {
        let reply = site.get(&path).await;
        assert_eq!(reply.status, 200);
        assert!(reply.text().contains(&format!("\"data\":{data},\"metadata\":{{ \"m\" :1}}")));
        assert!(reply.text().contains("\"occurred_at\":\"2024-06-15T10:00:00.000000Z\""));
    }
    site.ends().await;
}

#[tokio::test]
async fn names_that_paths_spoil_go_through() {
    let (site, tenant) = (Site::new().await, Uuid::new_v4());
    for (n, (kind, id, encoded)) in (1..).zip([
        ("a/b", "..", "a%2Fb/%2E%2E"),
        ("é ?#%", "\u{1F980}", "%C3%A9%20%3F%23%25/%F0%9F%A6%80"),
        ("a+b", "a b", "a+b/a%20b"),
        (".", "%2F", "./%252F"),
    ]) {
        let one = json!({"events": [event(tenant, 2 * n)]});
        site.post(&path(tenant, encoded), &one).await.is(201);
        let named = json!({"stream_type": kind, "stream_id": id, "expected_version": 1,
            "events": [event(tenant, 2 * n + 1)]});
        let append = format!("/v1/tenants/{tenant}/append");
        assert_eq!(site.post(&append, &named).await.is(201)["last_version"], 2);
        let read = json!({"stream_type": kind, "stream_id": id});
        let by_body = site.post(&format!("/v1/tenants/{tenant}/read"), &read).await.is(200);
        let by_path = site.get(&path(tenant, encoded)).await.is(200);
        assert_eq!(by_body, by_path);
        assert_eq!(by_body["events"].as_array().unwrap().len(), 2);
        assert_eq!(
            (&by_body["events"][0]["stream_type"], &by_body["events"][0]["stream_id"]),
            (&kind.into(), &id.into())
        );
    }
    site.ends().await;
}

#[tokio::test]
async fn names_that_are_none_are_refused() {
    let (site, tenant) = (Site::new().await, Uuid::new_v4());
    let one = json!({"events": [event(tenant, 1)]});
    for encoded in ["order/%00", "%00/x", &format!("order/{}", "x".repeat(1_024))] {
        site.post(&path(tenant, encoded), &one).await.problem(400, "bad_stream_name");
        site.get(&path(tenant, encoded)).await.problem(400, "bad_stream_name");
    }
    for encoded in ["order/%ff", "%c3%28/x"] {
        site.post(&path(tenant, encoded), &one).await.problem(400, "bad_path");
    }
    site.get("/v1/tenants/nobody/events").await.problem(400, "bad_path");
    site.get(&format!("/v1/tenants/{tenant}/events")).await.problem(404, "unknown_tenant");
    site.ends().await;
}

#[tokio::test]
async fn a_history_is_read_in_parts() {
    let (site, tenant) = (Site::new().await, Uuid::new_v4());
    site.fill(tenant, 1..=5).await;
    let mut after = 0;
    let mut seen = Vec::new();
    loop {
        let part =
            site.get(&format!("/v1/tenants/{tenant}/events?after_seq={after}&limit=2")).await;
        let part = part.is(200);
        let events = part["events"].as_array().unwrap().clone();
        after = part["next_after_seq"].as_u64().unwrap();
        if events.is_empty() {
            break;
        }
        seen.extend(events.into_iter().map(|event| event["seq"].as_u64().unwrap()));
    }
    assert_eq!((seen, after), (vec![1, 2, 3, 4, 5], 5));
    let stream = path(tenant, "order/o-1");
    let part = site.get(&format!("{stream}?from_version=4&limit=10")).await.is(200);
    assert_eq!(
        (part["events"].as_array().unwrap().len(), &part["next_from_version"]),
        (2, &6.into())
    );
    let far = format!("{stream}?from_version={}", u64::MAX);
    site.get(&far).await.problem(409, "position_beyond_end");
    let far = format!("/v1/tenants/{tenant}/events?after_seq={}", u64::MAX);
    site.get(&far).await.problem(409, "position_beyond_end");
    for query in ["limit=0", "limit=1001", "limit=-1", "limit=x", "after_seq=-1", "after_seq=1.5"] {
        site.get(&format!("/v1/tenants/{tenant}/events?{query}")).await.problem(400, "bad_query");
    }
    site.ends().await;
}

#[tokio::test]
async fn a_checkpoint_is_the_tenants() {
    let (site, tenant) = (Site::new().await, Uuid::new_v4());
    let path = format!("/v1/tenants/{tenant}/subscriptions/mail%2Fout");
    site.get(&path).await.problem(404, "unknown_tenant");
    site.fill(tenant, 1..=1).await;
    assert_eq!(site.get(&path).await.is(200), json!({"name": "mail/out", "seq": 0}));
    let put = |seq: Value| site.ask(Request::new("PUT", &path).json(&json!({"seq": seq})));
    assert_eq!(put(1.into()).await.is(200)["seq"], 1);
    assert_eq!(site.get(&path).await.is(200)["seq"], 1);
    assert_eq!(put(0.into()).await.is(200)["seq"], 0);
    for bad in [json!(-1), json!("1"), json!(u64::MAX), Value::Null] {
        put(bad).await.problem(400, "bad_body");
    }
    site.ends().await;
}

#[tokio::test]
async fn a_tenant_is_shown() {
    let (site, tenant) = (Site::new().await, Uuid::new_v4());
    let path = format!("/v1/tenants/{tenant}");
    site.get(&path).await.problem(404, "unknown_tenant");
    site.fill(tenant, 1..=3).await;
    let found = site.get(&path).await.is(200);
    assert_eq!((&found["store"], &found["seq"]), (&"shared".into(), &3.into()));
    assert_eq!(found["digest"].as_str().unwrap().len(), 64);
    site.ends().await;
}
