//! A control plane that lost time: restored from a backup that is older than the stores.

use crate::kit::{Place, lines};

const FILES: [&str; 3] = ["control.db", "control.db-wal", "control.db-shm"];

fn back_up(place: &Place) {
    for file in FILES {
        let _ = std::fs::copy(place.path(file), place.path(&format!("{file}.kept")));
    }
}

fn restore(place: &Place) {
    for file in FILES {
        let _ = std::fs::remove_file(place.path(file));
        let _ = std::fs::copy(place.path(&format!("{file}.kept")), place.path(file));
    }
}

#[test]
fn nothing_is_written_until_an_operator_has_looked() {
    let (place, tenant) = Place::with_tenant(20);
    let id = tenant.to_string();
    assert_eq!(place.json(["recover"]), serde_json::json!([]));
    back_up(&place);
    place.rehome(["migration", "start", "--tenant", &id, "--to", "dedicated"]).succeeds();
    restore(&place);

    // The control plane says "shared"; the stores have a newer state.
    place.write("more.ndjson", lines(tenant, 1..=30));
    let error = place.rehome(["import", "more.ndjson"]).fails(1);
    assert!(error.contains("rehome recover"), "{error}");
    let before = place.state();
    let error = place.rehome(["store", "check"]).fails(1);
    assert!(error.contains("rehome recover"), "{error}");

    let ended = place.rehome(["recover", "--json"]);
    let found = &ended.document()[0];
    assert_eq!(found["tenant_id"], id);
    assert_eq!(found["store"], "dedicated");
    assert_eq!(found["recovered"], false);
    ended.fails(5);
    assert_eq!(place.state(), before);

    let ended = place.rehome(["recover", "--yes", "--json"]);
    assert_eq!(ended.document()[0]["recovered"], true);
    ended.succeeds();
    assert_eq!(place.json(["tenant", "show", &id])["store"], "dedicated");
    place.rehome(["import", "more.ndjson"]).succeeds();
    assert_eq!(place.history(tenant).lines().count(), 30);
    assert_eq!(place.json(["recover"]), serde_json::json!([]));
}

#[test]
fn where_the_stores_do_not_say_it_clearly_an_operator_has_to() {
    let (place, tenant) = Place::with_tenant(20);
    let id = tenant.to_string();
    back_up(&place);
    place.rehome(["migration", "start", "--tenant", &id, "--to", "dedicated"]).succeeds();
    restore(&place);
    place.sqlite("dedicated.db").execute("UPDATE ledger SET role = 'fenced'", []).unwrap();
    let ended = place.rehome(["recover", "--yes", "--json"]);
    let found = ended.document()[0].clone();
    assert_eq!(found["recovered"], false);
    assert!(found["undecided"].as_str().unwrap().contains("--store"), "{found}");
    ended.fails(5);
    place.rehome(["recover", "--tenant", &id, "--store", "dedicated", "--yes"]).succeeds();
    place.write("more.ndjson", lines(tenant, 1..=30));
    place.rehome(["import", "more.ndjson"]).succeeds();
    assert_eq!(place.history(tenant).lines().count(), 30);
}

#[test]
fn a_control_plane_that_is_lost_altogether_is_another_deployment() {
    let (place, _) = Place::with_tenant(20);
    for file in FILES {
        let _ = std::fs::remove_file(place.path(file));
    }
    let error = place.rehome(["import", "events.ndjson", "--json"]).error(1);
    assert_eq!(error["type"], "other_deployment");
}

