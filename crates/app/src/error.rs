//! Errors of use cases.
//!
//! At this edge errors are for people and programs: a sentence that describes what happened, to which
//! tenant and what to do next, and a stable code. The cause is preserved.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use rehome_api::{ErrorBody, ImportReport, Problem};
use rehome_domain::estimate::InvalidInput;
use rehome_domain::ids::{InvalidStoreId, MigrationId, TenantId};
use rehome_domain::ledger;
use rehome_domain::migration::{Phase, Refusal};
use rehome_engine::UnknownStore;
use rehome_engine::drain::DrainError;
use rehome_engine::migration::{DriveError, OperationError};
use rehome_ports::{Class, ControlError, Fault, FaultKind, ReadError, StoreError};

use crate::options::OptionProblem;

/// What kind of failure it is, and so which exit code it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It failed.
    Failed,
    /// The request was invalid.
    Usage,
    /// It is not possible in this state.
    Refused,
    /// What it is about does not exist.
    NotFound,
    /// A history is not what it must be.
    Violated,
}

impl Kind {
    /// The exit code.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::NotFound => 4,
            Self::Violated => 5,
        }
    }
}

/// Why a use case was not done.
#[derive(Debug)]
pub struct AppError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    code: Cow<'static, str>,
    message: String,
    tenant: Option<TenantId>,
    migration: Option<MigrationId>,
    state: Option<Phase>,
    line: Option<u64>,
    imported: Option<ImportReport>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl AppError {
    /// An error of this kind, with its stable word and its sentence.
    pub fn new(kind: Kind, code: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            code: Cow::Borrowed(code),
            message: message.into(),
            tenant: None,
            migration: None,
            state: None,
            line: None,
            imported: None,
            source: None,
        }))
    }

    /// Not possible in this state.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, "refused", message)
    }

    /// Something failed.
    pub fn failed(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, code, message)
    }

    /// The error of a server, in the form of a local one. An internal error of the server names the
    /// request; its log has more.
    pub fn told(problem: &Problem) -> Self {
        let kind = match (problem.status, problem.code()) {
            (_, "violated") => Kind::Violated,
            (400 | 401 | 413, _) => Kind::Usage,
            (404, _) => Kind::NotFound,
            (403 | 409 | 412 | 422, _) => Kind::Refused,
            _ => Kind::Failed,
        };
        let message = match &problem.request_id {
            Some(id) if problem.status == 500 => {
                format!("{} (request {id} in its log)", problem.detail)
            }
            _ => problem.detail.clone(),
        };
        let mut this = Self::new(kind, "", message);
        this.0.code = Cow::Owned(problem.code().to_owned());
        this.0.tenant = problem.tenant_id.map(TenantId::new);
        this.0.migration = problem.migration_id.map(MigrationId::new);
        this.0.state = problem.state.as_deref().and_then(Phase::parse);
        this
    }

    pub(crate) fn caused_by(
        kind: Kind,
        code: &'static str,
        error: impl Error + Send + Sync + 'static,
    ) -> Self {
        let mut this = Self::new(kind, code, error.to_string());
        this.0.source = Some(Box::new(error));
        this
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The stable word.
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// Whose history it is about, unless that is known already.
    #[must_use]
    pub fn tenant(mut self, tenant: TenantId) -> Self {
        self.0.tenant.get_or_insert(tenant);
        self
    }

    /// Which migration it is about, unless that is known already.
    #[must_use]
    pub fn migration(mut self, id: MigrationId) -> Self {
        self.0.migration.get_or_insert(id);
        self
    }

    /// The phase of that migration.
    #[must_use]
    pub fn state(mut self, phase: Phase) -> Self {
        self.0.state = Some(phase);
        self
    }

    /// The line of the input it is about.
    #[must_use]
    pub(crate) fn line(mut self, line: u64) -> Self {
        self.0.line = Some(line);
        self
    }

    /// The same with a prefix.
    #[must_use]
    pub(crate) fn prefixed(mut self, prefix: &str) -> Self {
        self.0.message.insert_str(0, prefix);
        self
    }

    /// The same with more behind its sentence.
    #[must_use]
    pub fn followed_by(mut self, more: &str) -> Self {
        self.0.message.push_str(more);
        self
    }

    /// The same as a failure: it was done in part.
    #[must_use]
    pub(crate) fn done_in_part(mut self) -> Self {
        self.0.kind = Kind::Failed;
        self
    }

    /// What an import had done by then.
    #[must_use]
    pub(crate) fn imported(mut self, report: ImportReport, statement: &str) -> Self {
        self.0.imported = Some(report);
        self.0.message.push_str(statement);
        self
    }

    /// The error as a document.
    pub fn body(&self) -> ErrorBody {
        let inner = &self.0;
        ErrorBody {
            kind: inner.code.to_string(),
            message: self.to_string(),
            exit_code: inner.kind.exit_code(),
            tenant_id: inner.tenant.map(TenantId::uuid),
            migration_id: inner.migration.map(MigrationId::uuid),
            state: inner.state.map(|phase| phase.as_str().to_owned()),
            line: inner.line,
            imported: inner.imported.clone(),
        }
    }
}

