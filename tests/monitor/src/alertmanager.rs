//! An Alertmanager, and who receives what it sends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use rehome_cluster::{Kept, Recipe};
use serde_json::Value;

use crate::listen::Listener;
use crate::programs;

/// No cluster: its port would be one more to find.
const START: &str = "exec env --default-signal=QUIT \"$PROGRAM\" \
     --config.file=alertmanager.yml --storage.path=data --cluster.listen-address= \
     --web.listen-address=\"127.0.0.1:$1\"";

/// A running server.
#[derive(Debug)]
pub struct Alertmanager {
    server: Kept,
}

impl Alertmanager {
    /// Starts one that sends everything at once, ends included, to `receiver`.
    pub fn start(receiver: &Receiver) -> Result<Self> {
        let settings = format!(
            "route:\n  receiver: test\n  group_by: [\"...\"]\n  group_wait: 0s\n  \
             group_interval: 1s\n  repeat_interval: 1h\n\
             receivers:\n  - name: test\n    webhook_configs:\n      \
             - url: http://127.0.0.1:{}/\n        send_resolved: true\n",
            receiver.port()
        );
        Self::start_with(settings)
    }

    /// Starts one with this configuration.
    pub fn start_with(settings: String) -> Result<Self> {
        let recipe = Recipe {
            name: "alertmanager",
            program: &programs::alertmanager()?,
            script: START,
            files: &[("alertmanager.yml", settings)],
            ready: "Listening on",
        };
        Ok(Self { server: Kept::start(&recipe)? })
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.server.port()
    }
}

/// An alert as it was received.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// Where it was sent to.
    pub path: String,
    /// The number of the notification that it was part of, from 0.
    pub notification: usize,
    /// `firing` or `resolved`.
    pub status: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

impl Notice {
    fn read(alert: &Value, path: &str, notification: usize) -> Self {
        let map = |name: &str| {
            let pairs = alert[name].as_object().into_iter().flatten();
            pairs.map(|(k, v)| (k.clone(), v.as_str().unwrap_or("").to_owned())).collect()
        };
        Self {
            path: path.to_owned(),
            notification,
            status: alert["status"].as_str().unwrap_or("").to_owned(),
            labels: map("labels"),
            annotations: map("annotations"),
        }
    }

    /// The alert's name.
    pub fn name(&self) -> &str {
        self.labels.get("alertname").map_or("", String::as_str)
    }
}

/// Receives the webhook requests of an Alertmanager.
#[derive(Debug)]
pub struct Receiver {
    listener: Listener,
    notices: Arc<Mutex<Vec<Notice>>>,
}

impl Receiver {
    /// Begins to listen.
    pub fn start() -> Result<Self> {
        let notices: Arc<Mutex<Vec<Notice>>> = Arc::default();
        let kept = Arc::clone(&notices);
        let listener = Listener::start(move |request| {
            let document: Value = serde_json::from_str(&request.body).unwrap_or_default();
            let alerts = document["alerts"].as_array().into_iter().flatten();
            let mut kept = lock(&kept);
            let number = kept.last().map_or(0, |last| last.notification + 1);
            kept.extend(alerts.map(|alert| Notice::read(alert, &request.path, number)));
            String::new()
        })?;
        Ok(Self { listener, notices })
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.listener.port()
    }

    /// All that came so far.
    pub fn notices(&self) -> Vec<Notice> {
        lock(&self.notices).clone()
    }

    /// The names of all alerts that came so far as firing.
    pub fn fired(&self) -> BTreeSet<String> {
        self.named("firing")
    }

    /// The names of all alerts of which the end came.
    pub fn resolved(&self) -> BTreeSet<String> {
        self.named("resolved")
    }

    fn named(&self, status: &str) -> BTreeSet<String> {
        let notices = lock(&self.notices);
        let named = notices.iter().filter(|notice| notice.status == status);
        named.map(|notice| notice.name().to_owned()).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
