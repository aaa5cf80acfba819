//! Who may do what.

use rehome_app::tokens::{Grant, Role, Token};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::kit::{Events, Request, Site, event, within};

/// A server with a token of each role; the last is the tenant's.
struct Guarded {
    site: Site,
    tenant: Uuid,
    tokens: Vec<Token>,
    texts: [String; 4],
}

impl Guarded {
    async fn new() -> Self {
        let tenant = Uuid::new_v4();
        let own = Grant::of_tenant(tenant.to_string().parse().unwrap());
        let [viewer, operator, admin] =
            [Role::Viewer, Role::Operator, Role::Admin].map(Grant::from);
        let made = [viewer, operator, admin, own]
            .map(|grant| Token::create(grant.role().as_str().to_owned(), grant).unwrap());
        let tokens: Vec<_> = made.iter().map(|(token, _)| token.clone()).collect();
        let given = tokens.clone();
        let site = Site::with(move |config| config.tokens = given).await;
        let texts = made.map(|(_, text)| text);
        Self { site, tenant, tokens, texts }
    }

    /// What each of the four is answered.
    async fn statuses(&self, request: impl Fn() -> Request) -> [u16; 4] {
        let mut statuses = [0; 4];
        for (status, token) in statuses.iter_mut().zip(&self.texts) {
            *status = self.site.ask(request().token(token)).await.status;
        }
        statuses
    }
}

#[tokio::test]
async fn each_role_may_do_its_own_and_no_more() {
    let guarded = Guarded::new().await;
    let (tenant, other) = (guarded.tenant, Uuid::new_v4());
    let body = |tenant, n| json!({"events": [event(tenant, n)]});
    let append = |tenant: Uuid, n| {
        let path = format!("/v1/tenants/{tenant}/streams/order/o-1/events");
        Request::new("POST", path).json(&body(tenant, n))
    };
    assert_eq!(guarded.statuses(|| append(tenant, 1)).await, [403, 403, 201, 201]);
    assert_eq!(guarded.statuses(|| append(other, 1)).await, [403, 403, 201, 403]);
    let get = |path: String| move || Request::new("GET", path.clone());
    for (path, statuses) in [
        (format!("/v1/tenants/{tenant}/events"), [403, 403, 200, 200]),
        (format!("/v1/tenants/{other}/events"), [403, 403, 200, 403]),
        // The refusal does not reveal whether another exists.
        (format!("/v1/tenants/{}/events", Uuid::new_v4()), [403, 403, 404, 403]),
        (format!("/v1/tenants/{tenant}/streams/order/o-1/events"), [403, 403, 200, 200]),
        (format!("/v1/tenants/{other}/streams/order/o-1/events"), [403, 403, 200, 403]),
        (format!("/v1/tenants/{tenant}/subscriptions/a"), [403, 403, 200, 200]),
        (format!("/v1/tenants/{other}/subscriptions/a"), [403, 403, 200, 403]),
        (format!("/v1/tenants/{tenant}"), [200; 4]),
        (format!("/v1/tenants/{other}"), [200, 200, 200, 403]),
        ("/v1/migrations".to_owned(), [200, 200, 200, 403]),
        ("/v1/stores".to_owned(), [200, 200, 200, 403]),
        ("/metrics".to_owned(), [200, 200, 200, 403]),
        ("/health/live".to_owned(), [200; 4]),
        ("/openapi.json".to_owned(), [200; 4]),
    ] {
        assert_eq!(guarded.statuses(get(path.clone())).await, statuses, "{path}");
    }
    let nothing = format!("/v1/migrations/{}", Uuid::new_v4());
    for what in
        ["pause", "resume", "cutover", "withdraw", "abort", "acknowledge", "verify", "return"]
    {
        let request = || Request::new("POST", format!("{nothing}/{what}"));
        assert_eq!(guarded.statuses(request).await, [403, 404, 404, 403], "{what}");
    }
    let tune =
        || Request::new("PATCH", format!("{nothing}/options")).json(&json!({"batch_events": 1}));
    assert_eq!(guarded.statuses(tune).await, [403, 404, 404, 403]);
    let purge = || {
        let path = format!("/v1/tenants/{}/purge", Uuid::new_v4());
        Request::new("POST", path).json(&json!({"store": "shared"}))
    };
    assert_eq!(guarded.statuses(purge).await, [403, 403, 404, 403]);
    let recover = || Request::new("POST", "/v1/recoveries").json(&json!({}));
    assert_eq!(guarded.statuses(recover).await, [403, 403, 200, 403]);
    let start = || {
        let body = json!({"tenant_id": Uuid::new_v4(), "target_store": "dedicated"});
        Request::new("POST", "/v1/migrations").json(&body)
    };
    assert_eq!(guarded.statuses(start).await, [403, 404, 404, 403]);
    guarded.site.ends().await;
}

