//! From one database engine to another and back, by the command alone.

use serde_json::Value;
use uuid::Uuid;

use crate::kit::{CONFIG, Place, lines};

/// `shared` in a file, `dedicated` and the control plane in one schema of a server.
fn place_on_two_engines() -> (Place, rehome_cluster::Database) {
    let database = rehome_cluster::shared().database().unwrap();
    let place = Place::new();
    let url = database.url();
    let config = CONFIG.replace("sqlite:control.db", &url).replace("sqlite:dedicated.db", &url);
    place.write("rehome.toml", config);
    (place, database)
}

fn head(place: &Place, store: &str, tenant: &str) -> (Value, Value) {
    let checked = place.json(["store", "check", store]);
    let tenants = checked["stores"][0]["tenants"].as_array().unwrap().clone();
    let row = tenants.into_iter().find(|row| row["tenant_id"] == tenant).unwrap();
    (row["seq"].clone(), row["digest"].clone())
}

#[test]
fn from_a_file_to_a_server_and_back_is_the_same_history() {
    let (place, _database) = place_on_two_engines();
    let tenant = Uuid::new_v4();
    let id = tenant.to_string();
    place.write("events.ndjson", lines(tenant, 1..=1_234));
    place.rehome(["import", "--store", "shared", "events.ndjson"]).succeeds();
    let (before, first_head) = (place.history(tenant), head(&place, "shared", &id));

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
    assert_eq!(there["events_copied"], 1_234);
    let verified =
        place.json(["migration", "verify", there["id"].as_str().unwrap(), "--level", "full"]);
    assert_eq!((&verified["ok"], &verified["events_checked"]), (&true.into(), &1_234.into()));
    assert_eq!(head(&place, "dedicated", &id), first_head);
    assert_eq!(place.history(tenant), before);

    // Events written there come back with the rest.
    place.write("more.ndjson", lines(tenant, 1_235..=1_300));
    place.rehome(["import", "--store", "dedicated", "more.ndjson"]).succeeds();
    let (longer, second_head) = (place.history(tenant), head(&place, "dedicated", &id));
    assert_ne!(second_head, first_head);
    let back = place.json(["migration", "return", there["id"].as_str().unwrap()]);
    assert_eq!((&back["state"], &back["target_store"]), (&"migrated".into(), &"shared".into()));
    assert_eq!(head(&place, "shared", &id), second_head);
    assert_eq!(place.history(tenant), longer);

    let purged = place.json(["tenant", "purge", &id, "--store", "dedicated"]);
    assert_eq!(purged["events_purged"], 1_300);
    assert_eq!(place.history(tenant), longer);
}

#[test]
fn a_check_tells_about_the_server() {
    let (place, database) = place_on_two_engines();
    place.write("events.ndjson", lines(Uuid::new_v4(), 1..=3));
    place.rehome(["import", "--store", "dedicated", "events.ndjson"]);
    let checked = place.json(["store", "check", "dedicated"]);
    let store = &checked["stores"][0];
    assert_eq!((&checked["ok"], &store["reachable"]), (&true.into(), &true.into()), "{checked}");
    assert!(store["engine"].as_str().unwrap().starts_with("PostgreSQL "), "{store}");
    assert!(store["durability"].as_str().unwrap().starts_with("primary, fsync="), "{store}");
    assert!(store["clock_skew_ms"].as_i64().unwrap().abs() < 1_000, "{store}");
    let shown = checked.to_string();
    assert!(shown.contains(database.name()) && !shown.contains(database.password()), "{shown}");
}

#[test]
fn an_address_without_a_control_plane_or_without_its_database_says_what_makes_it() {
    let (place, database) = place_on_two_engines();
    let error = place.rehome(["store", "check"]).fails(1);
    for word in ["control plane does not exist at postgres://", "`rehome serve`"] {
        assert!(error.contains(word), "{error}");
    }
    let url = database.url();
    let absent = format!("{}not_there", url.strip_suffix(database.name()).unwrap());
    place.write("rehome.toml", CONFIG.replace("sqlite:control.db", &absent));
    let error = place.rehome(["store", "check"]).fails(1);
    let word = format!(
        "control plane is not set up: database \"not_there\" does not exist on 127.0.0.1:{}; create it",
        database.port()
    );
    assert!(error.contains(&word), "{error}");
}

/// A file and a database: what they take is known of both, and the disk of the file only.
#[test]
fn a_store_at_its_limit_gets_no_tenant() {
    let (place, database) = (Place::new(), rehome_cluster::shared().database().unwrap());
    let tenant = "824a8fcf-0c14-513f-bd3a-4c35d1078706";
    let event = format!(
        r#"{{"tenant_id":"{tenant}","stream_type":"o","stream_id":"1","event_type":"P","data":{{}}}}"#
    );
    place.write("one.ndjson", event);
    for target in ["sqlite:dedicated.db".to_owned(), database.url()] {
        for (limit, is_full) in [(100_000_u64, true), (1 << 40, false)] {
            let config = CONFIG.replace("sqlite:dedicated.db", &target);
            place.write("rehome.toml", format!("{config}size_max_bytes = {limit}\n"));
            place.rehome(["import", "one.ndjson"]).succeeds();
            place.rehome(["store", "check"]).succeeds();
            let plan = place.rehome(["plan", "--tenant", tenant, "--to", "dedicated"]);
            assert_eq!(
                plan.code == 0,
                !is_full,
                "{target} {limit}: {}{}",
                plan.stdout,
                plan.stderr
            );
            assert_eq!(plan.stderr.contains("it is full"), is_full, "{}", plan.stderr);
        }
    }
}
