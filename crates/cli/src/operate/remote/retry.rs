//! Retrying a request until there is a response, within limits; and error responses.
//!
//! Every request can be repeated: a read changes nothing, a start has a key, and a change is
//! conditional (see [`super::mutate`]).

use std::time::Duration;

use hyper::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use rehome_api::Problem;
use rehome_app::http::{Begun, Lost, Whole};
use rehome_app::{AppError, Kind};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::Remote;
use super::http::{Ask, whole};

/// The first wait before a request is sent again, and the longest.
const WAIT: Duration = Duration::from_millis(250);
const WAIT_MAX: Duration = Duration::from_secs(5);

/// What came of a request.
pub(super) struct Asked {
    /// The response, or the error.
    pub(super) result: Result<Whole, AppError>,
    /// Whether an answer was lost before: it may have been done then.
    pub(super) lost: bool,
}

/// How long there was no response, and the number of attempts.
pub(super) struct Patience {
    /// When there was none for the first time.
    since: Option<Instant>,
    wait: Duration,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self { since: None, wait: WAIT }
    }
}

/// What to do about a response.
enum Verdict {
    Take(Begun),
    /// It may pass; what came of it may not be known.
    Again {
        why: String,
        after: Duration,
        lost: bool,
    },
    ForGood(AppError),
}

impl Remote {
    /// The document that is answered.
    pub(super) async fn document<T: DeserializeOwned>(&self, ask: Ask) -> Result<T, AppError> {
        self.read(&self.ask(&ask).await.result?)
    }

    pub(super) fn read<T: DeserializeOwned>(&self, reply: &Whole) -> Result<T, AppError> {
        serde_json::from_slice(&reply.body).map_err(|error| {
            let message =
                format!("the response of the server at {} is not understood: {error}", self.url);
            AppError::failed("not_understood", message)
        })
    }

    /// Sends the request until there is a response, for the configured time.
    pub(super) async fn ask(&self, ask: &Ask) -> Asked {
        let mut lost = false;
        let mut patience = Patience::new();
        loop {
            let (why, after) = match self.once(ask).await {
                Verdict::Take(begun) => match whole(begun).await {
                    Ok(reply) => return Asked { result: Ok(reply), lost },
                    Err(error) => {
                        lost = true;
                        (error.to_string(), Duration::ZERO)
                    }
                },
                Verdict::ForGood(error) => return Asked { result: Err(error), lost },
                Verdict::Again { why, after, lost: now } => {
                    lost |= now;
                    (why, after)
                }
            };
            if let Err(error) = self.wait(&mut patience, &why, after, lost).await {
                return Asked { result: Err(error), lost };
            }
        }
    }

    /// Sends the request until a response starts that is not an error.
    pub(super) async fn begin(
        &self,
        ask: &Ask,
        patience: &mut Patience,
    ) -> Result<Begun, AppError> {
        loop {
            match self.once(ask).await {
                Verdict::Take(begun) => return Ok(begun),
                Verdict::ForGood(error) => return Err(error),
                Verdict::Again { why, after, .. } => {
                    self.wait(patience, &why, after, false).await?;
                }
            }
        }
    }

    async fn once(&self, ask: &Ask) -> Verdict {
        match self.http.send(ask).await {
            Ok(begun) if begun.status.is_success() => Verdict::Take(begun),
            Ok(begun) if ask.also == Some(begun.status) && !is_problem(&begun.headers) => {
                Verdict::Take(begun)
            }
            Ok(begun) => self.problem(begun).await,
            Err(Lost::NotSent(why)) => Verdict::Again { why, after: Duration::ZERO, lost: false },
            Err(Lost::Unknown(why)) => Verdict::Again { why, after: Duration::ZERO, lost: true },
            Err(lost @ Lost::Untrusted(_)) => {
                let why = format!("{lost}; set client.ca_file to its authority");
                Verdict::ForGood(self.unreachable(&why, ""))
            }
            Err(Lost::ForGood(why)) => Verdict::ForGood(self.unreachable(&why, "")),
        }
    }

    /// The verdict on an error response.
    async fn problem(&self, begun: Begun) -> Verdict {
        let status = begun.status;
        let reply = match whole(begun).await {
            Ok(reply) => reply,
            Err(error) => {
                let why = error.to_string();
                return Verdict::Again { why, after: Duration::ZERO, lost: true };
            }
        };
        let problem: Option<Problem> =
            is_problem(&reply.headers).then(|| serde_json::from_slice(&reply.body).ok()).flatten();
        let Some(problem) = problem else {
            if matches!(status.as_u16(), 502..=504) {
                // A proxy may have sent it, without knowing the outcome.
                let why = format!("it, or a proxy before it, answered {status}");
                return Verdict::Again { why, after: Duration::ZERO, lost: true };
            }
            let message = format!(
                "{} answered {status}, but not as a rehome server does; check the URL",
                self.url
            );
            return Verdict::ForGood(AppError::new(Kind::Usage, "no_server_of_ours", message));
        };
        if let (429 | 503, Some(after)) = (status.as_u16(), retry_after(&reply.headers)) {
            let lost = matches!(problem.code(), "timed_out" | "outcome_unknown");
            return Verdict::Again { why: problem.detail, after, lost };
        }
        if problem.code() == "no_such_path" {
            let message = format!(
                "the server at {} does not know this request; its version may be older, or its URL \
                 another?",
                self.url
            );
            return Verdict::ForGood(AppError::failed("not_understood", message));
        }
        Verdict::ForGood(AppError::told(&problem))
    }

    /// Waits before the next try; an error when that is too long.
    pub(super) async fn wait(
        &self,
        patience: &mut Patience,
        why: &str,
        after: Duration,
        lost: bool,
    ) -> Result<(), AppError> {
        let wait = patience.wait.max(after);
        let first = patience.since.is_none();
        let since = *patience.since.get_or_insert_with(Instant::now);
        if since.elapsed().saturating_add(wait) > self.retry_for {
            let then = if lost {
                "; whether it carried out the request is unknown: re-read the state and retry"
            } else {
                ""
            };
            return Err(self.unreachable(why, then));
        }
        if first {
            let seconds = self.retry_for.as_secs();
            let remark = format!("the server at {}: {why}; trying again for {seconds} s", self.url);
            self.out.remark(remark);
        }
        tokio::time::sleep(wait).await;
        patience.wait = (patience.wait * 2).min(WAIT_MAX);
        Ok(())
    }

    fn unreachable(&self, why: &str, then: &str) -> AppError {
        let message = format!("the server at {} does not answer: {why}{then}", self.url);
        AppError::failed("server_unreachable", message)
    }
}

fn is_problem(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/problem+json"))
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}
