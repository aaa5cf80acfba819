//! Verifications on request. One may take as long as it takes to read a history, so it is a task of
//! its own: whoever asks is answered by what it found if that comes soon, and by the migration's log
//! if not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use rehome_api::Verification;
use rehome_api::admin::{Verify, Verifying};
use rehome_app::migrations::VerifyRequest;
use rehome_domain::ids::MigrationId;
use rehome_domain::verification::Level;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::acting;
use crate::answer::{Answer, Problem, Problems, json};
use crate::auth::Caller;
use crate::state::State as Shared;
use crate::take::{InPath, JsonBody};

/// Longest that a request waits for what is found.
const WAIT: Duration = Duration::from_secs(20);

type Outcome = Option<Result<Verification, Problem>>;

/// The verifications that go on in this process.
#[derive(Default)]
pub(crate) struct Verifications {
    running: Mutex<HashMap<MigrationId, (VerifyRequest, watch::Receiver<Outcome>)>>,
    tasks: TaskTracker,
}

impl Verifications {
    fn lock(
        &self,
    ) -> std::sync::MutexGuard<'_, HashMap<MigrationId, (VerifyRequest, watch::Receiver<Outcome>)>>
    {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all have ended; they do when the server stops.
    pub(crate) async fn close(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Verify the two stores of a migration against each other
///
/// Answers what was found, or, if that takes long, that it goes on: the same call again waits on,
/// and the log says `verified` when it is done. Violations found are no error.
#[utoipa::path(post, path = "/v1/migrations/{migration}/verify", tag = "migrations",
    params(("migration" = Uuid, Path, description = "Which.")),
    request_body(content = Option<Verify>),
    responses(
        (status = 200, description = "What was found.", body = Verification),
        (status = 202, description = "It goes on.", body = Verifying),
        Problems,
    ))]
pub(crate) async fn verify(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath(id): InPath<Uuid>,
    body: JsonBody,
) -> Answer {
    caller.may_operate()?;
    let said: Verify = body.document_or_default()?;
    let request = request(&said)?;
    let id = MigrationId::new(id);
    let mut outcome = begin(&state, &caller, id, request, said.reason.as_deref())?;
    let found = tokio::time::timeout(WAIT, outcome.wait_for(Option::is_some)).await;
    match found {
        Ok(Ok(found)) => match &*found {
            Some(Ok(found)) => json(StatusCode::OK, found),
            Some(Err(problem)) => Err(problem.clone()),
            None => Err(Problem::internal()),
        },
        // The task was ended with the server.
        Ok(Err(_)) => Err(Problem::stopping()),
        Err(_) => {
            let running = Verifying { migration_id: id.uuid(), state: "running".to_owned() };
            json(StatusCode::ACCEPTED, &running)
        }
    }
}

fn request(said: &Verify) -> Result<VerifyRequest, Problem> {
    let level = said.level.as_deref().map_or(Some(Level::Full), Level::parse);
    let level = level
        .ok_or_else(|| Problem::bad_request("bad_body", "level must be count, hash or full"))?;
    let sample = said.sample.unwrap_or(1.0);
    if !(sample > 0.0 && sample <= 1.0) {
        return Err(Problem::bad_request("bad_body", "sample must be above 0 and at most 1"));
    }
    let after_seq = said.after_seq.min(i64::MAX as u64);
    Ok(VerifyRequest { level, sample, after_seq, rate_max: said.rate_max })
}

/// Joins the one that goes on, or begins one.
fn begin(
    state: &Arc<Shared>,
    caller: &Caller,
    id: MigrationId,
    request: VerifyRequest,
    reason: Option<&str>,
) -> Result<watch::Receiver<Outcome>, Problem> {
    let deployment = acting(state, caller, reason)?;
    let mut running = state.verifications.lock();
    if let Some((other, outcome)) = running.get(&id) {
        if *other == request {
            return Ok(outcome.clone());
        }
        let detail = "another verification of this migration goes on; wait for its end";
        return Err(Problem::new(StatusCode::CONFLICT, "verifying", detail)
            .with(|document| document.migration_id = Some(id.uuid())));
    }
    // Under the lock: one that comes after the end must not leave a task behind.
    if state.is_stopping() {
        return Err(Problem::stopping());
    }
    let (tell, outcome) = watch::channel(None);
    running.insert(id, (request, outcome.clone()));
    let state_of_task = Arc::clone(state);
    state.verifications.tasks.spawn(async move {
        let found = tokio::select! {
            found = deployment.verify(id, request) => Some(found.map_err(Problem::from)),
            () = state_of_task.stopping.cancelled() => None,
        };
        state_of_task.verifications.lock().remove(&id);
        tell.send_replace(found);
    });
    Ok(outcome)
}
