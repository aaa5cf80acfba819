//! PostgreSQL's errors, mapped to those of the ports.
//!
//! A message names the server, what happened and what to do; never the contents of a row. The details
//! that PostgreSQL adds to an error contain values, so they are left out.

use std::fmt;
use std::time::Duration;

use rehome_domain::ledger::Refused;
use rehome_ports::{ControlError, Fault, FaultKind, StoreError};
use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::schema::names::quoted;

/// What went wrong with a server, before its name is on it.
#[derive(Debug)]
pub(crate) struct ServerError {
    kind: FaultKind,
    /// The answer was lost: whether the statement was carried out is not known.
    lost: bool,
    /// The lost operation may have been applied.
    applied: bool,
    /// A division by zero.
    undone: bool,
    source: Option<Said>,
}

/// An error of the server or of the connection.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Said(String);

impl ServerError {
    /// Found by our own checks.
    pub(crate) const fn new(kind: FaultKind) -> Self {
        Self { kind, lost: false, applied: false, undone: false, source: None }
    }

    /// What the server holds makes no sense.
    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::new(FaultKind::Corrupt(what.into()))
    }

    /// It cannot be reached.
    pub(crate) fn unreachable(why: impl Into<String>) -> Self {
        Self::new(FaultKind::Unreachable(why.into()))
    }

    /// There will be no response that counts.
    pub(crate) fn lost(why: impl Into<String>) -> Self {
        Self { lost: true, ..Self::unreachable(why) }
    }

    /// There was no response in time.
    pub(crate) fn no_answer(time: Duration) -> Self {
        let why = format!("no response within {} s", time.as_secs_f32());
        Self::lost(why)
    }

    /// A connection to `place` could not be made; nothing was sent.
    pub(crate) fn connecting(
        error: tokio_postgres::Error,
        place: &impl fmt::Display,
        database: &str,
    ) -> Self {
        let said = error.as_db_error().map(|said| (said.code().code().to_owned(), said.message()));
        let todo = match said {
            Some((code, message)) if code == "3D000" || message.starts_with("no such database") => {
                Some(format!(
                    "database \"{database}\" does not exist on {place}; create it, or correct the URL"
                ))
            }
            Some((_, message)) if message.contains("startup parameter") => Some(format!(
                "{place} is a pooler that does not pass session settings to the server ({message}); add \
                 pooler=transaction to the URL, and direct=HOST:PORT of the server itself for notifications of routes"
            )),
            _ => None,
        };
        let cause = Self { lost: false, ..Self::from(error) };
        match todo {
            Some(todo) => Self { kind: FaultKind::NotSetUp(todo), ..cause },
            None => cause,
        }
    }

    /// The same, of a statement that may have changed something.
    #[must_use]
    pub(crate) fn of_write(self) -> Self {
        Self { applied: self.lost, ..self }
    }

    /// Another session holds a needed lock.
    pub(crate) const fn locked() -> Self {
        Self::new(FaultKind::Locked)
    }

    /// Whether a chain of appends undid itself: its statement divides by zero, which no other one does.
    pub(crate) const fn is_undone_chain(&self) -> bool {
        self.undone
    }

    /// The same, of something that was carried out in part before.
    #[must_use]
    pub(crate) fn after_a_part(self) -> Self {
        Self { applied: true, ..self }
    }

    /// Whether another session held a needed lock for too long.
    pub(crate) fn is_locked(&self) -> bool {
        self.kind == FaultKind::Locked
    }

    /// The fault of the server called `what`.
    pub(crate) fn fault(self, what: &str) -> Fault {
        let fault = Fault::new(what, self.kind);
        let fault = if self.applied { fault.maybe_applied() } else { fault };
        match self.source {
            Some(said) => fault.caused_by(said),
            None => fault,
        }
    }
}

/// What it is, without the name of the server.
impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            FaultKind::Unreachable(why) | FaultKind::NotSetUp(why) => f.write_str(why),
            kind => kind.fmt(f),
        }
    }
}

impl From<tokio_postgres::Error> for ServerError {
    fn from(error: tokio_postgres::Error) -> Self {
        if let Some(said) = error.as_db_error() {
            let source = Some(Said(words(said)));
            let undone = *said.code() == SqlState::DIVISION_BY_ZERO;
            let (kind, lost) = (kind(said), is_lost(said));
            return Self { kind, lost, applied: false, undone, source };
        }
        Self { lost: true, ..Self::unreachable(chain(&error)) }
    }
}

