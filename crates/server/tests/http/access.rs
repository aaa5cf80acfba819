//! Tokens in the control plane: created, used, scoped, rotated, revoked, and the gate's checks.

use std::time::{Duration, Instant};

use rehome_api::duration::Millis;
use rehome_app::token_registry::{self, NewToken};
use rehome_app::tokens::{Grant, PREFIX, Role, Token, TokenHash, secret};
use rehome_domain::ids::TenantId;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::kit::{Events, Request, Site, event, within};

/// Revoked tokens are worth nothing after this; with what a busy machine needs.
const SOON: Duration = Duration::from_secs(5);

/// Has the control plane keep a token, as a command on another machine would; answers its text.
async fn made(site: &Site, name: &str, grant: impl Into<Grant>) -> String {
    made_for(site, name, grant, None).await
}

async fn made_for(
    site: &Site,
    name: &str,
    grant: impl Into<Grant>,
    expires_in: Option<Millis>,
) -> String {
    let text = secret(PREFIX).unwrap();
    let (name, grant) = (name.to_owned(), grant.into());
    let new = NewToken { name, grant, hash: TokenHash::of(&text), expires_in };
    token_registry::create(&site.deployment, &new).await.unwrap();
    text
}

fn get(path: impl Into<String>, token: &str) -> Request {
    Request::new("GET", path).token(token)
}

async fn status(site: &Site, request: Request) -> u16 {
    site.ask(request).await.status
}

fn own(tenant: Uuid) -> Grant {
    Grant::of_tenant(TenantId::new(tenant))
}

fn append(tenant: Uuid, n: u64) -> Request {
    let path = format!("/v1/tenants/{tenant}/streams/order/o-1/events");
    Request::new("POST", path).json(&json!({"events": [event(tenant, n)]}))
}

