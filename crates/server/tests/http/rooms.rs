//! Attacks on shared resources, with victims beside them: uploads, followers, connections and responses
//! of one caller use its own share, and others are not affected.

use std::time::Duration;

use rehome_app::config::{Config, ServerLimits};
use rehome_app::tokens::{Grant, Role, Token};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::kit::{Events, Request, Site, event, within};

/// A tenant with its token.
struct Tenant {
    id: Uuid,
    token: String,
    other_token: String,
}

/// A server with an admin and two tenants, the attacker and the victim.
struct Town {
    site: Site,
    admin: String,
    attacker: Tenant,
    victim: Tenant,
}

impl Town {
    async fn with(change: impl FnOnce(&mut ServerLimits)) -> Self {
        let mut tokens = Vec::new();
        let mut make = |name: &str, grant: Grant| {
            let (token, text) = Token::create(name.to_owned(), grant).unwrap();
            tokens.push(token);
            text
        };
        let admin = make("admin", Role::Admin.into());
        let mut tenant = |name: &str| {
            let id = Uuid::new_v4();
            let grant = Grant::of_tenant(id.to_string().parse().unwrap());
            let token = make(name, grant.clone());
            Tenant { id, token, other_token: make(&format!("{name}-2"), grant) }
        };
        let (attacker, victim) = (tenant("attacker"), tenant("victim"));
        let site = Site::with(|config: &mut Config| {
            config.tokens = tokens;
            change(&mut config.server.limits);
        })
        .await;
        let this = Self { site, admin, attacker, victim };
        this.append(&this.attacker, 1).await;
        this.append(&this.victim, 1).await;
        this
    }

    async fn append(&self, tenant: &Tenant, n: u64) {
        let path = format!("/v1/tenants/{}/streams/order/o-1/events", tenant.id);
        let body = json!({"events": [event(tenant.id, n)]});
        let request = Request::new("POST", path).token(&tenant.token).json(&body);
        self.site.ask(request).await.is(201);
    }

    /// The same, with a connection that reads little.
    async fn hold_unread(&self, request: &Request) -> TcpStream {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        let mut stream = socket.connect(self.site.address).await.unwrap();
        stream.write_all(&request.bytes(self.site.address)).await.unwrap();
        stream
    }

    /// Sends it, and leaves the connection open.
    async fn hold(&self, request: &Request) -> TcpStream {
        let mut stream = self.site.connect().await;
        stream.write_all(&request.bytes(self.site.address)).await.unwrap();
        stream
    }

    async fn ask_as(&self, token: &str, path: &str) -> crate::kit::Reply {
        self.site.ask(Request::new("GET", path).token(token)).await
    }

    /// A sample of a scrape.
    async fn sample(&self, name: &str) -> u64 {
        let reply = self.ask_as(&self.admin, "/metrics").await;
        assert_eq!(reply.status, 200);
        let value = reply.text().lines().find_map(|line| line.strip_prefix(name));
        let value = value.unwrap_or_else(|| panic!("{name} in\n{}", reply.text())).trim();
        // A gauge has a fraction.
        value.split('.').next().unwrap().parse().unwrap()
    }

