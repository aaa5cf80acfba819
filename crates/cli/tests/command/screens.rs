//! What the screens of a server show of what happens elsewhere, and while a store does not answer, held
//! against what the stores hold.

use std::time::{Duration, Instant};

use rehome_cluster::Direction;
use rehome_cluster::Proxy;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::kit::{CONFIG, Place, lines, wait_for};
use crate::serving::Serving;

/// A screen of a server answers within this, whatever its stores do.
const AT_ONCE: Duration = Duration::from_millis(300);
/// A command without a server reports within this that a store does not answer; the rest is for its start
/// on a machine that does much else.
const COMMAND_WITHIN: Duration = Duration::from_secs(2 + 3);

fn start(place: &Place, tenant: Uuid, more: &[&str]) -> crate::kit::Running {
    let tenant = tenant.to_string();
    let start = ["migration", "start", "--tenant", &tenant, "--to", "dedicated"];
    place.spawn(start.into_iter().chain(more.iter().copied()))
}

#[test]
fn a_migration_that_a_command_drives_is_in_the_metrics_of_a_server() {
    let (place, tenant) = Place::with_tenant(600);
    let server = Serving::start(&place);
    let driver = start(
        &place,
        tenant,
        &["--cutover", "manual", "--copy-rate-max", "100", "--lag-events-max", "10"],
    );
    let id = place.migration_of(tenant);
    let of = |name: &str| server.series(name, &id);
    wait_for("the copy in the metrics", || {
        let copied = of("migration_events_copied_total")?;
        (of("migration_state") == Some(1.0) && copied > 0.0 && copied < 600.0).then_some(())
    });
    assert_eq!(of("migration_events_total"), Some(600.0));
    assert_eq!(of("migration_unattended"), Some(0.0));
    let percent = of("migration_progress_percent").unwrap();
    assert!(percent > 0.0 && percent < 100.0, "{percent}");
    let info = server.text("/metrics");
    assert!(info.contains("source_store=\"shared\",target_store=\"dedicated\"} 1"), "{info}");
    assert!(
        info.lines().any(|line| line.starts_with("migration_duration_seconds")
            && line.contains("phase=\"bulk_copy\"")),
        "{info}"
    );
    wait_for("the dual write in the metrics", || {
        (of("migration_state") == Some(2.0)).then_some(())
    });
    wait_for("no lag", || {
        let lag = server.series("dual_write_sync_lag_events", &tenant.to_string());
        (lag == Some(0.0)).then_some(())
    });
    assert_eq!(of("migration_progress_percent"), Some(100.0));
    place.json(["migration", "cutover", &id]);
    driver.ends().succeeds();
    wait_for("the end in the metrics", || (of("migration_state") == Some(4.0)).then_some(()));
    assert_eq!(of("migration_events_copied_total"), Some(600.0));
    assert_eq!(of("migration_progress_percent"), Some(100.0));
    assert_eq!(server.series("dual_write_sync_lag_events", &tenant.to_string()), None);
    server.stop();
}

/// It moves from the server to a command: no screen may claim that it is not exported.
#[test]
fn a_migration_that_goes_to_a_command_stays_in_the_metrics_of_the_server() {
    let (place, tenant) = Place::with_tenant(400);
    let server = Serving::start(&place);
    let body = json!({"tenant_id": tenant, "target_store": "dedicated",
        "options": {"cutover": "manual", "copy_rate_max": 50, "lag_events_max": 10}});
    let (status, started) = server.ask("POST", "/v1/migrations", None, &body.to_string());
    assert!((200..300).contains(&status), "{started}");
    let id = place.migration_of(tenant);
    let state = || server.series("migration_state", &id);
    wait_for("the copy", || (state() == Some(1.0)).then_some(()));
    server.ask("POST", &format!("/v1/migrations/{id}/pause"), None, "{}");
    wait_for("the pause", || (state() == Some(7.0)).then_some(()));
    let resumed = place.spawn(["migration", "resume", &id]);
    wait_for("the copy again", || {
        let state = state();
        assert!(state.is_some(), "its series ended");
        (state == Some(1.0)).then_some(())
    });
    wait_for("the dual write", || {
        let state = state();
        assert!(state.is_some(), "its series ended");
        (state == Some(2.0)).then_some(())
    });
    drop(resumed);
}

/// The control plane and the store `shared` in files, `dedicated` behind a proxy that can stall.
fn place_behind_a_proxy() -> (Place, Uuid, Proxy, rehome_cluster::Database) {
    let database = rehome_cluster::shared().database().unwrap();
    let proxy = Proxy::start(database.port()).unwrap();
    let place = Place::new();
    let url = database.url_at(proxy.port());
    place.write("rehome.toml", CONFIG.replace("sqlite:dedicated.db", &url));
    let tenant = Uuid::new_v4();
    place.write("events.ndjson", lines(tenant, 1..=50));
    place.rehome(["import", "--store", "shared", "events.ndjson"]).succeeds();
    (place, tenant, proxy, database)
}

