//! More that means harm: headers that lie, connections that are held open, and rooms that are full.

use std::time::Duration;

use rehome_app::config::TlsFiles;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::kit::{Request, Site, event, within};

fn append(tenant: Uuid) -> Request {
    Request::new("POST", format!("/v1/tenants/{tenant}/streams/order/o-1/events"))
}

#[tokio::test]
async fn positions_and_cursors_that_are_none_are_refused() {
    let (site, tenant) = (Site::new().await, Uuid::new_v4());
    site.fill(tenant, 1..=3).await;
    let feed = format!("/v1/tenants/{tenant}/events");
    let stream = format!("/v1/tenants/{tenant}/streams/order/o-1/events");
    let long = "9".repeat(10_000);
    for bad in ["-1", "1.5", "0x1", "1e3", "", "%00", "18446744073709551616", "x", &long] {
        for path in [
            format!("{feed}?after_seq={bad}"),
            format!("{feed}?limit={bad}"),
            format!("{stream}?from_version={bad}"),
            format!("/v1/migrations?cursor={bad}"),
            format!("/v1/migrations?limit={bad}"),
        ] {
            // A parameter without a value may count as none.
            if bad.is_empty() && site.get(&path).await.status == 200 {
                continue;
            }
            site.get(&path).await.problem(400, "bad_query");
        }
        let follow = Request::new("GET", feed.clone()).header("Accept", "text/event-stream");
        let reply = site.ask(follow.header("Last-Event-ID", bad)).await;
        reply.problem(400, "bad_header");
    }
    let end = site.get(&format!("{feed}?after_seq=3")).await.is(200);
    assert_eq!((&end["events"], &end["next_after_seq"]), (&json!([]), &json!(3)));
    let end = site.get(&format!("{stream}?from_version=4")).await.is(200);
    assert_eq!(end["events"], json!([]));
    for beyond in ["5", "9223372036854775807", "9223372036854775808", "18446744073709551615"] {
        let number = beyond.parse::<u64>().unwrap();
        let refused = site.get(&format!("{feed}?after_seq={beyond}")).await;
        let problem = refused.problem(409, "position_beyond_end");
        assert_eq!((&problem["position"], &problem["end"]), (&json!(number), &json!(3)));
        let refused = site.get(&format!("{stream}?from_version={beyond}")).await;
        let problem = refused.problem(409, "position_beyond_end");
        assert_eq!((&problem["position"], &problem["end"]), (&json!(number - 1), &json!(3)));
    }
    for limit in ["0", "1001", "4294967295"] {
        let refused = site.get(&format!("{feed}?limit={limit}")).await;
        assert_eq!(refused.status, 400, "{limit}");
    }
    site.ends().await;
}

#[tokio::test]
async fn a_list_is_not_taken_for_a_document() {
    let site = Site::new().await;
    let id = Uuid::new_v4();
    for (path, list) in [
        ("/v1/recoveries".to_owned(), json!([null, null, true])),
        ("/v1/estimates".to_owned(), json!([1_000])),
        ("/v1/plans".to_owned(), json!([id, "dedicated"])),
        ("/v1/migrations".to_owned(), json!([id, "dedicated"])),
        (format!("/v1/migrations/{id}/abort"), json!([true])),
        (format!("/v1/tenants/{id}/purge"), json!(["shared", true])),
    ] {
        site.post(&path, &list).await.problem(400, "bad_body");
    }
    site.ends().await;
}

#[tokio::test]
async fn keys_and_tags_that_are_none_start_and_change_nothing() {
    let (site, tenant) = (Site::new().await, Uuid::new_v4());
    site.fill(tenant, 1..=3).await;
    let start = || {
        let body = json!({"tenant_id": tenant, "target_store": "dedicated", "options": {"cutover": "manual"}});
        Request::new("POST", "/v1/migrations").json(&body)
    };
    for key in ["", "   ", &"k".repeat(256), "caf\u{e9}"] {
        site.ask(start().header("Idempotency-Key", key)).await.problem(400, "bad_header");
    }
    assert_eq!(site.get("/v1/migrations").await.is(200)["migrations"], json!([]));

    let key = "k".repeat(255);
    let started = site.ask(start().header("Idempotency-Key", key.as_str())).await.is(201);
    let id = started["id"].as_str().unwrap();
    // For another request the key is in use.
    let other = json!({"tenant_id": tenant, "target_store": "shared"});
    let other = Request::new("POST", "/v1/migrations").json(&other);
    site.ask(other.header("Idempotency-Key", key.as_str())).await.problem(422, "key_reused");

    for tag in
        ["", "x", "\"x\"", "W/\"1\"", "\"-1\"", "\"18446744073709551616\"", "*, \"1\"", "caf\u{e9}"]
    {
        let abort = Request::new("POST", format!("/v1/migrations/{id}/abort"));
        let reply = site.ask(abort.header("If-Match", tag)).await;
        assert!([400, 412].contains(&reply.status), "{tag}: {}", reply.status);
    }
    let found = site.get(&format!("/v1/migrations/{id}")).await.is(200);
    assert!(!["rolled_back", "failed"].contains(&found["state"].as_str().unwrap()), "{found}");
    site.post(&format!("/v1/migrations/{id}/abort"), &json!({})).await.is(200);
    site.ends().await;
}

