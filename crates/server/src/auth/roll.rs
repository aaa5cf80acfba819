//! The access list, kept up to date: the configuration, and the control plane's list for all servers.
//!
//! ```text
//!  every 500 ms ──┐
//!                 ├─▶ read (one at a time) ─▶ control plane ─▶ Known ─▶ requests, followers
//!  unknown token ─┘
//! ```
//!
//! The list is trusted for a second. After that it admits no caller, and refuses none permanently:
//! the response is 503. So a revoked token is refused everywhere a second later, whatever the
//! control plane does. Tokens of the configuration need no control plane. A deployment that was open stays
//! open at a server that cannot reach the control plane: it would have admitted the same callers a moment before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use rehome_app::certificates::CertificateRule;
use rehome_app::oidc::{IssuerConfig, Issuers};
use rehome_app::tokens::{Token, TokenHash};
use rehome_app::{AppError, CancellationToken};
use rehome_domain::event::Timestamp;
use rehome_domain::ids::TokenId;
use rehome_ports::clock::{Clock as _, SystemClock};
use rehome_ports::{AccessRegistry, AccessSession, ControlError, SecretHash};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::caller::{Caller, Credential};
use super::known::{Known, NoEntry};
use crate::response::Problem;

/// How often the list is read.
const EVERY: Duration = Duration::from_millis(500);
/// How long it is trusted, from the start of the read.
const BELIEVED: Duration = Duration::from_secs(1);
/// Maximum time of a read, and of a request's wait for its turn to read.
const WITHIN: Duration = Duration::from_secs(1);
/// Minimum time between two reads for unknown credentials.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a session lasts: a shift.
pub(crate) const SESSION: Duration = Duration::from_secs(12 * 3_600);
/// Uses are noted to the minute.
const MINUTE: i64 = 60_000_000;

/// Why a credential cannot be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotTold;

impl From<NotTold> for Problem {
    fn from(_: NotTold) -> Self {
        let detail = "the control plane does not answer, so the token cannot be checked; try again";
        Self::retry(StatusCode::SERVICE_UNAVAILABLE, "access_unknown", detail, 1)
    }
}

/// When the control plane was last read, and its time then.
#[derive(Clone, Copy, Debug)]
struct Told {
    asked: Instant,
    now: Timestamp,
}

impl Told {
    fn is_believed(&self) -> bool {
        self.asked.elapsed() < BELIEVED
    }

    fn now(&self) -> Timestamp {
        let since = i64::try_from(self.asked.elapsed().as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(self.now.micros().saturating_add(since))
    }
}

/// The last read: when it started, and whether it succeeded.
#[derive(Clone, Copy)]
struct Looked {
    began: Instant,
    told: Result<(), NotTold>,
}

/// Uses that are not recorded yet, and the minute for which each was last recorded.
#[derive(Default)]
struct Uses {
    tokens: HashMap<TokenId, Timestamp>,
    sessions: HashMap<SecretHash, Timestamp>,
    noted: HashMap<TokenId, i64>,
}

/// Who may enter.
pub(crate) struct Roll {
    registry: Arc<dyn AccessRegistry>,
    known: watch::Sender<Arc<Known>>,
    told: Mutex<Told>,
    looked: tokio::sync::Mutex<Option<Looked>>,
    uses: Mutex<Uses>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Roll {
    /// Reads the control plane for the first time. `may_open`: whether the server may answer callers without a
    /// token, if the deployment is open.
    pub(crate) async fn open(
        registry: Arc<dyn AccessRegistry>,
        configured: &[Token],
        may_open: bool,
    ) -> Result<Self, AppError> {
        let asked = Instant::now();
        let access = registry.access(None).await?;
        let told = Told { asked, now: access.now };
        let known = Known::new(may_open).configured(configured);
        let known = known.told(access.rev, &access.contents.unwrap_or_default());
        Ok(Self {
            registry,
            known: watch::Sender::new(Arc::new(known)),
            told: Mutex::new(told),
            looked: tokio::sync::Mutex::default(),
            uses: Mutex::default(),
        })
    }

    /// Notified of every change.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Known>> {
        self.known.subscribe()
    }

