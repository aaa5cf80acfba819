//! `tenant remove`: an imported tenant is removed, and imported again with other events.

use uuid::Uuid;

use crate::kit::{Place, line, lines, wait_for};
use crate::serving::Serving;

#[test]
fn a_tenant_that_was_only_imported_is_removed_and_imported_again() {
    let (place, tenant) = Place::with_tenant(700);
    let id = tenant.to_string();
    let before = place.state();
    let found = place.json(["tenant", "remove", &id, "--dry-run"]);
    assert_eq!((&found["events"], &found["removed"]), (&700.into(), &false.into()));
    let text = place.rehome(["tenant", "remove", &id, "--dry-run"]).succeeds();
    assert!(text.contains(&format!("rehome tenant remove {id} --events 700")), "{text}");
    let error = place.rehome(["tenant", "remove", &id, "--events", "699", "--json"]).error(3);
    assert_eq!(error["type"], "not_removable");
    assert!(place.rehome(["tenant", "remove", &id]).fails(2).contains("--events"));
    assert_eq!(place.state(), before);

    let removed = place.json(["tenant", "remove", &id, "--events", "700"]);
    assert_eq!((&removed["events"], &removed["removed"]), (&700.into(), &true.into()));
    // Again: nothing is left, and that is no error.
    assert_eq!(place.json(["tenant", "remove", &id, "--events", "700"])["events"], 0);
    for command in [&["tenant", "show", &id][..], &["export", "--tenant", &id, "-"]] {
        let error = place.rehome(command.iter().copied().chain(["--json"])).error(4);
        assert_eq!(error["type"], "unknown_tenant");
    }
    assert_eq!(place.json(["tenant", "list"]).as_array().unwrap().len(), 0);
    assert_eq!(place.json(["recover"]).as_array().unwrap().len(), 0);
    place.rehome(["store", "check"]).succeeds();
    place.rehome(["store", "verify", "shared"]).succeeds();
    place.rehome(["audit", "verify"]).succeeds();

    // Other events under the same ids, which the old history would have refused, in the other store.
    let other = lines(tenant, 1..=90).replace("\"data\":{", "\"data\":{\"corrected\":true,");
    place.write("other.ndjson", &other);
    let report = place.json(["import", "--store", "dedicated", "other.ndjson"]);
    assert_eq!(report["events_imported"], 90);
    assert!(place.history(tenant).contains("\"corrected\":true"));
    let moved = ["migration", "start", "--tenant", &id, "--to", "shared"];
    place.rehome(moved).succeeds();
    let shown = place.json(["tenant", "show", &id]);
    assert_eq!((&shown["store"], &shown["seq"]), (&"shared".into(), &90.into()));
    assert_eq!(shown["problems"].as_array().unwrap().len(), 0, "{shown}");
    // It was moved, so the old copy comes first.
    let error = place.rehome(["tenant", "remove", &id, "--events", "90", "--json"]).error(3);
    let said = error["message"].as_str().unwrap();
    assert!(said.contains(&format!("rehome tenant purge {id} --store dedicated")), "{said}");
    place.rehome(["tenant", "purge", &id, "--store", "dedicated"]).succeeds();
    let removed = place.rehome(["tenant", "remove", &id, "--events", "90"]);
    assert_eq!(removed.stderr, "", "what was asked for is no warning");
    removed.succeeds();
    place.rehome(["import", "--store", "shared", "events.ndjson"]).succeeds();
    assert_eq!(place.json(["tenant", "show", &id])["seq"], 700);
}

