//! What is asked of a migration and takes longer than a request may: a task of its own, one at a time
//! for each migration.
//!
//! Whoever asks is answered by what came of it if that is soon, and else that it goes on. The same call
//! again waits on. With an `Idempotency-Key` the outcome is kept for a while after the end, so that a call
//! that comes again just then is answered by it and begins nothing anew.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use rehome_app::CancellationToken;
use rehome_domain::ids::MigrationId;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::answer::Problem;

/// Longest that a request waits for the outcome.
const WAIT: Duration = Duration::from_secs(20);
/// How long an outcome is kept for its key.
const KEEP: Duration = Duration::from_secs(600);

type Outcome<T> = Option<Result<T, Problem>>;

/// The tasks of one kind in this process: `R` is what was asked for, `T` what came of it.
pub(crate) struct Tasks<R, T> {
    /// The word of the problem when another goes on, and what that is.
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
    /// None yet; `word` is the problem's when another `what` goes on.
    pub(crate) fn new(word: &'static str, what: &'static str) -> Self {
        Self { busy: (word, what), entries: Mutex::default(), under_way: TaskTracker::new() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<MigrationId, Entry<R, T>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins what goes on, or begins `work`, and waits for a while; `None`: it goes on.
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
                let detail = format!("another {what} of this migration goes on; wait for its end");
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