    /// Waits until a sample is as it should be.
    async fn until(&self, name: &str, is_so: impl Fn(u64) -> bool) {
        let asked = async {
            while !is_so(self.sample(name).await) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(name, asked).await;
    }

    /// What the victim and the operators do while the attack lasts.
    async fn others_are_served(&self) {
        self.append(&self.victim, Uuid::new_v4().as_u64_pair().0).await;
        let feed = format!("/v1/tenants/{}/events", self.victim.id);
        self.ask_as(&self.victim.token, &feed).await.is(200);
        drop(follower(self, &self.victim, &self.victim.token).await);
        self.site.get("/health/live").await.is(200);
        self.site.get("/health/ready").await.is(200);
        let pause = format!("/v1/migrations/{}/pause", Uuid::new_v4());
        let pause = Request::new("POST", pause).token(&self.admin).json(&json!({}));
        self.site.ask(pause).await.problem(404, "unknown_migration");
        let cookie = self.site.login(&self.admin).await;
        let live = Request::new("GET", "/console/live").header("Cookie", cookie);
        drop(Events::open(&self.site, live).await);
    }
}

fn upload(tenant: Uuid, token: &str) -> Request {
    Request::new("POST", format!("/v1/tenants/{tenant}/append"))
        .token(token)
        .header("Content-Type", "application/json")
        .header("Transfer-Encoding", "chunked")
}

fn feed(tenant: &Tenant, token: &str) -> Request {
    Request::new("GET", format!("/v1/tenants/{}/events", tenant.id)).token(token)
}

async fn follower(town: &Town, tenant: &Tenant, token: &str) -> Events {
    Events::open(&town.site, feed(tenant, token)).await
}

async fn head(stream: &mut TcpStream) -> String {
    let mut head = [0; 12];
    within("an answer", stream.read_exact(&mut head)).await.unwrap();
    String::from_utf8(head.to_vec()).unwrap()
}

/// The beginning of a body that continues slowly.
fn some() -> Vec<u8> {
    format!("1f4\r\n{}\r\n", " ".repeat(500)).into_bytes()
}

const BODIES: &str = "server_room_used{room=\"body_bytes\"}";

#[tokio::test]
async fn a_body_for_what_its_sender_may_not_do_is_refused_before_it_comes() {
    let town = Town::with(|_| {}).await;
    for (token, status) in [(&*town.attacker.token, "403"), ("rehome_guess", "401")] {
        let mut stream = town.hold(&upload(town.victim.id, token)).await;
        assert_eq!(head(&mut stream).await, format!("HTTP/1.1 {status}"));
        // One that has sent much of it sees the refusal too.
        let body = vec![b' '; 3 << 20];
        let refused = Request::new("POST", format!("/v1/tenants/{}/append", town.victim.id));
        let refused = refused.token(token).body("application/json", body);
        assert_eq!(town.site.ask(refused).await.status.to_string(), status);
    }
    assert_eq!(town.sample(BODIES).await, 0);
    town.site.ends().await;
}

#[tokio::test]
async fn slow_uploads_of_one_tenant_are_its_own_and_hold_what_has_come() {
    let town = Town::with(|limits| {
        limits.bodies_bytes_max = 1 << 20;
        limits.body_bytes_max = 64 << 10;
        limits.per_caller.bodies_bytes_max = Some(64 << 10);
        limits.client_bytes_per_second_min = 1;
    })
    .await;
    let mut held = Vec::new();
    for n in 0..200 {
        let tokens = [&town.attacker.token, &town.attacker.other_token];
        let mut stream = town.hold(&upload(town.attacker.id, tokens[n % 2])).await;
        stream.write_all(&some()).await.unwrap();
        held.push(stream);
    }
    // Each holds a small constant, and all of them together no more than the share.
    town.until(BODIES, |bytes| bytes == 64 << 10).await;
    town.others_are_served().await;
    let append = upload(town.attacker.id, &town.attacker.other_token);
    let mut stream = town.hold(&append).await;
    assert_eq!(head(&mut stream).await, "HTTP/1.1 429");
    assert!(
        town.sample("server_room_refusals_total{room=\"body_bytes\",bound=\"share\"}").await > 0
    );
    drop(held);
    town.until(BODIES, |bytes| bytes == 0).await;
    town.append(&town.attacker, 2).await;
    town.site.ends().await;
}

#[tokio::test]
async fn a_refusal_names_the_limit_and_says_when_to_come_again() {
    let town = Town::with(|limits| limits.per_caller.followers_max = Some(2)).await;
    let _followers = [
        follower(&town, &town.attacker, &town.attacker.token).await,
        follower(&town, &town.attacker, &town.attacker.other_token).await,
    ];
    let third = feed(&town.attacker, &town.attacker.token).header("Accept", "text/event-stream");
    let refused = town.site.ask(third).await;
    assert_eq!(refused.header("retry-after"), Some("5"));
    let problem = refused.problem(429, "too_many_followers");
    assert_eq!(problem["limit"], 2);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("server.followers_per_caller_max"), "{detail}");
    town.site.ends().await;
}

