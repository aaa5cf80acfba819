//! The trace, line by line: always hashed, stored on request.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rehome_domain::ids::MigrationId;
use tokio::time::Instant;

/// The trace of one run.
pub(crate) struct Trace {
    began: Instant,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    hasher: DefaultHasher,
    keep: bool,
    lines: Vec<String>,
    count: u64,
    names: BTreeMap<MigrationId, String>,
}

impl Trace {
    /// Begins now.
    pub(crate) fn new(keep: bool) -> Self {
        Self { began: Instant::now(), inner: Mutex::new(Inner { keep, ..Inner::default() }) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line. Random ids appear by the order of their first use.
    pub(crate) fn line(&self, text: fmt::Arguments<'_>) {
        let ms = self.began.elapsed().as_millis();
        let mut line = format!("{ms:>6} ms  {text}");
        let mut inner = self.lock();
        if line.contains("migration ") {
            for (id, name) in &inner.names {
                line = line.replace(&id.to_string(), name);
            }
        }
        inner.hasher.write(line.as_bytes());
        inner.count += 1;
        if inner.keep {
            inner.lines.push(line);
        }
    }

    /// How a migration is called here.
    pub(crate) fn name(&self, id: MigrationId) -> String {
        let names = &mut self.lock().names;
        let next = names.len() + 1;
        names.entry(id).or_insert_with(|| format!("m{next}")).clone()
    }

    /// Of all lines so far.
    pub(crate) fn hash(&self) -> u64 {
        self.lock().hasher.finish()
    }

    /// How many lines there were.
    pub(crate) fn count(&self) -> u64 {
        self.lock().count
    }

    /// The lines, if they were stored.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lock().lines.clone()
    }
}
