//! What is believed, and for how long, of a control plane that says nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::http::{HeaderMap, HeaderValue, header};
use rehome_app::CancellationToken;
use rehome_app::tokens::{Role, Token, TokenHash};
use rehome_domain::event::Timestamp;
use rehome_domain::ids::TokenId;
use rehome_ports::clock::Clock as _;
use rehome_ports::memory::{ManualClock, MemoryControlPlane};
use rehome_ports::{
    Access, AccessRegistry, AccessScope, AccessSession, AccessToken, ControlError, Revocation,
    SecretHash,
};

use super::{Identity, Roll};

/// A registry that can stop responding, and counts its calls.
struct Mute {
    inner: MemoryControlPlane,
    silent: AtomicBool,
    asked: AtomicU32,
}

#[async_trait]
impl AccessRegistry for Mute {
    async fn access(&self, known: Option<u64>) -> Result<Access, ControlError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.inner.access(known).await
    }

    async fn add_token(
        &self,
        token: &AccessToken,
        replaces: Option<(TokenId, Timestamp)>,
    ) -> Result<(), ControlError> {
        self.inner.add_token(token, replaces).await
    }

    async fn revoke_token(&self, id: TokenId, end: &Revocation) -> Result<bool, ControlError> {
        self.inner.revoke_token(id, end).await
    }

    async fn used(&self, tokens: &[(TokenId, Timestamp)]) -> Result<(), ControlError> {
        self.inner.used(tokens).await
    }

    async fn set_gate(&self, closed: bool, change: &Revocation) -> Result<(), ControlError> {
        self.inner.set_gate(closed, change).await
    }

    async fn add_session(&self, session: &AccessSession) -> Result<(), ControlError> {
        self.inner.add_session(session).await
    }

    async fn see_session(&self, hash: &SecretHash, at: Timestamp) -> Result<(), ControlError> {
        self.inner.see_session(hash, at).await
    }

    async fn end_session(&self, hash: &SecretHash) -> Result<(), ControlError> {
        self.inner.end_session(hash).await
    }
}

struct Scene {
    registry: Arc<Mute>,
    clock: Arc<ManualClock>,
    roll: Roll,
}

const CONFIGURED: &str = "rehome_configured";

impl Scene {
    /// With a token in the configuration, or none.
    async fn new(configured: bool) -> Self {
        Self::reached(configured, true).await
    }

    /// The same at a server that others reach.
    async fn reached(configured: bool, may_open: bool) -> Self {
        let clock = Arc::new(ManualClock::default());
        let inner = MemoryControlPlane::new(Arc::clone(&clock) as _);
        let registry =
            Arc::new(Mute { inner, silent: AtomicBool::default(), asked: AtomicU32::default() });
        let hash = TokenHash::of(CONFIGURED);
        let token = Token::new("configured".to_owned(), Role::Operator, hash).unwrap();
        let tokens = if configured { vec![token] } else { Vec::new() };
        let roll = Roll::open(Arc::clone(&registry) as _, &tokens, may_open).await.unwrap();
        Self { registry, clock, roll }
    }

    async fn keep(&self, text: &str, role: &str) -> TokenId {
        let token = AccessToken {
            id: TokenId::new(uuid::Uuid::new_v4()),
            name: text.to_owned(),
            role: role.to_owned(),
            scope: AccessScope::default(),
            hash: TokenHash::of(text).kept(),
            created_at: self.clock.now(),
            created_by: "a test".to_owned(),
            expires_at: None,
            revoked: None,
            last_used_at: None,
        };
        self.registry.add_token(&token, None).await.unwrap();
        token.id
    }

    fn fall_silent(&self, silent: bool) {
        self.registry.silent.store(silent, Ordering::Relaxed);
    }

    async fn find(&self, path: &str, headers: &HeaderMap) -> Identity {
        Identity::find(&self.roll, path, headers, None).await
    }

