//! Operations that make no sense, by what there is. Each changes nothing.

use uuid::Uuid;

use crate::kit::{Place, line, lines};

#[test]
fn what_is_not_known_is_not_found() {
    let (place, tenant) = Place::with_tenant(10);
    let before = place.state();
    let (nobody, id) = (Uuid::new_v4().to_string(), tenant.to_string());
    for (args, kind) in [
        (&["migration", "start", "--tenant", &nobody, "--to", "dedicated"][..], "unknown_tenant"),
        (&["migration", "start", "--tenant", &id, "--to", "elsewhere"], "unknown_store"),
        (&["migration", "show", &nobody], "unknown_migration"),
        (&["migration", "watch", &nobody], "unknown_migration"),
        (&["migration", "log", &nobody], "unknown_migration"),
        (&["migration", "pause", &nobody], "unknown_migration"),
        (&["migration", "resume", &nobody], "unknown_migration"),
        (&["migration", "cutover", &nobody], "unknown_migration"),
        (&["migration", "abort", &nobody], "unknown_migration"),
        (&["migration", "verify", &nobody], "unknown_migration"),
        (&["migration", "tune", &nobody, "--copy-rate-max", "1"], "unknown_migration"),
        (&["migration", "return", &nobody], "unknown_migration"),
        (&["tenant", "show", &nobody], "unknown_tenant"),
        (&["tenant", "purge", &nobody, "--store", "shared"], "unknown_tenant"),
        (&["tenant", "purge", &id, "--store", "elsewhere"], "unknown_store"),
        (&["export", "--tenant", &nobody], "unknown_tenant"),
        (&["store", "check", "elsewhere"], "unknown_store"),
        (&["store", "create", "elsewhere"], "unknown_store"),
        (&["recover", "--tenant", &nobody], "unknown_tenant"),
        (&["recover", "--store", "elsewhere"], "unknown_store"),
    ] {
        let error = place.rehome(args.iter().copied().chain(["--json"])).error(4);
        assert_eq!(error["type"], kind, "{args:?}: {error}");
    }
    assert_eq!(place.state(), before);
}

#[test]
fn a_tenant_is_not_moved_to_where_it_is() {
    let (place, tenant) = Place::with_tenant(10);
    let before = place.state();
    let id = tenant.to_string();
    let args = ["migration", "start", "--tenant", &id, "--to", "shared", "--json"];
    let error = place.rehome(args).error(3);
    assert_eq!(error["type"], "not_possible");
    assert_eq!(error["tenant_id"], id);
    assert_eq!(place.state(), before);
}

#[test]
fn a_target_that_holds_other_events_of_the_tenant_is_refused() {
    let (place, tenant) = Place::with_tenant(10);
    // The same tenant, imported into the other store with another control plane of
    // the same deployment: as after a wrong restore.
    let files = ["control.db", "control.db-wal", "control.db-shm"];
    for file in files {
        let _ = std::fs::rename(place.path(file), place.path(&format!("kept-{file}")));
    }
    place.write("other.ndjson", line(tenant, 999));
    place.rehome(["import", "--store", "dedicated", "other.ndjson"]).fails(1);
    for file in files {
        let _ = std::fs::remove_file(place.path(file));
        let _ = std::fs::rename(place.path(&format!("kept-{file}")), place.path(file));
    }
    plant(&place, tenant);
    let before = place.state();
    let id = tenant.to_string();
    let args = ["migration", "start", "--tenant", &id, "--to", "dedicated", "--json"];
    let error = place.rehome(args).error(3);
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("has 1 other events of this tenant"), "{message}");
    assert_eq!(place.state(), before);
    // As the message says.
    place.rehome(["tenant", "purge", &id, "--store", "dedicated"]).succeeds();
    place.rehome(["migration", "start", "--tenant", &id, "--to", "dedicated"]).succeeds();
    assert_eq!(place.history(tenant).lines().count(), 10);
}

/// A fenced history of one other event in `dedicated`.
fn plant(place: &Place, tenant: Uuid) {
    let conn = place.sqlite("dedicated.db");
    let bytes = tenant.as_bytes().as_slice();
    conn.execute(
        "INSERT INTO ledger (tenant_no, tenant, role, epoch, seq, digest)
         VALUES (1, ?1, 'fenced', 1, 1, ?2)",
        (bytes, [7_u8; 32].as_slice()),
    )
    .unwrap();
    conn.execute_batch(
        "INSERT INTO streams VALUES (1, 1, 'order', 'other', 1);
         INSERT INTO events (position, stream_no, version, event_id, event_type, occurred_at,
                             recorded_at, data, metadata, digest)
         VALUES ((1 << 40) | 1, 1, 1, randomblob(16), 'Other', 0, 0, '{}', '{}', randomblob(32))",
    )
    .unwrap();
}

#[test]
fn a_failed_migration_is_cleaned_up_before_the_next_one() {
    let (place, tenant) = Place::with_tenant(1_000);
    let id = tenant.to_string();
    // A source with a row that is not what it was cannot be copied.
    let plant = "UPDATE events SET data = '{}' WHERE position & 1023 = 500";
    place.sqlite("shared.db").execute(plant, []).unwrap();
    let args = ["migration", "start", "--tenant", &id, "--to", "dedicated", "--json"];
    let error = place.rehome(args).error(1);
    assert_eq!(error["type"], "migration_failed", "{error}");
    assert_eq!(error["state"], "failed");
    let migration = error["migration_id"].as_str().unwrap();
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(&format!("rehome migration abort {migration}")), "{message}");
    let refused = place.rehome(args).error(3);
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains(&format!("rehome migration abort {migration}")), "{refused}");
    assert_eq!(place.json(["migration", "abort", migration])["state"], "rolled_back");
}

#[test]
fn a_check_of_the_stores_tells_what_is_where() {
    let (place, tenant) = Place::with_tenant(10);
    let report = place.json(["store", "check"]);
    assert_eq!(report["ok"], true);
    let stores = report["stores"].as_array().unwrap();
    assert_eq!(stores.len(), 2);
    let shared = stores.iter().find(|store| store["id"] == "shared").unwrap();
    assert_eq!(shared["default"], true);
    assert_eq!(shared["durable"], true);
    assert_eq!(shared["tenants_total"], 1);
    assert_eq!(shared["tenants"][0]["tenant_id"], tenant.to_string());
    assert_eq!(shared["tenants"][0]["role"], "active");
    assert_eq!(shared["tenants"][0]["authority"], true);
    let one = place.json(["store", "check", "dedicated"]);
    assert_eq!(one["stores"].as_array().unwrap().len(), 1);
    assert!(place.rehome(["store", "check"]).succeeds().contains("store \"shared\" (default): ok"));
    // A history that is gone.
    place.write("more.ndjson", lines(Uuid::new_v4(), 1..=3));
    place.rehome(["import", "more.ndjson"]).succeeds();
    place.sqlite("shared.db").execute("DELETE FROM ledger WHERE seq = 3", []).unwrap();
    let error = place.rehome(["store", "check", "shared"]).fails(1);
    assert!(error.contains("it has no history of the tenant, but should"), "{error}");
}