#[tokio::test]
async fn one_tenant_follows_with_its_share_and_others_follow_too() {
    let town = Town::with(|limits| limits.followers_max = 48).await;
    let mut held = Vec::new();
    let mut refused = 0;
    for n in 0..60 {
        let tokens = [&town.attacker.token, &town.attacker.other_token];
        let follow = feed(&town.attacker, tokens[n % 2]).header("Accept", "text/event-stream");
        let mut stream = town.hold(&follow).await;
        refused += usize::from(head(&mut stream).await == "HTTP/1.1 429");
        held.push(stream);
    }
    assert_eq!(refused, 60 - 12);
    town.others_are_served().await;
    // Followers are released when they close their side, also while there is no data.
    for stream in &mut held {
        stream.shutdown().await.unwrap();
    }
    town.until("server_room_used{room=\"followers\"}", |followers| followers == 0).await;
    town.site.ends().await;
}

#[tokio::test]
async fn connections_that_send_no_request_make_way() {
    let town = Town::with(|limits| {
        limits.connections_max = 32;
        limits.client_timeout = Duration::from_secs(600);
    })
    .await;
    let mut held = Vec::new();
    for n in 0..200 {
        let mut stream = town.site.connect().await;
        // Nothing, half a head, and one that was answered and is idle.
        let sent = [
            &b""[..],
            b"GET / HTTP/1.1\r\nHost: a\r\n",
            b"GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n",
        ];
        let _ = stream.write_all(sent[n % 3]).await;
        held.push(stream);
        if n % 50 == 0 {
            town.others_are_served().await;
        }
    }
    let closed = "server_room_refusals_total{room=\"connections\",bound=\"share\"}";
    assert!(town.sample(closed).await > 100);
    assert!(town.sample("server_room_used{room=\"connections\"}").await <= 32);
    drop(held);
    town.site.ends().await;
}

#[tokio::test]
async fn requests_that_wait_are_their_callers_and_leave_places_for_others() {
    let town = Town::with(|limits| {
        limits.connections_max = 32;
        limits.client_bytes_per_second_min = 1;
    })
    .await;
    let mut held = Vec::new();
    for _ in 0..40 {
        let mut stream = town.hold(&upload(town.attacker.id, &town.attacker.token)).await;
        let _ = stream.write_all(&some()).await;
        held.push(stream);
    }
    // Those, and the scrape.
    town.until("server_room_used{room=\"requests\"}", |requests| requests >= 9).await;
    town.others_are_served().await;
    let path = format!("/v1/tenants/{}", town.attacker.id);
    let refused = town.ask_as(&town.attacker.token, &path);
    let problem = refused.await.problem(429, "too_many_requests");
    assert_eq!(problem["limit"], 8);
    drop(held);
    town.site.ends().await;
}

/// Events of so many bytes, by one append.
async fn fill(town: &Town, tenant: &Tenant, events: u64, bytes: usize) {
    let of = |n| {
        let mut event = event(tenant.id, 1_000 + n);
        event["data"] = "x".repeat(bytes).into();
        event
    };
    let events: Vec<Value> = (0..events).map(of).collect();
    for part in events.chunks((2 << 20) / (bytes + 512) + 1) {
        let path = format!("/v1/tenants/{}/streams/order/o-1/events", tenant.id);
        let request =
            Request::new("POST", path).token(&tenant.token).json(&json!({"events": part}));
        town.site.ask(request).await.is(201);
    }
}

