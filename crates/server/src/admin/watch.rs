//! A migration as it goes on.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use rehome_api::Migration;
use rehome_app::AppError;
use rehome_app::migrations::Goal;
use rehome_domain::ids::MigrationId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::may_view;
use crate::answer::{Answer, Problem, Problems};
use crate::auth::Caller;
use crate::follow::{self, Piece, Source};
use crate::looks::Looks;
use crate::rooms::Requester;
use crate::state::State as Shared;
use crate::take::{InPath, InQuery};

/// How often it is looked at.
const EVERY: Duration = Duration::from_millis(250);

/// How far to watch.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HowFar {
    /// `migrated`: until the tenant lives in the target, or the migration came to another end.
    /// `cut_over`: until the cutover that was asked for was done or rolled back. `cleaned_up`: until the
    /// target of an aborted migration is. `repaired`: until the repair that was asked for is done and
    /// verified, or something is open again. `nothing_left`: also until its rollback window is over.
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
            // Whoever asked for the cutover watches after that: it stays asked for until it begins.
            Self::CutOver => Goal::CutOver { attempts: 0 },
            Self::Repaired => Goal::Repaired,
            Self::CleanedUp | Self::NothingLeft => Goal::NothingLeft,
        }
    }
}

/// Watch a migration
///
/// Server-sent events: the migration at once, and again whenever it has changed, until its end, or as far
/// as `until` says. The last event is named `end`; or, with `until`, `problem` when it was reached in
/// another way than it was meant to be: its `data` is a problem document.
#[utoipa::path(get, path = "/v1/migrations/{migration}/watch", tag = "migrations",
    params(("migration" = Uuid, Path, description = "Which."), HowFar),
    responses((status = 200, description = "As it goes on; each `data` is a migration.",
        content((String = "text/event-stream"))), Problems))]
pub(crate) async fn watch(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    requester: Requester,
    InPath(id): InPath<Uuid>,
    InQuery(HowFar { until }): InQuery<HowFar>,
) -> Answer {
    may_view(&state, &caller, id).await?;
    let id = MigrationId::new(id);
    let room = follow::room(&state, requester)?;
    // Who is not known is told so by a status, and not by a stream that ends.
    state.deployment.migration(id).await?;
    if until == Some(Until::CleanedUp) {
        state.deployment.can_clean_up(id).await?;
    }
    let watched = Watched { state: Arc::clone(&state), id, until, last: None, over: false };
    Ok(follow::answer(&state, caller, room, watched))
}

/// How a migration is, and how it ended if it did.
type Look = (Migration, Option<Result<(), Problem>>);

/// The last look at each migration that is watched.
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
            // A look that fails is made again; the stream says nothing meanwhile.
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
    /// How it is, and how it ended if it did; one look for all who watch it.
    async fn look(&self) -> Result<Look, AppError> {
        self.state.watched.at((self.id, self.until), EVERY / 2, self.look_anew()).await
    }

    /// What came of it is looked at first: what is shown is then not from before it.
    async fn look_anew(&self) -> Result<Look, AppError> {
        let deployment = &self.state.deployment;
        let outcome = match self.until {
            Some(until) => deployment.outcome(self.id, until.goal()).await?,
            None => None,
        };
        let now = deployment.migration(self.id).await?;
        let outcome = match self.until {
            None => is_over(&now).then_some(Ok(())),
            // The request did not fail: that is what it asks about.
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
    ["migrated", "failed", "rolled_back"].contains(&migration.state.as_str())
}
