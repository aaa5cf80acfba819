//! Requests drawn from a fixed seed: whatever comes, the answer is one that is documented. None is an
//! error of the server's own, which a panic is too, and none is no answer.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use uuid::Uuid;

use crate::kit::{Site, event, within};

const CASES: u32 = 1_500;
const TENANT: Uuid = Uuid::from_u128(0x824a_8fcf_0c14_513f_bd3a_4c35_d107_8706);

/// A request that may be none.
#[derive(Clone, Debug)]
struct Drawn {
    method: String,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    /// Chunked, or with its length.
    chunked: bool,
}

impl Drawn {
    fn bytes(&self) -> Vec<u8> {
        let head = format!(
            "{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n",
            self.method, self.target
        );
        let mut bytes = head.into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value);
            bytes.extend_from_slice(b"\r\n");
        }
        if self.chunked {
            bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            for chunk in self.body.chunks(7) {
                bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
        } else {
            bytes.extend_from_slice(
                format!("Content-Length: {}\r\n\r\n", self.body.len()).as_bytes(),
            );
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

/// The route's own, or any.
fn methods(own: String) -> impl Strategy<Value = String> {
    let known = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"].map(str::to_owned);
    prop_oneof![6 => Just(own), 2 => select(known.to_vec()), 1 => "[A-Z]{1,12}"]
}

/// A method, and a route with something in its places, and sometimes nothing of the kind.
fn targets() -> impl Strategy<Value = (String, String)> {
    let console = ["/", "/console/migrations", "/console/login", "/console/plan"];
    let routes: Vec<(String, String)> = include_str!("routes.txt")
        .lines()
        .filter_map(|line| line.split_once(' '))
        // It continues as long as the migration.
        .filter(|(_, path)| !path.ends_with("/watch"))
        .chain(console.map(|path| ("GET", path)))
        .map(|(method, path)| (method.to_owned(), path.to_owned()))
        .collect();
    let places = prop_oneof![
        4 => Just(TENANT.to_string()),
        2 => select(vec!["order", "o-1", "shared", "before", "%2e%2e", "%2F", "%00", "%ff", "%", "%zz", "a%20b", ".", "..", "~", "00000000-0000-0000-0000-000000000000"]).prop_map(str::to_owned),
        1 => "[!$&-;=@-~]{0,40}",
        1 => (200_usize..3_000).prop_map(|n| "n".repeat(n)),
    ];
    let filled = (select(routes), proptest::collection::vec(places, 4)).prop_map(
        |((own, route), values)| {
            let mut values = values.into_iter();
            let segments = route.split('/').map(|segment| {
                if segment.starts_with('{') {
                    values.next().unwrap_or_default()
                } else {
                    segment.to_owned()
                }
            });
            (own, segments.collect::<Vec<_>>().join("/"))
        },
    );
    let nowhere = "/[!$&-~]{0,60}".prop_map(|path| ("GET".to_owned(), path));
    let path = prop_oneof![9 => filled, 1 => nowhere];
    (path, queries()).prop_flat_map(|((own, path), query)| {
        let target = if query.is_empty() { path } else { format!("{path}?{query}") };
        (methods(own), Just(target))
    })
}

fn numbers() -> impl Strategy<Value = String> {
    let hostile = [
        "-1",
        "0",
        "1",
        "1000",
        "1001",
        "1e9",
        "NaN",
        "18446744073709551615",
        "18446744073709551616",
        "9223372036854775808",
        "",
        "%00",
        "+1",
        "0x1",
    ];
    prop_oneof![
        select(hostile.to_vec()).prop_map(str::to_owned),
        any::<i64>().prop_map(|n| n.to_string())
    ]
}

fn queries() -> impl Strategy<Value = String> {
    let names =
        ["after_seq", "limit", "from_version", "cursor", "after", "state", "tenant", "to", "rate"];
    let pair = (select(names.to_vec()), prop_oneof![3 => numbers(), 1 => "[!$&-~]{0,20}"])
        .prop_map(|(name, value)| format!("{name}={value}"));
    proptest::collection::vec(pair, 0..4).prop_map(|pairs| pairs.join("&"))
}

fn headers() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let names = [
        "Last-Event-ID",
        "Idempotency-Key",
        "If-Match",
        "X-Request-Id",
        "traceparent",
        "Authorization",
        "Cookie",
        "Origin",
        "Accept",
        "Content-Encoding",
        "Range",
        "X-Forwarded-For",
    ];
    let values = prop_oneof![
        3 => numbers().prop_map(String::into_bytes),
        // All that a header may hold: HTTP itself refuses the rest.
        2 => proptest::collection::vec(prop_oneof![Just(b'\t'), 0x20_u8..=0x7e, 0x80_u8..=0xff], 0..60),
        1 => (100_usize..4_000).prop_map(|n| vec![b'v'; n]),
    ];
    proptest::collection::vec((select(names.to_vec()).prop_map(str::to_owned), values), 0..4)
}

/// Values that some routes accept.
fn good() -> Vec<String> {
    [
        json!({"expected_version": "any", "events": [event(TENANT, 77)]}),
        json!({"expected_version": 3, "events": [{"event_type": "a", "data": [1, {"b": null}], "metadata": {}}]}),
        json!({"stream_type": "order", "stream_id": "o-2", "events": [{"event_type": "a", "data": 1}]}),
        json!({"tenant_id": TENANT, "target_store": "dedicated", "options": {"cutover": "manual"}}),
        json!({"tenant_id": TENANT, "target_store": "nowhere", "reason": "r"}),
        json!({"total_events": 1000, "copy_rate_per_second": 1e308, "buffer_factor": -0.0}),
        json!({"seq": 2}),
        json!({"store": "shared", "close_window": true}),
        json!({"level": "hash", "sample": 0.5, "after_seq": 1, "rate_max": 1}),
        json!({"batch_events": 0, "copy_rate_max": 4_294_967_295_u32}),
    ]
    .iter()
    .map(ToString::to_string)
    .collect()
}

/// Documents that are almost valid, and random bytes.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let bits = select(vec![
        "\u{0}",
        "\\u0000",
        "\\ud800",
        "1e999",
        "-0",
        "18446744073709551616",
        "\"",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "null",
        "\u{feff}",
        "\r\n",
    ]);
    let changed =
        (select(good()), proptest::collection::vec((any::<usize>(), 0_usize..4, bits), 0..4))
            .prop_map(|(text, edits)| {
                let mut bytes = text.into_bytes();
                for (at, cut, bit) in edits {
                    let at = at % (bytes.len() + 1);
                    let end = (at + cut).min(bytes.len());
                    bytes.splice(at..end, bit.bytes());
                }
                bytes
            });
    prop_oneof![
        6 => changed,
        1 => proptest::collection::vec(any::<u8>(), 0..200),
        1 => (1_usize..3_000).prop_map(|n| "[".repeat(n).into_bytes()),
        1 => Just(Vec::new()),
    ]
}

