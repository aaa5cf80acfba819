//! The other program's stores: files, or databases of a server.

use rehome_app::Config;
use rehome_app::config::Url;
use rehome_app::error::AppError;
use rehome_postgres::plain::PlainTable;
pub(super) use rehome_sqlite::plain::PlainEvent;
use rehome_sqlite::plain::PlainFile;

/// One of them, for one tenant.
pub(super) enum Plain {
    File(PlainFile),
    Table(PlainTable),
}

impl Plain {
    /// Opens a store of the configuration, and makes its table if there is none.
    pub(super) async fn open(config: &Config, store: &str, tenant: &str) -> Result<Self, AppError> {
        let found = config.stores.iter().find(|one| one.id.as_str() == store);
        match found.map(|found| &found.url) {
            Some(Url::Sqlite(path)) => {
                let file = PlainFile::open(path, tenant);
                file.map(Self::File).map_err(|error| failed(&error))
            }
            Some(Url::Postgres(url)) => {
                let table = PlainTable::open(url, tenant).await;
                table.map(Self::Table).map_err(|error| failed(&error))
            }
            None => Err(failed(&format!("the configuration has no store \"{store}\""))),
        }
    }

    /// Appends events in one transaction. The error has the words of the database.
    pub(super) async fn append(&mut self, events: &[PlainEvent]) -> Result<(), String> {
        match self {
            Self::File(file) => file.append(events).map_err(|error| error.to_string()),
            Self::Table(table) => {
                let rows = events.iter().cloned().map(
                    |PlainEvent { id, stream, version, at, payload }| {
                        (id, stream, version, at, payload)
                    },
                );
                table.append(&rows.collect::<Vec<_>>()).await
            }
        }
    }

    /// All events of the tenant, in the order of their positions.
    pub(super) async fn events(&self) -> Result<Vec<PlainEvent>, AppError> {
        match self {
            Self::File(file) => file.events().map_err(|error| failed(&error)),
            Self::Table(table) => {
                let rows = table.events().await.map_err(|error| failed(&error))?;
                let event = |(id, stream, version, at, payload)| PlainEvent {
                    id,
                    stream,
                    version,
                    at,
                    payload,
                };
                Ok(rows.into_iter().map(event).collect())
            }
        }
    }
}

pub(super) fn failed(error: &dyn std::fmt::Display) -> AppError {
    AppError::failed("plain_sql", format!("the other program's store: {error}"))
}
