//! Parts of a page, sent again whenever they have changed.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use maud::Markup;
use rehome_app::tokens::Grant;
use rehome_domain::ids::{DrainId, MigrationId, TenantId};
use tokio::time::Instant;

use super::pages::drains::DrainView;
use super::pages::frame::Viewer;
use super::pages::migration::View;
use super::pages::overview::Overview;
use super::pages::tenant::TenantView;
use super::pages::{drains, migration, overview, tenant};
use super::view_model;
use crate::auth::Caller;
use crate::looks::Looks;
use crate::sse::{Piece, Source};
use crate::state::State;

/// The polling interval of a page.
const EVERY: Duration = Duration::from_secs(1);
/// Maximum time between two messages, by which the page knows that it is live. It shows that it is
/// not after six seconds.
const TICK: Duration = Duration::from_secs(3);

/// The last observation of each page, shared by its viewers.
#[derive(Default)]
pub(crate) struct Shown {
    /// By what the viewers are bound to.
    overview: Looks<Option<Arc<Grant>>, Arc<Overview>>,
    migrations: Looks<MigrationId, Arc<View>>,
    drains: Looks<DrainId, Arc<DrainView>>,
    tenants: Looks<TenantLook, Arc<TenantView>>,
}

/// What the viewers of a tenant are bound to, whether they may read its events, and the tenant.
type TenantLook = (Option<Arc<Grant>>, bool, TenantId);

/// What a page is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum About {
    /// All migrations and stores.
    Overview,
    /// One migration.
    Migration(MigrationId),
    /// One drain.
    Drain(DrainId),
    /// One tenant.
    Tenant(TenantId),
}

/// One page with viewers.
pub(super) struct Page {
    pub(super) state: Arc<State>,
    pub(super) viewer: Viewer,
    pub(super) caller: Caller,
    pub(super) about: About,
    pub(super) told: HashMap<&'static str, String>,
    pub(super) first: bool,
    /// When something was sent last.
    pub(super) ticked: Option<Instant>,
}

impl Page {
    async fn pieces(&self) -> Option<Vec<(&'static str, Markup)>> {
        let (deployment, shown) = (&self.state.deployment, &self.state.shown);
        match self.about {
            About::Overview => {
                let caller = &self.caller;
                let look = Box::pin(async {
                    view_model::overview(deployment, caller).await.map(Arc::new)
                });
                let seen = shown.overview.at(caller.bounds(), EVERY / 2, look).await.ok()?;
                Some(overview::pieces(&seen, &self.viewer))
            }
            About::Drain(id) => {
                let look =
                    Box::pin(async { view_model::drain(deployment, id).await.map(Arc::new) });
                let seen = shown.drains.at(id, EVERY / 2, look).await.ok()?;
                Some(drains::pieces(&seen))
            }
            About::Tenant(id) => {
                let caller = &self.caller;
                let look = Box::pin(async {
                    view_model::tenant(deployment, caller, id).await.map(Arc::new)
                });
                let key = (caller.bounds(), caller.may_read(id).is_ok(), id);
                let seen = shown.tenants.at(key, EVERY / 2, look).await.ok()?;
                Some(tenant::pieces(&seen, &self.viewer))
            }
            About::Migration(id) => {
                let look =
                    Box::pin(async { view_model::migration(deployment, id).await.map(Arc::new) });
                let seen = shown.migrations.at(id, EVERY / 2, look).await.ok()?;
                Some(migration::pieces(&seen, &self.viewer))
            }
        }
    }
}

impl Source for Page {
    async fn next(&mut self) -> Option<Piece> {
        loop {
            if !self.first {
                tokio::time::sleep(EVERY).await;
            }
            let mut text = String::new();
            // A failed query is repeated; the page shows that it is not live meanwhile.
            if let Some(pieces) = self.pieces().await {
                for (id, piece) in pieces {
                    let html = piece.into_string();
                    if self.told.get(id) != Some(&html) {
                        let piece = serde_json::json!({ "id": id, "html": html });
                        let _ = write!(text, "event: piece\ndata: {piece}\n\n");
                        self.told.insert(id, html);
                    }
                }
                // A page that has not changed is confirmed now and then.
                if self.ticked.is_none_or(|at| at.elapsed() >= TICK) {
                    text.push_str("event: tick\ndata:\n\n");
                }
            }
            self.first = false;
            if !text.is_empty() {
                self.ticked = Some(Instant::now());
                return Some(Piece::Plain(text.into_bytes()));
            }
        }
    }
}
