//! `rehome checklist`

use rehome_api::{Checklist, ChecklistPhase, ItemStatus};
use rehome_app::AppError;
use rehome_domain::ids::MigrationId;

use crate::operate::Reach;
use crate::output::{Out, table};

pub(super) async fn run(
    out: Out,
    reach: &Reach,
    phase: ChecklistPhase,
    id: Option<MigrationId>,
) -> Result<(), AppError> {
    let deployment = reach.open(out).await?;
    let checklist = Box::pin(deployment.checklist(phase, id)).await?;
    deployment.close().await;
    out.show(&checklist, words)?;
    let failed = checklist.items.iter().filter(|item| item.status == ItemStatus::Fail);
    let failed: Vec<_> = failed.map(|item| format!("{}: {}", item.text, item.why)).collect();
    if failed.is_empty() {
        return Ok(());
    }
    let error = AppError::failed("checklist_failed", failed.join("\n"));
    Err(match id {
        Some(id) => error.migration(id),
        None => error,
    })
}

fn words(checklist: &Checklist) -> String {
    let rows = checklist
        .items
        .iter()
        .map(|item| [item.status.as_str().to_owned(), item.text.clone(), item.why.clone()]);
    format!("{}\n{}", checklist.phase.title(), table(["", "ITEM", "WHY"], &[], rows))
}
