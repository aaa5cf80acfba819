//! Changing a migration through a server, once.
//!
//! A change is asked for on what was just seen (`If-Match`). So a request whose answer was lost can be
//! sent again: if the first one was done and moved the migration on, the second is refused, and the
//! migration's log says whether it was ours.

use hyper::Method;
use hyper::header::{ETAG, HeaderValue, IF_MATCH};
use rehome_app::{AppError, Kind};
use rehome_domain::ids::MigrationId;
use serde::Serialize;

use super::Remote;
use super::http::Ask;
use crate::operate::Operate as _;

/// How often a change is asked for on a migration that others are changing.
const TRIES: usize = 16;

/// What to ask for.
pub(super) struct Change<'a, B> {
    pub(super) method: Method,
    /// Behind the migration in the path.
    pub(super) what: &'a str,
    pub(super) body: B,
    /// What the log will call it.
    pub(super) event: &'a str,
}

impl Remote {
    /// Has it done once.
    pub(super) async fn change<B: Serialize + Sync>(
        &self,
        id: MigrationId,
        change: Change<'_, B>,
    ) -> Result<(), AppError> {
        let Change { method, what, body, event } = change;
        let before = self.log_end(id, 0, event).await?.0;
        for _ in 0..TRIES {
            let path = format!("/v1/migrations/{id}/{what}");
            let seen = self.tag(id).await?;
            let ask = Ask::send(method.clone(), path, &body)?.header(IF_MATCH, &seen);
            let asked = self.ask(&ask).await;
            match asked.result {
                Ok(_) => return Ok(()),
                Err(_) if asked.lost && self.log_end(id, before, event).await?.1 => return Ok(()),
                Err(error) if error.code() == "changed_meanwhile" => {}
                Err(error) => return Err(error),
            }
        }
        let message = "others change it all the time; look, then say it again";
        Err(AppError::new(Kind::Refused, "changed_meanwhile", message).migration(id))
    }

    /// The tag of what is seen now.
    async fn tag(&self, id: MigrationId) -> Result<HeaderValue, AppError> {
        let reply = self.ask(&Ask::get(format!("/v1/migrations/{id}"))).await.result?;
        reply.headers.get(ETAG).cloned().ok_or_else(|| {
            let message = format!("the server at {} tells no ETag", self.url);
            AppError::failed("not_understood", message)
        })
    }

    /// The last entry of the log, and whether one of this name is behind `after`.
    async fn log_end(
        &self,
        id: MigrationId,
        mut after: u64,
        event: &str,
    ) -> Result<(u64, bool), AppError> {
        let mut found = false;
        loop {
            let entries = self.log(id, after).await?;
            let Some(last) = entries.last() else { return Ok((after, found)) };
            after = last.index;
            found |= entries.iter().any(|entry| entry.event == event);
        }
    }
}
