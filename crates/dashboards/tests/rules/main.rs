//! The rules, evaluated by the real promtool over series that are written down here. Each alert is shown
//! both ways: when it fires, and when it stays silent.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

mod drain;
mod guide;
mod migration;
mod process;
mod scene;

use rehome_dashboards::{Settings, groups};

#[test]
fn every_alert_has_a_scene() {
    let scenes = [
        include_str!("drain.rs"),
        include_str!("guide.rs"),
        include_str!("migration.rs"),
        include_str!("process.rs"),
    ];
    let alerts = groups(&Settings::default()).into_iter().flat_map(|group| group.alerts);
    let without: Vec<_> = alerts
        .map(|alert| alert.name)
        .filter(|name| !scenes.iter().any(|text| text.contains(&format!("\"{name}\""))))
        .collect();
    assert_eq!(without, [""; 0], "alerts without a scene in crates/dashboards/tests/rules");
}
