//! Whether the process lives, whether it can work, and what it counts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::IntoResponse as _;
use rehome_api::liveness::Liveness;
use rehome_api::{HealthReport, Problem};
use rehome_engine::metrics::Format;

use crate::auth::Caller;
use crate::response::{Answer, Problems, json};
use crate::state::State as Shared;

/// Maximum time for the control plane to answer.
const WITHIN: Duration = Duration::from_secs(3);

/// Liveness of the process
///
/// Checks only the process itself: for a service manager that would restart it.
#[utoipa::path(get, path = "/health/live", tag = "health", security(()), responses(
    (status = 200, description = "It lives.", body = Liveness),
    (status = 405, description = "The path does not support this method."),
))]
pub(crate) async fn live() -> Answer {
    json(StatusCode::OK, &Liveness { status: "live".to_owned(), detail: None })
}

/// Readiness of the process
///
/// It is ready while the control plane answers and it is not stopping: for a load balancer that distributes
/// requests.
#[utoipa::path(get, path = "/health/ready", tag = "health", security(()), responses(
    (status = 200, description = "It can.", body = Liveness),
    (status = 405, description = "The path does not support this method."),
    (status = 503, description = "Not ready; `detail` has the reason.", body = Liveness),
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

/// Whether the control plane answers. One query serves all concurrent requests, because the path is public and
/// unlimited.
#[derive(Default)]
pub(crate) struct Readiness(tokio::sync::Mutex<Option<(Instant, Result<(), String>)>>);

impl Readiness {
    async fn ask(&self, state: &Shared) -> Result<(), String> {
        let came = Instant::now();
        let mut last = self.0.lock().await;
        // Queried after this request came: by one that was before it in the queue.
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

/// Health of the deployment's migrations
///
/// The report of the monitoring contract, the same from every server. 503 requires action; it is not a probe of
/// the process, as `/health/live` and `/health/ready` are.
#[utoipa::path(get, path = "/health/migration", tag = "health", responses(
    (status = 200, description = "Healthy or degraded.", body = HealthReport),
    (status = 401, description = "The token is missing or unknown.", body = Problem,
        content_type = "application/problem+json"),
    (status = 403, description = "The token's role does not allow it.", body = Problem,
        content_type = "application/problem+json"),
    (status = 405, description = "The path does not support this method."),
    (status = 503, description = "Unhealthy, or the check itself failed; `details` has the reason.",
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
    (status = 200, description = "All metrics.", content(
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
