//! Requests about a migration that take longer than an HTTP request may: a separate task, one at a time
//! for each migration.
//!
//! A caller gets the outcome if the task ends soon, and otherwise 202. The same request
//! again waits for it. With an `Idempotency-Key` the outcome is stored for a while after the end, so that a late
//! repeat of the request gets it and starts nothing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use rehome_app::CancellationToken;
use rehome_domain::ids::MigrationId;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::response::Problem;

/// Longest that a request waits for the outcome.
const WAIT: Duration = Duration::from_secs(20);
/// How long an outcome is stored for its key.
const KEEP: Duration = Duration::from_secs(600);

type Outcome<T> = Option<Result<T, Problem>>;

/// The tasks of one kind in this process: `R` is the request, `T` the outcome.
pub(crate) struct Tasks<R, T> {
    /// The code of the problem when another task is running, and its name.
    busy: (&'static str, &'static str),
    entries: Mutex<HashMap<MigrationId, Entry<R, T>>>,
    under_way: TaskTracker,
}

struct Entry<R, T> {
    request: R,
    key: Option<String>,
    outcome: watch::Receiver<Outcome<T>>,
    begun: Instant,
}

impl<R, T> Entry<R, T> {
    fn is_running(&self) -> bool {
        self.outcome.borrow().is_none() && self.outcome.has_changed().is_ok()
    }
}

impl<R, T> Tasks<R, T>
where
    R: PartialEq,
    T: Clone + Send + Sync + 'static,
{
    /// Without tasks; `word` is the problem's code when another `what` is running.
    pub(crate) fn new(word: &'static str, what: &'static str) -> Self {
        Self { busy: (word, what), entries: Mutex::default(), under_way: TaskTracker::new() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<MigrationId, Entry<R, T>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the running task, or starts `work`, and waits for a while; `None`: it is still running.
    pub(crate) async fn ask<F>(
        &self,
        id: MigrationId,
        (request, key): (R, Option<&str>),
        stopping: &CancellationToken,
        work: impl FnOnce() -> F,
    ) -> Result<Option<T>, Problem>
    where
        F: Future<Output = Result<T, Problem>> + Send + 'static,
    {
        let mut outcome = self.begin(id, request, key, stopping, work)?;
        let found = tokio::time::timeout(WAIT, outcome.wait_for(Option::is_some)).await;
        match found {
            Ok(Ok(found)) => match &*found {
                Some(found) => found.clone().map(Some),
                None => Err(Problem::internal()),
            },
            // The task was ended with the server.
            Ok(Err(_)) => Err(Problem::stopping()),
            Err(_) => Ok(None),
        }
    }

    fn begin<F>(
        &self,
        id: MigrationId,
        request: R,
        key: Option<&str>,
        stopping: &CancellationToken,
        work: impl FnOnce() -> F,
    ) -> Result<watch::Receiver<Outcome<T>>, Problem>
    where
        F: Future<Output = Result<T, Problem>> + Send + 'static,
    {
        let mut entries = self.lock();
        entries.retain(|_, entry| {
            entry.is_running() || entry.key.is_some() && entry.begun.elapsed() < KEEP
        });
        if let Some(entry) = entries.get(&id) {
            let same_key = key.is_some() && entry.key.as_deref() == key;
            if entry.request == request && (entry.is_running() || same_key) {
                return Ok(entry.outcome.clone());
            }
            if entry.is_running() {
                let (word, what) = self.busy;
                let detail =
                    format!("another {what} of this migration is running; wait for its end");
                return Err(Problem::new(StatusCode::CONFLICT, word, detail)
                    .with(|document| document.migration_id = Some(id.uuid())));
            }
        }
        // Under the lock: one that comes after the end must not leave a task behind.
        if stopping.is_cancelled() {
            return Err(Problem::stopping());
        }
        let (tell, outcome) = watch::channel(None);
        let key = key.map(str::to_owned);
        let entry = Entry { request, key, outcome: outcome.clone(), begun: Instant::now() };
        entries.insert(id, entry);
        let (stopping, work) = (stopping.clone(), work());
        self.under_way.spawn(async move {
            tokio::select! {
                found = work => drop(tell.send_replace(Some(found))),
                () = stopping.cancelled() => {}
            }
        });
        Ok(outcome)
    }

    /// Waits until all have ended; they do when the server stops.
    pub(crate) async fn close(&self) {
        self.under_way.close();
        self.under_way.wait().await;
    }
}
