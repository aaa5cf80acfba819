//! Changing a migration through a server, once.
//!
//! A change is conditional on the state last read (`If-Match`). So a request whose response was lost can be
//! sent again: if the first one was carried out and changed the migration, the second is refused, and the
//! migration's log shows whether the change was this command's.

use hyper::Method;
use hyper::header::{ETAG, HeaderValue, IF_MATCH};
use rehome_api::LogEntry;
use rehome_app::{AppError, Kind};
use rehome_domain::ids::MigrationId;
use serde::Serialize;
use serde_json::Value;

use super::Remote;
use super::http::Ask;
use crate::operate::Operate as _;

/// Maximum number of attempts while others change the migration.
const TRIES: usize = 16;

/// A change.
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
        let wanted = serde_json::to_value(&body)
            .map_err(|error| AppError::failed("unwritable_request", error.to_string()))?;
        let ours = |entry: &LogEntry| entry.event == event && says(entry, &wanted);
        let before = self.log_end(id, 0, ours).await?.0;
        for _ in 0..TRIES {
            let path = format!("/v1/migrations/{id}/{what}");
            let seen = self.tag(id).await?;
            let ask = Ask::send(method.clone(), path, &body)?.header(IF_MATCH, &seen);
            let asked = self.ask(&ask).await;
            match asked.result {
                Ok(_) => return Ok(()),
                Err(_) if asked.lost && self.log_end(id, before, ours).await?.1 => return Ok(()),
                Err(error) if error.code() == "changed_meanwhile" => {}
                Err(error) => return Err(error),
            }
        }
        let message = "others change it at the same time; re-read the migration and retry";
        Err(AppError::new(Kind::Refused, "changed_meanwhile", message).migration(id))
    }

    /// The ETag of the current state.
    async fn tag(&self, id: MigrationId) -> Result<HeaderValue, AppError> {
        let reply = self.ask(&Ask::get(format!("/v1/migrations/{id}"))).await.result?;
        reply.headers.get(ETAG).cloned().ok_or_else(|| {
            let message = format!("the server at {} returned no ETag", self.url);
            AppError::failed("not_understood", message)
        })
    }

    /// The last entry of the log, and whether one after `after` is this command's.
    async fn log_end(
        &self,
        id: MigrationId,
        mut after: u64,
        ours: impl Fn(&LogEntry) -> bool,
    ) -> Result<(u64, bool), AppError> {
        let mut found = false;
        loop {
            let entries = self.log(id, after).await?;
            let Some(last) = entries.last() else { return Ok((after, found)) };
            after = last.index;
            found |= entries.iter().any(&ours);
        }
    }
}

/// Whether an entry matches the request: with the same reason, for an abort the same about the
/// target's copy, for a retuning the same options. Another operator's entry with less does not match.
fn says(entry: &LogEntry, wanted: &Value) -> bool {
    let options = entry.details.get("options");
    wanted.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()).all(
        |(name, value)| match name.as_str() {
            "reason" => entry.reason.as_deref() == value.as_str(),
            "purge_target" => entry.details.get("purge") == Some(value),
            option => options.is_none_or(|options| options.get(option) == Some(value)),
        },
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(reason: Option<&str>, details: &Value) -> LogEntry {
        let entry = json!({
            "index": 3, "at": "2026-01-01T00:00:00Z", "actor": "ada", "reason": reason,
            "event": "tuned", "details": details, "hash": "",
        });
        serde_json::from_value(entry).unwrap()
    }

    #[test]
    fn an_entry_is_ours_if_it_says_what_was_asked_for() {
        let abort = json!({ "purge_target": true, "reason": "wrong store" });
        assert!(says(&entry(Some("wrong store"), &json!({ "purge": true })), &abort));
        assert!(!says(&entry(Some("wrong store"), &json!({ "purge": false })), &abort));
        assert!(!says(&entry(None, &json!({ "purge": true })), &abort));

        let tune = json!({ "batch_events": 7, "cutover": null });
        let options = |batch| json!({ "options": { "batch_events": batch, "cutover": "auto" } });
        assert!(says(&entry(None, &options(7)), &tune));
        assert!(!says(&entry(None, &options(8)), &tune));

        assert!(
            says(&entry(Some("by another"), &json!({})), &json!({})),
            "it is done all the same"
        );
    }
}
