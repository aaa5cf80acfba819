//! Drains by the command: the same on the stores and through a server.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::kit::{Place, Running, lines};
use crate::serving::Serving;

const TENANTS: u128 = 6;

fn tenant(n: u128) -> Uuid {
    Uuid::from_u128(0x824a_8fcf_0c14_413f_8d3a_0000_0000_0000 + n)
}

fn place() -> Place {
    let place = Place::new();
    let all: String = (1..=TENANTS).map(|n| lines(tenant(n), 1..=20)).collect();
    place.write("all.ndjson", all);
    place.rehome(["import", "--store", "shared", "all.ndjson"]).succeeds();
    place
}

/// A drain opens rollback windows on request only, and says so before it begins.
#[test]
fn a_plan_warns_that_no_tenant_can_return_and_that_a_person_is_awaited() {
    let place = place();
    let plan = |more: &[&str]| -> Value {
        let args = ["--json", "drain", "plan", "--from", "shared", "--to", "dedicated"];
        let mut command = place.command([&args[..], more].concat());
        command.env_remove("REHOME_MIGRATION_ROLLBACK_WINDOW");
        let ended = Running::start(command).ends();
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        serde_json::from_str(&ended.stdout).unwrap()
    };
    let warns = |plan: &Value, of: &str| {
        let warnings = plan["warnings"].as_array().unwrap();
        warnings.iter().any(|warning| warning.as_str().unwrap().contains(of))
    };
    let bare = plan(&[]);
    assert_eq!(bare["options"]["rollback_window"], "0", "{bare}");
    assert!(warns(&bare, "cannot return") && !warns(&bare, "manual"), "{bare}");
    let asked = plan(&["--rollback-window", "1h", "--cutover", "manual"]);
    assert!(!warns(&asked, "cannot return") && warns(&asked, "the cutover is manual"), "{asked}");
    let bounded = plan(&["--cutover", "manual", "--cutovers-per-minute", "60"]);
    assert!(!warns(&bounded, "manual"), "{bounded}");
}

/// A drain from its plan to its end; what it came to.
fn emptied(place: &Place, more: &[&str]) -> Value {
    let json = |args: &[&str]| place.json([args, more].concat());
    let pinned = tenant(3).to_string();
    json(&["tenant", "pin", &pinned, "--why", "a contract"]);
    json(&["store", "cordon", "shared", "--why", "retired"]);
    let plan = ["drain", "plan", "--from", "shared", "--to", "dedicated"];
    json(&[&plan[..], &["--rollback-window", "1h", "--output", "plan.json"]].concat());
    // A pin that came after the plan counts.
    let other = tenant(4).to_string();
    json(&["tenant", "pin", &other, "--why", "an audit"]);
    let start = ["drain", "start", "--plan", "plan.json"];
    let refused = place.rehome([&start[..], more].concat()).fails(3);
    assert!(refused.contains(&other) && refused.contains("an audit"), "{refused}");
    json(&["tenant", "unpin", &other]);
    // One document for each change, on a line of its own. A server works on the drain by itself.
    let last = |args: &[&str]| -> Value {
        let looks = place.rehome([&["--json"], args, more].concat()).succeeds();
        serde_json::from_str(looks.lines().last().unwrap()).unwrap()
    };
    let started = last(&["drain", "start", "--plan", "plan.json"]);
    let id = started["id"].as_str().unwrap().to_owned();
    let over = last(&["drain", "watch", &id]);
    assert_eq!(
        (&over["state"], &over["moved"], &over["stays"]),
        (&json!("finished"), &json!(5), &json!(1))
    );
    // A plan is used once: its tenants have moved since.
    let again = place.rehome([&["drain", "start", "--plan", "plan.json"], more].concat()).fails(3);
    assert!(again.contains("plan"), "{again}");
    let stays = json(&["drain", "show", &id, "--state", "stays"]);
    assert!(stays.to_string().contains(&pinned), "{stays}");
    assert_eq!(json(&["drain", "list"])[0]["id"], id);
    let shown = json(&["drain", "show", &id]);
    json(&["store", "uncordon", "shared"]);
    json(&["tenant", "unpin", &pinned]);
    lists(&|args| json(args).as_array().map_or(0, Vec::len));
    shown["statement"].clone()
}

/// The lists of a deployment whose third tenant was not moved.
fn lists(found: &dyn Fn(&[&str]) -> usize) {
    let one = tenant(1).to_string();
    for (args, wanted) in [
        (&["tenant", "list"][..], 6),
        (&["tenant", "list", "--limit", "4"], 4),
        (&["tenant", "list", "--store", "shared"], 1),
        (&["tenant", "list", "--state", "migrated"], 5),
        (&["tenant", "list", "--state", "failed"], 0),
        (&["tenant", "list", "--state", "migrated", "--store", "shared"], 0),
        (&["tenant", "list", "--search", "824a8fcf-0c"], 6),
        (&["tenant", "list", "--search", &one], 1),
        (&["tenant", "list", "--search", "a name, & more"], 0),
        (&["tenant", "list", "--pinned"], 0),
        (&["migration", "list"], 5),
        (&["migration", "list", "--store", "dedicated", "--state", "migrated"], 5),
        (&["migration", "list", "--store", "nowhere"], 0),
        (&["migration", "list", "--search", "824a", "--limit", "2"], 2),
        (&["migration", "list", "--tenant", &one], 1),
        (&["migration", "list", "--needs-you"], 0),
    ] {
        assert_eq!(found(args), wanted, "{args:?}");
    }
}

fn states_what_is_left(statement: &Value) {
    assert_eq!(statement["moved"], 5, "{statement}");
    assert_eq!((&statement["tenants_left"], &statement["windows_open"]), (&json!(1), &json!(5)));
    assert_eq!(statement["can_be_switched_off"], false);
    let why = statement["why_not"].to_string();
    for part in [
        "1 tenant is still in shared",
        "5 tenants can still return",
        "new tenants are created in shared",
    ] {
        assert!(why.contains(part), "{part}: {why}");
    }
}

#[test]
fn a_store_is_emptied_by_a_saved_plan_and_the_end_says_what_still_needs_it() {
    let place = place();
    states_what_is_left(&emptied(&place, &[]));
    for n in (1..=TENANTS).filter(|n| *n != 3) {
        let shown = place.json(["tenant", "show", &tenant(n).to_string()]);
        assert_eq!(shown["store"], "dedicated", "{shown}");
    }
}

#[test]
fn a_server_empties_it_for_the_command() {
    let place = place();
    let server = Serving::start(&place);
    states_what_is_left(&emptied(&place, &["--server", &server.url]));
    let page = server.text("/drains");
    assert!(page.contains("5 of 5") && page.contains("finished"), "{page}");
    let found = server.text("/tenants?store=shared");
    let there = tenant(3).to_string();
    assert!(found.contains(&there) && !found.contains(&tenant(1).to_string()), "{found}");
    let found = server.text("/tenants?state=migrated&search=824a");
    assert!(!found.contains(&there) && found.contains(&tenant(1).to_string()), "{found}");
    let found = server.text("/migrations?state=migrated&store=dedicated");
    assert_eq!(found.matches("shared → dedicated").count(), 5, "{found}");
    let found = server.text("/migrations?state=failed");
    assert!(found.contains("No migrations fit this search."), "{found}");
    drop(server.process);
}
