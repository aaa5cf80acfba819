//! Invalid files. The error for each is clear, and nothing is changed.

use std::process::Command;

use serde_json::Value;
use uuid::Uuid;

use crate::kit::{CONFIG, Place, lines};

fn start(place: &Place, tenant: Uuid) -> Value {
    let id = tenant.to_string();
    place.rehome(["migration", "start", "--tenant", &id, "--to", "dedicated", "--json"]).error(1)
}

fn message(error: &Value) -> &str {
    error["message"].as_str().unwrap()
}

/// The store's file and what lies beside it.
fn remove(place: &Place, name: &str) {
    for name in [name.to_owned(), format!("{name}-wal"), format!("{name}-shm")] {
        let _ = std::fs::remove_file(place.path(&name));
    }
}

#[test]
fn a_missing_target_is_not_made_by_a_migration() {
    let (place, tenant) = Place::with_tenant(10);
    remove(&place, "dedicated.db");
    let before = place.state();
    let error = start(&place, tenant);
    assert_eq!(error["type"], "missing");
    assert!(message(&error).contains("rehome store create dedicated"), "{error}");
    assert!(!place.path("dedicated.db").exists());
    assert_eq!(place.state(), before);
    // The advice in the error works.
    place.rehome(["store", "create", "dedicated"]).succeeds();
    place.rehome(["store", "create", "dedicated"]).fails(3);
    let id = tenant.to_string();
    place.rehome(["migration", "start", "--tenant", &id, "--to", "dedicated"]).succeeds();
    // Now it holds a tenant; if it is lost, it is not new.
    remove(&place, "dedicated.db");
    let refused = place.rehome(["store", "create", "dedicated"]).fails(3);
    assert!(refused.contains("restore it"), "{refused}");
    place.rehome(["export", "--tenant", &id]).fails(1);
    place.rehome(["import", "events.ndjson"]).fails(1);
    assert!(!place.path("dedicated.db").exists());
}

#[test]
fn a_missing_control_plane_is_not_made_by_a_command_that_only_looks() {
    let place = Place::new();
    for args in [&["migration", "list"][..], &["store", "check"], &["recover"]] {
        let error = place.rehome(args.iter().copied().chain(["--json"])).error(1);
        assert_eq!(error["type"], "missing");
    }
    assert!(place.state().is_empty());
}

#[test]
fn what_is_no_store_is_left_as_it_is() {
    let (place, tenant) = Place::with_tenant(10);
    remove(&place, "dedicated.db");
    place.write("dedicated.db", "this is a letter to my aunt, and not a store at all\n".repeat(99));
    let before = place.read("dedicated.db");
    assert_eq!(start(&place, tenant)["type"], "foreign_file");
    place.rehome(["import", "events.ndjson"]).succeeds();
    assert_eq!(place.read("dedicated.db"), before);

    remove(&place, "dedicated.db");
    place.sqlite("dedicated.db").execute_batch("CREATE TABLE recipes (name TEXT)").unwrap();
    let before = place.state();
    let error = start(&place, tenant);
    assert_eq!(error["type"], "foreign_file");
    assert!(message(&error).contains("another program's database"), "{error}");
    assert_eq!(place.state(), before);

    remove(&place, "dedicated.db");
    std::fs::create_dir(place.path("dedicated.db")).unwrap();
    assert_eq!(start(&place, tenant)["type"], "foreign_file");
}

#[test]
fn a_store_of_a_newer_rehome_is_left_as_it_is() {
    let (place, tenant) = Place::with_tenant(10);
    let newer = "UPDATE meta SET format = 9, oldest_reader = 9, oldest_writer = 9";
    place.sqlite("dedicated.db").execute(newer, []).unwrap();
    let before = place.state();
    let error = start(&place, tenant);
    assert_eq!(error["type"], "newer_format");
    assert!(message(&error).contains("upgrade rehome"), "{error}");
    assert_eq!(place.state(), before);
}

#[test]
fn a_store_of_another_deployment_is_left_as_it_is() {
    let (place, tenant) = Place::with_tenant(10);
    let (other, _) = Place::with_tenant(5);
    remove(&place, "dedicated.db");
    std::fs::copy(other.path("dedicated.db"), place.path("dedicated.db")).unwrap();
    let before = place.state();
    assert_eq!(start(&place, tenant)["type"], "other_deployment");
    assert_eq!(place.state(), before);
}