/// The answer, and that it came at once: the fastest of some, on a machine that does much else.
fn at_once(server: &Serving, method: &str, path: &str, body: &str) -> String {
    let mut fastest = Duration::MAX;
    let mut answer = String::new();
    for _ in 0..4 {
        let began = Instant::now();
        answer = match method {
            "GET" => server.text(path),
            _ => server.ask(method, path, None, body).1.to_string(),
        };
        fastest = fastest.min(began.elapsed());
        if fastest < AT_ONCE {
            return answer;
        }
    }
    panic!("{method} {path} took {fastest:?} at best: {answer}");
}

#[test]
fn a_target_that_hangs_holds_up_no_screen_and_its_lag_is_inferred() {
    let (place, tenant, proxy, _database) = place_behind_a_proxy();
    let server = Serving::start(&place);
    let body = json!({"tenant_id": tenant, "target_store": "dedicated",
        "options": {"cutover": "manual"}});
    server.ask("POST", "/v1/migrations", None, &body.to_string());
    let id = place.migration_of(tenant);
    let path = format!("/v1/migrations/{id}");
    let shown = || -> Value { server.ask("GET", &path, None, "").1 };
    wait_for("the dual write", || {
        let shown = shown();
        (shown["state"] == "dual_write" && shown["sync_lag_events"] == 0).then_some(())
    });
    assert_eq!(shown()["target_unanswered_since"], Value::Null);
    let page = server.text(&format!("/migrations/{id}"));
    let proposed = format!("class=\"button first\" href=\"/console/migrations/{id}/cutover\"");
    assert!(page.contains(&proposed), "{page}");

    proxy.stall(Direction::Up);
    proxy.stall(Direction::Down);
    let events = format!("/v1/tenants/{tenant}/streams/order/o-2/events");
    for n in 0..5 {
        let event = json!({"events": [{"event_type": "Changed", "data": {"n": n}}]});
        let (status, answer) = server.ask("POST", &events, None, &event.to_string());
        assert_eq!(status, 201, "{answer}");
    }
    // From the first moment on, not only once the store is known to be silent.
    let first: Value = serde_json::from_str(&at_once(&server, "GET", &path, "")).unwrap();
    assert!(first["events_total"].is_u64(), "{first}");
    let silent = wait_for("the target to be known as silent", || {
        let shown = shown();
        let known = shown["target_unanswered_since"].is_string() && shown["sync_lag_events"] == 5;
        known.then_some(shown)
    });
    assert_eq!(silent["source_unanswered_since"], Value::Null);
    assert!(silent["target_last_seen_at"].is_string(), "{silent}");
    assert_eq!((&silent["events_copied"], &silent["events_total"]), (&json!(50), &json!(55)));

    let store = "store \\\"dedicated\\\" has not answered since ";
    for (path, says) in [
        (path.clone(), "target_unanswered_since"),
        ("/v1/migrations".to_owned(), "target_unanswered_since"),
        ("/v1/stores".to_owned(), store),
        ("/v1/stores/dedicated".to_owned(), store),
        (format!("/v1/tenants/{tenant}"), store),
        ("/health/migration".to_owned(), store),
        (format!("/v1/migrations/{id}/checklists/during"), store),
        ("/".to_owned(), "has not answered since"),
        (format!("/migrations/{id}"), "Store dedicated has not answered since"),
        (format!("/console/checklists/{id}"), "has not answered since"),
    ] {
        let answer = at_once(&server, "GET", &path, "");
        assert!(answer.contains(says), "{path}: {answer}");
    }
    let plan = json!({"tenant_id": tenant, "target_store": "dedicated"}).to_string();
    let planned = at_once(&server, "POST", "/v1/plans", &plan);
    assert!(planned.contains(store), "{planned}");
    let page = server.text(&format!("/migrations/{id}"));
    assert!(!page.contains(&proposed), "{page}");
    wait_for("the store to be down", || {
        (server.series("store_up", "dedicated") == Some(0.0)).then_some(())
    });

    // Without a server the output is the same, by the store's name.
    let began = Instant::now();
    let shown_here = place.rehome(["migration", "show", &id]).succeeds();
    assert!(shown_here.contains("store \"dedicated\" has not answered since"), "{shown_here}");
    assert!(began.elapsed() < COMMAND_WITHIN, "{:?}", began.elapsed());
    let began = Instant::now();
    let checked = place.rehome(["store", "check"]).fails(1);
    assert!(checked.contains("store \"dedicated\" has not answered since"), "{checked}");
    assert!(began.elapsed() < COMMAND_WITHIN, "{:?}", began.elapsed());

    proxy.flow();
    wait_for("the target to be level again", || {
        let shown = shown();
        let level = shown["sync_lag_events"] == 0 && shown["target_unanswered_since"].is_null();
        level.then_some(())
    });
    wait_for("the store to be up", || {
        (server.series("store_up", "dedicated") == Some(1.0)).then_some(())
    });
}
