//! The checklists of the monitoring contract, evaluated: each item passes, fails, or is unknown, with the
//! reason.
//!
//! ```text
//! control plane, stores, this process, monitoring tools ──▶ gather ──▶ evidence ──▶ judge (pure)
//! ```
//!
//! `judge` has one function for each item, with the contract's text beside it.
//! Nothing passes without evidence: an item of a tool that is not configured is unknown.

mod evidence;
mod gather;
mod judge;
#[cfg(test)]
mod tests;

use rehome_api::{Checklist, ChecklistPhase, ItemStatus};
use rehome_app::{AppError, Kind};
use rehome_domain::ids::MigrationId;

pub(crate) use gather::Sources;

impl Sources<'_> {
    /// Evaluates a checklist for a migration; before one was started, for none.
    pub(crate) async fn checklist(
        self,
        phase: ChecklistPhase,
        id: Option<MigrationId>,
    ) -> Result<Checklist, AppError> {
        let items = match (phase, id) {
            (ChecklistPhase::Before, id) => {
                judge::before(&Box::pin(self.evidence_before(id)).await?)
            }
            (_, None) => {
                let message =
                    format!("the checklist {:?} is of a migration; which?", phase.as_str());
                return Err(AppError::new(Kind::Usage, "bad_usage", message));
            }
            (ChecklistPhase::During, Some(id)) => {
                judge::during(&Box::pin(self.evidence_during(id)).await?)
            }
            (ChecklistPhase::Cutover, Some(id)) => {
                judge::cutover(&Box::pin(self.evidence_cutover(id)).await?)
            }
            (ChecklistPhase::After, Some(id)) => {
                judge::after(&Box::pin(self.evidence_after(id)).await?)
            }
        };
        let status = items.iter().map(|item| item.status).max().unwrap_or(ItemStatus::Pass);
        Ok(Checklist { phase, migration_id: id.map(MigrationId::uuid), status, items })
    }
}