#[test]
fn a_copy_of_a_store_is_not_another_store() {
    let (place, tenant) = Place::with_tenant(10);
    remove(&place, "dedicated.db");
    std::fs::copy(place.path("shared.db"), place.path("dedicated.db")).unwrap();
    let id = tenant.to_string();
    // Whichever is opened first has the identity.
    let ended = place.rehome(["migration", "start", "--tenant", &id, "--to", "dedicated"]).fails(1);
    assert!(ended.contains("a copy of store"), "{ended}");
    assert_eq!(place.json(["migration", "list"]), Value::Array(Vec::new()));

    std::fs::remove_file(place.path("dedicated.db")).unwrap();
    std::fs::hard_link(place.path("shared.db"), place.path("dedicated.db")).unwrap();
    let error = place.rehome(["store", "check"]).fails(2);
    assert!(error.contains("are the same file"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_read_only_target_is_said_to_be() {
    use std::os::unix::fs::PermissionsExt as _;

    let (place, tenant) = Place::with_tenant(10);
    let set = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(place.path("dedicated.db"), permissions).unwrap();
    };
    set(0o444);
    if std::fs::File::options().append(true).open(place.path("dedicated.db")).is_ok() {
        eprintln!("skipped: this user may write to read-only files");
        return;
    }
    let check = place.rehome(["store", "check", "dedicated", "--json"]);
    let report = check.document();
    assert_eq!(report["ok"], false, "{report}");
    check.fails(1);
    let error = start(&place, tenant);
    assert!(message(&error).contains("read-only"), "{error}");
    set(0o644);
    // Any record of the attempt does not prevent it.
    let id = tenant.to_string();
    for migration in place.json(["migration", "list"]).as_array().unwrap() {
        place.rehome(["migration", "abort", migration["id"].as_str().unwrap()]).succeeds();
    }
    place.rehome(["migration", "start", "--tenant", &id, "--to", "dedicated"]).succeeds();
}

#[test]
fn a_locked_source_is_said_to_be_and_writes_are_not_half_done() {
    let (place, tenant) = Place::with_tenant(10);
    place.write("more.ndjson", lines(tenant, 1..=20));
    let holder = place.sqlite("shared.db");
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = place.rehome(["import", "more.ndjson", "--json"]).error(1);
    assert!(message(&error).contains("locked by another process"), "{error}");
    holder.execute_batch("ROLLBACK").unwrap();
    drop(holder);
    assert_eq!(place.history(tenant).lines().count(), 10);
    place.rehome(["import", "more.ndjson"]).succeeds();
    assert_eq!(place.history(tenant).lines().count(), 20);
}

#[test]
fn a_locked_target_makes_a_migration_wait_and_nobody_else() {
    let (place, tenant) = Place::with_tenant(10);
    let holder = place.sqlite("dedicated.db");
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let id = tenant.to_string();
    let running =
        place.spawn(["migration", "start", "--tenant", &id, "--to", "dedicated", "--json"]);
    let migration = place.migration_of(tenant);
    place.write("more.ndjson", lines(tenant, 1..=20));
    place.rehome(["import", "more.ndjson"]).succeeds();
    assert_eq!(place.json(["migration", "show", &migration])["state"], "pending");
    holder.execute_batch("ROLLBACK").unwrap();
    drop(holder);
    assert_eq!(running.ends().document()["state"], "migrated");
    assert_eq!(place.history(tenant).lines().count(), 20);
}

/// A file system of a megabyte, made for the command alone; where that is not allowed, the test
/// prints that it was skipped.
#[test]
fn a_full_disk_is_said_to_be_and_what_was_imported_is_whole() {
    let (place, tenant) = (Place::new(), Uuid::new_v4());
    let large = lines(tenant, 1..=20_000);
    place.write("events.ndjson", &large);
    std::fs::create_dir(place.path("small")).unwrap();
    let config = CONFIG.replace("sqlite:", "sqlite:small/");
    place.write("rehome.toml", config);
    let script = "mount -t tmpfs -o size=2m small small || exit 99
        \"$0\" import events.ndjson --json 2>error.json; code=$?
        \"$0\" export --tenant \"$1\" - >kept.ndjson || exit 98
        exit $code";
    let ended = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .args([env!("CARGO_BIN_EXE_rehome"), &tenant.to_string()])
        .current_dir(place.path(""))
        .output();
    match ended.map(|output| output.status.code()) {
        Ok(Some(1)) => {
            let error: Value = serde_json::from_slice(
                place.read("error.json").split(|b| *b == b'\n').rfind(|l| !l.is_empty()).unwrap(),
            )
            .unwrap();
            assert!(message(&error["error"]).contains("no disk space left"), "{error}");
            let kept = String::from_utf8(place.read("kept.ndjson")).unwrap();
            let imported = error["error"]["imported"]["events_imported"].as_u64().unwrap();
            assert_eq!(kept.lines().count() as u64, imported);
            assert!(imported > 0 && imported < 20_000, "{error}");
        }
        Ok(Some(99 | 1..) | None) | Err(_) => {
            eprintln!("skipped: no file system of a test's own can be mounted here");
        }
        Ok(Some(code)) => panic!("the import ended with {code}"),
    }
}

/// The modes of the files below a folder, by their names.
#[cfg(unix)]
fn modes(folder: &std::path::Path) -> Vec<(String, u32)> {
    use std::os::unix::fs::PermissionsExt as _;
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let mode = |entry: &std::fs::DirEntry| entry.metadata().unwrap().permissions().mode() & 0o777;
    entries.map(|entry| (entry.file_name().into_string().unwrap(), mode(&entry))).collect()
}

#[cfg(unix)]
#[test]
fn what_holds_data_is_made_for_its_owner_alone() {
    let (place, tenant) = Place::with_tenant(10);
    let server = crate::serving::Serving::start(&place);
    let id = tenant.to_string();
    place.rehome(["migration", "start", "--tenant", &id, "--to", "dedicated"]).succeeds();
    place.rehome(["export", "--tenant", &id, "history.ndjson.gz"]).succeeds();
    place.rehome(["quickstart", "--exit", "--events", "90", "--dir", "look/here"]).succeeds();
    let ours = |(name, _): &(String, u32)| name.contains(".db") || name.contains(".gz");
    let found: Vec<_> = modes(&place.path("")).into_iter().filter(ours).collect();
    // Three databases that a server has open, each with its log and the index of it.
    assert!(found.len() > 9, "{found:?}");
    assert!(found.iter().all(|(_, mode)| *mode == 0o600), "{found:?}");
    let folders = modes(&place.path("")).into_iter().chain(modes(&place.path("look")));
    let folders: Vec<_> = folders.filter(|(name, _)| name == "look" || name == "here").collect();
    assert!(folders.len() == 2 && folders.iter().all(|(_, mode)| *mode == 0o700), "{folders:?}");
    let shown = modes(&place.path("look/here"));
    assert!(shown.iter().all(|(_, mode)| *mode == 0o600), "{shown:?}");
    drop(server);
}

#[cfg(unix)]
#[test]
fn whatever_others_may_read_is_warned_about_by_one_rule() {
    use std::os::unix::fs::PermissionsExt as _;
    let widen = |place: &Place, name: &str| {
        let wide = std::fs::Permissions::from_mode(0o640);
        std::fs::set_permissions(place.path(name), wide).unwrap();
    };
    let (place, _) = Place::with_tenant(10);
    let checked = place.rehome(["store", "check"]);
    assert_eq!((checked.code, checked.stderr.as_str()), (0, ""));
    widen(&place, "shared.db");
    widen(&place, "control.db");
    let checked = place.rehome(["store", "check", "--json"]);
    assert_eq!(checked.code, 1);
    let document = checked.document();
    let stores = document["stores"].as_array().unwrap();
    let shared = stores.iter().find(|store| store["id"] == "shared").unwrap();
    let problem = shared["problems"][0].as_str().unwrap();
    assert!(problem.contains("shared.db (mode 0640)") && problem.contains("0600"), "{problem}");
    // Every command that opens them reports the same.
    let health = place.rehome(["health"]);
    for name in ["control.db", "shared.db"] {
        assert!(health.stderr.contains(&format!("{name} (mode 0640)")), "{}", health.stderr);
    }

    // A configuration is worth a word if a password is in it, and then only.
    let place = Place::new();
    let check = ["--config", "other.toml", "store", "check"];
    let store = |url: &str| format!("{CONFIG}[[stores]]\nid = \"pg\"\nurl = \"{url}\"\n");
    for (url, warned) in [
        ("postgres://u@127.0.0.1:1/x?connect_timeout=2", false),
        ("postgres://u:hunter2@127.0.0.1:1/x?connect_timeout=2", true),
    ] {
        place.write("other.toml", store(url));
        widen(&place, "other.toml");
        let checked = place.rehome(check);
        assert_eq!(checked.stderr.contains("other.toml (mode 0640)"), warned, "{}", checked.stderr);
        assert!(!checked.stderr.contains("hunter2"));
    }

    // So is the file of a token.
    place.write("token", "rehome_x");
    place.write(
        "client.toml",
        "[client]\nurl = \"http://127.0.0.1:1\"\ntoken_file = \"token\"\nretry_for = \"10ms\"\n",
    );
    let ask = ["--config", "client.toml", "health"];
    widen(&place, "token");
    let asked = place.rehome(ask);
    assert!(asked.stderr.contains("token (mode 0640)"), "{}", asked.stderr);
}
