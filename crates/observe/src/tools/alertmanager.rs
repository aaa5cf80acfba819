//! Alertmanager: its API, version 2, <https://github.com/prometheus/alertmanager/blob/main/api/v2>.

use rehome_app::http::Endpoint;

use super::Alert;

/// The alerts that it holds, also those that are silenced or inhibited: they fire all the same.
pub(super) async fn alerts(endpoint: &Endpoint) -> Result<Vec<Alert>, String> {
    let answer = endpoint.get("/api/v2/alerts").await?.json()?;
    let alerts = answer.as_array().into_iter().flatten();
    Ok(alerts.filter_map(|alert| Alert::read(&alert["labels"])).collect())
}
