//! Malicious and malformed input. Nothing crashes, hangs, leaks or is half done, and the
//! server handles the next request normally.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use uuid::Uuid;

use crate::kit::{Request, Site, event, within};

/// A server that waits for slow clients no longer than a test likes to.
async fn impatient() -> Site {
    Site::with(|config| config.server.limits.client_timeout = Duration::from_millis(300)).await
}

fn append(tenant: Uuid) -> Request {
    Request::new("POST", format!("/v1/tenants/{tenant}/streams/order/o-1/events"))
}

/// The server still accepts an append, and the tenant has exactly this many events.
async fn still_answers(site: &Site, tenant: Uuid, events: u64) {
    site.ask(append(tenant).json(&json!({"events": [event(tenant, 1)]}))).await.is(201);
    let found = site.get(&format!("/v1/tenants/{tenant}")).await.is(200);
    assert_eq!(found["seq"], events);
}

#[tokio::test]
async fn what_is_too_large_is_refused_with_the_limit() {
    let site = Site::with(|config| {
        config.server.limits.body_bytes_max = 4 << 20;
        config.server.limits.append_events_max = 10;
    })
    .await;
    let tenant = Uuid::new_v4();
    let large = format!("{{\"events\":[],\"x\":\"{}\"}}", "x".repeat(4 << 20));
    let refused = site.ask(append(tenant).body("application/json", large.clone())).await;
    assert_eq!(refused.problem(413, "body_too_large")["limit"], 4 << 20);
    // Announced only, and by a client that never sends it.
    let announced = append(tenant)
        .header("Content-Type", "application/json")
        .header("Content-Length", "99999999999");
    site.ask(announced).await.problem(413, "body_too_large");
    // Not announced.
    let chunks: String = large.as_bytes().chunks(65_536).fold(String::new(), |mut all, chunk| {
        all.extend([
            &format!("{:x}", chunk.len()),
            "\r\n",
            std::str::from_utf8(chunk).unwrap(),
            "\r\n",
        ]);
        all
    });
    let head = append(tenant)
        .header("Content-Type", "application/json")
        .header("Transfer-Encoding", "chunked")
        .bytes(site.address);
    let mut stream = site.connect().await;
    stream.write_all(&head).await.unwrap();
    let sent = stream.write_all(chunks.as_bytes()).await;
    let mut answer = Vec::new();
    let read = within("an answer", stream.read_to_end(&mut answer)).await;
    // A server that has refused reads no further: the response, or the end of the connection.
    let said_no = String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 413");
    assert!(said_no || sent.is_err() || read.is_err(), "{}", String::from_utf8_lossy(&answer));

    let many: Vec<_> = (1..=11).map(|n| event(tenant, n)).collect();
    let refused = site.ask(append(tenant).json(&json!({"events": many}))).await;
    assert_eq!(refused.problem(413, "too_many_events")["limit"], 10);
    let mut big = event(tenant, 1);
    big["data"] = "x".repeat(1 << 20).into();
    let refused = site.ask(append(tenant).json(&json!({"events": [big]}))).await;
    assert_eq!(refused.problem(413, "event_too_large")["limit"], 1 << 20);
    still_answers(&site, tenant, 1).await;
    site.ends().await;
}

#[tokio::test]
async fn json_that_is_deep_or_none_is_refused() {
    let (site, tenant) = (Site::new().await, Uuid::new_v4());
    let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
    let with = |data: &str| format!("{{\"events\":[{{\"event_type\":\"a\",\"data\":{data}}}]}}");
    for (body, code) in [
        (with(&deep(129)), "event_too_deep"),
        (with(&deep(100_000)), "event_too_deep"),
        (deep(1_000_000), "bad_append"),
        ("[".repeat(1_000_000), "bad_append"),
        ("{\"events\":".repeat(100_000), "bad_append"),
        (String::new(), "bad_append"),
        ("null".to_owned(), "bad_append"),
        (with("01"), "bad_append"),
        (with("\"a\nb\""), "bad_append"),
        ("{\"events\":[]}".to_owned(), "bad_append"),
    ] {
        let request = append(tenant).body("application/json", body);
        site.ask(request).await.problem(400, code);
    }
    for body in [&b"\xff"[..], b"{\"events\":[{\"event_type\":\"\xc3\x28\",\"data\":1}]}"] {
        site.ask(append(tenant).body("application/json", body)).await.problem(400, "bad_body");
    }
    for path in ["/v1/migrations", "/v1/plans", "/v1/estimates", "/v1/recoveries"] {
        for body in [deep(100_000).into_bytes(), b"\xff".to_vec(), b"{\"a\":".to_vec(), vec![]] {
            let request = Request::new("POST", path).body("application/json", body);
            site.ask(request).await.problem(400, "bad_body");
        }
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx"] {
        site.ask(append(tenant).body(kind, "{}")).await.problem(415, "not_json");
    }
    still_answers(&site, tenant, 1).await;
    site.ends().await;
}