#[test]
fn a_server_removes_a_tenant_and_refuses_its_readers_and_writers() {
    let (place, tenant) = Place::with_tenant(30);
    let id = tenant.to_string();
    let server = Serving::start(&place);
    let through = ["--server", &server.url];
    let run = |args: &[&str]| {
        let args: Vec<&str> = args.iter().chain(&through).copied().collect();
        place.json(args)
    };
    assert_eq!(run(&["tenant", "remove", &id, "--dry-run"])["events"], 30);
    let removed = run(&["tenant", "remove", &id, "--events", "30", "--reason", "a wrong file"]);
    assert_eq!(removed["removed"], true);
    assert_eq!(run(&["tenant", "list"]).as_array().unwrap().len(), 0);
    let nobody = Uuid::new_v4().to_string();
    let args = ["tenant", "remove", &nobody, "--events", "0", "--json"];
    let error = place.rehome(args.into_iter().chain(through)).error(4);
    assert_eq!(error["type"], "unknown_tenant");
    // A new life through the other way.
    place.write("new.ndjson", line(tenant, 7));
    let report = place.json(["import", "new.ndjson"]);
    assert_eq!(report["events_imported"], 1);
    assert_eq!(run(&["tenant", "show", &id])["seq"], 1);
}

/// The state that a process leaves behind that dies after it recorded the removal, and before the fence.
#[test]
fn a_removal_that_was_interrupted_is_named_with_the_command_that_completes_it() {
    let (place, tenant) = Place::with_tenant(30);
    let id = tenant.to_string();
    let begun = "UPDATE routes SET rev = rev + 1, n = n + 1;
                 INSERT INTO removals (tenant, epoch, events) SELECT tenant, n, 30 FROM routes";
    place.sqlite("control.db").execute_batch(begun).unwrap();
    let completes = format!("rehome tenant remove {id} --events 30");

    let health = place.json(["health"]);
    assert_eq!(health["status"], "degraded");
    assert!(health["details"][0].as_str().unwrap().contains(&completes), "{health}");
    let checked = place.rehome(["store", "check", "shared"]).fails(1);
    assert!(checked.contains(&completes), "{checked}");
    let shown = place.json(["tenant", "show", &id]);
    assert!(shown["problems"][0].as_str().unwrap().contains(&completes), "{shown}");
    let listed = place.json(["tenant", "list"]);
    assert_eq!(listed[0]["removing"], 30, "{listed}");
    let text = place.rehome(["tenant", "list"]).succeeds();
    assert!(text.contains("removal of 30 events not complete"), "{text}");
    // A server waits for some seconds: the removal may be under way.
    let server = Serving::start(&place);
    let seen = || {
        let health = place.json(["health", "--server", &server.url]);
        health["details"][0].as_str().map(str::to_owned)
    };
    let seen = wait_for("a server that names the removal", seen);
    assert!(seen.contains(&completes), "{seen}");
    assert_eq!(server.series("tenant_removals_interrupted", ""), Some(1.0));
    // Who meets it learns how to find the command.
    let error = place.rehome(["export", "--tenant", &id, "-", "--json"]).error(3);
    let said = error["message"].as_str().unwrap();
    assert!(said.contains(&format!("rehome tenant remove {id} --dry-run")), "{said}");
    let dry = place.rehome(["tenant", "remove", &id, "--dry-run"]).succeeds();
    assert!(dry.contains(&completes), "{dry}");

    place.rehome(["tenant", "remove", &id, "--events", "30"]).succeeds();
    assert_eq!(place.json(["health"])["status"], "healthy");
    place.rehome(["store", "check"]).succeeds();
    let over = || {
        let health = place.json(["health", "--server", &server.url]);
        (health["status"] == "healthy").then_some(())
    };
    wait_for("a server that sees its end", over);
}

/// Whoever holds the store's lock makes the removal wait, and a person stops it there.
#[test]
fn a_removal_that_is_stopped_says_how_it_is_completed() {
    let (place, tenant) = Place::with_tenant(30);
    let id = tenant.to_string();
    let holder = place.sqlite("shared.db");
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let removing = place.command(["tenant", "remove", &id, "--events", "30"]).spawn().unwrap();
    let pid = removing.id().to_string();
    let reaches_the_store = || {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        let mut files = open.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        files.any(|file| file.ends_with("shared.db")).then_some(())
    };
    wait_for("the removal", reaches_the_store);
    let sent = std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(sent.success());
    let ended = removing.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    let completes = format!("rehome tenant remove {id} --events 30");
    assert!(ended.status.code() == Some(1) && said.contains(&completes), "{said}");
    holder.execute_batch("ROLLBACK").unwrap();
    place.rehome(["tenant", "remove", &id, "--events", "30"]).succeeds();
}
