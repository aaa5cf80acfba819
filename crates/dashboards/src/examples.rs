//! Example configurations of Prometheus, Alertmanager and Grafana that load these files, written by
//! hand.

use crate::{File, Settings};

/// Where `authorization` belongs in the example for Prometheus: these lines give way to it.
const NO_TOKEN: &str = "\
    # If rehome requires tokens, `rehome monitoring export DIR --token-file FILE` writes `authorization` here.
    # FILE has a token of the role `metrics`: rehome token create --role metrics --name prometheus
";

pub(crate) fn files(settings: &Settings) -> Vec<File> {
    let file = |path, text: &str| File { path, text: text.to_owned(), is_example: true };
    vec![
        file("prometheus.yml", &prometheus(settings)),
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

fn prometheus(settings: &Settings) -> String {
    let example = include_str!("examples/prometheus.yml");
    let Some(token) = &settings.token_file else { return example.to_owned() };
    // A text in JSON is one in YAML.
    let token = serde_json::Value::from(token.as_str());
    let authorization = format!(
        "    # A token of the role `metrics`; Prometheus reads the file again at each scrape.\n    \
         authorization:\n      credentials_file: {token}\n"
    );
    example.replace(NO_TOKEN, &authorization)
}