#[tokio::test]
async fn a_client_that_is_slow_is_left() {
    let (site, tenant) = (impatient().await, Uuid::new_v4());
    // Nothing; half a line; headers without end.
    for sent in
        [&b""[..], b"GET /health", b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\n"]
    {
        let mut stream = site.connect().await;
        stream.write_all(sent).await.unwrap();
        let mut answer = Vec::new();
        let _ = within("being left", stream.read_to_end(&mut answer)).await;
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
    }
    // A body that comes byte by byte, and never ends.
    let head = append(tenant)
        .header("Content-Type", "application/json")
        .header("Content-Length", "1000")
        .bytes(site.address);
    let mut stream = site.connect().await;
    stream.write_all(&head).await.unwrap();
    let (mut reading, mut writing) = stream.split();
    let mut answer = Vec::new();
    let drip = async {
        while writing.write_all(b" ").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        _ = within("an answer", reading.read_to_end(&mut answer)) => {}
        () = drip => {}
    }
    let _ = within("the rest", reading.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("body_too_slow"), "{answer}");
    still_answers(&site, tenant, 1).await;
    site.ends().await;
}

#[tokio::test]
async fn slow_clients_take_the_place_of_others_only_for_so_long() {
    let site = Site::with(|config| {
        config.server.limits.client_timeout = Duration::from_millis(300);
        config.server.limits.connections_max = 4;
    })
    .await;
    let mut slow = Vec::new();
    for _ in 0..40 {
        let mut stream = site.connect().await;
        let _ = stream.write_all(b"GET /health/live HTTP/1.1\r\nX: ").await;
        slow.push(stream);
    }
    site.get("/health/live").await.is(200);
    site.ends().await;
}

#[tokio::test]
async fn a_client_that_closes_its_side_is_answered() {
    let (site, tenant) = (Site::new().await, Uuid::new_v4());
    let request = append(tenant).json(&json!({"events": [event(tenant, 1)]}));
    let mut stream = site.connect().await;
    stream.write_all(&request.bytes(site.address)).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    within("an answer", stream.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 201"), "{}", String::from_utf8_lossy(&answer));

    // One that closes in the middle of its body appends nothing.
    let request = append(tenant).json(&json!({"events": [event(tenant, 2)]}));
    let bytes = request.bytes(site.address);
    let mut stream = site.connect().await;
    stream.write_all(&bytes[..bytes.len() - 5]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = within("an answer", stream.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
    still_answers(&site, tenant, 1).await;
    site.ends().await;
}

#[tokio::test]
async fn what_is_no_http_is_no_crash() {
    let (site, tenant) = (impatient().await, Uuid::new_v4());
    let header = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    let headers = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(1_000));
    let path = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(200_000));
    for sent in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\0\0\0\0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET /health/live HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        header.as_bytes(),
        headers.as_bytes(),
        path.as_bytes(),
    ] {
        let mut stream = site.connect().await;
        let _ = stream.write_all(sent).await;
        let mut answer = Vec::new();
        let _ = within("the end", stream.read_to_end(&mut answer)).await;
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
    }
    still_answers(&site, tenant, 1).await;
    site.ends().await;
}

#[tokio::test]
async fn paths_that_try_to_get_out_stay_where_they_are() {
    let (site, tenant) = (Site::new().await, Uuid::new_v4());
    site.fill(tenant, 1..=1).await;
    for path in [
        "/v1/tenants/../../etc/passwd",
        "/v1/tenants/%2e%2e/events",
        "/..%2f..%2fetc/passwd",
        "/v1//migrations",
        "/v1/migrations/",
        "/v1/migrations/..",
        "/health/live%00",
        "/v1/tenants/%00/events",
        "/V1/migrations",
    ] {
        let reply = site.get(path).await;
        assert!([400, 404].contains(&reply.status), "{path}: {}", reply.status);
        let code = if reply.status == 400 { "bad_path" } else { "no_such_path" };
        let status = reply.status;
        reply.problem(status, code);
    }
    let name = "n".repeat(257);
    for (name, code) in [(name.as_str(), "bad_name"), ("%00", "bad_name"), ("%ff", "bad_path")] {
        let path = format!("/v1/tenants/{tenant}/subscriptions/{name}");
        site.get(&path).await.problem(400, code);
    }
    site.ends().await;
}

#[tokio::test]
async fn a_page_of_another_site_can_do_nothing() {
    let (site, tenant) = (Site::new().await, Uuid::new_v4());
    site.fill(tenant, 1..=1).await;
    let foreign = append(tenant).header("Origin", "https://evil.example");
    let foreign = foreign.json(&json!({"events": [event(tenant, 2)]}));
    site.ask(foreign).await.problem(403, "foreign_origin");
    // A name that was made to point here.
    let rebound = Request::new("GET", "/v1/migrations").header("Host", "evil.example:7411");
    site.ask(rebound).await.problem(403, "foreign_host");
    let reply =
        site.ask(Request::new("GET", "/health/live").header("Origin", "https://evil.example"));
    assert_eq!(reply.await.header("access-control-allow-origin"), None);
    still_answers(&site, tenant, 1).await;
    site.ends().await;
}
