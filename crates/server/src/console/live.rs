//! What is on a page, told again whenever it has changed.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use maud::Markup;
use rehome_domain::ids::MigrationId;

use super::look;
use super::pages::frame::Viewer;
use super::pages::{migration, overview};
use crate::follow::Source;
use crate::state::State;

/// How often a page is looked at anew.
const EVERY: Duration = Duration::from_secs(1);

/// One page that somebody looks at.
pub(super) struct Page {
    pub(super) state: Arc<State>,
    pub(super) viewer: Viewer,
    /// `None`: the overview.
    pub(super) migration: Option<MigrationId>,
    pub(super) told: HashMap<&'static str, String>,
    pub(super) first: bool,
}

impl Page {
    async fn pieces(&self) -> Option<Vec<(&'static str, Markup)>> {
        let deployment = &self.state.deployment;
        match self.migration {
            None => {
                let seen = look::overview(deployment).await.ok()?;
                Some(overview::pieces(&seen, &self.viewer))
            }
            Some(id) => {
                let seen = look::migration(deployment, id).await.ok()?;
                Some(migration::pieces(&seen, &self.viewer))
            }
        }
    }
}

impl Source for Page {
    async fn next(&mut self) -> Option<Vec<u8>> {
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
            text.push_str("event: tick\ndata:\n\n");
        } else {
            text.push_str(":\n\n");
        }
        self.first = false;
        Some(text.into_bytes())
    }
}