impl fmt::Display for AppError {
    /// Names the tenant and the migration where the sentence does not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        let unnamed = |id: &String| !inner.message.contains(id.as_str());
        let migration = inner.migration.map(|id| id.to_string()).filter(unnamed);
        let tenant = inner.tenant.map(|id| id.to_string()).filter(unnamed);
        match (migration, tenant) {
            (Some(migration), Some(tenant)) => {
                write!(f, "migration {migration} of tenant {tenant}: ")?;
            }
            (Some(migration), None) => write!(f, "migration {migration}: ")?,
            (None, Some(tenant)) => write!(f, "tenant {tenant}: ")?,
            (None, None) => {}
        }
        f.write_str(&inner.message)
    }
}

impl Error for AppError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

const fn fault_code(kind: &FaultKind) -> &'static str {
    match kind {
        FaultKind::Unreachable(_) => "unreachable",
        FaultKind::Locked => "locked",
        FaultKind::Waits(_) => "waits_for_others",
        FaultKind::Full => "disk_full",
        FaultKind::Failing(_) => "failing",
        FaultKind::ReadOnly => "read_only",
        FaultKind::Missing(_) => "missing",
        FaultKind::NotSetUp(_) => "not_set_up",
        FaultKind::NotWritten(_) => "not_written_here",
        FaultKind::Foreign(_) => "foreign_file",
        FaultKind::NewerFormat { .. } => "newer_format",
        FaultKind::OtherDeployment { .. } => "other_deployment",
        FaultKind::Corrupt(_) => "corrupt",
    }
}

impl From<Fault> for AppError {
    fn from(fault: Fault) -> Self {
        Self::caused_by(Kind::Failed, fault_code(&fault.kind), fault)
    }
}

impl From<StoreError> for AppError {
    fn from(error: StoreError) -> Self {
        let (class, text) = (error.class(), error.to_string());
        match error {
            StoreError::Fault(fault) => fault.into(),
            StoreError::Refused(refused) if class == Class::Fatal => {
                let next = match refused.why {
                    ledger::Refusal::BrokenChain => "`rehome store verify STORE` finds the damage",
                    _ => "`rehome recover` shows what is missing",
                };
                let mut this = Self::caused_by(Kind::Failed, "ledger", refused);
                this.0.message = format!("{text}; {next}");
                this
            }
            StoreError::Refused(refused) => {
                let mut this = Self::caused_by(Kind::Refused, "ledger", refused);
                this.0.message = format!("the store refused: {text}; check the tenant and retry");
                this
            }
        }
    }
}

impl From<ControlError> for AppError {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Stale(_) => Self::caused_by(Kind::Refused, "changed_meanwhile", error),
            ControlError::Refused(refusal) => refusal.into(),
            ControlError::UnknownTenant(tenant) => {
                Self::caused_by(Kind::NotFound, "unknown_tenant", error).tenant(tenant)
            }
            ControlError::UnknownMigration(id) => {
                Self::caused_by(Kind::NotFound, "unknown_migration", error).migration(id)
            }
            ControlError::UnknownDrain(_) => {
                Self::caused_by(Kind::NotFound, "unknown_drain", error)
            }
            ControlError::Drain(_) => Self::caused_by(Kind::Refused, "not_in_this_state", error),
            ControlError::BeingRemoved(tenant) => {
                Self::caused_by(Kind::Refused, "being_removed", error).tenant(tenant)
            }
            ControlError::Cordoned { .. } => Self::caused_by(Kind::Refused, "cordoned", error),
            ControlError::Fault(fault) => fault.into(),
        }
    }
}

