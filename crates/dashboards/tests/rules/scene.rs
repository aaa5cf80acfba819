//! Series over time, and which alerts fire when.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rehome_dashboards::{Settings, files};
use serde_json::{Value, json};

/// A test of promtool.
pub(crate) struct Scene {
    interval: &'static str,
    series: Vec<Value>,
    fired: Vec<Value>,
    annotated: Vec<Value>,
}

impl Scene {
    /// Series have a sample every `interval`; the rules are evaluated at their own interval.
    pub(crate) fn every(interval: &'static str) -> Self {
        Self { interval, series: Vec::new(), fired: Vec::new(), annotated: Vec::new() }
    }

    /// A series, in promtool's notation: `1+0x3` is 1 four times, `_` no sample, `stale` its end.
    pub(crate) fn series(mut self, name: &str, values: &str) -> Self {
        self.series.push(json!({"series": name, "values": values}));
        self
    }

    /// At that time `alert` fires once, with exactly these labels beside its name.
    pub(crate) fn fires(self, at: &str, alert: &str, labels: &str) -> Self {
        self.fires_for(at, alert, &[labels])
    }

    /// At that time `alert` fires once for each of `labels`.
    pub(crate) fn fires_for(mut self, at: &str, alert: &str, labels: &[&str]) -> Self {
        let samples: Vec<_> = labels
            .iter()
            .map(|labels| {
                let labels = format!("alertname=\"{alert}\",alertstate=\"firing\",{labels}");
                json!({"labels": format!("ALERTS{{{labels}}}"), "value": 1})
            })
            .collect();
        self.fired.push(json!({
            "expr": format!("ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}}"),
            "eval_time": at,
            "exp_samples": samples,
        }));
        self
    }

    /// At that time `alert` does not fire.
    pub(crate) fn silent(self, at: &str, alert: &str) -> Self {
        self.fires_for(at, alert, &[])
    }

    /// At that time `alert` has exactly this text.
    pub(crate) fn says(mut self, at: &str, alert: &str, labels: &Value, said: [&str; 2]) -> Self {
        let runbook = format!("docs/monitoring/alerts.md#{}", alert.to_ascii_lowercase());
        let [summary, description] = said;
        self.annotated.push(json!({
            "alertname": alert,
            "eval_time": at,
            "exp_alerts": [{
                "exp_labels": labels,
                "exp_annotations": {
                    "summary": summary, "description": description, "runbook_url": runbook,
                },
            }],
        }));
        self
    }

    /// Has promtool see.
    pub(crate) fn check(self) {
        let folder = tempfile::tempdir().unwrap();
        let rules = rules(folder.path());
        let document = json!({
            "rule_files": [rules],
            "evaluation_interval": "10s",
            "tests": [{
                "interval": self.interval,
                "input_series": self.series,
                "promql_expr_test": self.fired,
                "alert_rule_test": self.annotated,
            }],
        });
        let path = folder.path().join("test.yml");
        // JSON is YAML too.
        fs::write(&path, document.to_string()).unwrap();
        let output = Command::new("promtool").args(["test", "rules"]).arg(&path).output().expect(
            "promtool is not installed; `./x setup` installs it, or: apt-get install prometheus",
        );
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// The rules with the thresholds that are shipped.
fn rules(folder: &Path) -> PathBuf {
    let files = files(&Settings::default());
    let rules = files.iter().find(|file| file.path == "rules/rehome.yml").unwrap();
    let path = folder.join("rules.yml");
    fs::write(&path, &rules.text).unwrap();
    path
}
