//! A table of another library, wherever it is.

use rehome_domain::layout::Layout;
use rehome_ports::{Fault, LedgerStore};
use rehome_postgres::PgAdopted;
use rehome_sqlite::SqliteAdopted;

/// A table to adopt, and where it is.
#[derive(Clone)]
pub(crate) enum Adoption {
    /// In a PostgreSQL database.
    Postgres(Box<rehome_postgres::Adoption>),
    /// In another program's file.
    Sqlite(Box<rehome_sqlite::Adoption>),
}

impl Adoption {
    /// Which column is what.
    pub(crate) fn layout(&self) -> &Layout {
        match self {
            Self::Postgres(adoption) => &adoption.layout,
            Self::Sqlite(adoption) => &adoption.layout,
        }
    }

    /// What an installation would do, a sentence each.
    pub(crate) async fn plan(&self) -> Result<Vec<String>, Fault> {
        match self {
            Self::Postgres(adoption) => adoption.plan().await,
            Self::Sqlite(adoption) => adoption.plan().await,
        }
    }

    /// Whether the guard is installed.
    pub(crate) async fn is_installed(&self) -> Result<bool, Fault> {
        match self {
            Self::Postgres(adoption) => adoption.is_installed().await,
            Self::Sqlite(adoption) => adoption.is_installed().await,
        }
    }

    /// Installs the guard.
    pub(crate) async fn adopt(&self) -> Result<(), Fault> {
        match self {
            Self::Postgres(adoption) => adoption.adopt().await,
            Self::Sqlite(adoption) => adoption.adopt().await,
        }
    }

    /// Removes the guard. Returns the steps carried out.
    pub(crate) async fn release(&self, no_writers_left: bool) -> Result<Vec<String>, Fault> {
        match self {
            Self::Postgres(adoption) => adoption.release(no_writers_left).await,
            Self::Sqlite(adoption) => adoption.release(no_writers_left).await,
        }
    }

    /// The store, opened.
    pub(super) async fn open(&self) -> Result<Box<dyn LedgerStore>, Fault> {
        Ok(match self.clone() {
            Self::Postgres(adoption) => Box::new(PgAdopted::open(*adoption).await?),
            Self::Sqlite(adoption) => Box::new(SqliteAdopted::open(*adoption).await?),
        })
    }
}