/// Repeats until it is refused.
async fn until_refused(site: &Site, request: impl Fn() -> Request) -> Value {
    let asked = async {
        loop {
            let reply = site.ask(request()).await;
            if reply.status == 401 {
                return reply.problem(401, "unauthorized");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("a refusal", asked).await
}

#[tokio::test]
async fn a_token_is_known_at_once_and_the_first_one_closes_the_deployment() {
    let site = Site::new().await;
    site.get("/v1/migrations").await.is(200);
    let admin = made(&site, "admin", Role::Admin).await;
    // Without a word to the server, and without waiting.
    assert_eq!(status(&site, get("/v1/migrations", &admin)).await, 200);
    until_refused(&site, || Request::new("GET", "/v1/migrations")).await;
    site.ask(get("/v1/migrations", "rehome_0")).await.problem(401, "unauthorized");
    assert_eq!(site.get("/").await.header("location"), Some("/console/login"));
    site.get("/health/ready").await.is(200);
    site.ends().await;
}

#[tokio::test]
async fn who_was_revoked_is_told_so_everywhere_and_what_it_follows_ends() {
    let (site, tenant) = (Site::new().await, Uuid::new_v4());
    let (revoked, stays) =
        (made(&site, "a", own(tenant)).await, made(&site, "b", own(tenant)).await);
    site.ask(append(tenant, 1).token(&revoked)).await.is(201);
    let other = site.another().await;
    let feed = format!("/v1/tenants/{tenant}/events");
    let mut followers = Vec::new();
    for site in [&site, &other] {
        let mut ends = Events::open(site, get(feed.clone(), &revoked)).await;
        assert_eq!(ends.next().await.unwrap().id, "1");
        followers.push(ends);
    }
    let mut goes_on = Events::open(&site, get(feed.clone(), &stays)).await;
    assert_eq!(goes_on.next().await.unwrap().id, "1");

    let began = Instant::now();
    token_registry::revoke(&site.deployment, "a").await.unwrap();
    for follower in &mut followers {
        assert_eq!(within("the end", follower.next()).await, None);
    }
    for site in [&site, &other] {
        let problem = until_refused(site, || get(feed.clone(), &revoked)).await;
        assert_eq!(problem["detail"], "the token \"a\" was revoked");
    }
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    site.ask(append(tenant, 2).token(&stays)).await.is(201);
    assert_eq!(goes_on.next().await.unwrap().id, "2");
    other.ends().await;
    site.ends().await;
}

#[tokio::test]
async fn a_token_runs_out_and_so_does_what_it_follows() {
    let (site, tenant) = (Site::new().await, Uuid::new_v4());
    let token = made_for(&site, "brief", own(tenant), Some(Millis(1_500))).await;
    site.ask(append(tenant, 1).token(&token)).await.is(201);
    let feed = || get(format!("/v1/tenants/{tenant}/events"), &token);
    let mut follower = Events::open(&site, feed()).await;
    assert_eq!(follower.next().await.unwrap().id, "1");
    assert_eq!(within("the end", follower.next()).await, None);
    let problem = until_refused(&site, feed).await;
    assert_eq!(problem["detail"], "the token \"brief\" has expired");
    site.ends().await;
}

#[tokio::test]
async fn a_deployment_that_had_tokens_stays_closed_when_they_are_gone_from_the_configuration() {
    let (token, text) = Token::create("ops".to_owned(), Role::Operator).unwrap();
    let site = Site::with(move |config| config.tokens = vec![token]).await;
    assert_eq!(status(&site, get("/v1/migrations", &text)).await, 200);
    let mut config = site.config.clone();
    config.tokens.clear();
    let again = site.starts_again(&config).await;
    for request in [Request::new("GET", "/v1/migrations"), get("/v1/migrations", &text)] {
        again.ask(request).await.problem(401, "unauthorized");
    }
    assert!(token_registry::list(&again.deployment).await.unwrap().closed);
    // Only a caller with access to the control plane opens it, with a log entry.
    assert!(!token_registry::set_gate(&again.deployment, false).await.unwrap().closed);
    again.until("/v1/migrations", |_| true).await;
    let admin = made(&again, "admin", Role::Admin).await;
    assert!(token_registry::set_gate(&again.deployment, false).await.is_err(), "a token is good");
    assert_eq!(status(&again, get("/v1/migrations", &admin)).await, 200);
    again.ends().await;
}

#[tokio::test]
async fn readers_read_and_metrics_are_read_and_nothing_else() {
    let (site, tenant) = (Site::new().await, Uuid::new_v4());
    let (two, other) = (Uuid::new_v4(), Uuid::new_v4());
    site.fill(tenant, 1..=2).await;
    site.fill(two, 1..=2).await;
    site.fill(other, 1..=2).await;
    let tenants = vec![TenantId::new(tenant), TenantId::new(two)];
    let reader = made(&site, "r", Grant::new(Role::Reader, tenants, vec![]).unwrap()).await;
    let metrics = made(&site, "m", Role::Metrics).await;
    let feed = |tenant: Uuid| format!("/v1/tenants/{tenant}/events");
    let seen = |tenant: Uuid| format!("/v1/tenants/{tenant}/subscriptions/a");
    let of = |path: String, token: &str| status(&site, get(path, token));
    for tenant in [tenant, two] {
        assert_eq!(of(feed(tenant), &reader).await, 200);
        assert_eq!(of(seen(tenant), &reader).await, 200);
        assert_eq!(of(format!("/v1/tenants/{tenant}"), &reader).await, 200);
        let read = json!({"stream_type": "order", "stream_id": "o-1"});
        let read = Request::new("POST", format!("/v1/tenants/{tenant}/read")).json(&read);
        assert_eq!(status(&site, read.token(&reader)).await, 200);
        site.ask(append(tenant, 3).token(&reader)).await.problem(403, "forbidden");
        let moved = Request::new("PUT", seen(tenant)).json(&json!({"seq": 1}));
        site.ask(moved.token(&reader)).await.problem(403, "forbidden");
    }
    for path in [feed(other), seen(other), "/v1/migrations".to_owned(), "/metrics".to_owned()] {
        assert_eq!(of(path.clone(), &reader).await, 403, "{path}");
    }
    assert_eq!(of("/metrics".to_owned(), &metrics).await, 200);
    let nothing = Uuid::new_v4();
    for path in ["/v1/migrations", "/v1/stores", "/health/migration", "/v1/tokens"] {
        assert_eq!(of(path.to_owned(), &metrics).await, 403, "{path}");
    }
    for path in [feed(tenant), format!("/v1/tenants/{tenant}"), format!("/v1/migrations/{nothing}")]
    {
        assert_eq!(of(path.clone(), &metrics).await, 403, "{path}");
    }
    site.ends().await;
}

#[tokio::test]
async fn an_operator_that_is_bound_sees_and_runs_what_is_within_its_bounds() {
    let (site, tenant, other) = (Site::new().await, Uuid::new_v4(), Uuid::new_v4());
    site.fill(tenant, 1..=3).await;
    site.fill(other, 1..=3).await;
    let bound = |tenants: &[Uuid], stores: &[&str]| {
        let tenants = tenants.iter().map(|id| TenantId::new(*id)).collect();
        let stores = stores.iter().map(|id| id.parse().unwrap()).collect();
        Grant::new(Role::Operator, tenants, stores).unwrap()
    };
    let by_tenant = made(&site, "by-tenant", bound(&[tenant], &[])).await;
    let by_stores = made(&site, "by-stores", bound(&[], &["shared", "dedicated"])).await;
    let by_one = made(&site, "by-one", bound(&[], &["shared"])).await;
    let admin = made(&site, "admin", Role::Admin).await;
    let start = |tenant: Uuid, token: &str| {
        let body = json!({"tenant_id": tenant, "target_store": "dedicated",
            "options": {"cutover": "manual"}});
        Request::new("POST", "/v1/migrations").token(token).json(&body)
    };
    site.ask(start(other, &by_tenant)).await.problem(403, "forbidden");
    site.ask(start(tenant, &by_one)).await.problem(403, "forbidden");
    let own = site.ask(start(tenant, &by_tenant)).await.is(201);
    let others = site.ask(start(other, &by_stores)).await.is(201);
    let (own, others) = (own["id"].as_str().unwrap(), others["id"].as_str().unwrap());

    let listed = async |token: &str| {
        let page = site.ask(get("/v1/migrations", token)).await.is(200);
        page["migrations"].as_array().unwrap().len()
    };
    assert_eq!(listed(&admin).await, 2);
    assert_eq!(listed(&by_tenant).await, 1);
    assert_eq!(listed(&by_stores).await, 2);
    assert_eq!(listed(&by_one).await, 0);
    for what in ["", "/log", "/worker", "/options", "/baseline", "/checklists/during", "/watch"] {
        let path = format!("/v1/migrations/{others}{what}");
        assert_eq!(status(&site, get(path.clone(), &by_tenant)).await, 403, "{path}");
    }
    assert_eq!(status(&site, get(format!("/v1/migrations/{own}"), &by_tenant)).await, 200);
    for what in [
        "pause",
        "resume",
        "cutover",
        "withdraw",
        "abort",
        "repair",
        "acknowledge",
        "verify",
        "return",
        "baseline",
    ] {
        let path = format!("/v1/migrations/{others}/{what}");
        let asked = Request::new("POST", path).token(&by_tenant).json(&json!({}));
        assert_eq!(status(&site, asked).await, 403, "{what}");
    }
    let tune = |id: &str| {
        let tune = Request::new("PATCH", format!("/v1/migrations/{id}/options"));
        tune.token(&by_tenant).json(&json!({"batch_events": 1}))
    };
    site.ask(tune(others)).await.problem(403, "forbidden");
    site.ask(tune(own)).await.is(200);
    for body in ["plans", "probes"] {
        let body = |tenant: Uuid| {
            let said = json!({"tenant_id": tenant, "target_store": "dedicated"});
            Request::new("POST", format!("/v1/{body}")).token(&by_tenant).json(&said)
        };
        assert_eq!(status(&site, body(other)).await, 403);
        assert_eq!(status(&site, body(tenant)).await, 200);
    }
    for (path, expected) in [
        (format!("/v1/tenants/{tenant}"), [200, 200, 200]),
        (format!("/v1/tenants/{other}"), [403, 200, 200]),
        ("/v1/stores".to_owned(), [403; 3]),
        ("/v1/stores/shared".to_owned(), [403, 200, 200]),
        ("/v1/stores/dedicated".to_owned(), [403, 200, 403]),
        ("/health/migration".to_owned(), [403; 3]),
        ("/metrics".to_owned(), [403; 3]),
        (format!("/v1/tenants/{tenant}/events"), [403; 3]),
    ] {
        for (token, expected) in [&by_tenant, &by_stores, &by_one].into_iter().zip(expected) {
            assert_eq!(status(&site, get(path.clone(), token)).await, expected, "{path}");
        }
    }
    site.ends().await;
}

#[tokio::test]
async fn tokens_are_made_listed_rotated_and_revoked_through_a_server() {
    let site = Site::new().await;
    let admin = made(&site, "admin", Role::Admin).await;
    let operator = made(&site, "operator", Role::Operator).await;
    let (first, second) = (secret(PREFIX).unwrap(), secret(PREFIX).unwrap());
    let sha256 = |text: &str| TokenHash::of(text).to_string();
    let create = |name: &str, text: &str| json!({"name": name, "role": "viewer", "sha256": sha256(text), "expires_in": "1h"});
    let post = |path: &str, body: &Value| Request::new("POST", path).token(&admin).json(body);
    for request in [
        Request::new("POST", "/v1/tokens").json(&create("x", &first)),
        Request::new("POST", "/v1/tokens/admin/revoke").json(&json!({})),
        Request::new("POST", "/v1/tokens/admin/rotate").json(&json!({"sha256": sha256(&first)})),
        Request::new("GET", "/v1/tokens"),
    ] {
        site.ask(request.token(&operator)).await.problem(403, "forbidden");
    }
    let made = site.ask(post("/v1/tokens", &create("looks", &first))).await.is(201);
    let again = site.ask(post("/v1/tokens", &create("looks", &first))).await.is(201);
    assert_eq!((&made, &made["state"]), (&again, &json!("good")), "a repeat is the same one");
    site.ask(post("/v1/tokens", &create("looks", &second))).await.problem(409, "refused");
    assert_eq!(status(&site, get("/v1/migrations", &first)).await, 200);

    let rotate = json!({"sha256": sha256(&second), "keep_old_for": "1h"});
    site.ask(post("/v1/tokens/looks/rotate", &rotate)).await.is(201);
    for text in [&first, &second] {
        assert_eq!(status(&site, get("/v1/migrations", text)).await, 200, "both for an hour");
    }
    let third = secret(PREFIX).unwrap();
    let rotate = json!({"sha256": sha256(&third)});
    site.ask(post("/v1/tokens/looks/rotate", &rotate)).await.is(201);
    site.ask(get("/v1/migrations", &second)).await.problem(401, "unauthorized");
    assert_eq!(status(&site, get("/v1/migrations", &third)).await, 200);

    let revoked =
        site.ask(post("/v1/tokens/looks/revoke", &json!({"reason": "lost"}))).await.is(200);
    assert_eq!(revoked.as_array().unwrap().len(), 3);
    for text in [&first, &second, &third] {
        site.ask(get("/v1/migrations", text)).await.problem(401, "unauthorized");
    }
    let nobody = site.ask(post("/v1/tokens/nobody/revoke", &json!({}))).await;
    nobody.problem(404, "unknown_token");
    let listed = site.ask(get("/v1/tokens", &admin)).await.is(200);
    let tokens = listed["tokens"].as_array().unwrap();
    let of = |name: &str| tokens.iter().find(|token| token["name"] == name).unwrap();
    assert_eq!(of("looks")["revoked_by"], "admin: lost");
    assert_eq!((&of("looks")["created_by"], tokens.len()), (&json!("admin"), 5));
    let text = listed.to_string();
    assert!(![&first, &third].iter().any(|secret| text.contains(&sha256(secret))), "{text}");
    // The server records uses at intervals.
    let used = || async {
        let listed = site.ask(get("/v1/tokens", &admin)).await.is(200);
        listed["tokens"][0]["last_used_at"].is_string()
    };
    within("the use to be noted", async {
        while !used().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    site.ends().await;
}

#[tokio::test]
async fn a_session_is_no_token_and_ends_by_logging_out_and_with_its_token() {
    let site = Site::new().await;
    let operator = made(&site, "acts", Role::Operator).await;
    let looks = |cookie: &str| Request::new("GET", "/").header("Cookie", cookie);
    let cookies = [site.login(&operator).await, site.login(&operator).await];
    for cookie in &cookies {
        assert!(!cookie.contains(&operator[PREFIX.len()..]), "the token is not in the browser");
        assert_eq!(status(&site, looks(cookie)).await, 200);
    }
    assert_ne!(cookies[0], cookies[1]);
    let token_as_cookie = format!("rehome_session={operator}");
    assert_eq!(status(&site, looks(&token_as_cookie)).await, 303);

    let mut live =
        Events::open(&site, Request::new("GET", "/console/live").header("Cookie", &cookies[0]))
            .await;
    let page = site.ask(looks(&cookies[0])).await;
    let csrf = page.text().split("name=\"csrf\" value=\"").nth(1).unwrap();
    let csrf = csrf.split('"').next().unwrap();
    let kind = "application/x-www-form-urlencoded";
    let logout = |cookie: &str| {
        let form = Request::new("POST", "/console/logout").body(kind, format!("csrf={csrf}"));
        form.header("Cookie", cookie)
    };
    // The word of another session ends nothing.
    site.ask(logout(&cookies[1])).await;
    assert_eq!(status(&site, looks(&cookies[1])).await, 200);
    let gone = site.ask(logout(&cookies[0])).await;
    assert!(gone.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(status(&site, looks(&cookies[0])).await, 303, "the browser's promise is not needed");
    within("the live page's end", async { while live.next().await.is_some() {} }).await;
    assert_eq!(status(&site, looks(&cookies[1])).await, 200);

    token_registry::revoke(&site.deployment, "acts").await.unwrap();
    within("the session's end", async {
        while status(&site, looks(&cookies[1])).await != 303 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    site.ends().await;
}

#[tokio::test]
async fn a_cookie_is_for_encrypted_connections_where_the_browser_came_with_one() {
    let site = Site::new().await;
    let operator = made(&site, "acts", Role::Operator).await;
    let login = |proto: Option<&str>| {
        let form = Request::new("POST", "/console/login")
            .body("application/x-www-form-urlencoded", format!("token={operator}"));
        match proto {
            Some(proto) => form.header("X-Forwarded-Proto", proto),
            None => form,
        }
    };
    for (proto, secure) in [(None, false), (Some("http"), false), (Some("https"), true)] {
        let reply = site.ask(login(proto)).await;
        let cookie = reply.header("set-cookie").unwrap();
        assert_eq!(cookie.ends_with("; Secure"), secure, "{cookie}");
        assert!(reply.header("strict-transport-security").is_none(), "nobody's word to believe");
    }
    site.ends().await;
    let site = Site::with(|config| {
        config.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    for (proto, encrypted) in [("http", false), ("https", true)] {
        let reply = site.ask(Request::new("GET", "/").header("X-Forwarded-Proto", proto)).await;
        assert_eq!(reply.header("strict-transport-security").is_some(), encrypted);
    }
    site.ends().await;
}