    /// The current list.
    pub(crate) fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.borrow())
    }

    /// Applies new tokens of the configuration.
    pub(crate) fn configure(&self, tokens: &[Token]) {
        self.known.send_modify(|known| *known = Arc::new(known.configured(tokens)));
    }

    /// Applies new issuers and certificates of the configuration.
    pub(crate) fn configure_others(
        &self,
        issuers: &[IssuerConfig],
        certificates: &[CertificateRule],
    ) {
        self.known.send_modify(|known| {
            // Those that stay keep their keys.
            let same = known.issuers.are(issuers);
            let issuers = if same { known.issuers.clone() } else { Issuers::new(issuers) };
            *known = Arc::new(known.others(issuers, certificates));
        });
    }

    /// Reads the list periodically until `stop` is cancelled.
    pub(crate) async fn keep(&self, stop: &CancellationToken) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut was_told = true;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = ticks.tick() => {}
            }
            let is_told = self.look().await.is_ok();
            if is_told != was_told {
                was_told = is_told;
                if is_told {
                    tracing::info!("the access list was read again from the control plane");
                } else {
                    tracing::warn!("the access list cannot be read from the control plane");
                }
            }
            if is_told {
                self.note_uses().await;
            }
        }
        self.note_uses().await;
    }

    /// Reads the list, once for all who wait for it.
    pub(crate) async fn look(&self) -> Result<(), Problem> {
        Ok(self.asked().await?)
    }

    async fn asked(&self) -> Result<(), NotTold> {
        let came = Instant::now();
        let turn = tokio::time::timeout(WITHIN, self.looked.lock());
        let mut looked = turn.await.map_err(|_| NotTold)?;
        if let Some(last) = *looked {
            if last.began > came {
                return last.told;
            }
            tokio::time::sleep_until(last.began + PAUSE).await;
        }
        let began = Instant::now();
        let told = match tokio::time::timeout(WITHIN, self.ask(began)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                tracing::debug!(%error, "the access list cannot be read from the control plane");
                Err(NotTold)
            }
            Err(_) => Err(NotTold),
        };
        *looked = Some(Looked { began, told });
        told
    }

    async fn ask(&self, asked: Instant) -> Result<(), ControlError> {
        let access = self.registry.access(self.known().rev).await?;
        if let Some(contents) = &access.contents {
            self.known.send_modify(|known| *known = Arc::new(known.told(access.rev, contents)));
        }
        *lock(&self.told) = Told { asked, now: access.now };
        Ok(())
    }

    /// The list, if it is still trusted.
    async fn believed(&self) -> Result<(Arc<Known>, Timestamp), NotTold> {
        let told = *lock(&self.told);
        if !told.is_believed() {
            self.asked().await?;
        }
        Ok((self.known(), self.now()))
    }

    /// The control plane's time, extrapolated from the last read.
    fn now(&self) -> Timestamp {
        lock(&self.told).now()
    }

    /// The bearer of this token.
    pub(super) async fn bearer(&self, text: &str) -> Result<Result<Caller, NoEntry>, NotTold> {
        let issuers = self.known().issuers.clone();
        if issuers.is_theirs(text) {
            let found = issuers.person(text).await;
            return Ok(found.map_err(NoEntry::Theirs).map(|person| Caller {
                name: person.name.into(),
                grant: Arc::new(person.grant),
                credential: Credential::Issued(person.expires_at),
                session: None,
            }));
        }
        let hash = TokenHash::of(text);
        if let Some(found) = self.known().configured_token(&hash, self.now()) {
            return Ok(found);
        }
        let hash = hash.kept();
        let (known, now) = self.believed().await?;
        let mut found = known.kept_token(&hash, now);
        if matches!(found, Err(NoEntry::Unknown)) {
            // It may have been made a moment ago.
            self.asked().await?;
            found = self.known().kept_token(&hash, self.now());
        }
        Ok(found.map(|(id, caller)| {
            self.note_token(id);
            caller
        }))
    }

    /// The bearer of this token, if it is good.
    pub(crate) async fn known_bearer(&self, text: &str) -> Result<Option<Caller>, Problem> {
        Ok(self.bearer(text).await?.ok())
    }

    /// The caller of this session. `is_live`: a request of a live page, which does not count as use.
    pub(super) async fn session(
        &self,
        text: &str,
        is_live: bool,
    ) -> Result<Option<Caller>, NotTold> {
        let hash = TokenHash::of(text).kept();
        let (known, now) = self.believed().await?;
        let mut session = known.session(&hash, now);
        if session.is_none() {
            self.asked().await?;
            session = self.known().session(&hash, self.now());
        }
        let Some(session) = session else { return Ok(None) };
        let Some(caller) = self.of_token(&session.token) else { return Ok(None) };
        if !is_live && now.micros() - session.seen_at.micros() >= MINUTE {
            lock(&self.uses).sessions.insert(hash, now);
        }
        Ok(Some(Caller { session: Some(hash), ..caller }))
    }

    fn of_token(&self, token: &SecretHash) -> Option<Caller> {
        let (known, now) = (self.known(), self.now());
        match known.configured_token(&TokenHash::from_kept(token), now) {
            Some(found) => found.ok(),
            None => known.kept_token(token, now).ok().map(|(_, caller)| caller),
        }
    }

    /// Begins a session of this caller; answers its secret.
    pub(crate) async fn begin_session(&self, caller: &Caller) -> Result<Option<String>, AppError> {
        let Some(token) = caller.credential.token() else { return Ok(None) };
        let secret = rehome_app::tokens::secret("")?;
        let now = self.now();
        let lasts = i64::try_from(SESSION.as_micros()).unwrap_or(i64::MAX);
        let session = AccessSession {
            hash: TokenHash::of(&secret).kept(),
            token: *token,
            created_at: now,
            seen_at: now,
            expires_at: Timestamp::from_micros(now.micros().saturating_add(lasts)),
        };
        self.registry.add_session(&session).await?;
        Ok(Some(secret))
    }

    /// Ends the session of this caller, here at once and everywhere within a second.
    pub(crate) async fn end_session(&self, caller: &Caller) -> Result<(), Problem> {
        let Some(session) = &caller.session else { return Ok(()) };
        self.registry.end_session(session).await.map_err(AppError::from)?;
        self.look().await
    }

    /// Whether the caller would be let in again, as who it was.
    pub(crate) async fn still_lets_in(&self, caller: &Caller) -> bool {
        match caller.credential {
            Credential::Issued(end) => {
                return SystemClock.now() < end && !self.known().issuers.is_empty();
            }
            Credential::Certificate => return self.known().still_certified(caller),
            Credential::None | Credential::Configured(_) | Credential::Kept(_) => {}
        }
        let is_configured = matches!(caller.credential, Credential::Configured(_));
        let needs_word = caller.session.is_some() || !is_configured && caller.has_token();
        if needs_word && self.believed().await.is_err() {
            return false;
        }
        let (known, now) = (self.known(), self.now());
        let Some(token) = caller.credential.token() else { return known.is_open() };
        let has_session = caller.session.is_none_or(|hash| known.session(&hash, now).is_some());
        has_session && self.of_token(token).is_some_and(|now| now.grant == caller.grant)
    }

    fn note_token(&self, id: TokenId) {
        let minute = self.now().micros() / MINUTE;
        let mut uses = lock(&self.uses);
        if uses.noted.get(&id) != Some(&minute) {
            uses.tokens.insert(id, Timestamp::from_micros(minute * MINUTE));
        }
    }

    /// Records uses in the control plane. This is limited to a short time: what is not recorded is
    /// recorded with a later use.
    async fn note_uses(&self) {
        if tokio::time::timeout(WITHIN, self.tell_uses()).await.is_err() {
            tracing::debug!("recording the use of tokens and sessions timed out");
        }
    }

    async fn tell_uses(&self) {
        let (tokens, sessions) = {
            let mut uses = lock(&self.uses);
            let tokens: Vec<_> = uses.tokens.drain().collect();
            let minutes = tokens.iter().map(|(id, at)| (*id, at.micros() / MINUTE));
            uses.noted.extend(minutes);
            (tokens, std::mem::take(&mut uses.sessions))
        };
        if !tokens.is_empty()
            && let Err(error) = self.registry.used(&tokens).await
        {
            tracing::warn!(%error, "the use of tokens was not recorded");
        }
        for (hash, at) in sessions {
            if let Err(error) = self.registry.see_session(&hash, at).await {
                tracing::warn!(%error, "the use of a session was not recorded");
            }
        }
    }
}
