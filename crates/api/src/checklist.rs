//! The monitoring guide's checklists, evaluated.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// One of the four checklists, each item with what was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Checklist {
    /// Which checklist.
    pub phase: ChecklistPhase,
    /// The migration it is about; `null`: none was started yet.
    pub migration_id: Option<Uuid>,
    /// `fail` if an item failed, else `unknown` if one is not known, else `pass`.
    pub status: ItemStatus,
    /// The items, in the guide's order.
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
    /// All of them, in their order.
    pub const ALL: [Self; 4] = [Self::Before, Self::During, Self::Cutover, Self::After];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::During => "during",
            Self::Cutover => "cutover",
            Self::After => "after",
        }
    }

    /// The guide's heading.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Before => "Before Starting Migration",
            Self::During => "During Migration",
            Self::Cutover => "During Cutover",
            Self::After => "After Migration",
        }
    }

    /// The checklist of that word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == text)
    }
}

/// One item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChecklistItem {
    /// The guide's words.
    pub text: String,
    /// What was found.
    pub status: ItemStatus,
    /// Why.
    pub why: String,
}

/// What was found, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ItemStatus {
    /// It is as it must be.
    Pass,
    /// There is no evidence.
    Unknown,
    /// It is not as it must be.
    Fail,
}

impl ItemStatus {
    /// The word in the document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Unknown => "unknown",
            Self::Fail => "fail",
        }
    }
}
