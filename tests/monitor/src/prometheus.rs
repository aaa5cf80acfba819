//! A Prometheus server, and its answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail};
use rehome_cluster::{Kept, Recipe};
use serde_json::Value;

use crate::{http, programs, wait_for};

/// A history becomes blocks of the database before the server begins.
const START: &str = "if [ -s history.om ] && [ ! -e data ]; then \
     promtool tsdb create-blocks-from openmetrics history.om data || exit 1; fi; \
     exec env --default-signal=QUIT \"$PROGRAM\" --config.file=prometheus.yml \
     --storage.tsdb.path=data --web.listen-address=\"127.0.0.1:$1\" --log.level=info";

/// Something to scrape.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The job it is part of.
    pub job: &'a str,
    /// Where it listens, on 127.0.0.1.
    pub port: u16,
    /// The deployment it is labelled with.
    pub deployment: &'a str,
}

/// What a server begins with.
#[derive(Clone, Debug, Default)]
pub struct Setup<'a> {
    /// It scrapes, and evaluates its rules, every so many milliseconds.
    pub every_ms: u32,
    /// What it scrapes.
    pub targets: &'a [Target<'a>],
    /// Rule files: name and content.
    pub rules: &'a [(&'a str, String)],
    /// The port of an Alertmanager.
    pub alertmanager: Option<u16>,
    /// What it is to have scraped already: OpenMetrics with times.
    pub history: String,
}

/// A running server.
#[derive(Debug)]
pub struct Prometheus {
    server: Kept,
}

/// A series and its value at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its labels, the name as `__name__`.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

impl Sample {
    /// The value of a label; empty if it has none.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

impl Prometheus {
    /// Starts one.
    pub fn start(setup: &Setup<'_>) -> Result<Self> {
        let history = setup.history.clone();
        let mut files = vec![("prometheus.yml", settings(setup)), ("history.om", history)];
        files.extend(setup.rules.iter().cloned());
        let recipe = Recipe {
            name: "prometheus",
            program: &programs::prometheus()?,
            script: START,
            files: &files,
            ready: "Server is ready to receive web requests",
        };
        Ok(Self { server: Kept::start(&recipe)? })
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// All series that an expression answers with now.
    pub fn query(&self, expression: &str) -> Result<Vec<Sample>> {
        self.answer(expression, &format!("/api/v1/query?query={}", http::encoded(expression)))
    }

    /// All series that an expression answered with at that time, in seconds since 1970.
    pub fn query_at(&self, expression: &str, at: u64) -> Result<Vec<Sample>> {
        let query = http::encoded(expression);
        self.answer(expression, &format!("/api/v1/query?time={at}&query={query}"))
    }

    fn answer(&self, expression: &str, path: &str) -> Result<Vec<Sample>> {
        let data = self.data(path).with_context(|| format!("the query {expression}"))?;
        let sample = |labels: &Value, value: &Value| {
            let labels = labels.as_object().into_iter().flatten();
            let labels = labels.map(|(k, v)| (k.clone(), v.as_str().unwrap_or("").to_owned()));
            let text = value[1].as_str().context("a value is a text")?;
            Ok(Sample { labels: labels.collect(), value: text.parse()? })
        };
        let result = &data["result"];
        match data["resultType"].as_str() {
            Some("vector") => {
                let series = result.as_array().into_iter().flatten();
                series.map(|one| sample(&one["metric"], &one["value"])).collect()
            }
            Some("scalar") => Ok(vec![sample(&Value::Null, result)?]),
            other => bail!("a result of type {other:?}"),
        }
    }

    /// The value of an expression that answers with one series, `None` if with none.
    pub fn value(&self, expression: &str) -> Result<Option<f64>> {
        let found = self.query(expression)?;
        if found.len() > 1 {
            bail!("{expression} has {} series: {found:?}", found.len());
        }
        Ok(found.first().map(|sample| sample.value))
    }

    /// Waits until an expression has this value.
    pub fn until(&self, expression: &str, wanted: f64) -> Result<()> {
        let mut last = None;
        let seen = wait_for(&format!("{expression} to be {wanted}"), || {
            last = self.value(expression)?;
            Ok(last.is_some_and(|value| (value - wanted).abs() < 1e-9).then_some(()))
        });
        seen.with_context(|| format!("it is {last:?}"))
    }

    /// Waits until an expression answers with no series.
    pub fn until_none(&self, expression: &str) -> Result<()> {
        let mut last = Vec::new();
        let seen = wait_for(&format!("{expression} to have no series"), || {
            last = self.query(expression)?;
            Ok(last.is_empty().then_some(()))
        });
        seen.with_context(|| format!("it has {last:?}"))
    }

    /// The names of the alerts that fire now.
    pub fn firing(&self) -> Result<BTreeSet<String>> {
        let firing = self.query("ALERTS{alertstate=\"firing\"}")?;
        Ok(firing.iter().map(|sample| sample.label("alertname").to_owned()).collect())
    }

    /// The names of the alerts that fired at any time in the last hour.
    pub fn ever_fired(&self) -> Result<BTreeSet<String>> {
        let fired = self.query("max_over_time(ALERTS{alertstate=\"firing\"}[1h])")?;
        Ok(fired.iter().map(|sample| sample.label("alertname").to_owned()).collect())
    }

    /// Rules whose last evaluation failed, and why.
    pub fn broken_rules(&self) -> Result<Vec<String>> {
        let data = self.data("/api/v1/rules")?;
        let groups = data["groups"].as_array().into_iter().flatten();
        let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
        let broken = rules.filter(|rule| rule["health"] == "err");
        Ok(broken.map(|rule| format!("{}: {}", rule["name"], rule["lastError"])).collect())
    }

    /// The names of the alert rules that are loaded.
    pub fn alert_rules(&self) -> Result<BTreeSet<String>> {
        let data = self.data("/api/v1/rules?type=alert")?;
        let groups = data["groups"].as_array().into_iter().flatten();
        let rules = groups.flat_map(|group| group["rules"].as_array().into_iter().flatten());
        Ok(rules.filter_map(|rule| rule["name"].as_str().map(str::to_owned)).collect())
    }

    fn data(&self, path: &str) -> Result<Value> {
        let mut answer = http::get(self.port(), path, &[])?.json()?;
        if answer["status"] != "success" {
            bail!("Prometheus answers: {}", answer["error"]);
        }
        Ok(answer["data"].take())
    }
}

fn settings(setup: &Setup<'_>) -> String {
    let every = setup.every_ms;
    let mut text = format!(
        "global:\n  scrape_interval: {every}ms\n  scrape_timeout: {every}ms\n  \
         evaluation_interval: {every}ms\n"
    );
    let mut line = |words: &str| {
        let _ = writeln!(text, "{words}");
    };
    if !setup.rules.is_empty() {
        line("rule_files:");
        setup.rules.iter().for_each(|(name, _)| line(&format!("  - {name}")));
    }
    if let Some(port) = setup.alertmanager {
        line("alerting:\n  alertmanagers:\n    - static_configs:");
        line(&format!("        - targets: [\"127.0.0.1:{port}\"]"));
    }
    line("scrape_configs:");
    let jobs: BTreeSet<&str> = setup.targets.iter().map(|target| target.job).collect();
    for job in jobs {
        line(&format!("  - job_name: {job}\n    static_configs:"));
        for target in setup.targets.iter().filter(|target| target.job == job) {
            line(&format!("      - targets: [\"127.0.0.1:{}\"]", target.port));
            line(&format!("        labels: {{deployment: \"{}\"}}", target.deployment));
        }
    }
    text
}
