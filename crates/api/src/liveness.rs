//! Whether a server can work.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The document of `/health/live` and `/health/ready`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Liveness {
    /// `live`, `ready` or `not_ready`.
    pub status: String,
    /// The reason, if not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<String>,
}
