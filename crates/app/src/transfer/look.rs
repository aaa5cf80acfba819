//! What an import would do: the whole input is read and checked, and nothing is written.

use std::collections::HashSet;

use rehome_api::ImportLook;
use rehome_api::transfer::RefusedLine;

use super::input::Input;
use super::rounds::Rounds;
use super::table::{self, TableEnd, TableRequest, table_rounds};
use crate::error::AppError;

/// Checks a file. `progress` gets the number of events.
pub async fn look_at(input: &Input, progress: impl FnMut(u64)) -> Result<ImportLook, AppError> {
    look(Rounds::open(input).await?, progress).await
}

/// Checks a table.
pub async fn look_at_table(
    request: &TableRequest,
    progress: impl FnMut(u64),
) -> Result<ImportLook, AppError> {
    let source = table::open(request).await?;
    let end = TableEnd::default();
    let (rounds, _reader) = table_rounds(source, request, -1, &end).await?;
    look(rounds, progress).await
}

async fn look(mut rounds: Rounds, mut progress: impl FnMut(u64)) -> Result<ImportLook, AppError> {
    let mut found = ImportLook::default();
    let mut tenants = HashSet::new();
    while let Some(round) = rounds.next().await {
        let round = round?;
        for (tenant, lines) in &round.tenants {
            tenants.insert(*tenant);
            found.events += lines.len() as u64;
        }
        found.refused.extend(round.bad.into_iter().map(|bad| RefusedLine {
            line: bad.number,
            tenant_id: bad.tenant.uuid(),
            why: bad.why,
        }));
        progress(found.events);
    }
    found.tenants = tenants.len() as u64;
    Ok(found)
}
