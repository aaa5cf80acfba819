//! Other programs' tables, as their database describes them: before a guard is installed, and for a draft
//! of a layout.
//!
//! | file | contents |
//! |---|---|
//! | `read` | the catalog's tables |
//! | `judge` | obstacles to adopting a table |
//! | `peek` | what only the rows show |
//! | `types` | the types of each part of an event |
//!
//! The types here are plain data: judging and guessing need no database.

mod judge;
mod peek;
mod read;
mod types;

use rehome_ports::Fault;

use crate::schema::names::quoted;
use crate::server::{PostgresOptions, PostgresUrl, Server};

pub use judge::{Finding, Severity, judge, judge_heads};
pub use peek::{History, history, lowest, tables};
pub(crate) use read::read;
pub use types::{is_integer, is_name, is_of_the_database, is_payload, is_text, is_time};

/// A table, a view, or whatever else has rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Whether it outlives a crash.
    pub persistence: Persistence,
    /// Whose it is.
    pub owner: String,
    /// The role that read it.
    pub role: String,
    /// The database that it is in.
    pub database: String,
    /// What that role may do.
    pub rights: Rights,
    /// Whether row level security hides rows from that role.
    pub hides_rows: bool,
    /// Whether that role may keep triggers from firing for the rows that it writes.
    pub may_silence: bool,
    /// Its columns, in their order.
    pub columns: Vec<Column>,
    /// Its unique indexes, the primary key first, then the shorter before the longer.
    pub keys: Vec<Key>,
    /// The columns by which its rows are put into partitions.
    pub partition_columns: Vec<String>,
    /// Its partitions, all the way down.
    pub partitions: Vec<Part>,
    /// Tables that inherit from it and are no partitions.
    pub children: Vec<String>,
    /// Tables that it is a partition of or inherits from.
    pub parents: Vec<String>,
    /// Triggers of its owner, on it and on its partitions.
    pub triggers: Vec<Trigger>,
    /// Names of its rules.
    pub rules: Vec<String>,
    /// Foreign keys from it and to it.
    pub foreign_keys: Vec<ForeignKey>,
}

/// What has rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A table.
    Plain,
    /// A table whose rows are in partitions.
    Partitioned,
    /// A table of another server.
    Foreign,
    /// A view.
    View,
    /// A view with stored rows.
    MaterializedView,
    /// Something else.
    Other,
}

impl Kind {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "a table",
            Self::Partitioned => "a partitioned table",
            Self::Foreign => "a foreign table",
            Self::View => "a view",
            Self::MaterializedView => "a materialized view",
            Self::Other => "no table",
        }
    }
}

/// Whether a table outlives a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// It does.
    Permanent,
    /// It is emptied.
    Unlogged,
    /// It goes with its session.
    Temporary,
}

/// What a role may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Whether it owns the table, or is a member of the role that does.
    pub owns: bool,
    /// Which of SELECT, INSERT, UPDATE, DELETE and TRIGGER on the table it lacks.
    pub lacks: Vec<&'static str>,
    /// USAGE on the table's schema.
    pub use_schema: bool,
    /// CREATE on the database.
    pub create_schema: bool,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as SQL writes it, with the schema where it needs one.
    pub kind: String,
    /// The type below, where that is a domain; else the same.
    pub base: String,
    /// Whether the type below is an enumeration.
    pub is_enum: bool,
    /// Whether it is never NULL.
    pub not_null: bool,
    /// The value if none is given.
    pub given: Given,
    /// The sequence that its values come from.
    pub sequence: Option<Sequence>,
}

/// What a column is if an INSERT does not name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// NULL.
    Nothing,
    /// What this expression gives.
    Default(String),
    /// The next number; it is an identity column.
    Identity,
    /// Computed from the other columns; never written.
    Generated,
}

/// Where a column's values come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Its name as SQL writes it, with its schema.
    pub name: String,
    /// How many numbers a session caches.
    pub cache: i64,
    /// Whether our role may draw from it.
    pub may_draw: bool,
}

/// A unique index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// Its columns; an expression is not among them.
    pub columns: Vec<String>,
    /// Whether it is the primary key.
    pub primary: bool,
    /// Why it does not promise that no two rows share it, if it does not.
    pub weak: Option<Weak>,
}

/// Why an index does not promise that no two rows share its columns, at every moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weak {
    /// It was not built to its end.
    Invalid,
    /// It is for some of the rows.
    Partial,
    /// It has an expression in it.
    Expression,
    /// It is checked when the transaction commits.
    Deferrable,
}

impl Weak {
    /// The words for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "is incomplete",
            Self::Partial => "covers some of the rows only",
            Self::Expression => "contains an expression",
            Self::Deferrable => "is deferrable",
        }
    }
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name as SQL writes it, with its schema.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Whether it outlives a crash.
    pub persistence: Persistence,
    /// Whether our role owns it, or is a member of the role that does.
    pub owns: bool,
}

/// A trigger of the table's owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// Its name.
    pub name: String,
    /// The table that it is on, as SQL writes it, with its schema.
    pub table: String,
    /// Its function, as SQL writes it, with its schema.
    pub function: String,
    /// When it fires: `BEFORE INSERT ROW` and the like.
    pub when: String,
    /// When it is enabled.
    pub enabled: Enabled,
}

/// When a trigger is enabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enabled {
    /// Unless the session is in replica mode.
    Usually,
    /// Always.
    Always,
    /// Only in a session in replica mode.
    Replicating,
    /// Never.
    Never,
}

/// A foreign key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    /// Its name.
    pub name: String,
    /// Whether it is the table's own, and points to another.
    pub outgoing: bool,
    /// The other table, as SQL writes it, with its schema.
    pub other: String,
    /// What a DELETE of the row that is pointed to does.
    pub on_delete: Action,
    /// What an UPDATE of it does.
    pub on_update: Action,
}

/// What happens to a row that points to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The change is refused.
    Refuse,
    /// It goes, or is changed, too.
    Cascade,
    /// It points to nothing, or to the default.
    Unset,
}

impl Table {
    /// The table as SQL names it.
    pub fn quoted(&self) -> String {
        format!("{}.{}", quoted(&self.schema), quoted(&self.name))
    }

    /// A column by its name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Whether a column is computed from the others.
    pub fn is_generated(&self, name: &str) -> bool {
        self.column(name).is_some_and(|column| column.given == Given::Generated)
    }

    /// Whether a key names one row and no other, ever: it is not weak, and none of its columns is ever NULL.
    pub fn is_strong(&self, key: &Key) -> bool {
        let never_null = |name: &String| self.column(name).is_some_and(|column| column.not_null);
        key.weak.is_none() && key.columns.iter().all(never_null)
    }
}

/// Describes a table; `None`: there is nothing of that name.
pub async fn table(url: &PostgresUrl, schema: &str, name: &str) -> Result<Option<Table>, Fault> {
    let look = async {
        let mut client = Server::connect(url, PostgresOptions::default()).await?;
        read(&mut client, schema, name).await
    };
    look.await.map_err(|error| error.fault(&format!("database {url}")))
}
