//! Verification of one store, tenant by tenant, at any time: it needs no migration and changes nothing.

use std::fmt;
use std::str::FromStr;

use rehome_api as api;
use rehome_domain::ids::{StoreId, TenantId};
use rehome_domain::verification::Level;
use rehome_engine::verifier::alone::{self, Alone};
use rehome_ports::{BeyondEnd, ReadError, StoreError};
use tokio_util::sync::CancellationToken;

use crate::deployment::Deployment;
use crate::documents;
use crate::error::AppError;

/// Tenants read at once.
const PAGE: usize = 500;
/// Damaged tenants that a report lists; all are counted.
const LISTED: usize = 1_000;

/// The progress of a verification: `TENANT:SEQ`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// All tenants before this one were verified completely.
    pub tenant: TenantId,
    /// And this one up to here.
    pub seq: u64,
}

/// The text is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be TENANT:SEQ, as an interrupted verification prints it")]
pub struct InvalidCursor;

impl FromStr for Cursor {
    type Err = InvalidCursor;

    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        let (tenant, seq) = text.split_once(':').ok_or(InvalidCursor)?;
        let tenant = tenant.parse().map_err(|_| InvalidCursor)?;
        Ok(Self { tenant, seq: seq.parse().map_err(|_| InvalidCursor)? })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.tenant, self.seq)
    }
}

/// What to verify, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreVerifyRequest {
    /// Which store.
    pub store: StoreId,
    /// Only this tenant.
    pub tenant: Option<TenantId>,
    /// How deep.
    pub level: Level,
    /// Read at most so many events per second; 0: as fast as it goes.
    pub rate_max: u32,
    /// Where to continue.
    pub after: Option<Cursor>,
}

/// Verifies one store until the end or until `stop`; `progress` gets the number of verified events and
/// the cursor.
pub async fn verify(
    deployment: &Deployment,
    request: &StoreVerifyRequest,
    stop: &CancellationToken,
    mut progress: impl FnMut(u64, Option<Cursor>) + Send,
) -> Result<api::StoreVerification, AppError> {
    let mut report = api::StoreVerification {
        store: request.store.to_string(),
        level: request.level.as_str().to_owned(),
        ok: true,
        complete: false,
        tenants_checked: 0,
        events_checked: 0,
        damaged_total: 0,
        damaged: Vec::new(),
        next: None,
    };
    let mut at = request.after;
    let ended = tokio::select! {
        biased;
        () = stop.cancelled() => None,
        ended = look_through(deployment, request, &mut report, &mut at, &mut progress) => Some(ended),
    };
    report.next = at.map(|at| at.to_string());
    match ended {
        None => {}
        Some(Ok(())) => (report.complete, report.next) = (true, None),
        Some(Err(error)) => {
            let error = AppError::from(error);
            return Err(match at {
                Some(at) => error.prefixed(&format!("reached --after {at}: ")),
                None => error,
            });
        }
    }
    Ok(report)
}

async fn look_through(
    deployment: &Deployment,
    request: &StoreVerifyRequest,
    report: &mut api::StoreVerification,
    at: &mut Option<Cursor>,
    progress: &mut (impl FnMut(u64, Option<Cursor>) + Send),
) -> Result<(), VerifyError> {
    let store = deployment.store(&request.store)?;
    let mut tenants = match request.tenant {
        Some(tenant) => vec![tenant],
        None => at.map(|at| at.tenant).into_iter().collect(),
    };
    let mut last = None;
    loop {
        for tenant in std::mem::take(&mut tenants) {
            let after_seq = at.filter(|at| at.tenant == tenant).map_or(0, |at| at.seq);
            if after_seq > 0 {
                // The rest of a history that is shorter now would be found to be in order.
                let end = store.ledger(tenant).await?.head.seq;
                BeyondEnd::check(tenant, after_seq, end)?;
            }
            let how = Alone { level: request.level, after_seq, rate_max: request.rate_max };
            let looked = alone::check(store, tenant, how, |seq, read| {
                report.events_checked += read;
                if seq > 0 {
                    *at = Some(Cursor { tenant, seq });
                }
                progress(report.events_checked, *at);
            })
            .await?;
            report.tenants_checked += 1;
            *at = Some(Cursor { tenant, seq: looked.upto });
            progress(report.events_checked, *at);
            if let Some(damage) = &looked.damage {
                report.ok = false;
                report.damaged_total += 1;
                if report.damaged.len() < LISTED {
                    let damage = documents::violation(damage);
                    let tenant_id = tenant.uuid();
                    report.damaged.push(api::DamagedTenant { tenant_id, damage });
                }
            }
            last = Some(tenant);
        }
        if request.tenant.is_some() {
            return Ok(());
        }
        let page = store.tenants(last, PAGE).await?;
        tenants = page.iter().map(|row| row.tenant).collect();
        if tenants.is_empty() {
            return Ok(());
        }
    }
}

/// Why it did not come to its end.
#[derive(Debug, thiserror::Error)]
enum VerifyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Unknown(#[from] rehome_engine::UnknownStore),
    #[error(transparent)]
    BeyondEnd(#[from] BeyondEnd),
}

impl From<VerifyError> for AppError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Store(error) => error.into(),
            VerifyError::Unknown(error) => error.into(),
            VerifyError::BeyondEnd(error) => ReadError::from(error).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_is_written() {
        let cursor = Cursor { tenant: TenantId::new(uuid::Uuid::from_u128(7)), seq: 12 };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for text in ["", "12", "x:12", &format!("{}:", cursor.tenant), &format!("{cursor}:1")] {
            assert_eq!(text.parse::<Cursor>(), Err(InvalidCursor), "{text}");
        }
    }
}
