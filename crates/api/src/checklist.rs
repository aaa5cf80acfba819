//! The evaluated checklists of the monitoring contract.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// One of the four checklists, each item with its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Checklist {
    /// The checklist.
    pub phase: ChecklistPhase,
    /// The migration; `null` before the start of one.
    pub migration_id: Option<Uuid>,
    /// `fail` if an item failed, else `unknown` if one is unknown, else `pass`.
    pub status: ItemStatus,
    /// The items, in the order of the contract.
    pub items: Vec<ChecklistItem>,
}

/// The four checklists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChecklistPhase {
    /// Before Starting Migration.
    Before,
    /// During Migration.
    During,
    /// During Cutover.
    Cutover,
    /// After Migration.
    After,
}

impl ChecklistPhase {
    /// All checklists, in order.
    pub const ALL: [Self; 4] = [Self::Before, Self::During, Self::Cutover, Self::After];

    /// The name of the checklist.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::During => "during",
            Self::Cutover => "cutover",
            Self::After => "after",
        }
    }

    /// The heading in the contract.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Before => "Before Starting Migration",
            Self::During => "During Migration",
            Self::Cutover => "During Cutover",
            Self::After => "After Migration",
        }
    }

    /// The checklist with this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == text)
    }
}

/// One item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChecklistItem {
    /// The text in the contract.
    pub text: String,
    /// The result.
    pub status: ItemStatus,
    /// The reason.
    pub why: String,
}

/// The result of an item, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ItemStatus {
    /// The item passes.
    Pass,
    /// There is no evidence.
    Unknown,
    /// The item fails.
    Fail,
}

impl ItemStatus {
    /// The value in the document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Unknown => "unknown",
            Self::Fail => "fail",
        }
    }
}
