//! SQLite's errors, mapped to those of the ports.
//!
//! A message names the file, what happened and what to do; never the contents of a row.

use rehome_domain::ledger::Refused;
use rehome_ports::{ControlError, Fault, FaultKind, StoreError};
use rusqlite::ffi::{self, ErrorCode};

/// SQLite's message for a file whose header is not that of a database.
const NO_DATABASE: &str = "it is not a SQLite database";

/// What went wrong with a file, before its name is on it.
#[derive(Debug)]
pub(crate) enum FileError {
    /// An error of SQLite.
    Sql(rusqlite::Error),
    /// A commit failed.
    Commit(rusqlite::Error),
    /// A thread went away with the job.
    Lost,
    /// Found by our own checks.
    Kind(FaultKind),
}

impl FileError {
    /// What the file holds makes no sense.
    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Kind(FaultKind::Corrupt(what.into()))
    }

    /// The same error, for another caller whom it befell too.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Sql(error) => Self::Sql(sqlite_error_again(error)),
            Self::Commit(error) => Self::Commit(sqlite_error_again(error)),
            Self::Lost => Self::Lost,
            Self::Kind(kind) => Self::Kind(kind.clone()),
        }
    }

    /// A thread could not be started.
    #[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
    pub(crate) fn no_thread(error: std::io::Error) -> Self {
        Self::Kind(FaultKind::Unreachable(format!("no thread could be started for it: {error}")))
    }

    /// The fault of the file called `what`.
    pub(crate) fn fault(self, what: &str) -> Fault {
        match self {
            Self::Kind(kind) => Fault::new(what, kind),
            Self::Sql(error) => Fault::new(what, kind(&error)).caused_by(error),
            Self::Commit(error) => {
                let fault = Fault::new(what, kind(&error));
                // A commit that found no room or no lock has not written its last frame. Of any
                // other failure (a sync above all) a recovery may still find it.
                let fault = match fault.kind {
                    FaultKind::Full | FaultKind::Locked | FaultKind::ReadOnly => fault,
                    _ => fault.maybe_applied(),
                };
                fault.caused_by(error)
            }
            Self::Lost => Fault::new(
                what,
                FaultKind::Unreachable("the thread that did the work has stopped".to_owned()),
            )
            .maybe_applied(),
        }
    }

    /// The fault of a file that was valid when it was opened: if it is no longer a SQLite database,
    /// it is damaged.
    fn fault_of_ours(self, what: &str) -> Fault {
        let mut fault = self.fault(what);
        if fault.kind == FaultKind::Foreign(NO_DATABASE.to_owned()) {
            fault.kind = FaultKind::Corrupt(NO_DATABASE.to_owned());
        }
        fault
    }

    /// Whether it shows that the file is not rehome's, or not for this deployment.
    pub(crate) fn is_clear(&self) -> bool {
        let clear = |kind: &FaultKind| {
            matches!(
                kind,
                FaultKind::Foreign(_)
                    | FaultKind::NewerFormat { .. }
                    | FaultKind::OtherDeployment { .. }
            )
        };
        match self {
            Self::Kind(kind) => clear(kind),
            Self::Sql(error) => clear(&kind(error)),
            Self::Commit(_) | Self::Lost => false,
        }
    }

    /// Whether another connection holds the file.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self, Self::Sql(error) if kind(error) == FaultKind::Locked)
    }
}

impl From<rusqlite::Error> for FileError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<rusqlite::types::FromSqlError> for FileError {
    fn from(error: rusqlite::types::FromSqlError) -> Self {
        Self::corrupt(format!("a column of another type ({error})"))
    }
}

/// Why a job answers no: a rule, or the file.
#[derive(Debug)]
pub(crate) enum Failure<R> {
    /// The domain refused it.
    Rule(R),
    /// The file failed.
    File(FileError),
}

