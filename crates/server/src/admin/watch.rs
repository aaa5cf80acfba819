//! A migration as it goes on.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use rehome_api::Migration;
use rehome_app::Deployment;
use rehome_domain::ids::MigrationId;
use uuid::Uuid;

use crate::answer::{Answer, Problems};
use crate::auth::Caller;
use crate::follow::{self, Source};
use crate::state::State as Shared;
use crate::take::InPath;

/// How often it is looked at.
const EVERY: Duration = Duration::from_millis(250);

/// Watch a migration
///
/// Server-sent events: the migration at once, and again whenever it has changed, until its end. The
/// last event is named `end`.
#[utoipa::path(get, path = "/v1/migrations/{migration}/watch", tag = "migrations",
    params(("migration" = Uuid, Path, description = "Which.")),
    responses((status = 200, description = "As it goes on; each `data` is a migration.",
        content((String = "text/event-stream"))), Problems))]
pub(crate) async fn watch(
    State(state): State<Arc<Shared>>,
    caller: Caller,
    InPath(id): InPath<Uuid>,
) -> Answer {
    caller.may_view()?;
    let id = MigrationId::new(id);
    let room = follow::room(&state)?;
    // Who is not known is told so by a status, and not by a stream that ends.
    let first = state.deployment.migration(id).await?;
    let watched =
        Watched { deployment: state.deployment.clone(), id, next: Some(first), last: None };
    Ok(follow::answer(&state, caller, room, watched))
}

struct Watched {
    deployment: Deployment,
    id: MigrationId,
    next: Option<Migration>,
    last: Option<Migration>,
}

impl Source for Watched {
    async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if self.next.is_none() {
                if self.last.as_ref().is_some_and(is_over) {
                    return None;
                }
                tokio::time::sleep(EVERY).await;
                // A look that fails is made again; the stream says nothing meanwhile.
                self.next = self.deployment.migration(self.id).await.ok();
            }
            let Some(now) = self.next.take() else { continue };
            if self.last.as_ref() == Some(&now) {
                continue;
            }
            let document = serde_json::to_string(&now).ok()?;
            let name = if is_over(&now) { "event: end\n" } else { "" };
            self.last = Some(now);
            return Some(format!("{name}data: {document}\n\n").into_bytes());
        }
    }
}

fn is_over(migration: &Migration) -> bool {
    ["migrated", "failed", "rolled_back"].contains(&migration.state.as_str())
}
