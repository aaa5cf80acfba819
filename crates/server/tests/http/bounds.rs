//! Tokens that are bound to tenants or stores, on every route of the interface and every page of the console: they see
//! and move nothing of others, and nothing that is the whole deployment's. A route that is new is held to it too.

use rehome_app::token_registry::{self, NewToken};
use rehome_app::tokens::{Grant, PREFIX, Role, TokenHash, secret};
use rehome_domain::ids::TenantId;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::kit::{Reply, Request, Site};

/// A deployment with a tenant of the bound tokens, and another tenant with a migration; and a drain.
struct Town {
    site: Site,
    own: Uuid,
    other: Uuid,
    migration: String,
    drain: String,
    admin: String,
}

async fn made(site: &Site, name: &str, grant: Grant) -> String {
    let text = secret(PREFIX).unwrap();
    let (name, hash) = (name.to_owned(), TokenHash::of(&text));
    let new = NewToken { name, grant, hash, expires_in: None };
    token_registry::create(&site.deployment, &new).await.unwrap();
    text
}

impl Town {
    async fn new() -> Self {
        let (site, own, other) = (Site::new().await, Uuid::new_v4(), Uuid::new_v4());
        site.fill(own, 1..=3).await;
        site.fill(other, 1..=3).await;
        let move_other = json!({"tenant_id": other, "target_store": "dedicated",
            "options": {"cutover": "manual"}});
        let migration = site.post("/v1/migrations", &move_other).await.is(201);
        let third = Uuid::new_v4();
        site.fill(third, 1..=3).await;
        let drain = site.post("/v1/drains", &Self::drain_start(third)).await.is(201);
        let id = |document: &Value| document["id"].as_str().unwrap().to_owned();
        let (migration, drain) = (id(&migration), id(&drain));
        let path = format!("/v1/migrations/{migration}");
        site.until(&path, |migration| migration["state"] == "dual_write").await;
        site.until(&format!("/v1/drains/{drain}"), |drain| drain["state"] == "finished").await;
        let admin = made(&site, "admin", Role::Admin.into()).await;
        Self { site, own, other, migration, drain, admin }
    }

    /// Of one tenant alone.
    fn drain_start(tenant: Uuid) -> Value {
        let to = [json!({"store": "dedicated"})];
        json!({"request": {"from": ["shared"], "to": to, "tenants": [tenant]}})
    }

    /// Who has nothing to do with the other tenant: it and its migration are in `shared`, on their way to
    /// `dedicated`, and no bound has both.
    async fn bound(&self) -> Vec<(String, String)> {
        let own = vec![TenantId::new(self.own)];
        let store = vec!["dedicated".parse().unwrap()];
        let mut tokens = Vec::new();
        for role in [Role::Viewer, Role::Operator] {
            for (to, tenants, stores) in [
                ("tenants", own.clone(), Vec::new()),
                ("stores", Vec::new(), store.clone()),
                ("both", own.clone(), store.clone()),
            ] {
                let name = format!("{}-{to}", role.as_str());
                let grant = Grant::new(role, tenants, stores).unwrap();
                tokens.push((name.clone(), made(&self.site, &name, grant).await));
            }
        }
        tokens
    }

    fn body(&self, path: &str) -> Value {
        let to = json!({"tenant_id": self.other, "target_store": "dedicated"});
        match path {
            "/v1/migrations" | "/v1/plans" | "/v1/probes" => to,
            "/v1/drains" => Self::drain_start(self.own),
            "/v1/drains/plan" => Self::drain_start(self.own)["request"].clone(),
            _ => json!({}),
        }
    }

    fn path(&self, template: &str, tenant: Uuid, store: &str) -> String {
        let template = match template {
            "/v1/tenants/{tenant}/position" => {
                "/v1/tenants/{tenant}/position?position=1&from=shared&to=dedicated"
            }
            template => template,
        };
        [
            ("{tenant}", tenant.to_string().as_str()),
            ("{migration}", &self.migration),
            ("{drain}", &self.drain),
            ("{store}", store),
            ("{phase}", "during"),
            ("{type}", "order"),
            ("{id}", "o-1"),
            ("{name}", "admin"),
        ]
        .iter()
        .fold(template.to_owned(), |path, (name, value)| path.replace(name, value))
    }

    async fn ask(&self, method: &str, path: &str, body: &Value, token: &str) -> Reply {
        let request = match method {
            "GET" => Request::new("GET", path),
            "PUT" => Request::new("PUT", path).json(body),
            "PATCH" => Request::new("PATCH", path).json(body),
            _ => Request::new("POST", path).json(body),
        };
        self.site.ask(request.token(token)).await
    }

