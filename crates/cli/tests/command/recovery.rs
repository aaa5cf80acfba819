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

    // The control plane says "shared"; the stores know better.
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
