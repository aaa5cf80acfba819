//! What is on a page, told again whenever it has changed.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use maud::Markup;
use rehome_domain::ids::MigrationId;
use tokio::time::Instant;

use super::look;
use super::pages::frame::Viewer;
use super::pages::migration::View;
use super::pages::overview::Overview;
use super::pages::{migration, overview};
use crate::follow::{Piece, Source};
use crate::looks::Looks;
use crate::state::State;

/// How often a page is looked at anew.
const EVERY: Duration = Duration::from_secs(1);
/// How often at least something is sent, by which the page knows that it is live. It says that it is
/// not after six seconds.
const TICK: Duration = Duration::from_secs(3);

/// The last look at each page; those who look at the same one share it.
#[derive(Default)]
pub(crate) struct Shown {
    overview: Looks<(), Arc<Overview>>,
    migrations: Looks<MigrationId, Arc<View>>,
}

/// One page that somebody looks at.
pub(super) struct Page {
    pub(super) state: Arc<State>,
    pub(super) viewer: Viewer,
    /// `None`: the overview.
    pub(super) migration: Option<MigrationId>,
    pub(super) told: HashMap<&'static str, String>,
    pub(super) first: bool,
    /// When something was sent last.
    pub(super) ticked: Option<Instant>,
}

impl Page {
    async fn pieces(&self) -> Option<Vec<(&'static str, Markup)>> {
        let (deployment, shown) = (&self.state.deployment, &self.state.shown);
        match self.migration {
            None => {
                let look = Box::pin(async { look::overview(deployment).await.map(Arc::new) });
                let seen = shown.overview.at((), EVERY / 2, look).await.ok()?;
                Some(overview::pieces(&seen, &self.viewer))
            }
            Some(id) => {
                let look = Box::pin(async { look::migration(deployment, id).await.map(Arc::new) });
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
            // Who cannot be asked now is asked again; the page says that it is not live meanwhile.
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