#[tokio::test]
async fn answers_that_nobody_reads_are_bounded_and_others_read_on() {
    let town = Town::with(|limits| {
        limits.answers_bytes_max = 32 << 20;
        limits.client_timeout = Duration::from_secs(600);
    })
    .await;
    fill(&town, &town.attacker, 8, 1_000_000).await;
    let page = || {
        let path = format!("/v1/tenants/{}/events?limit=1000", town.attacker.id);
        Request::new("GET", path).token(&town.attacker.token)
    };
    let mut held = Vec::new();
    for _ in 0..60 {
        held.push(town.hold_unread(&page()).await);
    }
    let answers = "server_room_used{room=\"answer_bytes\"}";
    town.until(answers, |bytes| bytes > 4 << 20).await;
    for _ in 0..5 {
        assert!(town.sample(answers).await <= 8 << 20);
        town.others_are_served().await;
    }
    // One more finds no room; when the others have left, it does.
    let refused = town.site.ask(page()).await;
    assert!([200, 429].contains(&refused.status), "{}", refused.status);
    drop(held);
    town.until(answers, |bytes| bytes == 0).await;
    town.site.ask(page()).await;
    town.site.ends().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_left() {
    let town = Town::with(|limits| limits.client_timeout = Duration::from_secs(1)).await;
    fill(&town, &town.attacker, 200, 40_000).await;
    let path = format!("/v1/tenants/{}/events?limit=1000", town.attacker.id);
    let mut held = Vec::new();
    for _ in 0..8 {
        let page = Request::new("GET", &*path).token(&town.attacker.token);
        held.push(town.hold_unread(&page).await);
        let follow =
            feed(&town.attacker, &town.attacker.token).header("Accept", "text/event-stream");
        held.push(town.hold_unread(&follow).await);
    }
    town.until("server_slow_clients_total{direction=\"answer\"}", |clients| clients >= 8).await;
    town.until("server_room_used{room=\"followers\"}", |followers| followers == 0).await;
    town.until("server_room_used{room=\"answer_bytes\"}", |bytes| bytes == 0).await;
    town.site.ends().await;
}

#[tokio::test]
async fn a_page_of_many_pieces_is_whole() {
    let town = Town::with(|_| {}).await;
    fill(&town, &town.attacker, 900, 3_000).await;
    for (path, position, next) in [
        (format!("/v1/tenants/{}/events?", town.attacker.id), "after_seq", "next_after_seq"),
        (
            format!("/v1/tenants/{}/streams/order/o-1/events?", town.attacker.id),
            "from_version",
            "next_from_version",
        ),
    ] {
        let (mut from, mut seqs) = (0, Vec::new());
        loop {
            let path = format!("{path}{position}={from}&limit=700");
            let page = town.ask_as(&town.attacker.token, &path).await;
            let page: Value = serde_json::from_slice(&page.unchunked()).unwrap();
            let events = page["events"].as_array().unwrap();
            if events.is_empty() {
                break;
            }
            assert!(events.len() <= 700);
            seqs.extend(events.iter().map(|event| event["seq"].as_u64().unwrap()));
            from = page[next].as_u64().unwrap();
        }
        assert_eq!(seqs, (1..=901).collect::<Vec<_>>());
    }
    town.site.ends().await;
}

#[tokio::test]
async fn a_request_with_two_hosts_or_none_is_refused() {
    let site = Site::new().await;
    let two = Request::new("GET", "/health/live").header("Host", "localhost");
    site.ask(two.header("Host", "localhost")).await.problem(400, "bad_host");
    let mut stream = site.connect().await;
    stream.write_all(b"GET /health/live HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(head(&mut stream).await, "HTTP/1.1 400");
    for (name, values) in [
        ("Authorization", ["Bearer a", "Bearer b"]),
        ("Content-Type", ["application/json", "text/plain"]),
        ("Idempotency-Key", ["a", "a"]),
        ("Last-Event-ID", ["1", "2"]),
    ] {
        let two = Request::new("GET", "/v1/stores").header(name, values[0]).header(name, values[1]);
        site.ask(two).await.problem(400, "bad_header");
    }
    site.ends().await;
}