impl<R> From<FileError> for Failure<R> {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

impl<R> From<rusqlite::Error> for Failure<R> {
    fn from(error: rusqlite::Error) -> Self {
        Self::File(error.into())
    }
}

impl From<Refused> for Failure<Refused> {
    fn from(refused: Refused) -> Self {
        Self::Rule(refused)
    }
}

impl From<ControlError> for Failure<ControlError> {
    fn from(error: ControlError) -> Self {
        Self::Rule(error)
    }
}

impl Failure<Refused> {
    /// The port's error, of the file called `what`.
    pub(crate) fn store_error(self, what: &str) -> StoreError {
        match self {
            Self::Rule(refused) => refused.into(),
            Self::File(error) => error.fault_of_ours(what).into(),
        }
    }
}

impl Failure<ControlError> {
    /// The port's error, of the file called `what`.
    pub(crate) fn control_error(self, what: &str) -> ControlError {
        match self {
            Self::Rule(error) => error,
            Self::File(error) => error.fault_of_ours(what).into(),
        }
    }
}

/// An error with the same code and words, and so of the same kind.
fn sqlite_error_again(error: &rusqlite::Error) -> rusqlite::Error {
    match error {
        rusqlite::Error::SqliteFailure(code, message) => {
            rusqlite::Error::SqliteFailure(*code, message.clone())
        }
        rusqlite::Error::InvalidPath(path) => rusqlite::Error::InvalidPath(path.clone()),
        other => rusqlite::Error::ToSqlConversionFailure(other.to_string().into()),
    }
}

fn kind(error: &rusqlite::Error) -> FaultKind {
    match error {
        rusqlite::Error::SqliteFailure(code, message) => sqlite_kind(*code, message.as_deref()),
        rusqlite::Error::InvalidPath(path) => FaultKind::Missing(path.display().to_string()),
        other => FaultKind::Corrupt(other.to_string()),
    }
}

fn sqlite_kind(error: ffi::Error, message: Option<&str>) -> FaultKind {
    let words = || {
        let words = message.map_or_else(|| error.to_string(), str::to_owned);
        format!("{words} (SQLite code {})", error.extended_code)
    };
    match error.code {
        ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::FileLockingProtocolFailed => FaultKind::Locked,
        ErrorCode::DiskFull => FaultKind::Full,
        // The index of the write-ahead log is a file too, and is made longer when it is opened.
        _ if error.extended_code == ffi::SQLITE_IOERR_SHMSIZE => FaultKind::Full,
        ErrorCode::ReadOnly => FaultKind::ReadOnly,
        ErrorCode::NotADatabase => FaultKind::Foreign(NO_DATABASE.to_owned()),
        ErrorCode::CannotOpen
        | ErrorCode::SystemIoFailure
        | ErrorCode::PermissionDenied
        | ErrorCode::AuthorizationForStatementDenied
        | ErrorCode::OutOfMemory
        | ErrorCode::OperationInterrupted
        | ErrorCode::NoLargeFileSupport => FaultKind::Unreachable(words()),
        // The contents are impossible for a SQLite file, or for a file of rehome.
        ErrorCode::DatabaseCorrupt | ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch => {
            FaultKind::Corrupt(words())
        }
        // Any other error, also an unknown one (tables that are missing while a backup is restored are an
        // "SQL logic error"), shows nothing about the data.
        _ => FaultKind::Failing(words()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(code: std::ffi::c_int) -> FaultKind {
        sqlite_kind(ffi::Error::new(code), Some("said SQLite"))
    }

    #[test]
    fn only_what_shows_damage_is_called_corrupt() {
        for code in [ffi::SQLITE_CORRUPT, ffi::SQLITE_CORRUPT_INDEX, ffi::SQLITE_CONSTRAINT] {
            assert!(matches!(kind_of(code), FaultKind::Corrupt(_)), "{code}");
        }
        let others = (1..=28).filter(|code| {
            ![ffi::SQLITE_CORRUPT, ffi::SQLITE_CONSTRAINT, ffi::SQLITE_MISMATCH].contains(code)
        });
        for code in others.chain([ffi::SQLITE_IOERR_READ, 1_000_001]) {
            assert!(!matches!(kind_of(code), FaultKind::Corrupt(_)), "{code}");
        }
        assert!(matches!(kind_of(ffi::SQLITE_ERROR), FaultKind::Failing(_)), "a missing table");
    }

    #[test]
    fn a_file_that_is_no_database_is_foreign_when_opened_and_damaged_later() {
        let error = || rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_NOTADB), None);
        assert!(matches!(FileError::Sql(error()).fault("x").kind, FaultKind::Foreign(_)));
        let later: Failure<Refused> = error().into();
        assert!(later.store_error("x").is_damage());
    }
}
