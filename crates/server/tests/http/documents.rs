//! Health, the OpenAPI document, and what every answer carries.

use serde_json::Value;

use crate::kit::{Request, Site};

#[tokio::test]
async fn it_lives_and_is_ready_until_it_stops() {
    let site = Site::new().await;
    assert_eq!(site.get("/health/live").await.is(200)["status"], "live");
    assert_eq!(site.get("/health/ready").await.is(200)["status"], "ready");
    site.ends().await;
}

#[tokio::test]
async fn the_health_of_migrations_is_the_guides_document() {
    let site = Site::new().await;
    let report = site.get("/health/migration").await.is(200);
    assert_eq!(report["status"], "healthy", "{report}");
    let mut fields: Vec<&String> = report.as_object().unwrap().keys().collect();
    fields.sort();
    let guide = [
        "active_migrations",
        "details",
        "high_sync_lag_count",
        "status",
        "stuck_migrations",
        "target_write_failure_rate",
    ];
    assert_eq!(fields, guide);
    site.ends().await;
}

#[tokio::test]
async fn checklists_are_answered() {
    let (site, tenant) = (Site::new().await, uuid::Uuid::new_v4());
    site.fill(tenant, 1..=3).await;
    let start = serde_json::json!({"tenant_id": tenant, "target_store": "dedicated"});
    let started = site.post("/v1/migrations", &start).await.is(201);
    let path = format!("/v1/migrations/{}", started["id"].as_str().unwrap());
    site.until(&path, |m| m["state"] == "migrated").await;
    let after = site.get(&format!("{path}/checklists/after")).await.is(200);
    assert_eq!(after["items"][0]["status"], "pass", "{after}");
    site.get(&format!("{path}/checklists/later")).await.problem(400, "bad_path");
    site.ends().await;
}

#[tokio::test]
async fn metrics_come_in_the_format_that_is_asked_for() {
    let (site, tenant) = (Site::new().await, uuid::Uuid::new_v4());
    site.fill(tenant, 1..=3).await;
    let text = site.get("/metrics").await;
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for line in ["# TYPE migration_state gauge", "# TYPE process_cpu_seconds_total counter"] {
        assert!(text.text().contains(line), "{line}: {}", text.text());
    }
    let open = Request::new("GET", "/metrics")
        .header("Accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
    let open = site.ask(open).await;
    assert!(open.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    assert!(open.text().ends_with("# EOF\n"));
    site.ends().await;
}

#[tokio::test]
async fn every_answer_has_the_requests_id() {
    let site = Site::new().await;
    let given = Request::new("GET", "/health/live").header("X-Request-Id", "a-1.B_2");
    assert_eq!(site.ask(given).await.header("x-request-id"), Some("a-1.B_2"));
    for (path, status) in [("/health/live", 200), ("/nowhere", 404)] {
        let spoiled = Request::new("GET", path).header("X-Request-Id", "a b\t{}");
        let reply = site.ask(spoiled).await;
        assert_eq!(reply.status, status);
        assert_eq!(reply.header("x-request-id").unwrap().len(), 36);
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    }
    site.ends().await;
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_possible_are_problems() {
    let site = Site::new().await;
    for path in ["/nowhere", "/v1", "/v1/tenant", "//", "/v1/../health/live", "/health/live/"] {
        site.get(path).await.problem(404, "no_such_path");
    }
    let reply = site.ask(Request::new("DELETE", "/health/live")).await;
    assert_eq!(reply.header("allow"), Some("GET,HEAD"));
    reply.problem(405, "no_such_method");
    site.ends().await;
}

#[tokio::test]
async fn the_document_tells_every_route_and_every_reference_is_there() {
    let site = Site::new().await;
    let document = site.get("/openapi.json").await.is(200);
    let paths = document["paths"].as_object().unwrap();
    let mut routes: Vec<String> = paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = ["get", "put", "post", "patch", "delete"];
            let methods = methods.into_iter().filter(|method| item.get(method).is_some());
            methods.map(move |method| format!("{} {path}", method.to_ascii_uppercase()))
        })
        .collect();
    routes.sort();
    // The interface, so that a route cannot appear or vanish unnoticed.
    let mut interface: Vec<&str> = include_str!("routes.txt").lines().collect();
    interface.sort_unstable();
    assert_eq!(routes, interface);
    for route in &routes {
        let (method, path) = route.split_once(' ').unwrap();
        let path = path.replace("{tenant}", "x").replace("{migration}", "x");
        let path = path.replace(['{', '}'], "");
        let method: &'static str = match method {
            "GET" => "GET",
            "PUT" => "PUT",
            "PATCH" => "PATCH",
            _ => "POST",
        };
        let reply = site.ask(Request::new(method, path)).await;
        let answered = String::from_utf8_lossy(&reply.body).into_owned();
        assert_ne!(reply.status, 405, "{route}: {answered}");
        assert!(!answered.contains("no_such_path"), "{route}: {answered}");
    }
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for name in references(&document) {
        assert!(schemas.contains_key(&name), "{name} is not described");
    }
    site.ends().await;
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| match value.as_str() {
                Some(text) if name == "$ref" => {
                    vec![text.strip_prefix("#/components/schemas/").unwrap().to_owned()]
                }
                _ => references(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}