/// The error and its causes, in one line.
fn chain(error: &tokio_postgres::Error) -> String {
    let mut words = error.to_string();
    let mut below = std::error::Error::source(error);
    while let Some(error) = below {
        words = format!("{words}: {error}");
        below = error.source();
    }
    words
}

fn words(said: &DbError) -> String {
    format!("{} (SQLSTATE {})", said.message(), said.code().code())
}

/// Whether the statement may have been carried out all the same. An ERROR rolls it back. A session
/// that is ended may be ended between a commit and its answer.
fn is_lost(said: &DbError) -> bool {
    matches!(said.parsed_severity(), Some(Severity::Fatal | Severity::Panic) | None)
        || *said.code() == SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN
}

/// The constraints on numbers that a counter gives out, and their columns.
const COUNTED: [(&str, &str); 4] = [
    ("streams_pkey", "stream_no"),
    ("ledger_tenant_no_key", "tenant_no"),
    ("tenants_pkey", "no"),
    ("tokens_pkey", "token_no"),
];

/// A counter gave out a number that is in use: a copy by logical means has the rows and not the counter. That is no
/// damage, and an operator sets it right.
fn behind(said: &DbError) -> Option<String> {
    if *said.code() != SqlState::UNIQUE_VIOLATION {
        return None;
    }
    let (_, column) = COUNTED.iter().find(|(name, _)| said.constraint() == Some(*name))?;
    let table = format!("{}.{}", quoted(said.schema()?), quoted(said.table()?));
    let literal = table.replace('\'', "''");
    Some(format!(
        "a counter is behind its rows ({}): it was restored or switched to by logical means, which copy rows and no \
         counters, and events may be missing; compare it with the other stores and with `rehome recover`, then set the \
         counter: SELECT setval(pg_get_serial_sequence('{literal}', '{column}'), max({column})) FROM {table}",
        said.message()
    ))
}

fn kind(said: &DbError) -> FaultKind {
    if let Some(why) = behind(said) {
        return FaultKind::NotSetUp(why);
    }
    let code = said.code();
    match code.code() {
        "55P03" | "40001" | "40P01" => FaultKind::Locked,
        "53100" => FaultKind::Full,
        // Errors of poolers, and of named statements in shared sessions.
        "26000" | "42P05" => FaultKind::NotSetUp(format!(
            "the connection goes through a pooler in transaction mode, which loses named statements ({}); add \
             pooler=transaction to the URL, or set max_prepared_statements of the pooler",
            said.message()
        )),
        _ if said.message().contains("statement pooling mode") => FaultKind::NotSetUp(format!(
            "its pooler is in statement mode ({}); set pool_mode = transaction in the pooler's \
             configuration",
            said.message()
        )),
        "3D000" | "3F000" => FaultKind::Missing(said.message().to_owned()),
        // The server found its own files damaged.
        "XX001" | "XX002" => FaultKind::Corrupt(words(said)),
        // A parameter that an operator set, not a value that is stored.
        "22023" => FaultKind::Failing(words(said)),
        text => match text.get(..2) {
            // Resources, an operator's hand, a server that starts or stops, a standby, the way to it.
            Some("08" | "25" | "28" | "42" | "53" | "57" | "58") => {
                FaultKind::Unreachable(words(said))
            }
            // An impossible value or row: rehome's statements cannot
            // cause it. An exception in another program's trigger shows nothing about the data.
            Some("22" | "23") if said.routine() != Some("exec_stmt_raise") => {
                FaultKind::Corrupt(words(said))
            }
            // All else, also what we do not know.
            _ => FaultKind::Failing(words(said)),
        },
    }
}

/// Why an operation answers no: a rule, or the server.
#[derive(Debug)]
pub(crate) enum Failure<R> {
    /// The domain refused it.
    Rule(R),
    /// The server failed.
    Server(ServerError),
}

impl<R> From<ServerError> for Failure<R> {
    fn from(error: ServerError) -> Self {
        Self::Server(error)
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
    /// The port's error, of the server called `what`.
    pub(crate) fn store_error(self, what: &str) -> StoreError {
        match self {
            Self::Rule(refused) => refused.into(),
            Self::Server(error) => error.fault(what).into(),
        }
    }
}

impl Failure<ControlError> {
    /// The port's error, of the server called `what`.
    pub(crate) fn control_error(self, what: &str) -> ControlError {
        match self {
            Self::Rule(error) => error,
            Self::Server(error) => error.fault(what).into(),
        }
    }
}
