//! The console without a browser: permissions and refusals.

use rehome_app::http::Endpoint;
use rehome_app::token_registry;
use rehome_app::tokens::{Grant, Role, Token, TokenHash};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use uuid::Uuid;

use crate::kit::{Events, Reply, Request, Site};

/// The word of a page's forms.
fn word(page: &Reply) -> String {
    let text = page.text();
    let (_, rest) = text.split_once("name=\"csrf\" value=\"").unwrap_or_else(|| panic!("{text}"));
    rest.split('"').next().unwrap().to_owned()
}

fn form(path: &str, fields: &[(&str, &str)]) -> Request {
    let fields: Vec<String> =
        fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Request::new("POST", path).body("application/x-www-form-urlencoded", fields.join("&"))
}

async fn start(site: &Site, tenant: Uuid) -> String {
    let plan =
        site.get(&format!("/console/plan?tenant={tenant}&to=dedicated&cutover=manual")).await;
    assert_eq!(plan.status, 200);
    let (csrf, tenant) = (word(&plan), tenant.to_string());
    let fields = [
        ("csrf", csrf.as_str()),
        ("tenant", &tenant),
        ("to", "dedicated"),
        ("cutover", "manual"),
        ("window", "1h"),
        ("reason", "a+bigger+machine"),
    ];
    let started = site.ask(form("/console/start", &fields)).await;
    assert_eq!(started.status, 303, "{}", started.text());
    started.header("location").unwrap().to_owned()
}

