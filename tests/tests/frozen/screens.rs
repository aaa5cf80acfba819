//! Reads all screens.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rehome_domain::ids::MigrationId;
use rehome_monitor::http::{self, Answer};
use serde_json::Value;

/// A response, and its duration.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) took: Duration,
}

impl Page {
    fn get(port: u16, path: &str) -> Result<Self> {
        let began = Instant::now();
        let Answer { status, body, .. } = http::get(port, path, &["Accept: */*"])?;
        Ok(Self { status, body, took: began.elapsed() })
    }

    /// The body as a document; nothing if it is none.
    pub(crate) fn document(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// The contents of all screens at one time.
pub(crate) struct Look {
    pub(crate) health: Page,
    /// In the order of the requests.
    pub(crate) documents: Vec<Page>,
    pub(crate) pages: BTreeMap<String, Page>,
}

impl Look {
    /// Reads all screens but the metrics, at once.
    pub(crate) fn take(port: u16, migrations: &[MigrationId], pages: &[String]) -> Result<Self> {
        thread::scope(|scope| {
            let get = |path: String| scope.spawn(move || Page::get(port, &path));
            let health = get("/health/migration".to_owned());
            let documents = migrations.iter().map(|id| get(format!("/v1/migrations/{id}")));
            let documents: Vec<_> = documents.collect();
            let asked: Vec<_> = pages.iter().map(|page| (page, get(page.clone()))).collect();
            let joined = |asked: thread::ScopedJoinHandle<'_, Result<Page>>| {
                asked.join().ok().context("a look")?
            };
            let health = joined(health)?;
            let documents = documents.into_iter().map(joined).collect::<Result<_>>()?;
            let pages = asked.into_iter().map(|(page, asked)| Ok((page.clone(), joined(asked)?)));
            Ok(Self { health, documents, pages: pages.collect::<Result<_>>()? })
        })
    }
}

/// A scrape.
pub(crate) struct Metrics(String);

impl Metrics {
    /// Scrapes.
    pub(crate) fn take(port: u16) -> Result<Self> {
        Ok(Self(Page::get(port, "/metrics")?.body))
    }

    /// The series of a family that have all these labels: the line up to the value, and the value.
    pub(crate) fn series(&self, family: &str, labels: &[String]) -> Vec<(String, f64)> {
        let of_family = |line: &&str| line.split(['{', ' ']).next() == Some(family);
        let lines = self.0.lines().filter(of_family);
        let with_all =
            lines.filter(|line| labels.iter().all(|label| line.contains(label.as_str())));
        let parsed = with_all.filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        parsed.collect()
    }
}
