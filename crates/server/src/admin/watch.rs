//! Watching a migration.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use rehome_api::Migration;
use rehome_app::AppError;
use rehome_app::migrations::{self, Goal};
use rehome_domain::ids::MigrationId;
use rehome_domain::migration::Phase;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::may_view;
use crate::auth::Caller;
use crate::extract::{InPath, InQuery};
use crate::looks::Looks;
use crate::response::{Answer, Problem, Problems};
use crate::rooms::Requester;
use crate::sse::{self, Piece, Source};
use crate::state::State as Shared;

/// The polling interval.
const EVERY: Duration = Duration::from_millis(250);

/// How far to watch.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HowFar {
    /// `migrated`: until the tenant lives in the target, or the migration has ended in another way.
    /// `cut_over`: until the requested cutover was done or rolled back. `cleaned_up`: until the
    /// target of an aborted migration is. `repaired`: until the requested repair is done and
    /// verified, or a violation is open again. `nothing_left`: also until its rollback window has ended.
    #[param(inline)]
    until: Option<Until>,
}

/// See [`HowFar::until`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Until {
    Migrated,
    CutOver,
    CleanedUp,
    Repaired,
    NothingLeft,
}

impl Until {
    const fn goal(self) -> Goal {
        match self {
            Self::Migrated => Goal::Migrated,
            // A client that requested the cutover watches after the request, which stands until the cutover starts.
            Self::CutOver => Goal::CutOver { attempts: 0 },
            Self::Repaired => Goal::Repaired,
            Self::CleanedUp | Self::NothingLeft => Goal::NothingLeft,
        }
    }
}

/// Watch a migration
///
/// Server-sent events: the migration at once, and again whenever it has changed, until it ends, or until the
/// state in `until`. The last event is named `end`; or, with `until`, `problem` if the migration ended in
/// another state: its `data` is a problem document.
#[utoipa::path(get, path = "/v1/migrations/{migration}/watch", tag = "migrations",
    params(("migration" = Uuid, Path, description = "Which."), HowFar),
    responses((status = 200, description = "The progress; each `data` is a migration.",
        content((String = "text/event-stream"))), Problems))]
pub(crate) async fn watch(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    requester: Requester,
    headers: HeaderMap,
    InPath(id): InPath<Uuid>,
    InQuery(HowFar { until }): InQuery<HowFar>,
) -> Answer {
    may_view(&state, &caller, id).await?;
    sse::check_accepted(&headers)?;
    let id = MigrationId::new(id);
    let room = sse::room(&state, requester)?;
    // An unknown migration gets an error status, not a stream that ends.
    migrations::show(&state.deployment, id).await?;
    if until == Some(Until::CleanedUp) {
        migrations::can_clean_up(&state.deployment, id).await?;
    }
    let watched = Watched { state: Arc::clone(&state), id, until, last: None, over: false };
    Ok(sse::answer(&state, caller, room, watched))
}

/// How a migration is, and how it ended if it did.
type Look = (Migration, Option<Result<(), Problem>>);

/// The last observation of each watched migration.
pub(crate) type WatchLooks = Looks<(MigrationId, Option<Until>), Look>;

struct Watched {
    state: Arc<Shared>,
    id: MigrationId,
    until: Option<Until>,
    last: Option<Migration>,
    over: bool,
}

impl Source for Watched {
    async fn next(&mut self) -> Option<Piece> {
        if self.over {
            return None;
        }
        loop {
            if self.last.is_some() {
                tokio::time::sleep(EVERY).await;
            }
            // A failed query is repeated; the stream sends nothing meanwhile.
            if let Ok((now, outcome)) = self.look().await {
                self.over = outcome.is_some();
                let changed = self.last.as_ref().is_none_or(|last| now.is_changed_from(last));
                if self.over || changed {
                    let piece = match &outcome {
                        Some(Err(problem)) => piece("problem", problem.document()),
                        Some(Ok(())) => piece("end", &now),
                        None => piece("message", &now),
                    };
                    self.last = Some(now);
                    return piece;
                }
            }
        }
    }
}

impl Watched {
    /// The state, and the outcome if it has ended; one query for all watchers.
    async fn look(&self) -> Result<Look, AppError> {
        self.state.watched.at((self.id, self.until), EVERY / 2, self.look_anew()).await
    }

    /// The outcome is read first, so that the state is not older.
    async fn look_anew(&self) -> Result<Look, AppError> {
        let deployment = &self.state.deployment;
        let outcome = match self.until {
            Some(until) => migrations::outcome(deployment, self.id, until.goal()).await?,
            None => None,
        };
        let now = migrations::show(deployment, self.id).await?;
        let outcome = match self.until {
            None => is_over(&now).then_some(Ok(())),
            // The request did not fail: this outcome is its result.
            Some(_) => outcome.map(|reached| reached.map_err(|error| Problem::of(&error))),
        };
        Ok((now, outcome))
    }
}

fn piece(name: &str, document: &impl Serialize) -> Option<Piece> {
    let document = serde_json::to_string(document).ok()?;
    // What has no name is a message.
    let name = if name == "message" { String::new() } else { format!("event: {name}\n") };
    Some(Piece::Plain(format!("{name}data: {document}\n\n").into_bytes()))
}

fn is_over(migration: &Migration) -> bool {
    Phase::parse(&migration.state).is_some_and(Phase::has_ended)
}