    /// The status that the bearer of this token is answered; 200: it is let in.
    async fn status(&self, text: &str) -> u16 {
        let mut headers = HeaderMap::new();
        let bearer = HeaderValue::from_str(&format!("Bearer {text}")).unwrap();
        headers.insert(header::AUTHORIZATION, bearer);
        match self.find("/v1/migrations", &headers).await.bearer {
            Ok(_) => 200,
            Err(problem) => problem.document().status,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_told_is_believed_for_a_second_and_then_nobody_is_let_in_by_it() {
    let scene = Scene::new(true).await;
    scene.keep("a", "operator").await;
    assert_eq!(scene.status("a").await, 200);
    scene.fall_silent(true);
    assert_eq!(scene.status("a").await, 200, "it was just told");
    tokio::time::advance(Duration::from_millis(1_001)).await;
    for text in ["a", "nobody's"] {
        assert_eq!(scene.status(text).await, 503, "{text}: neither in, nor away for good");
    }
    assert_eq!(scene.status(CONFIGURED).await, 200, "the configuration needs no control plane");
    scene.fall_silent(false);
    assert_eq!((scene.status("a").await, scene.status("nobody's").await), (200, 401));
}

#[tokio::test(start_paused = true)]
async fn a_revoked_token_is_out_after_a_second_and_never_in_again() {
    let scene = Scene::new(true).await;
    let id = scene.keep("a", "operator").await;
    assert_eq!(scene.status("a").await, 200);
    let end = Revocation { at: scene.clock.now(), by: "a test".to_owned() };
    scene.registry.revoke_token(id, &end).await.unwrap();
    tokio::time::advance(Duration::from_millis(1_001)).await;
    assert_eq!(scene.status("a").await, 401);
    scene.fall_silent(true);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_ne!(scene.status("a").await, 200);
}

#[tokio::test(start_paused = true)]
async fn an_open_deployment_stays_open_where_the_control_plane_is_silent_and_a_closed_one_closed() {
    let open = Scene::new(false).await;
    let nobody = HeaderMap::new();
    open.fall_silent(true);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(open.find("/v1/migrations", &nobody).await.bearer.is_ok());

    let closed = Scene::new(false).await;
    closed.keep("a", "admin").await;
    closed.roll.look().await.unwrap();
    closed.fall_silent(true);
    tokio::time::advance(Duration::from_secs(60)).await;
    let problem = closed.find("/v1/migrations", &nobody).await.bearer.unwrap_err();
    assert_eq!(problem.document().status, 401, "who shows nothing is asked for a token");
    assert_eq!(closed.status("a").await, 503);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_others_reach_is_never_open_unless_its_configuration_says_so() {
    let nobody = HeaderMap::new();
    for may_open in [false, true] {
        let scene = Scene::reached(false, may_open).await;
        let found = scene.find("/v1/migrations", &nobody).await;
        assert_eq!(found.bearer.is_ok(), may_open);
        assert_eq!(found.session().unwrap().is_some(), may_open);
    }
}

#[tokio::test(start_paused = true)]
async fn those_whom_nobody_knows_share_one_look_and_there_are_few() {
    let scene = Scene::new(true).await;
    let before = scene.registry.asked.load(Ordering::Relaxed);
    let began = tokio::time::Instant::now();
    for _ in 0..20 {
        let texts: Vec<_> = (0..50).map(|n| format!("nobody-{n}")).collect();
        let asked = texts.iter().map(|text| scene.status(text));
        let statuses = futures_util::future::join_all(asked).await;
        assert_eq!(statuses, [401; 50]);
    }
    let looks = scene.registry.asked.load(Ordering::Relaxed) - before;
    let bound = began.elapsed().as_millis() / 50 + 1;
    assert!(u128::from(looks) <= bound, "{looks} in {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_role_of_a_later_version_lets_nobody_in() {
    let scene = Scene::new(true).await;
    scene.keep("a", "auditor").await;
    assert_eq!(scene.status("a").await, 401);
}

#[tokio::test(start_paused = true)]
async fn a_use_is_noted_once_a_minute() {
    let scene = Scene::new(true).await;
    scene.keep("a", "viewer").await;
    let stop = CancellationToken::new();
    let used = async || {
        let all = scene.registry.access(None).await.unwrap().contents.unwrap();
        all.tokens[0].last_used_at
    };
    let work = async {
        assert_eq!((scene.status("a").await, used().await), (200, None));
        while used().await.is_none() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let first = used().await;
        assert_eq!(first.unwrap().micros() % 60_000_000, 0, "to the minute");
        assert_eq!(scene.status("a").await, 200);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(used().await, first, "once is enough");
        scene.clock.advance(Duration::from_secs(61));
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(scene.status("a").await, 200);
        while used().await == first {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        stop.cancel();
    };
    tokio::join!(scene.roll.keep(&stop), work);
}

/// The server on which a person logged in had a clock that was two days ahead, until it was set right.
#[tokio::test(start_paused = true)]
async fn a_session_that_begins_in_the_future_lasts_no_longer_for_it() {
    let scene = Scene::new(true).await;
    let now = scene.clock.now().micros();
    let day = 24 * 3_600 * 1_000_000;
    let minute = 60 * 1_000_000;
    for (ahead, is_valid) in [(0, true), (5 * minute, true), (2 * day, false)] {
        let caller = scene.roll.known_bearer(CONFIGURED).await.unwrap().unwrap();
        scene.clock.set(Timestamp::from_micros(now + ahead));
        scene.roll.look().await.unwrap();
        let secret = scene.roll.begin_session(&caller).await.unwrap().unwrap();
        scene.clock.set(Timestamp::from_micros(now));
        scene.roll.look().await.unwrap();
        let mut headers = HeaderMap::new();
        let cookie = HeaderValue::from_str(&format!("{}={secret}", super::COOKIE)).unwrap();
        headers.insert(header::COOKIE, cookie);
        let found = scene.find("/", &headers).await.session().unwrap().is_some();
        assert_eq!(found, is_valid, "{ahead}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_unused_and_in_any_case_and_live_pages_do_not_use_it() {
    let scene = Scene::new(true).await;
    let begin = async || {
        let caller = scene.roll.known_bearer(CONFIGURED).await.unwrap().unwrap();
        scene.roll.begin_session(&caller).await.unwrap().unwrap()
    };
    let looks = async |secret: &str, path: &str| {
        let mut headers = HeaderMap::new();
        let cookie = HeaderValue::from_str(&format!("{}={secret}", super::COOKIE)).unwrap();
        headers.insert(header::COOKIE, cookie);
        // The time of the control plane has moved: it is recorded again.
        scene.roll.look().await.unwrap();
        scene.find(path, &headers).await.session().unwrap().is_some()
    };
    let minutes = |n: u64| scene.clock.advance(Duration::from_secs(60 * n));
    let stop = CancellationToken::new();
    let work = async {
        let (used, idle) = (begin().await, begin().await);
        for n in 0..14 {
            assert!(looks(&used, "/").await, "{n}");
            // Time for what was used to be noted.
            tokio::time::sleep(Duration::from_secs(2)).await;
            minutes(50);
            let _ = looks(&idle, "/console/live").await;
        }
        assert!(!looks(&idle, "/").await, "a page that is left open is nobody");
        assert!(looks(&used, "/").await);
        tokio::time::sleep(Duration::from_secs(2)).await;
        minutes(21);
        assert!(!looks(&used, "/").await, "twelve hours are the end");
        stop.cancel();
    };
    tokio::join!(scene.roll.keep(&stop), work);
}
