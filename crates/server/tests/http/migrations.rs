//! Migrations by operators: started once, steered, watched, and who did it and why.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::kit::{Events, Request, Site};

const ALL: &str = "/v1/migrations";

fn start(tenant: Uuid, options: &Value) -> Value {
    json!({"tenant_id": tenant, "target_store": "dedicated", "options": options, "reason": "noisy"})
}

fn manual() -> Value {
    json!({"cutover": "manual", "rollback_window": "1h"})
}

async fn filled(site: &Site) -> Uuid {
    let tenant = Uuid::new_v4();
    site.fill(tenant, 1..=20).await;
    tenant
}

/// Starts one that waits for its cutover; answers its path.
async fn waiting(site: &Site, tenant: Uuid) -> String {
    let started = site.post(ALL, &start(tenant, &manual())).await;
    let path = started.header("location").unwrap().to_owned();
    started.is(201);
    site.until(&path, |m| m["state"] == "dual_write").await;
    path
}

#[tokio::test]
async fn a_start_is_one_migration_however_often_it_is_sent() {
    let site = Site::new().await;
    let tenant = filled(&site).await;
    let body = start(tenant, &manual());
    let send = |key: &str, body: &Value| {
        site.ask(Request::new("POST", ALL).header("Idempotency-Key", key).json(body))
    };
    // At once, as by a client that does not wait for the first answer.
    let replies = futures_util::future::join_all((0..5).map(|_| send("k-1", &body))).await;
    let ids: Vec<_> = replies.into_iter().map(|reply| reply.is(201)["id"].clone()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let path = format!("{ALL}/{}", ids[0].as_str().unwrap());
    site.until(&path, |m| m["state"] == "dual_write").await;
    assert_eq!(send("k-1", &body).await.is(201)["id"], ids[0]);
    // Also when it is over.
    site.post(&format!("{path}/abort"), &json!({})).await.is(200);
    assert_eq!(send("k-1", &body).await.is(201)["state"], "rolled_back");
    send("k-1", &start(tenant, &json!({}))).await.problem(422, "key_reused");
    let elsewhere = start(filled(&site).await, &manual());
    send("k-1", &elsewhere).await.problem(422, "key_reused");
    assert_eq!(site.get(ALL).await.is(200)["migrations"].as_array().unwrap().len(), 1);
    send("", &body).await.problem(400, "bad_header");
    send(&"k".repeat(256), &body).await.problem(400, "bad_header");
    site.ends().await;
}

#[tokio::test]
async fn a_start_of_a_drain_is_one_drain_however_often_it_is_sent() {
    let site = Site::new().await;
    let tenant = filled(&site).await;
    let drain = |from: &str, to: &str| json!({"request": {"from": [from], "to": [{"store": to}], "tenants": [tenant]}});
    let send = |key: &str, body: &Value| {
        site.ask(Request::new("POST", "/v1/drains").header("Idempotency-Key", key).json(body))
    };
    let first = send("k-1", &drain("shared", "dedicated")).await.is(201)["id"].clone();
    site.until(&format!("/v1/drains/{}", first.as_str().unwrap()), |d| d["state"] == "finished")
        .await;
    assert_eq!(send("k-1", &drain("shared", "dedicated")).await.is(201)["id"], first);
    send("k-1", &drain("dedicated", "shared")).await.problem(422, "key_reused");
    assert_ne!(send("k-2", &drain("dedicated", "shared")).await.is(201)["id"], first);
    send("", &drain("shared", "dedicated")).await.problem(400, "bad_header");
    site.ends().await;
}

#[tokio::test]
async fn a_migration_is_steered_to_its_end_and_back() {
    let site = Site::new().await;
    let tenant = filled(&site).await;
    let path = waiting(&site, tenant).await;
    let post = |what: &str, body: Value| {
        let (site, path) = (&site, format!("{path}/{what}"));
        async move { site.post(&path, &body).await }
    };
    assert_eq!(
        post("pause", json!({"reason": "backup: nightly"})).await.is(200)["state"],
        "paused"
    );
    post("pause", json!({})).await.problem(409, "not_in_this_state");
    post("resume", json!({})).await.is(200);
    site.until(&path, |m| m["state"] == "dual_write").await;

    let tuning = json!({"copy_rate_max": 7, "reason": "slowly"});
    let tune = Request::new("PATCH", format!("{path}/options")).json(&tuning);
    assert_eq!(site.ask(tune).await.is(200)["copy_rate_max"], 7);
    assert_eq!(site.get(&format!("{path}/options")).await.is(200)["cutover"], "manual");

    let found = post("verify", json!({"level": "full"})).await.is(200);
    assert_eq!((&found["ok"], &found["events_checked"]), (&true.into(), &20.into()));

    post("cutover", json!({})).await.is(200);
    site.until(&path, |m| m["state"] == "migrated").await;
    assert_eq!(site.get(&format!("/v1/tenants/{tenant}")).await.is(200)["store"], "dedicated");

    let back = || {
        let back = Request::new("POST", format!("{path}/return"));
        back.header("Idempotency-Key", "back")
    };
    let first = site.ask(back()).await.is(201);
    assert_eq!(site.ask(back()).await.is(201)["id"], first["id"]);
    let back = format!("{ALL}/{}", first["id"].as_str().unwrap());
    site.until(&back, |m| m["state"] == "migrated").await;
    assert_eq!(site.get(&format!("/v1/tenants/{tenant}")).await.is(200)["store"], "shared");

    // Who and why, in the log of the first.
    let log = site.get(&format!("{path}/log")).await.is(200);
    let entries = log["entries"].as_array().unwrap();
    let said = |event: &str| {
        let by_us = |entry: &&Value| entry["actor"].as_str().unwrap() == "anyone";
        let entry = entries.iter().filter(by_us).find(|entry| entry["event"] == event);
        entry.unwrap_or_else(|| panic!("no {event} in {log}"))["reason"].clone()
    };
    assert_eq!(said("started"), "noisy");
    assert_eq!(said("paused"), "backup: nightly");
    assert_eq!(said("tuned"), "slowly");
    assert_eq!(said("resumed"), Value::Null);
    assert_eq!(said("verified"), Value::Null);
    assert_eq!(said("cutover_requested"), Value::Null);
    let after = log["next_after"].as_u64().unwrap();
    let rest = site.get(&format!("{path}/log?after={after}")).await.is(200);
    assert_eq!(rest["entries"], json!([]));
    site.ends().await;
}

#[tokio::test]
async fn an_action_on_what_somebody_changed_meanwhile_is_not_done() {
    let site = Site::new().await;
    let tenant = filled(&site).await;
    let path = waiting(&site, tenant).await;
    let seen = site.get(&path).await.header("etag").unwrap().to_owned();
    let act = |what: &str, tag: &str| {
        site.ask(Request::new("POST", format!("{path}/{what}")).header("If-Match", tag))
    };
    let paused = act("pause", &seen).await;
    let now = paused.header("etag").unwrap().to_owned();
    paused.is(200);
    assert_ne!(seen, now);
    for what in ["resume", "abort", "return", "acknowledge"] {
        let status = act(what, &seen).await.status;
        assert!([409, 412].contains(&status), "{what}: {status}");
    }
    act("resume", &seen).await.problem(412, "changed_meanwhile");
    act("resume", "\"x\"").await.problem(412, "changed_meanwhile");
    let tune = Request::new("PATCH", format!("{path}/options")).header("If-Match", seen);
    site.ask(tune.json(&json!({"copy_rate_max": 7}))).await.problem(412, "changed_meanwhile");
    assert_eq!(site.get(&path).await.is(200)["state"], "paused");
    act("resume", &now).await.is(200);
    act("abort", "*").await.is(200);
    site.ends().await;
}

#[tokio::test]
async fn migrations_are_listed_in_parts_newest_first() {
    let site = Site::new().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let tenant = filled(&site).await;
        ids.insert(0, waiting(&site, tenant).await.rsplit('/').next().unwrap().to_owned());
    }
    let (mut seen, mut path) = (Vec::new(), format!("{ALL}?limit=2"));
    loop {
        let part = site.get(&path).await.is(200);
        let found = part["migrations"].as_array().unwrap();
        seen.extend(found.iter().map(|m| m["id"].as_str().unwrap().to_owned()));
        let Some(cursor) = part["next_cursor"].as_str() else { break };
        assert_eq!(found.len(), 2);
        path = format!("{ALL}?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, ids);
    let of = |query: &str| {
        let (site, path) = (&site, format!("{ALL}?{query}"));
        async move { site.get(&path).await.is(200)["migrations"].as_array().unwrap().len() }
    };
    assert_eq!(of("state=dual_write").await, 3);
    assert_eq!(of("state=failed").await, 0);
    assert_eq!(of(&format!("tenant={}", Uuid::new_v4())).await, 0);
    for query in ["state=moving", "limit=0", "limit=201", "cursor=x", "tenant=x"] {
        site.get(&format!("{ALL}?{query}")).await.problem(400, "bad_query");
    }
    site.ends().await;
}

#[tokio::test]
async fn a_migration_is_watched_to_its_end() {
    let site = Site::new().await;
    let tenant = filled(&site).await;
    let path = waiting(&site, tenant).await;
    let mut watched = Events::open(&site, Request::new("GET", format!("{path}/watch"))).await;
    let first: Value = serde_json::from_str(&watched.next().await.unwrap().data).unwrap();
    assert_eq!(first["state"], "dual_write");
    site.post(&format!("{path}/cutover"), &json!({})).await.is(200);
    let mut last = first;
    while let Some(sent) = watched.next().await {
        last = serde_json::from_str(&sent.data).unwrap();
    }
    assert_eq!(last["state"], "migrated");
    site.get(&format!("{ALL}/{}/watch", Uuid::new_v4())).await.problem(404, "unknown_migration");
    site.ends().await;
}

#[tokio::test]
async fn what_is_not_possible_is_said() {
    let site = Site::new().await;
    let tenant = filled(&site).await;
    let nobody = Uuid::new_v4();
    site.post(ALL, &start(nobody, &json!({}))).await.problem(404, "unknown_tenant");
    let to = |store: &str| json!({"tenant_id": tenant, "target_store": store});
    site.post(ALL, &to("elsewhere")).await.problem(404, "unknown_store");
    site.post(ALL, &to("a b")).await.problem(400, "bad_store_id");
    site.post(ALL, &to("shared")).await.problem(409, "not_possible");
    site.post(ALL, &start(tenant, &json!({"batch_events": 0}))).await.problem(400, "bad_option");
    site.post(ALL, &start(tenant, &json!({"batch": 1}))).await.problem(400, "bad_body");
    let mut long = start(tenant, &json!({}));
    long["reason"] = "x".repeat(201).into();
    site.post(ALL, &long).await.problem(400, "bad_reason");
    for what in
        ["pause", "resume", "cutover", "withdraw", "abort", "verify", "return", "acknowledge"]
    {
        let path = format!("{ALL}/{nobody}/{what}");
        site.post(&path, &json!({})).await.problem(404, "unknown_migration");
    }
    for what in ["", "/log", "/options"] {
        site.get(&format!("{ALL}/{nobody}{what}")).await.problem(404, "unknown_migration");
    }
    let path = waiting(&site, tenant).await;
    site.post(ALL, &start(tenant, &json!({}))).await.problem(409, "not_possible");
    let verify = json!({"sample": 0.0});
    site.post(&format!("{path}/verify"), &verify).await.problem(400, "bad_body");
    let tune = Request::new("PATCH", format!("{path}/options")).json(&json!({}));
    site.ask(tune).await.problem(400, "bad_body");
    site.ends().await;
}

#[tokio::test]
async fn stores_plans_and_estimates_are_answered() {
    let site = Site::new().await;
    let tenant = filled(&site).await;
    let stores = site.get("/v1/stores").await.is(200);
    assert_eq!((&stores["ok"], stores["stores"].as_array().unwrap().len()), (&true.into(), 2));
    let one = site.get("/v1/stores/dedicated").await.is(200);
    assert_eq!(one["stores"].as_array().unwrap().len(), 1);
    site.get("/v1/stores/elsewhere").await.problem(404, "unknown_store");
    let plan = json!({"tenant_id": tenant, "target_store": "dedicated"});
    let plan = site.post("/v1/plans", &plan).await.is(200);
    assert_eq!((&plan["possible"], &plan["events_to_copy"]), (&true.into(), &20.into()));
    let estimate = site.post("/v1/estimates", &json!({"total_events": 1_500_000})).await.is(200);
    assert_eq!(estimate["bulk_copy_estimate"], "2.5 minutes");
    let never = json!({"total_events": 1, "copy_rate_per_second": -1.0});
    site.post("/v1/estimates", &never).await.problem(400, "bad_input");
    site.ends().await;
}

#[tokio::test]
async fn what_was_left_behind_is_purged_and_nothing_else() {
    let site = Site::new().await;
    let tenant = filled(&site).await;
    let path = format!("/v1/tenants/{tenant}/purge");
    site.post(&path, &json!({"store": "shared"})).await.problem(409, "not_purgeable");
    let started = site.post(ALL, &start(tenant, &json!({"rollback_window": "0s"}))).await.is(201);
    let moved = format!("{ALL}/{}", started["id"].as_str().unwrap());
    site.until(&moved, |m| m["state"] == "migrated").await;
    let purged = site.post(&path, &json!({"store": "shared", "reason": "done"})).await.is(200);
    assert_eq!(purged["events_purged"], 20);
    let log = site.get(&format!("{moved}/log")).await.is(200);
    let last = log["entries"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last["event"], &last["reason"]), (&"purged".into(), &"done".into()));
    assert_eq!(site.post("/v1/recoveries", &json!({})).await.is(200), json!([]));
    site.ends().await;
}
