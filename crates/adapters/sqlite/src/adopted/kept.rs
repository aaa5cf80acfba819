//! Values of a tenant's rows that PostgreSQL would not keep as they are.

use std::time::{Duration, Instant};

use rehome_domain::ids::TenantId;

use super::{Answer, SqliteAdopted};

/// How long rows are looked at: a copy refuses what was not looked at.
const LOOK_FOR: Duration = Duration::from_secs(2);
/// Rows of one read.
const PAGE: i64 = 500;
/// Columns that are named.
const NAMED_MAX: usize = 10;

/// The columns with such a value, a sentence each, with the first row that has it.
pub(super) async fn not_kept(store: &SqliteAdopted, tenant: TenantId) -> Answer<Vec<String>> {
    let Some(key) = store.key(tenant).await? else { return Ok(Vec::new()) };
    let began = Instant::now();
    let (mut after, mut columns, mut found) = (i64::MIN, Vec::new(), Vec::new());
    while began.elapsed() < LOOK_FOR && found.len() < NAMED_MAX {
        let key = key.clone();
        let page = store.read(move |tx, table| {
            let mut statement = tx.prepare_cached(&table.sql.history)?;
            let mut rows = statement.query((&key, after, i64::MAX, PAGE))?;
            let (mut last, mut odd) = (None, Vec::new());
            while let Some(row) = rows.next()? {
                let position: i64 = row.get(0)?;
                last = Some(position);
                if let Some((column, why)) = table.rows.not_kept(row, 1)? {
                    odd.push((column.to_owned(), position, why));
                }
            }
            Ok((last, odd))
        });
        let (last, odd) = page.await?;
        for (column, position, why) in odd {
            if !columns.contains(&column) {
                found.push(format!(
                    "PostgreSQL would not keep column \"{column}\" of the row at position {position} as it is: {why}; \
                     change it while the tenant is not guarded"
                ));
                columns.push(column);
            }
        }
        match last {
            Some(last) => after = last,
            None => break,
        }
    }
    Ok(found)
}
