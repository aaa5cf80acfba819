//! How it is called: arguments, configuration, what goes where.

use crate::kit::{CONFIG, Place, lines};
use uuid::Uuid;

#[test]
fn bad_arguments_are_bad_usage() {
    let place = Place::new();
    for args in [
        &["nonsense"][..],
        &[],
        &["import"],
        &["export", "--tenant", "0190a5de-6f6b-7c3d-8a55-00000000000"],
        &["migration", "start", "--to", "dedicated"],
        &["migration", "show", "not-an-id"],
        &["migration", "verify", "824a8fcf-0c14-513f-bd3a-4c35d1078706", "--sample", "2"],
        &["migration", "list", "--state", "lost"],
        &["estimate"],
    ] {
        place.rehome(args.iter().copied()).fails(2);
    }
    let start = ["migration", "start", "--tenant", "824a8fcf-0c14-513f-bd3a-4c35d1078706"];
    for more in [
        &["--to", "a/b"][..],
        &["--to", "dedicated", "--cutover", "soon"],
        &["--to", "dedicated", "--rollback-window", "1 hour"],
        &["--to", "dedicated", "--copy-rate-max", "-1"],
        &["--to", "dedicated", "--mirror-ack", "both"],
    ] {
        place.write("events.ndjson", lines(Uuid::new_v4(), 1..=1));
        place.rehome(["import", "events.ndjson"]).succeeds();
        place.rehome(start.iter().chain(more).copied()).fails(2);
    }
}

#[test]
fn bad_usage_is_a_document_too() {
    let error = Place::new()
        .rehome(["export", "--tenant", "0190a5de-6f6b-7c3d-8a55-00000000000", "--json"])
        .error(2);
    assert_eq!(error["type"], "bad_usage");
    assert!(error["message"].as_str().unwrap().contains("--tenant"), "{error}");
}

#[test]
fn every_command_explains_itself() {
    let place = Place::new();
    for command in [
        "import",
        "export",
        "store",
        "plan",
        "migration",
        "tenant",
        "recover",
        "estimate",
        "config",
        "init",
        "monitoring",
    ] {
        let help = place.rehome([command, "--help"]).succeeds();
        assert!(help.contains("Usage: rehome"), "{help}");
        assert!(help.contains("--json") && help.contains("--config"), "{help}");
    }
}

#[test]
fn an_unknown_key_is_refused_with_key_file_and_line_and_nothing_is_touched() {
    let place = Place::new();
    place.write("events.ndjson", lines(Uuid::new_v4(), 1..=3));
    place.write("rehome.toml", format!("{CONFIG}\n[migration]\ncopy_rate = 5\n"));
    let error = place.rehome(["import", "events.ndjson"]).fails(2);
    assert!(error.contains("rehome.toml:15: unknown key migration.copy_rate"), "{error}");
    assert!(place.state().is_empty());
}

#[test]
fn a_configuration_that_is_not_there_is_bad_usage() {
    let place = Place::new();
    let error = place.rehome(["--config", "other.toml", "migration", "list", "--json"]).error(2);
    assert_eq!(error["type"], "bad_configuration");
    assert!(error["message"].as_str().unwrap().contains("other.toml"));
}

#[test]
fn a_server_that_is_not_there_is_said_without_the_password() {
    let place = Place::new();
    // Nothing listens on port 1.
    let url = "postgres://u:hunter2@127.0.0.1:1/d";
    place.write("rehome.toml", CONFIG.replace("sqlite:dedicated.db", url));
    place.write("events.ndjson", lines(Uuid::new_v4(), 1..=3));
    place.rehome(["import", "events.ndjson"]).succeeds();
    let error = place.rehome(["store", "check", "dedicated"]);
    assert_eq!(error.code, 1, "{}", error.stderr);
    let said = format!("{}{}", error.stdout, error.stderr);
    assert!(said.contains("cannot be reached") && !said.contains("hunter2"), "{said}");
}

#[test]
fn the_environment_is_a_configuration_too() {
    let place = Place::new();
    std::fs::remove_file(place.path("rehome.toml")).unwrap();
    place.write("events.ndjson", lines(Uuid::new_v4(), 1..=3));
    let mut command = place.command(["import", "events.ndjson", "--json"]);
    command.env("REHOME_CONTROL_PLANE_URL", "sqlite:c.db");
    command.env("REHOME_STORES_ONE_URL", "sqlite:one.db");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(place.path("one.db").exists() && place.path("c.db").exists());
}

#[test]
fn estimates_are_the_guides() {
    let place = Place::new();
    let estimate = place.json(["estimate", "--events", "1500000"]);
    assert_eq!(estimate["bulk_copy_estimate"], "2.5 minutes");
    assert_eq!(estimate["dual_write_estimate"], "0.0 seconds");
    assert_eq!(estimate["cutover_estimate"], "5.0 seconds");
    assert_eq!(estimate["total_estimate"], "3.9 minutes");
    assert_eq!(estimate["bulk_copy_seconds"], 150.0);
    for rate in ["0", "-5", "NaN", "inf"] {
        place.rehome(["estimate", "--events", "10", "--rate", rate]).fails(2);
    }
    place.rehome(["estimate", "--events", "10", "--rate", "5", "--write-rate", "5"]).fails(3);
}

#[test]
fn data_goes_to_stdout_and_everything_else_to_stderr() {
    let place = Place::new();
    let tenant = Uuid::new_v4();
    place.write("events.ndjson", lines(tenant, 1..=3));
    let imported = place.rehome(["import", "events.ndjson", "--json"]);
    assert_eq!(imported.stderr, "");
    assert_eq!(imported.document()["events_imported"], 3);
    let args =
        ["migration", "start", "--tenant", &tenant.to_string(), "--to", "dedicated", "--json"];
    let migrated = place.rehome(args);
    assert_eq!(migrated.stderr, "");
    let keys: Vec<_> = migrated.document().as_object().unwrap().keys().cloned().collect();
    let mut expected = [
        "id",
        "tenant_id",
        "source_store",
        "target_store",
        "state",
        "progress_percent",
        "events_copied",
        "events_total",
        "sync_lag_events",
        "rate_events_per_s",
        "eta_seconds",
        "read_back_seq",
        "created_at",
        "started_at",
        "completed_at",
        "error",
        "open_violation",
        "waiting",
        "waiting_since",
        "cutover_requested",
        "hooks",
        "throttle_percent",
        "throttle_reason",
        "source_last_seen_at",
        "source_unanswered_since",
        "target_last_seen_at",
        "target_unanswered_since",
        "allowed_actions",
        "needs",
        "last_cutover",
        "return_until",
    ];
    expected.sort_unstable();
    let mut keys = keys;
    keys.sort_unstable();
    assert_eq!(keys, expected);
    let quiet = place.rehome(["export", "--quiet", "--tenant", &tenant.to_string()]);
    assert_eq!(quiet.stderr, "");
    assert_eq!(quiet.stdout.lines().count(), 3);
}
