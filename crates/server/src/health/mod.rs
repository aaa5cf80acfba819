//! Whether the process lives, whether it can work, and what it counts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::IntoResponse as _;
use rehome_api::liveness::Liveness;
use rehome_api::{HealthReport, Problem};
use rehome_engine::metrics::Format;

use crate::answer::{Answer, Problems, json};
use crate::auth::Caller;
use crate::state::State as Shared;

/// Longest that the control plane may take to answer.
const WITHIN: Duration = Duration::from_secs(3);

/// Whether the process lives
///
/// Never looks further than itself: for whoever would start it again.
#[utoipa::path(get, path = "/health/live", tag = "health", security(()), responses(
    (status = 200, description = "It lives.", body = Liveness),
    (status = 405, description = "Not a method of this path."),
))]
pub(crate) async fn live() -> Answer {
    json(StatusCode::OK, &Liveness { status: "live".to_owned(), detail: None })
}

/// Whether the process can work
///
/// It can while the control plane answers and it was not told to stop: for whoever spreads
/// requests over several.
#[utoipa::path(get, path = "/health/ready", tag = "health", security(()), responses(
    (status = 200, description = "It can.", body = Liveness),
    (status = 405, description = "Not a method of this path."),
    (status = 503, description = "It cannot; `detail` says why.", body = Liveness),
))]
pub(crate) async fn ready(State(state): State<Arc<Shared>>) -> Answer {
    let no = |detail: String| Liveness { status: "not_ready".to_owned(), detail: Some(detail) };
    if state.is_stopping() {
        return json(StatusCode::SERVICE_UNAVAILABLE, &no("the server is stopping".to_owned()));
    }
    match state.readiness.ask(&state).await {
        Ok(()) => json(StatusCode::OK, &Liveness { status: "ready".to_owned(), detail: None }),
        Err(problem) => json(StatusCode::SERVICE_UNAVAILABLE, &no(problem)),
    }
}

/// Whether the control plane answers. It is asked once for all who ask meanwhile: anybody may, and as
/// often as they like.
#[derive(Default)]
pub(crate) struct Readiness(tokio::sync::Mutex<Option<(Instant, Result<(), String>)>>);

impl Readiness {
    async fn ask(&self, state: &Shared) -> Result<(), String> {
        let came = Instant::now();
        let mut last = self.0.lock().await;
        // Asked after this one came: by one that was before it in the queue.
        if let Some((asked, answer)) = &*last
            && *asked >= came
        {
            return answer.clone();
        }
        let asked = Instant::now();
        let control = state.deployment.engine().control().routes(None, 1);
        let answer = match tokio::time::timeout(WITHIN, control).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("control plane does not answer".to_owned()),
        };
        *last = Some((asked, answer.clone()));
        answer
    }
}

/// How the migrations of the deployment are
///
/// The monitoring guide's report, whichever server is asked. 503 asks for action; it is no probe of
/// the process, which `/health/live` and `/health/ready` are.
#[utoipa::path(get, path = "/health/migration", tag = "health", responses(
    (status = 200, description = "Healthy or degraded.", body = HealthReport),
    (status = 401, description = "There is no token, or nobody knows it.", body = Problem,
        content_type = "application/problem+json"),
    (status = 403, description = "The token's role does not allow it.", body = Problem,
        content_type = "application/problem+json"),
    (status = 405, description = "Not a method of this path."),
    (status = 503, description = "Unhealthy, or the check itself failed; `details` says why.",
        body = HealthReport),
))]
pub(crate) async fn migration(State(state): State<Arc<Shared>>, caller: Caller) -> Answer {
    caller.may_view()?;
    let report = state.deployment.health().await;
    let status = StatusCode::from_u16(report.status.http_status());
    json(status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE), &report)
}

/// The metrics of this process
///
/// In OpenMetrics 1.0 where `Accept` names it, else in the Prometheus text format 0.0.4. With the same
/// samples in both.
#[utoipa::path(get, path = "/metrics", tag = "health", responses(
    (status = 200, description = "All that it counts.", content(
        (String = "text/plain"), (String = "application/openmetrics-text"),
    )),
    Problems,
))]
pub(crate) async fn metrics(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    headers: HeaderMap,
) -> Answer {
    caller.may_scrape()?;
    let accept: Vec<_> =
        headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let format = Format::accepted(&accept.join(","));
    let kind = HeaderValue::from_static(format.content_type());
    Ok(([(header::CONTENT_TYPE, kind)], state.deployment.scrape(format, state.front()))
        .into_response())
}