async fn until_shown(site: &Site, path: &str, text: &str) -> Reply {
    let asked = async {
        loop {
            let page = site.get(path).await;
            if page.text().contains(text) {
                return page;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    crate::kit::within(text, asked).await
}

#[tokio::test]
async fn a_whole_migration_is_run_from_pages_that_need_no_script() {
    let (site, tenant) = (Site::new().await, Uuid::new_v4());
    site.fill(tenant, 1..=20).await;
    let page = start(&site, tenant).await;
    until_shown(&site, &page, "Switch now").await;

    let confirm = format!("/console{page}/cutover");
    let asks = site.get(&confirm).await;
    assert!(asks.text().contains("Writers wait for a few milliseconds"), "{}", asks.text());
    let done = site.ask(form(&confirm, &[("csrf", &word(&asks))])).await;
    assert_eq!((done.status, done.header("location")), (303, Some(page.as_str())));
    let shown = until_shown(&site, &page, "Done. Writes go to dedicated.").await;
    assert!(shown.text().contains("anyone: a bigger machine"), "who and why: {}", shown.text());
    assert!(shown.text().contains("Return to the old store"));
    assert!(!shown.text().contains("Switch now"));

    let lists = site.get(&page.replace("/migrations/", "/console/checklists/")).await;
    assert_eq!(lists.status, 200);
    assert!(lists.text().contains("Migration state is MIGRATED"), "{}", lists.text());

    // An outdated action gets an explanation, and changes nothing.
    let abort = format!("/console{page}/abort");
    let refused = site.ask(form(&abort, &[("csrf", &word(&asks))])).await;
    assert_eq!(refused.status, 409);
    assert!(refused.text().contains("Not possible now"), "{}", refused.text());
    site.ends().await;
}

#[tokio::test]
async fn the_page_of_a_tenant_says_where_it_lives_and_what_it_needs() {
    let (site, tenant) = (Site::new().await, Uuid::new_v4());
    site.fill(tenant, 1..=20).await;
    let page = format!("/tenants/{tenant}");
    let before = site.get(&page).await;
    for part in ["Lives in shared. Writes go there.", "It has never been moved.", "No subscription"]
    {
        assert!(before.text().contains(part), "{part}: {}", before.text());
    }
    assert!(site.get("/tenants").await.text().contains(&format!("href=\"{page}\"")));
    let migration = start(&site, tenant).await;
    let needs = until_shown(&site, &page, "ready to switch").await;
    assert!(needs.text().contains("Lives in shared, and moves to dedicated."), "{}", needs.text());
    assert!(needs.text().contains(&format!("href=\"{migration}\"")), "{}", needs.text());
    assert!(site.get(&migration).await.text().contains(&format!("href=\"{page}\"")));

    let confirm = format!("/console{migration}/cutover");
    let asks = site.get(&confirm).await;
    site.ask(form(&confirm, &[("csrf", &word(&asks))])).await;
    let put = |method, path: String, body| Request::new(method, path).json(&body);
    let checkpoint = format!("/v1/tenants/{tenant}/subscriptions/projector");
    site.ask(put("PUT", checkpoint, serde_json::json!({"seq": 15}))).await;
    let pin = serde_json::json!({"reason": "a contract"});
    site.ask(put("POST", format!("/v1/tenants/{tenant}/pin"), pin)).await;
    let moved = until_shown(&site, &page, "Lives in dedicated. Writes go there.").await;
    let id = migration.rsplit('/').next().unwrap();
    for part in [
        "It can return to shared until",
        &format!("rehome migration return {id}"),
        "Return to the old store",
        "a contract",
        &format!("rehome tenant unpin {tenant}"),
        "Pinned by anyone, ",
        "projector",
        "authority",
    ] {
        assert!(moved.text().contains(part), "{part}: {}", moved.text());
    }
    assert_eq!(site.get(&format!("/tenants/{}", Uuid::new_v4())).await.status, 404);

    let mut events =
        Events::open(&site, Request::new("GET", format!("/console/live?tenant={tenant}"))).await;
    loop {
        let sent = events.next().await.expect("it goes on");
        if sent.data.contains("Lives in dedicated") {
            break;
        }
    }
    site.ends().await;
}

#[tokio::test]
async fn a_page_is_told_again_when_it_has_changed() {
    let (site, tenant) = (Site::new().await, Uuid::new_v4());
    site.fill(tenant, 1..=5).await;
    let page = start(&site, tenant).await;
    let id = page.rsplit('/').next().unwrap();
    let live = Request::new("GET", format!("/console/live?migration={id}"));
    let mut events = Events::open(&site, live).await;
    loop {
        let sent = events.next().await.expect("it goes on");
        if sent.data.is_empty() {
            continue;
        }
        let piece: Value = serde_json::from_str(&sent.data).unwrap();
        if piece["id"] == "headline"
            && piece["html"].as_str().unwrap().contains("mirrored to dedicated")
        {
            break;
        }
    }
    site.ends().await;
}

#[tokio::test]
async fn pages_load_nothing_from_elsewhere_and_have_no_script_of_their_own() {
    let site = Site::new().await;
    let pages = [
        "/",
        "/console/start",
        "/console/login",
        "/migrations/00000000-0000-0000-0000-000000000001",
    ];
    for path in pages {
        let page = site.get(path).await;
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(page.header("x-frame-options"), Some("DENY"));
        let text = page.text();
        for bad in [" style=\"", " onclick", "javascript:", "http://", "//cdn"] {
            assert!(!text.replace("http://www.w3.org/2000/svg", "").contains(bad), "{path}: {bad}");
        }
        assert_eq!(text.matches("<script").count(), 1, "the one file: {text}");
    }
    assert_eq!(site.get(pages[3]).await.status, 404);
    site.ends().await;
}

#[tokio::test]
async fn what_people_write_is_text_and_never_markup() {
    let (site, tenant) = (Site::new().await, Uuid::new_v4());
    site.fill(tenant, 1..=3).await;
    let typed =
        site.get("/console/plan?tenant=%3Cscript%3Ealert(1)%3C/script%3E&to=%22%3E%3Cb%3E").await;
    assert!(!typed.text().contains("<script>alert") && !typed.text().contains("\"><b>"));
    assert!(typed.text().contains("&lt;script&gt;alert(1)"), "{}", typed.text());
    site.ends().await;
}

#[tokio::test]
async fn a_form_from_elsewhere_is_refused() {
    let (site, tenant) = (Site::new().await, Uuid::new_v4());
    site.fill(tenant, 1..=3).await;
    let page = start(&site, tenant).await;
    let pause = format!("/console{page}/pause");
    let asks = site.get(&pause).await;
    let guessed = site.ask(form(&pause, &[("csrf", &"0".repeat(64))])).await;
    assert_eq!(guessed.status, 403);
    assert_eq!(site.ask(form(&pause, &[])).await.status, 403);
    let foreign = form(&pause, &[("csrf", &word(&asks))]).header("Origin", "https://evil.example");
    assert_eq!(site.ask(foreign).await.status, 403);
    assert!(!site.get(&page).await.text().contains("Paused."));
    site.ends().await;
}

#[tokio::test]
async fn with_tokens_the_console_asks_for_one_and_a_viewer_sees_no_buttons() {
    let tenant = Uuid::new_v4();
    let make = |name: &str, grant: Grant| {
        let text = format!("rehome_{name}");
        (text.clone(), Token::new(name.to_owned(), grant, TokenHash::of(&text)).unwrap())
    };
    let (viewer, viewers) = make("looks", Role::Viewer.into());
    let (operator, operators) = make("acts", Role::Operator.into());
    let (own, tenants) = make("own", Grant::of_tenant(rehome_domain::ids::TenantId::new(tenant)));
    let site = Site::with(|config| config.tokens = vec![viewers, operators, tenants]).await;
    let append = Request::new("POST", format!("/v1/tenants/{tenant}/append"))
        .header("Authorization", format!("Bearer {own}"))
        .json(&serde_json::json!({
            "stream_type": "order", "stream_id": "1", "expected_version": "any",
            "events": [{"event_type": "Made", "data": {}}],
        }));
    assert_eq!(site.ask(append).await.status, 201);

    let stranger = site.get("/").await;
    assert_eq!((stranger.status, stranger.header("location")), (303, Some("/console/login")));
    for wrong in ["rehome_nobody", own.as_str(), ""] {
        let reply = site.ask(form("/console/login", &[("token", wrong)])).await;
        assert_eq!((reply.status, reply.header("set-cookie")), (401, None), "{wrong}");
    }
    let mut sessions = Vec::new();
    for token in [&viewer, &operator] {
        let reply = site.ask(form("/console/login", &[("token", token)])).await;
        let cookie = reply.header("set-cookie").unwrap().to_owned();
        assert!(cookie.contains("HttpOnly; SameSite=Strict"), "{cookie}");
        sessions.push(cookie.split(';').next().unwrap().to_owned());
    }
    let get = |path: String, session: &str| Request::new("GET", path).header("Cookie", session);
    let plan = format!("/console/plan?tenant={tenant}&to=dedicated&cutover=manual");
    let csrf = word(&site.ask(get(plan.clone(), &sessions[1])).await);
    let id = tenant.to_string();
    let fields = [("csrf", csrf.as_str()), ("tenant", &id), ("to", "dedicated")];
    let started = form("/console/start", &fields).header("Cookie", &sessions[1]);
    let page = site.ask(started).await.header("location").unwrap().to_owned();

    let seen = site.ask(get(page.clone(), &sessions[0])).await;
    assert!(seen.text().contains("looks (read-only)"), "{}", seen.text());
    assert!(!seen.text().contains("class=\"button"), "{}", seen.text());
    assert!(site.ask(get(page.clone(), &sessions[1])).await.text().contains("class=\"button"));
    assert!(site.ask(get(page.clone(), &sessions[1])).await.text().contains(">acts<"));
    let words = word(&site.ask(get(page.clone(), &sessions[0])).await);
    let deed =
        form(&format!("/console{page}/abort"), &[("csrf", &words)]).header("Cookie", &sessions[0]);
    let refused = site.ask(deed).await;
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("is read-only"));
    // The cookie is no key to the API.
    let api = Request::new("GET", format!("/v1/tenants/{tenant}")).header("Cookie", &sessions[1]);
    site.ask(api).await.problem(401, "unauthorized");
    site.ends().await;
}

/// An Alertmanager with one alert about this migration, and one about another.
async fn alertmanager(migration: Uuid) -> (String, tokio::task::JoinHandle<()>) {
    let alerts = serde_json::json!([
        { "labels": { "alertname": "MigrationFailed", "migration_id": migration } },
        { "labels": { "alertname": "DiskFull<script>" } },
    ]);
    let body = alerts.to_string();
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let tool = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4_096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url, tool)
}

#[tokio::test]
async fn the_overview_tells_which_alerts_fire() {
    let quiet = Site::new().await;
    let page = quiet.get("/").await;
    assert!(page.text().contains("alertmanager_url"), "whom to ask: {}", page.text());
    quiet.ends().await;

    let migration = Uuid::new_v4();
    let (url, tool) = alertmanager(migration).await;
    let site = Site::with(|config| {
        config.monitoring.tools.alertmanager = Some(Endpoint::parse(&url).unwrap());
    })
    .await;
    let page = site.get("/").await;
    assert!(page.text().contains("An alert fires"), "{}", page.text());
    assert!(page.text().contains(&format!("href=\"/migrations/{migration}\"")));
    assert!(!page.text().contains("All is well"), "an alert says otherwise");
    assert!(!page.text().contains("DiskFull"), "it is not ours");
    site.ends().await;
    tool.abort();

    let site = Site::with(|config| {
        config.monitoring.tools.alertmanager = Some(Endpoint::parse(&url).unwrap());
    })
    .await;
    let _ = tool.await;
    let page = site.get("/").await;
    assert!(page.text().contains("It is unknown which alerts fire"), "{}", page.text());
    site.ends().await;
}

/// A token that is scoped to a tenant sees its migration, and no other: not in the list, not by
/// its address, not live, and it moves no other tenant.
#[tokio::test]
async fn a_bound_token_sees_and_runs_its_own_in_the_console() {
    let (site, tenant, other) = (Site::new().await, Uuid::new_v4(), Uuid::new_v4());
    site.fill(tenant, 1..=3).await;
    site.fill(other, 1..=3).await;
    let (own, others) = (start(&site, tenant).await, start(&site, other).await);
    let made = async |name: &str, grant: Grant| {
        let text = rehome_app::tokens::secret(rehome_app::tokens::PREFIX).unwrap();
        let (name, hash) = (name.to_owned(), TokenHash::of(&text));
        let new = rehome_app::token_registry::NewToken { name, grant, hash, expires_in: None };
        token_registry::create(&site.deployment, &new).await.unwrap();
        text
    };
    let bound = rehome_domain::ids::TenantId::new(tenant);
    let bound = Grant::new(Role::Operator, vec![bound], Vec::new()).unwrap();
    let cookie = site.login(&made("bound", bound).await).await;
    let stores = vec!["shared".parse().unwrap()];
    let stores = Grant::new(Role::Viewer, Vec::new(), stores).unwrap();
    let of_store = site.login(&made("of-store", stores).await).await;
    let get = |path: &str, cookie: &str| Request::new("GET", path).header("Cookie", cookie);

    let page = site.ask(get("/", &cookie)).await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains(&own), "{}", page.text());
    assert!(!page.text().contains(&others) && !page.text().contains("All is well"));
    assert!(page.text().contains("is bound to tenants or stores"));
    assert_eq!(site.ask(get(&own, &cookie)).await.status, 200);
    let id = others.rsplit('/').next().unwrap();
    for path in [
        others.clone(),
        format!("/console/checklists/{id}"),
        format!("/console/migrations/{id}/pause"),
        format!("/console/live?migration={id}"),
        format!("/console/live?tenant={other}"),
        format!("/tenants/{other}"),
        format!("/console/plan?tenant={other}&to=dedicated&cutover=manual"),
    ] {
        assert_eq!(site.ask(get(&path, &cookie)).await.status, 403, "{path}");
    }
    let csrf = word(&page);
    let pause = |id: &str| {
        let path = format!("/console/migrations/{id}/pause");
        site.ask(form(&path, &[("csrf", &csrf), ("reason", "x")]).header("Cookie", &*cookie))
    };
    assert_eq!(pause(id).await.status, 403);
    assert_eq!(pause(own.rsplit('/').next().unwrap()).await.status, 303);
    let fields = [("csrf", &*csrf), ("tenant", &other.to_string()), ("to", "dedicated")];
    let start = form("/console/start", &fields).header("Cookie", &*cookie);
    assert_eq!(site.ask(start).await.status, 403);

    // The live page is the same.
    let mut live = Events::open(&site, get("/console/live", &cookie)).await;
    let piece = live.next().await.unwrap();
    assert!(!piece.data.contains(&others), "{piece:?}");

    // A store alone is no end of a migration between two; the store itself is seen.
    let page = site.ask(get("/", &of_store)).await;
    assert!(!page.text().contains(&own) && !page.text().contains(&others));
    assert!(
        page.text().contains("shared") && !page.text().contains("dedicated"),
        "{}",
        page.text()
    );
    site.ends().await;
}
