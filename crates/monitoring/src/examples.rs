//! How Prometheus, Alertmanager and Grafana find what is made here: examples to begin with, written by
//! hand.

use crate::File;

pub(crate) fn files() -> Vec<File> {
    let file = |path, text: &str| File { path, text: text.to_owned(), is_example: true };
    vec![
        file("prometheus.yml", include_str!("examples/prometheus.yml")),
        file("alertmanager.yml", include_str!("examples/alertmanager.yml")),
        file(
            "grafana/provisioning/datasources/rehome.yml",
            include_str!("examples/grafana-datasource.yml"),
        ),
        file(
            "grafana/provisioning/dashboards/rehome.yml",
            include_str!("examples/grafana-dashboards.yml"),
        ),
    ]
}
