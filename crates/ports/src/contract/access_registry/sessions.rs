//! Sessions.

use std::sync::Arc;

use rehome_domain::event::Timestamp;

use super::{Registry, all, hash, second};
use crate::memory::ManualClock;
use crate::{AccessSession, SESSIONS_PER_TOKEN_MAX, SecretHash};

fn session(n: u8, token: SecretHash, ends: Timestamp) -> AccessSession {
    let created_at = second(n.into());
    AccessSession { hash: hash(n), token, created_at, seen_at: created_at, expires_at: ends }
}

async fn hashes(registry: &Registry) -> Vec<SecretHash> {
    all(registry).await.1.sessions.iter().map(|session| session.hash).collect()
}

pub async fn a_session_is_kept_seen_and_ended(registry: Registry, _: Arc<ManualClock>) {
    let (one, two) = (session(1, hash(200), second(99)), session(2, hash(201), second(99)));
    let (mut rev, _) = all(&registry).await;
    registry.add_session(&one).await.unwrap();
    registry.add_session(&two).await.unwrap();
    registry.see_session(&one.hash, second(50)).await.unwrap();
    registry.see_session(&one.hash, second(40)).await.unwrap();
    registry.see_session(&hash(9), second(40)).await.unwrap();
    let (after, contents) = all(&registry).await;
    assert!(after > rev);
    assert_eq!(contents.sessions, [AccessSession { seen_at: second(50), ..one }, two]);
    rev = after;
    registry.end_session(&one.hash).await.unwrap();
    registry.end_session(&one.hash).await.unwrap();
    let (after, contents) = all(&registry).await;
    assert!(after > rev);
    assert_eq!(contents.sessions, [two]);
    assert!(!contents.gate.closed, "a session is no token");
}

pub async fn sessions_of_a_token_have_a_bound_and_what_ran_out_goes(
    registry: Registry,
    _: Arc<ManualClock>,
) {
    registry.add_session(&session(1, hash(201), second(10))).await.unwrap();
    registry.add_session(&session(2, hash(201), second(99))).await.unwrap();
    let most = u8::try_from(SESSIONS_PER_TOKEN_MAX).unwrap();
    for n in 0..most + 2 {
        registry.add_session(&session(20 + n, hash(200), second(200))).await.unwrap();
    }
    let expected: Vec<_> = std::iter::once(2).chain(22..22 + most).map(hash).collect();
    assert_eq!(hashes(&registry).await, expected);
}
