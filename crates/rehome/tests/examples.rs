//! The examples do what they show.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test may end anywhere")]

#[allow(dead_code, reason = "its main")]
#[path = "../examples/aggregate.rs"]
mod aggregate;
#[allow(dead_code, reason = "its main")]
#[path = "../examples/projection.rs"]
mod projection;
#[allow(dead_code, reason = "its main")]
#[path = "../examples/service.rs"]
mod service;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use tower::ServiceExt as _;

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_changes_of_an_aggregate_are_all_decided_on_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(aggregate::run(folder.path()).await.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projection_sees_every_event_once() {
    let folder = tempfile::tempdir().unwrap();
    let counts = projection::run(folder.path()).await.unwrap();
    let counts: Vec<_> = counts.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(counts, [("OrderPlaced", 25), ("OrderShipped", 25)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_lists_what_was_posted() {
    let folder = tempfile::tempdir().unwrap();
    let service = service::service(folder.path()).await.unwrap();
    for text in ["\"a\"", "{\"b\":1}"] {
        let post = Request::post("/notes/1").header("content-type", "application/json");
        let answer = service.clone().oneshot(post.body(Body::from(text)).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 201);
    }
    let get = Request::get("/notes/1").body(Body::empty()).unwrap();
    let answer = service.oneshot(get).await.unwrap();
    let body = to_bytes(answer.into_body(), 1_000).await.unwrap();
    assert_eq!(&body[..], b"[\"a\",{\"b\":1}]");
}

/// Each fits on a screen.
#[test]
fn the_examples_are_short() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines < 60, "{} has {lines} lines", path.display());
    }
}