impl From<DrainError> for AppError {
    fn from(error: DrainError) -> Self {
        match error {
            DrainError::Control(error) => error.into(),
            DrainError::Store(error) => error.into(),
            DrainError::UnknownStore(error) => error.into(),
            DrainError::Settings(_) => Self::caused_by(Kind::Usage, "bad_settings", error),
            DrainError::Window(_) => Self::caused_by(Kind::Usage, "bad_window", error),
            DrainError::Target { .. } => Self::caused_by(Kind::Refused, "bad_target", error),
            DrainError::OldPlan(_) => Self::caused_by(Kind::Refused, "old_plan", error),
            DrainError::Nothing(_) => Self::caused_by(Kind::Refused, "nothing_to_move", error),
        }
    }
}

impl From<Refusal> for AppError {
    fn from(refusal: Refusal) -> Self {
        let state = match refusal {
            Refusal::NotInThisState { phase, .. } | Refusal::AnotherMigration { phase, .. } => {
                Some(phase)
            }
            _ => None,
        };
        let code = match refusal {
            Refusal::NotInThisState { .. } => "not_in_this_state",
            Refusal::AnotherMigration { .. } => "another_migration",
            Refusal::WindowOpen => "window_open",
            Refusal::AlreadyThere => "already_there",
            Refusal::NotCreated => "not_created",
            Refusal::BeingRemoved => "being_removed",
            Refusal::NotBeingRemoved => "not_being_removed",
            Refusal::OptionsChanged => "changed_meanwhile",
            Refusal::Violated { .. } => "violation_open",
            Refusal::NotWanted => "cutover_not_wanted",
            Refusal::NothingToWithdraw => "nothing_to_withdraw",
            Refusal::NothingToRepair => "nothing_to_repair",
            Refusal::NotRepairable { .. } => "not_repairable",
        };
        let mut this = Self::caused_by(Kind::Refused, code, refusal);
        this.0.state = state;
        this
    }
}

impl From<DriveError> for AppError {
    fn from(error: DriveError) -> Self {
        match error {
            DriveError::Control(error) => error.into(),
            DriveError::UnknownStore(error) => error.into(),
        }
    }
}

impl From<OperationError> for AppError {
    fn from(error: OperationError) -> Self {
        match error {
            OperationError::Control(error) => error.into(),
            OperationError::Store(error) => error.into(),
            OperationError::UnknownStore(error) => error.into(),
            OperationError::NotPossible(_) => Self::caused_by(Kind::Refused, "not_possible", error),
            OperationError::InTwoStores(_) => {
                Self::caused_by(Kind::Refused, "in_two_stores", error)
            }
            OperationError::Vetoed(_) => Self::caused_by(Kind::Refused, "vetoed", error),
            OperationError::NoReturn(_) => Self::caused_by(Kind::Refused, "no_return", error),
            OperationError::NotVerifiable(_) => {
                Self::caused_by(Kind::Refused, "not_verifiable", error)
            }
            OperationError::NotPurgeable(_) => {
                Self::caused_by(Kind::Refused, "not_purgeable", error)
            }
            OperationError::NotRemovable(_) => {
                Self::caused_by(Kind::Refused, "not_removable", error)
            }
            OperationError::Option(_) => Self::caused_by(Kind::Usage, "bad_option", error),
            OperationError::Violated(_) => Self::caused_by(Kind::Violated, "violated", error),
        }
    }
}

impl From<ReadError> for AppError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::UnknownTenant(tenant) => ControlError::UnknownTenant(tenant).into(),
            ReadError::BeyondEnd(beyond) => {
                let tenant = beyond.tenant;
                Self::caused_by(Kind::Refused, "position_beyond_end", beyond).tenant(tenant)
            }
            ReadError::Store(error) => error.into(),
            ReadError::Control(error) => error.into(),
        }
    }
}

impl From<UnknownStore> for AppError {
    fn from(error: UnknownStore) -> Self {
        Self::caused_by(Kind::NotFound, "unknown_store", error)
    }
}

impl From<InvalidStoreId> for AppError {
    fn from(error: InvalidStoreId) -> Self {
        Self::caused_by(Kind::Usage, "bad_store_id", error)
    }
}

impl From<OptionProblem> for AppError {
    fn from(error: OptionProblem) -> Self {
        Self::caused_by(Kind::Usage, "bad_option", error)
    }
}

impl From<InvalidInput> for AppError {
    fn from(error: InvalidInput) -> Self {
        match error {
            InvalidInput::NeverCatchesUp { .. } => {
                Self::caused_by(Kind::Refused, "never_catches_up", error)
            }
            _ => Self::caused_by(Kind::Usage, "bad_input", error),
        }
    }
}