fn requests() -> impl Strategy<Value = Drawn> {
    (targets(), headers(), bodies(), any::<bool>(), 0_u8..8, 0_u8..3).prop_map(
        |((method, target), mut headers, body, chunked, kind, fits)| {
            // Sometimes all fits together, so that something is done.
            let fitting = ["/events", "", "/append", "/migrations"];
            let fitting = fitting.iter().position(|end| !end.is_empty() && target.ends_with(end));
            let body = match fitting {
                Some(which) if fits == 0 => good().swap_remove(which).into_bytes(),
                _ => body,
            };
            let kind = match kind {
                0 => "text/plain",
                1 => "application/x-www-form-urlencoded",
                _ => "application/json",
            };
            headers.push(("Content-Type".to_owned(), kind.as_bytes().to_vec()));
            Drawn { method, target, headers, body, chunked }
        },
    )
}

/// Status and head of the response; a feed is closed when it has begun.
async fn answer(site: &Site, drawn: &Drawn) -> String {
    let mut stream = site.connect().await;
    // A server that has refused does not read the whole request.
    let _ = stream.write_all(&drawn.bytes()).await;
    let mut all = Vec::new();
    let heard = async {
        while !all.windows(4).any(|four| four == b"\r\n\r\n") {
            match stream.read_buf(&mut all).await {
                Ok(read) if read > 0 => {}
                _ => break,
            }
        }
    };
    within("an answer", heard).await;
    String::from_utf8_lossy(&all).to_ascii_lowercase()
}

fn check(drawn: &Drawn, answer: &str) -> Result<(), TestCaseError> {
    let head = answer.split("\r\n\r\n").next().unwrap_or_default();
    let status: Option<u16> = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let Some(status) = status else {
        return Err(TestCaseError::fail(format!("no answer to {drawn:?}")));
    };
    let known = [
        200, 201, 202, 204, 303, 400, 401, 403, 404, 405, 408, 409, 412, 413, 414, 415, 422, 429,
        431, 503,
    ];
    prop_assert!(known.contains(&status), "{status} to {drawn:?}");
    if [429, 503].contains(&status) {
        let has_time = head.contains("retry-after: ");
        // Two documents of health are what they are with 503.
        prop_assert!(has_time || drawn.target.starts_with("/health/"), "{head} to {drawn:?}");
    }
    let of_api = drawn.target.starts_with("/v1/") && status >= 400 && drawn.method != "HEAD";
    // What HTTP itself refuses has no body.
    if of_api && !head.contains("content-length: 0") {
        prop_assert!(head.contains("application/problem+json"), "{head} to {drawn:?}");
    }
    Ok(())
}

#[test]
fn whatever_is_asked_the_answer_is_documented() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let site = runtime.block_on(Site::new());
    runtime.block_on(site.fill(TENANT, 1..=5));
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let seed = TestRng::from_seed(RngAlgorithm::ChaCha, &[11; 32]);
    let answered = std::cell::RefCell::new(std::collections::BTreeSet::new());
    let ran = TestRunner::new_with_rng(config, seed).run(&requests(), |drawn| {
        let answer = runtime.block_on(answer(&site, &drawn));
        answered.borrow_mut().extend(answer.split(' ').nth(1).map(str::to_owned));
        check(&drawn, &answer)
    });
    if let Err(failed) = ran {
        panic!("{failed}");
    }
    // The random requests had effects: successes, refusals and not found.
    for status in ["200", "201", "400", "404", "405", "415"] {
        assert!(answered.borrow().contains(status), "no {status} among {answered:?}");
    }
    // It has not come to harm.
    let append = format!("/v1/tenants/{TENANT}/streams/other/o-1/events");
    let body = json!({"events": [event(TENANT, 1_000)]});
    runtime.block_on(site.post(&append, &body)).is(201);
    runtime.block_on(site.ends());
}
