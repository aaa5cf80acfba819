//! Grafana: whether it is there, and our dashboards in it.

use rehome_app::http::Endpoint;

use super::encoded;

/// The guide's dashboards, by their titles.
const DASHBOARDS: [&str; 2] = ["Migration Overview", "Dual-Write Health"];

/// The missing dashboards; `None`: Grafana is up and requires a login.
pub(super) async fn missing_dashboards(
    endpoint: &Endpoint,
) -> Result<Option<Vec<&'static str>>, String> {
    let mut missing = Vec::new();
    for title in DASHBOARDS {
        let path = format!("/api/search?type=dash-db&query={}", encoded(title));
        let found = endpoint.get(&path).await?;
        if matches!(found.status, 401 | 403) {
            endpoint.get("/api/health").await?.json()?;
            return Ok(None);
        }
        let found = found.json()?;
        if !found.as_array().into_iter().flatten().any(|one| one["title"] == title) {
            missing.push(title);
        }
    }
    Ok(Some(missing))
}
