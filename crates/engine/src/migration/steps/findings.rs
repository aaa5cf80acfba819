//! A violation is recorded before anything else happens: from then on no process
//! starts or commits a cutover, whichever of them found it.

use rehome_domain::migration::Fact;
use rehome_domain::verification::{Coverage, Finding, Level, Violation};
use tokio::time::Instant;

use super::{Context, StepError};
use crate::auditor::ReadBackError;
use crate::signal::Signal;
use crate::verifier::{self, Report};

impl Context {
    /// Records a violation that the read-back or the comparison of a cutover found. It has
    /// covered all rows up to `upto`, at the level of the chain.
    pub(crate) async fn violated(&self, who: &str, violation: &Violation, upto: u64) -> StepError {
        let upto = upto.max(violation.seq.unwrap_or(0));
        let coverage = Coverage { level: Level::Hash, after: 0, upto, whole: true };
        let fact = Fact::Violated { finding: Finding::of(violation, coverage) };
        let recorded = self.note(fact).await;
        let migration = recorded.as_ref().map_or(&self.migration, |recorded| &recorded.migration);
        self.engine.tell(&Signal::Violated { migration, violation });
        match recorded {
            Ok(_) => StepError::Found(format!("{who} found a violation: {violation}")),
            // It is found again.
            Err(error) => error.into(),
        }
    }

    /// The consequence of a failed read-back: a violation is recorded.
    pub(crate) async fn read_back_failed(&self, error: ReadBackError) -> StepError {
        match error {
            ReadBackError::Store(error) => error.into(),
            ReadBackError::Violation(violation) => {
                self.violated("read-back", &violation, violation.seq.unwrap_or(0)).await
            }
        }
    }

    /// Puts on record what a verification of the whole found, which began at `began`. An error, if
    /// that is a violation.
    pub(crate) async fn verified(
        &self,
        report: &Report,
        request: &verifier::Request,
        began: Instant,
    ) -> Result<(), StepError> {
        let coverage = report.coverage(request);
        let finding = report.finding(coverage);
        let refutes = self.migration.violations.open.as_ref().map(|open| open.number);
        if finding.is_some() {
            // As for the read-back: the replica was compared.
            let ledger = self.target.ledger(self.tenant()).await?;
            ledger.check_replica(self.migration.m).map_err(rehome_ports::StoreError::from)?;
        }
        for fact in facts(report, coverage, finding.as_ref(), refutes) {
            self.note(fact).await?;
        }
        let migration = &self.engine.control.migration(self.migration.id).await?;
        self.engine.tell(&Signal::Verified { migration, report, took: began.elapsed() });
        match finding {
            None => Ok(()),
            Some(Finding { violations, first, .. }) => Err(StepError::Found(format!(
                "verification found {violations} violation(s), the first: {first}"
            ))),
        }
    }
}

/// The facts of a verification: first its finding, then that it has ended.
pub(in crate::migration) fn facts(
    report: &Report,
    coverage: Coverage,
    finding: Option<&Finding>,
    refutes: Option<u32>,
) -> impl Iterator<Item = Fact> + use<> {
    let Coverage { level, after, upto: seq, whole } = coverage;
    let violations = report.violations_total;
    let verified = Fact::Verified { level, after, seq, whole, violations, refutes };
    let violated = finding.map(|finding| Fact::Violated { finding: finding.clone() });
    violated.into_iter().chain([verified])
}