#[tokio::test]
async fn while_there_is_no_room_for_bodies_others_are_told_to_come_again() {
    let site = Site::with(|config| {
        config.server.limits.body_bytes_max = 64 << 10;
        config.server.limits.bodies_bytes_max = 64 << 10;
    })
    .await;
    let tenant = Uuid::new_v4();
    // One that has all the room, and does not send the rest.
    let held = append(tenant)
        .header("Content-Type", "application/json")
        .header("Content-Length", (64 << 10).to_string());
    let mut stream = site.connect().await;
    stream.write_all(&held.bytes(site.address)).await.unwrap();
    stream.write_all(&vec![b' '; (64 << 10) - 1]).await.unwrap();
    let body = json!({"events": [event(tenant, 1)]});
    let taken = async {
        let used = "server_room_used{room=\"body_bytes\"} 65536";
        while !site.get("/metrics").await.text().contains(used) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("a body that takes all", taken).await;
    let refused = site.ask(append(tenant).json(&body)).await;
    assert_eq!(refused.header("retry-after"), Some("1"));
    refused.problem(429, "too_many_requests");
    // What needs no room is answered.
    site.get("/health/ready").await.is(200);
    drop(stream);
    let again = async {
        while site.ask(append(tenant).json(&body)).await.status != 201 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("room", again).await;
    site.ends().await;
}

/// A certificate in files.
fn certificate(folder: &std::path::Path) -> TlsFiles {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = TlsFiles { cert: folder.join("cert.pem"), key: folder.join("key.pem") };
    std::fs::write(&files.cert, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    files
}

#[tokio::test]
async fn handshakes_that_never_end_are_left_and_plain_http_gets_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let files = certificate(folder.path());
    let site = Site::with(|config| {
        config.server.tls = Some(files);
        config.server.limits.client_timeout = Duration::from_millis(300);
        config.server.limits.connections_max = 4;
    })
    .await;
    // More than there are places: nothing; the first bytes of a hello; one that promises more.
    let mut held: Vec<TcpStream> = Vec::new();
    for sent in [&b""[..], b"\x16\x03\x01", b"\x16\x03\x01\x3f\xff\x01\x00\x3f\xfb"].repeat(4) {
        let mut stream = site.connect().await;
        stream.write_all(sent).await.unwrap();
        held.push(stream);
    }
    for stream in &mut held {
        let mut answer = Vec::new();
        let _ = within("being left", stream.read_to_end(&mut answer)).await;
        assert!(!answer.starts_with(b"HTTP/"), "{}", String::from_utf8_lossy(&answer));
    }
    // A client without TLS only learns that, and its request is not executed.
    let plain = Request::new("GET", "/health/live").bytes(site.address);
    let mut stream = site.connect().await;
    stream.write_all(&plain).await.unwrap();
    let mut answer = Vec::new();
    let _ = within("the end", stream.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP/"), "{}", String::from_utf8_lossy(&answer));
    site.ends().await;
}

#[tokio::test]
async fn followers_that_leave_make_room() {
    let site = Site::with(|config| {
        config.server.limits.followers_max = 3;
        config.server.limits.per_caller.followers_max = Some(3);
    })
    .await;
    let tenant = Uuid::new_v4();
    site.fill(tenant, 1..=1).await;
    let follow = || {
        let feed = Request::new("GET", format!("/v1/tenants/{tenant}/events"));
        feed.header("Accept", "text/event-stream").bytes(site.address)
    };
    for _ in 0..4 {
        // As many as there is room for, and each of them leaves without a word.
        for _ in 0..3 {
            let followed = async {
                loop {
                    let mut stream = site.connect().await;
                    stream.write_all(&follow()).await.unwrap();
                    let mut first = [0; 12];
                    stream.read_exact(&mut first).await.unwrap();
                    if &first == b"HTTP/1.1 200" {
                        return;
                    }
                    assert_eq!(&first, b"HTTP/1.1 429");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            within("room for a follower", followed).await;
            // Data to send, by which the server notices closed connections.
            site.fill(tenant, [rand()]).await;
        }
    }
    site.ends().await;
}

/// A number that no event had.
fn rand() -> u64 {
    Uuid::new_v4().as_u64_pair().0 | 1
}

#[tokio::test]
async fn with_tls_browsers_are_told_to_come_back_with_it_only() {
    use tokio_rustls::rustls::crypto::ring::default_provider;
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    let folder = tempfile::tempdir().unwrap();
    let files = certificate(folder.path());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&files.cert).unwrap()).unwrap();
    let client = ClientConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = tokio_rustls::TlsConnector::from(std::sync::Arc::new(client));
    let site = Site::with(|config| config.server.tls = Some(files)).await;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = client.connect(name, site.connect().await).await.unwrap();
    stream.write_all(&Request::new("GET", "/health/live").bytes(site.address)).await.unwrap();
    let mut answer = Vec::new();
    within("an answer", stream.read_to_end(&mut answer)).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains("strict-transport-security: max-age=31536000\r\n"), "{answer}");
    site.ends().await;

    let plain = Site::new().await;
    let reply = plain.get("/health/live").await;
    assert_eq!(reply.header("strict-transport-security"), None);
    plain.ends().await;
}
