//! The text of a scrape, read as Prometheus reads it.

use std::collections::BTreeMap;

use rehome_engine::metrics::{Format, Surroundings};

use crate::world::Process;

/// The series of a scrape: name and labels as they are written, and the value.
pub(crate) struct Scrape(pub(crate) BTreeMap<String, f64>);

impl Scrape {
    pub(crate) fn of(process: &Process) -> Self {
        Self::parse(&text(process, Format::Text))
    }

    pub(crate) fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        });
        let mut series = BTreeMap::new();
        for (name, value) in samples {
            assert!(series.insert(name.clone(), value).is_none(), "{name} is there twice");
        }
        Self(series)
    }

    /// The one series of this name that has all of these labels.
    pub(crate) fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |series: &str| {
            let (own, rest) = series.split_once('{').unwrap_or((series, ""));
            own == name && labels.iter().all(|(k, v)| rest.contains(&format!("{k}=\"{v}\"")))
        };
        let mut found = self.0.iter().filter(|(series, _)| has(series));
        let value = found.next().map(|(_, value)| *value);
        assert!(found.next().is_none(), "{name} {labels:?} is more than one series");
        value
    }

    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.get(name, labels).unwrap_or_else(|| panic!("no {name} {labels:?} in {:#?}", self.0))
    }

    pub(crate) fn naming(&self, text: &str) -> Vec<&String> {
        self.0.keys().filter(|series| series.contains(text)).collect()
    }
}

pub(crate) fn text(process: &Process, format: Format) -> String {
    let around = Surroundings { version: "1.2.3".to_owned(), ..Surroundings::default() };
    process.metrics.render(format, process.engine.router().appends(), &around)
}