#[tokio::test]
async fn nothing_but_what_says_so_is_answered_without_a_token() {
    let guarded = Guarded::new().await;
    let site = &guarded.site;
    let document = site.get("/openapi.json").await.is(200);
    let mut public = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in ["GET", "POST", "PUT", "PATCH"] {
            let Some(operation) = item.get(method.to_ascii_lowercase()) else { continue };
            let (tenant, path) = (guarded.tenant, path.as_str());
            let asked = path.replace("{tenant}", &tenant.to_string());
            let asked = asked.replace("{migration}", &tenant.to_string()).replace(['{', '}'], "");
            let request = || Request::new(method, asked.clone());
            if operation["security"] == json!([{}]) {
                public.push(path.to_owned());
                assert_eq!(site.ask(request()).await.status, 200, "{path}");
                continue;
            }
            for bad in [
                request(),
                request().token("rehome_0"),
                request().token(&guarded.texts[0][1..]),
                request().token(""),
                request().header("Authorization", "Basic YTpi"),
                request().header("Authorization", guarded.texts[2].clone()),
            ] {
                let reply = site.ask(bad).await;
                assert_eq!(reply.header("www-authenticate"), Some("Bearer"), "{path}");
                reply.problem(401, "unauthorized");
            }
        }
    }
    assert_eq!(public, ["/health/live", "/health/ready", "/openapi.json"]);
    guarded.site.ends().await;
}

#[tokio::test]
async fn a_tenant_sees_of_itself_what_concerns_it() {
    let guarded = Guarded::new().await;
    let (site, tenant) = (&guarded.site, guarded.tenant);
    let path = format!("/v1/tenants/{tenant}/append");
    let body = json!({"stream_type": "a", "stream_id": "b", "events": [event(tenant, 1)]});
    site.ask(Request::new("POST", path).token(&guarded.texts[3]).json(&body)).await.is(201);
    let show = |token: &str| Request::new("GET", format!("/v1/tenants/{tenant}")).token(token);
    let own = site.ask(show(&guarded.texts[3])).await.is(200);
    assert_eq!((&own["seq"], &own["stores"]), (&1.into(), &json!([])));
    let all = site.ask(show(&guarded.texts[0])).await.is(200);
    assert_eq!(all["stores"].as_array().unwrap().len(), 1);
    guarded.site.ends().await;
}

#[tokio::test]
async fn a_token_that_is_revoked_ends_what_it_follows() {
    let guarded = Guarded::new().await;
    let (site, tenant) = (&guarded.site, guarded.tenant);
    let [.., admin, own] = &guarded.texts;
    let path = format!("/v1/tenants/{tenant}/streams/order/o-1/events");
    let append = json!({"events": [event(tenant, 1)]});
    site.ask(Request::new("POST", path).token(own).json(&append)).await.is(201);
    let feed = || Request::new("GET", format!("/v1/tenants/{tenant}/events"));
    let mut revoked = Events::open(site, feed().token(own)).await;
    let mut stays = Events::open(site, feed().token(admin)).await;
    assert_eq!(revoked.next().await.unwrap().id, "1");
    let mut config = site.config.clone();
    config.tokens = guarded.tokens[..3].to_vec();
    site.handle.reload(&config).await.unwrap();
    assert_eq!(within("the end", revoked.next()).await, None);
    site.ask(feed().token(own)).await.problem(401, "unauthorized");
    assert_eq!(stays.next().await.unwrap().id, "1");
    // Where there were tokens every request needs one, also when the last is gone.
    config.tokens.clear();
    site.handle.reload(&config).await.unwrap();
    site.ask(feed().token(admin)).await.problem(401, "unauthorized");
    site.ask(feed()).await.problem(401, "unauthorized");
    assert_eq!(site.get("/").await.status, 303, "the console asks for one too");
    guarded.site.ends().await;
}

#[tokio::test]
async fn the_log_names_the_token() {
    let guarded = Guarded::new().await;
    let (site, tenant) = (&guarded.site, guarded.tenant);
    let [_, operator, admin, _] = &guarded.texts;
    let path = format!("/v1/tenants/{tenant}/streams/order/o-1/events");
    let append = json!({"events": [event(tenant, 1)]});
    site.ask(Request::new("POST", path).token(admin).json(&append)).await.is(201);
    let body = json!({"tenant_id": tenant, "target_store": "dedicated", "reason": "why not"});
    let started = Request::new("POST", "/v1/migrations").token(operator).json(&body);
    let started = site.ask(started).await.is(201);
    let log = format!("/v1/migrations/{}/log", started["id"].as_str().unwrap());
    let log: Value = site.ask(Request::new("GET", log).token(operator)).await.is(200);
    assert_eq!(log["entries"][0]["actor"], "operator", "{log}");
    assert_eq!(log["entries"][0]["reason"], "why not");
    guarded.site.ends().await;
}