#[test]
fn a_store_that_lost_events_is_reported_before_a_subscriber_misses_one() {
    let (place, tenant) = Place::with_tenant(20);
    place
        .sqlite("control.db")
        .execute(
            "INSERT INTO checkpoints (tenant, name, seq) VALUES (?1, 'projector', 30)",
            [tenant.as_bytes().as_slice()],
        )
        .unwrap();
    let ended = place.rehome(["recover", "--json"]);
    let found = &ended.document()[0];
    assert_eq!(found["tenant_id"], tenant.to_string());
    assert_eq!(found["checkpoints"][0]["name"], "projector");
    assert_eq!(found["checkpoints"][0]["checkpoint"], 30);
    assert_eq!(found["checkpoints"][0]["end"], 20);
    ended.fails(5);
    for command in [["store", "check"], ["health", "--quiet"]] {
        let error = place.rehome(command).fails(1);
        assert!(error.contains("projector") && error.contains("lost events"), "{error}");
    }
    place.sqlite("control.db").execute("UPDATE checkpoints SET seq = 20", []).unwrap();
    place.rehome(["store", "check"]).succeeds();
    place.rehome(["recover"]).succeeds();
}

/// A failover to an asynchronous standby lost the target's activation, and all that was appended since.
#[test]
fn a_store_that_lost_its_activation_is_not_activated_again_until_an_operator_accepts_the_loss() {
    let (place, tenant) = Place::with_tenant(20);
    let id = tenant.to_string();
    place.rehome(["migration", "start", "--tenant", &id, "--to", "dedicated"]).succeeds();
    let lost = "UPDATE ledger SET role = 'replica', epoch = (SELECT m FROM c.migrations)";
    let control = place.path("control.db");
    let dedicated = place.sqlite("dedicated.db");
    dedicated.execute("ATTACH ?1 AS c", [control.to_str().unwrap()]).unwrap();
    assert_eq!(dedicated.execute(lost, []).unwrap(), 1);
    drop(dedicated);

    // It has as many events as at the switch, and is still not taken for complete.
    place.write("more.ndjson", lines(tenant, 1..=30));
    for refused in [vec!["import", "more.ndjson"], vec!["export", "--tenant", &id, "-"]] {
        let error = place.rehome(refused).fails(1);
        assert!(error.contains("history"), "{error}");
    }
    for command in [["store", "check"], ["health", "--quiet"]] {
        let error = place.rehome(command).fails(1);
        assert!(error.contains("lost events") && error.contains("--accept-loss"), "{error}");
    }
    let before = place.state();
    let accept = ["recover", "--tenant", &id, "--store", "dedicated", "--accept-loss"];
    place.rehome(accept).fails(5);
    assert_eq!(place.state(), before);

    let ended = place.rehome([&accept[..], &["--yes", "--json"]].concat());
    assert_eq!(ended.document()[0]["recovered"], true);
    ended.succeeds();
    place.rehome(["import", "more.ndjson"]).succeeds();
    assert_eq!(place.history(tenant).lines().count(), 30);
    place.rehome(["store", "check"]).succeeds();
    let error = place.rehome(accept).fails(3);
    assert!(error.contains("has lost no events"), "{error}");
}

#[test]
fn a_tenant_that_was_removed_in_the_lost_time_is_recovered_without_events() {
    let (place, tenant) = Place::with_tenant(20);
    let id = tenant.to_string();
    back_up(&place);
    place.rehome(["tenant", "remove", &id, "--events", "20"]).succeeds();
    restore(&place);

    let error = place.rehome(["import", "events.ndjson"]).fails(1);
    assert!(error.contains("rehome recover"), "{error}");
    // No store has its events; one that is not configured might.
    let ended = place.rehome(["recover", "--yes", "--json"]);
    assert!(ended.document()[0]["undecided"].as_str().unwrap().contains("--store"));
    ended.fails(5);
    let args = ["recover", "--tenant", &id, "--store", "shared", "--yes", "--json"];
    let ended = place.rehome(args);
    assert_eq!(ended.document()[0]["recovered"], true);
    ended.succeeds();
    assert_eq!(place.json(["recover"]), serde_json::json!([]));
    place.rehome(["import", "events.ndjson"]).succeeds();
    assert_eq!(place.history(tenant).lines().count(), 20);
}