    /// What must not change, whatever the bound tokens do.
    async fn state(&self) -> Vec<Value> {
        let mut state = Vec::new();
        for path in ["/v1/tenants", "/v1/tokens"] {
            state.push(self.ask("GET", path, &Value::Null, &self.admin).await.is(200));
        }
        for path in ["/v1/drains", "/v1/migrations"] {
            let listed = self.ask("GET", path, &Value::Null, &self.admin).await.is(200);
            let listed = listed.as_object().unwrap().values().find(|part| part.is_array());
            state.push(listed.unwrap().as_array().unwrap().len().into());
        }
        let path = format!("/v1/migrations/{}/options", self.migration);
        state.push(self.ask("GET", &path, &Value::Null, &self.admin).await.is(200));
        // Uses of tokens are noted.
        for part in &mut state {
            forget(part, "last_used_at");
        }
        state
    }
}

fn forget(value: &mut Value, key: &str) {
    match value {
        Value::Object(fields) => {
            fields.remove(key);
            fields.values_mut().for_each(|field| forget(field, key));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| forget(item, key)),
        _ => {}
    }
}

/// What everybody may ask, and what answers with what the caller sees.
const OPEN: [&str; 5] = [
    "GET /health/live",
    "GET /health/ready",
    "GET /openapi.json",
    "GET /v1/migrations",
    "POST /v1/estimates",
];

#[tokio::test]
async fn a_bound_token_is_refused_by_every_route_that_is_not_within_its_bounds() {
    let town = Town::new().await;
    let tokens = town.bound().await;
    let before = town.state().await;
    for route in include_str!("routes.txt").lines() {
        let (method, template) = route.split_once(' ').unwrap();
        let path = town.path(template, town.other, "shared");
        for (name, token) in &tokens {
            let reply = town.ask(method, &path, &town.body(template), token).await;
            if OPEN.contains(&route) {
                let text = String::from_utf8_lossy(&reply.body).into_owned();
                let others =
                    text.contains(&town.migration) || text.contains(&town.other.to_string());
                assert!(!others, "{route} for {name}: {text}");
            } else {
                assert_eq!(reply.status, 403, "{route} for {name}: {reply:?}");
            }
        }
    }
    assert_eq!(town.state().await, before);
    town.site.ends().await;
}

/// Drains, cordons, pins and lists are of the whole deployment, also where the tenant or the store is the
/// token's own.
#[tokio::test]
async fn a_bound_token_has_no_part_in_what_is_the_whole_deployments() {
    let town = Town::new().await;
    let tokens = town.bound().await;
    let before = town.state().await;
    for route in include_str!("routes.txt").lines() {
        let (method, template) = route.split_once(' ').unwrap();
        let whole = ["/v1/drains", "/cordon", "/uncordon", "/pin", "/unpin", "/purge", "/unguard"];
        let lists = ["GET /v1/tenants", "GET /v1/stores", "GET /v1/tokens", "POST /v1/recoveries"];
        if !lists.contains(&route) && !whole.iter().any(|part| template.contains(part)) {
            continue;
        }
        let path = town.path(template, town.own, "dedicated");
        for (name, token) in &tokens {
            let reply = town.ask(method, &path, &town.body(template), token).await;
            assert_eq!(reply.status, 403, "{route} for {name}: {reply:?}");
            let own = format!("/v1/tenants/{}", town.own);
            let own = town.ask("GET", &own, &Value::Null, token);
            let seen = if name.ends_with("tenants") { 200 } else { 403 };
            assert_eq!(own.await.status, seen, "{name} and its own tenant");
        }
    }
    assert_eq!(town.state().await, before);
    town.site.ends().await;
}

#[tokio::test]
async fn a_bound_token_finds_no_page_of_others_in_the_console() {
    let town = Town::new().await;
    let Town { site, own, other, migration, drain, .. } = &town;
    for (name, token) in town.bound().await {
        let cookie = site.login(&token).await;
        let get = |path: &str| site.ask(Request::new("GET", path).header("Cookie", &*cookie));
        for path in [
            "/drains".to_owned(),
            format!("/drains/{drain}"),
            "/tenants".to_owned(),
            "/tenants?store=dedicated".to_owned(),
            format!("/tenants?search={own}"),
            format!("/console/live?drain={drain}"),
            format!("/migrations/{migration}"),
            format!("/console/checklists/{migration}"),
            format!("/console/live?migration={migration}"),
            format!("/console/migrations/{migration}/abort"),
            format!("/console/plan?tenant={other}&to=dedicated&cutover=manual"),
        ] {
            let reply = get(&path).await;
            assert_eq!(reply.status, 403, "{path} for {name}: {}", reply.text());
            let text = reply.text();
            assert!(!text.contains(&other.to_string()), "{path} for {name}: {text}");
        }
        let page = get("/").await;
        assert_eq!(page.status, 200);
        let text = page.text();
        assert!(!text.contains(migration) && !text.contains(&other.to_string()), "{name}: {text}");
    }
    town.site.ends().await;
}
