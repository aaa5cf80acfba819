//! A hook's veto is reported to the requester, and a cutover is withdrawn before it begins.

use crate::kit::{CONFIG, Place};

/// A program that vetoes while a file is there.
const VETOES: &str = "[ ! -e frozen ] || { echo 'a change freeze'; exit 75; }";

fn hooked() -> (Place, uuid::Uuid) {
    let (place, tenant) = Place::with_tenant(400);
    let script = format!("cd {}\n{VETOES}\n", place.path("").display());
    place.write("may.sh", script);
    let hook = format!(
        "[[hooks]]\nname = \"calendar\"\non = [\"before_start\", \"before_cutover\"]\nkind = \"command\"\n\
         command = [\"/bin/sh\", \"{}\"]\n",
        place.path("may.sh").display()
    );
    place.write("rehome.toml", format!("{CONFIG}{hook}"));
    (place, tenant)
}

fn until_level(place: &Place, migration: &str) {
    place.until(migration, "mirrored and read back", |found| {
        found["state"] == "dual_write" && found["read_back_seq"] == 400
    });
}

#[test]
fn a_veto_is_reported_to_whoever_asked() {
    let (place, tenant) = hooked();
    let id = tenant.to_string();
    let start = [
        "migration",
        "start",
        "--tenant",
        &id,
        "--to",
        "dedicated",
        "--cutover",
        "manual",
        "--json",
    ];
    place.write("frozen", "");
    let refused = place.rehome(start).error(3);
    assert_eq!(refused["type"], "vetoed");
    let why = "vetoed by hook calendar: a change freeze";
    assert!(refused["message"].as_str().unwrap().contains(why), "{refused}");
    std::fs::remove_file(place.path("frozen")).unwrap();

    let running = place.spawn(start);
    let migration = place.migration_of(tenant);
    until_level(&place, &migration);
    place.write("frozen", "");
    let refused = place.rehome(["migration", "cutover", &migration, "--json"]).error(1);
    assert_eq!(refused["type"], "cutover_vetoed");
    assert!(refused["message"].as_str().unwrap().contains(why), "{refused}");
    let shown = place.json(["migration", "show", &migration]);
    assert_eq!(shown["error"], format!("last cutover {why}"));
    assert_eq!(shown["cutover_requested"], false);
    let log = place.rehome(["migration", "log", &migration]).succeeds();
    assert!(log.contains("cutover_vetoed") && log.contains("a change freeze"), "{log}");

    // An automatic cutover reports what it waits for, and continues automatically.
    place.json(["migration", "tune", &migration, "--cutover", "auto"]);
    place.until(&migration, "waiting", |found| {
        found["waiting"].as_str().is_some_and(|waiting| waiting.contains(why))
    });
    std::fs::remove_file(place.path("frozen")).unwrap();
    assert_eq!(running.ends().document()["state"], "migrated");
}

#[test]
fn a_cutover_is_withdrawn_until_it_begins() {
    let (place, tenant) = hooked();
    let id = tenant.to_string();
    let start = [
        "migration",
        "start",
        "--tenant",
        &id,
        "--to",
        "dedicated",
        "--cutover",
        "manual",
        "--json",
    ];
    let running = place.spawn(start);
    let migration = place.migration_of(tenant);
    until_level(&place, &migration);
    let withdraw = ["migration", "cutover", &migration, "--withdraw", "--json"];
    assert_eq!(place.rehome(withdraw).error(3)["type"], "nothing_to_withdraw");
    // It waits for the hook, and does not begin after it was withdrawn.
    place.write("frozen", "");
    place.json(["migration", "tune", &migration, "--cutover", "auto"]);
    place.until(&migration, "waiting", |found| found["waiting"].is_string());
    let withdrawn =
        place.json(["migration", "cutover", &migration, "--withdraw", "--reason", "not today"]);
    assert_eq!(withdrawn["error"], "last cutover withdrawn by an operator");
    let allowed = withdrawn["allowed_actions"].as_array().unwrap();
    assert!(allowed.iter().any(|action| action == "cutover"), "{withdrawn}");
    assert!(!allowed.iter().any(|action| action == "withdraw"), "{withdrawn}");
    std::fs::remove_file(place.path("frozen")).unwrap();
    place.until(&migration, "no longer waiting", |found| found["waiting"].is_null());
    assert_eq!(place.json(["migration", "show", &migration])["state"], "dual_write");
    assert_eq!(place.json(["migration", "cutover", &migration])["state"], "migrated");
    assert_eq!(running.ends().document()["state"], "migrated");
    place.rehome(withdraw).fails(3);
}
