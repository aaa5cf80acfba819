//! Tokens and the gate.

use std::sync::Arc;

use super::{Registry, all, by, hash, second, token};
use crate::clock::Clock as _;
use crate::memory::ManualClock;
use crate::{AccessContents, AccessScope, AccessSession, AccessToken, Gate};

pub async fn a_new_control_plane_is_open_and_knows_nobody(
    registry: Registry,
    clock: Arc<ManualClock>,
) {
    let access = registry.access(None).await.unwrap();
    assert_eq!(access.now, clock.now());
    assert_eq!(access.contents, Some(AccessContents::default()));
}

pub async fn a_token_is_kept_as_it_was_made_and_closes_the_gate(
    registry: Registry,
    _: Arc<ManualClock>,
) {
    let unbound = AccessToken { scope: AccessScope::default(), expires_at: None, ..token(2) };
    registry.add_token(&token(1), None).await.unwrap();
    registry.add_token(&unbound, None).await.unwrap();
    let (_, contents) = all(&registry).await;
    assert_eq!(contents.tokens, [token(1), unbound]);
    let changed = Some(by(&token(1).created_by, 1));
    assert_eq!(contents.gate, Gate { closed: true, changed }, "the first one closed it");
}

pub async fn a_token_is_revoked_once_and_its_sessions_end(registry: Registry, _: Arc<ManualClock>) {
    for n in [1, 2] {
        registry.add_token(&token(n), None).await.unwrap();
        let session = AccessSession {
            hash: hash(100 + n),
            token: hash(n),
            created_at: second(5),
            seen_at: second(5),
            expires_at: second(50),
        };
        registry.add_session(&session).await.unwrap();
    }
    assert!(registry.revoke_token(token(1).id, &by("one", 10)).await.unwrap());
    assert!(!registry.revoke_token(token(1).id, &by("two", 11)).await.unwrap());
    assert!(!registry.revoke_token(token(9).id, &by("two", 11)).await.unwrap());
    let (_, contents) = all(&registry).await;
    assert_eq!(contents.tokens[0].revoked, Some(by("one", 10)), "the first word stands");
    assert!(!contents.tokens[0].is_good(second(10)));
    assert_eq!(contents.tokens[1], token(2));
    assert_eq!(contents.sessions.len(), 1);
    assert_eq!(contents.sessions[0].token, hash(2));
    assert!(contents.gate.closed, "that nobody is left opens nothing");
}

pub async fn a_token_that_is_replaced_ends_when_it_is_said_and_never_later(
    registry: Registry,
    _: Arc<ManualClock>,
) {
    registry.add_token(&AccessToken { expires_at: None, ..token(1) }, None).await.unwrap();
    registry.add_token(&token(2), Some((token(1).id, second(30)))).await.unwrap();
    registry.add_token(&token(3), Some((token(2).id, second(2_000)))).await.unwrap();
    let (_, contents) = all(&registry).await;
    let ends: Vec<_> = contents.tokens.iter().map(|token| token.expires_at).collect();
    assert_eq!(ends, [Some(second(30)), Some(second(1_000)), Some(second(1_000))]);
    assert!(contents.tokens[0].is_good(second(29)) && !contents.tokens[0].is_good(second(30)));
}

pub async fn a_use_is_noted_never_goes_back_and_moves_no_revision(
    registry: Registry,
    _: Arc<ManualClock>,
) {
    registry.add_token(&token(1), None).await.unwrap();
    registry.add_token(&token(2), None).await.unwrap();
    let (rev, _) = all(&registry).await;
    registry.used(&[]).await.unwrap();
    registry.used(&[(token(1).id, second(20)), (token(2).id, second(21))]).await.unwrap();
    registry.used(&[(token(1).id, second(19)), (token(9).id, second(22))]).await.unwrap();
    let (after, contents) = all(&registry).await;
    let used: Vec<_> = contents.tokens.iter().map(|token| token.last_used_at).collect();
    assert_eq!((after, used), (rev, vec![Some(second(20)), Some(second(21))]));
}

pub async fn only_what_changed_is_told(registry: Registry, clock: Arc<ManualClock>) {
    let (rev, _) = all(&registry).await;
    let same = registry.access(Some(rev)).await.unwrap();
    assert_eq!((same.rev, same.contents, same.now), (rev, None, clock.now()));
    let mut known = rev;
    for step in 0..4 {
        match step {
            0 => registry.add_token(&token(1), None).await.unwrap(),
            1 => assert!(registry.revoke_token(token(1).id, &by("one", 1)).await.unwrap()),
            2 => registry.set_gate(false, &by("one", 2)).await.unwrap(),
            _ => registry.set_gate(true, &by("one", 3)).await.unwrap(),
        }
        let access = registry.access(Some(known)).await.unwrap();
        assert!(access.rev > known && access.contents.is_some(), "step {step}");
        known = access.rev;
    }
    registry.set_gate(true, &by("two", 4)).await.unwrap();
    assert_eq!(registry.access(Some(known)).await.unwrap().contents, None);
}

pub async fn the_gate_is_opened_only_by_who_says_so(registry: Registry, _: Arc<ManualClock>) {
    registry.set_gate(true, &by("a server", 1)).await.unwrap();
    registry.set_gate(true, &by("another", 2)).await.unwrap();
    let closed = Gate { closed: true, changed: Some(by("a server", 1)) };
    assert_eq!(all(&registry).await.1.gate, closed);
    registry.set_gate(false, &by("an operator: a test", 3)).await.unwrap();
    let open = Gate { closed: false, changed: Some(by("an operator: a test", 3)) };
    assert_eq!(all(&registry).await.1.gate, open);
    registry.add_token(&token(4), None).await.unwrap();
    let again = Gate { closed: true, changed: Some(by(&token(4).created_by, 4)) };
    assert_eq!(all(&registry).await.1.gate, again);
}
