//! The tables and functions, their format, and their ownership.
//!
//! Both parts, the store and the control plane, may be in one schema; each has its row in `meta`.
//! Foreign objects are never written. Everything is created in one transaction under an advisory
//! lock, so of two processes that start at once one waits and finds the work done.
//!
//! | file | contents |
//! |---|---|
//! | `names` | names in statements |
//! | `owners` | other roles that could run code as rehome's role, or change its objects |
//! | `*.sql` | tables and functions |

pub(crate) mod names;
pub(crate) mod owners;

use rehome_ports::FaultKind;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::error::ServerError;
use crate::rows;
use crate::server::{Client, Transaction};

/// The oldest server that has what we use, as `server_version_num`.
const SERVER_VERSION_MIN: i32 = 140_000;

/// What a part of a schema can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Tenants' ledgers and events.
    Store,
    /// Routes and migrations.
    ControlPlane,
    /// Ledgers beside another library's table.
    Guard,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::ControlPlane => "control_plane",
            Self::Guard => "guard",
        }
    }

    const fn noun(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::ControlPlane => "control plane",
            Self::Guard => "guard",
        }
    }

    /// The scripts that make it, in order.
    const fn scripts(self) -> &'static [&'static str] {
        match self {
            Self::Store => &[
                include_str!("store/tables.sql"),
                include_str!("store/append.sql"),
                include_str!("store/append_one.sql"),
                include_str!("store/replica.sql"),
                include_str!("store/ledger.sql"),
                include_str!("store/tail.sql"),
                include_str!("store/anchors.sql"),
                include_str!("store/rows.sql"),
            ],
            Self::ControlPlane => &[
                include_str!("control/tables.sql"),
                include_str!("control/functions.sql"),
                include_str!("control/memos.sql"),
                include_str!("control/access.sql"),
                include_str!("control/fleet.sql"),
                include_str!("control/anchors.sql"),
                include_str!("control/lists.sql"),
                include_str!("control/removals.sql"),
            ],
            // Made of the table's own names, by crate::adopted.
            Self::Guard => &[],
        }
    }

    /// The format that this code writes, and the newest that it reads.
    const fn format(self) -> i32 {
        match self {
            Self::Store => 7,
            Self::ControlPlane => 9,
            Self::Guard => 4,
        }
    }

    /// The oldest rehome, by format, that may read and write what this code leaves. Of a store nothing
    /// changed since format 2 for who calls the functions, until a row is kept: see [`keeps_rows`].
    const fn oldest(self) -> i32 {
        match self {
            Self::Store => 2,
            // Older ones do not know tokens in a control plane, nor its gate. Those of format 5 do not know
            // drains, which is harmless: they handle the migrations of a drain correctly. Those of format 6,
            // and those of stores of format 5, do not know anchors of logs. Those of format 8 do not know removals,
            // and must be upgraded before the first tenant is removed.
            Self::ControlPlane => 5,
            // Older ones would write a tenant that comes from a table of another layout into the wrong columns.
            Self::Guard => 4,
        }
    }

    /// The scripts that bring a part of an older format to this code's.
    const fn upgrades(self, from: u32) -> &'static [&'static str] {
        match (self, from) {
            (Self::Store, 1) => &[
                include_str!("store/format_2.sql"),
                include_str!("store/append.sql"),
                include_str!("store/append_one.sql"),
                include_str!("store/replica.sql"),
                include_str!("store/ledger.sql"),
                include_str!("store/tail.sql"),
                include_str!("store/anchors.sql"),
                include_str!("store/rows.sql"),
            ],
            (Self::Store, 2) => &[
                include_str!("store/format_3.sql"),
                include_str!("store/append.sql"),
                include_str!("store/append_one.sql"),
                include_str!("store/replica.sql"),
                include_str!("store/ledger.sql"),
                include_str!("store/tail.sql"),
                include_str!("store/anchors.sql"),
                include_str!("store/rows.sql"),
            ],
            (Self::Store, 3 | 4) => &[
                include_str!("store/append.sql"),
                include_str!("store/append_one.sql"),
                include_str!("store/tail.sql"),
                include_str!("store/anchors.sql"),
                include_str!("store/rows.sql"),
            ],
            (Self::Store, 5) => &[
                include_str!("store/tail.sql"),
                include_str!("store/anchors.sql"),
                include_str!("store/rows.sql"),
            ],
            (Self::Store, 6) => &[include_str!("store/tail.sql"), include_str!("store/rows.sql")],
            (Self::ControlPlane, 1) => &[
                include_str!("control/memos.sql"),
                include_str!("control/functions.sql"),
                include_str!("control/access.sql"),
                include_str!("control/fleet.sql"),
                include_str!("control/anchors.sql"),
                include_str!("control/lists.sql"),
                include_str!("control/removals.sql"),
            ],
            (Self::ControlPlane, 2..=4) => &[
                include_str!("control/functions.sql"),
                include_str!("control/access.sql"),
                include_str!("control/fleet.sql"),
                include_str!("control/anchors.sql"),
                include_str!("control/lists.sql"),
                include_str!("control/removals.sql"),
            ],
            (Self::ControlPlane, 5) => &[
                include_str!("control/functions.sql"),
                include_str!("control/fleet.sql"),
                include_str!("control/anchors.sql"),
                include_str!("control/lists.sql"),
                include_str!("control/removals.sql"),
            ],
            (Self::ControlPlane, 6) => &[
                include_str!("control/functions.sql"),
                include_str!("control/anchors.sql"),
                include_str!("control/lists.sql"),
                include_str!("control/removals.sql"),
            ],
            (Self::ControlPlane, 7) => &[
                include_str!("control/functions.sql"),
                include_str!("control/lists.sql"),
                include_str!("control/removals.sql"),
            ],
            (Self::ControlPlane, 8) => {
                &[include_str!("control/functions.sql"), include_str!("control/removals.sql")]
            }
            _ => &[],
        }
    }
}

/// The identity of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    /// The format of its tables.
    pub(crate) format: u32,
    /// Whose it is.
    pub(crate) deployment: String,
    /// Which one it is.
    pub(crate) identity: String,
    /// The system identifier of the server that it was made on, if that was recorded.
    pub(crate) system_identifier: Option<String>,
    kind: Kind,
}

impl Meta {
    /// Whether its tables are those of an older format than this code writes.
    pub(crate) fn is_old(&self) -> bool {
        self.format < self.kind.format().unsigned_abs()
    }

    /// Refuses a part of another deployment.
    pub(crate) fn check_deployment(&self, expected: Option<&str>) -> Result<(), ServerError> {
        match expected {
            Some(expected) if expected != self.deployment => {
                Err(ServerError::new(FaultKind::OtherDeployment {
                    found: self.deployment.clone(),
                    expected: expected.to_owned(),
                }))
            }
            _ => Ok(()),
        }
    }
}

/// Checks the server, and whose the part is. `None`: it is not there.
pub(crate) async fn find(
    client: &mut Client,
    schema: &str,
    kind: Kind,
) -> Result<Option<Meta>, ServerError> {
    check_server(client).await?;
    owners::check(client, schema).await?;
    installed(client, schema, kind).await
}

/// Creates the part, unless another process just did.
pub(crate) async fn make(
    client: &mut Client,
    schema: &str,
    kind: Kind,
    deployment: Option<&str>,
) -> Result<Meta, ServerError> {
    let mut tx = client.begin().await?;
    lock(&mut tx, schema).await?;
    owners::check(&mut tx, schema).await?;
    let meta = match installed(&mut tx, schema, kind).await? {
        Some(meta) => meta,
        None => install(&mut tx, schema, kind, deployment).await?,
    };
    tx.commit().await?;
    Ok(meta)
}

/// Upgrades the part to the format that this code writes, unless another process just did.
pub(crate) async fn upgrade(
    client: &mut Client,
    schema: &str,
    kind: Kind,
) -> Result<Meta, ServerError> {
    let mut tx = client.begin().await?;
    lock(&mut tx, schema).await?;
    owners::check(&mut tx, schema).await?;
    let gone = || ServerError::corrupt("its row in the meta table is gone");
    let found = read_meta(&mut tx, kind).await?.ok_or_else(gone)?;
    if found.is_old() {
        tx.batch("ALTER TABLE {schema}.meta ADD COLUMN IF NOT EXISTS system_identifier text")
            .await?;
        for script in kind.upgrades(found.format) {
            tx.batch(script).await?;
        }
        upgraded(&mut tx, kind).await?;
    }
    let meta = read_meta(&mut tx, kind).await?.ok_or_else(gone)?;
    tx.commit().await?;
    Ok(meta)
}

/// Notes that the part has the format that this code writes.
pub(crate) async fn upgraded(tx: &mut Transaction<'_>, kind: Kind) -> Result<(), ServerError> {
    let system = system_identifier(tx).await?;
    tx.query(
        "UPDATE {schema}.meta SET format = $2, oldest_reader = greatest(oldest_reader, $3), \
             oldest_writer = greatest(oldest_writer, $3), system_identifier = $4 \
         WHERE kind = $1",
        &[
            (&kind.name(), Type::TEXT),
            (&kind.format(), Type::INT4),
            (&kind.oldest(), Type::INT4),
            (&system, Type::TEXT),
        ],
    )
    .await?;
    Ok(())
}

/// The format of stores that keep rows of other libraries' tables.
const ROWS_FROM: i32 = 7;

/// Notes that a store keeps such a row: an older rehome would read the event without it.
pub(crate) async fn keeps_rows(tx: &mut Transaction<'_>) -> Result<(), ServerError> {
    tx.query(
        "UPDATE {schema}.meta SET oldest_reader = greatest(oldest_reader, $2), \
             oldest_writer = greatest(oldest_writer, $2) \
         WHERE kind = $1 AND least(oldest_reader, oldest_writer) < $2",
        &[(&Kind::Store.name(), Type::TEXT), (&ROWS_FROM, Type::INT4)],
    )
    .await?;
    Ok(())
}

/// Of those that make or upgrade something in the schema, one at a time.
pub(crate) async fn lock(tx: &mut Transaction<'_>, schema: &str) -> Result<(), ServerError> {
    let key = format!("rehome schema {schema}");
    // Upgrading a large table may take longer than the usual lock timeout.
    tx.batch("SET LOCAL lock_timeout = 0").await?;
    tx.query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", &[(&key, Type::TEXT)])
        .await?;
    Ok(())
}

/// The identifier of the server's data directory, which a copy by physical means has as well, and one by
/// logical means has not. `None`: the server does not show it to us.
pub(crate) async fn system_identifier(client: &mut Client) -> Result<Option<String>, ServerError> {
    let may = client
        .read("SELECT has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')", &[])
        .await?;
    if !may.first().map(|row| rows::get(row, 0)).transpose()?.unwrap_or(false) {
        return Ok(None);
    }
    let found = client.read("SELECT system_identifier::text FROM pg_control_system()", &[]).await?;
    found.first().map(|row| rows::get(row, 0)).transpose()
}

async fn check_server(client: &mut Client) -> Result<(), ServerError> {
    let found = client
        .read(
            "SELECT current_setting('server_version_num')::int, current_setting('server_version'), \
             current_setting('server_encoding'), \
             current_setting('default_transaction_isolation')",
            &[],
        )
        .await?;
    let row = found.first().ok_or_else(|| ServerError::corrupt("no answer about its version"))?;
    let foreign = |why: String| Err(ServerError::new(FaultKind::Foreign(why)));
    let (version, words): (i32, String) = (rows::get(row, 0)?, rows::get(row, 1)?);
    if version < SERVER_VERSION_MIN {
        return foreign(format!("it runs PostgreSQL {words}; rehome needs 14 or newer"));
    }
    let encoding: String = rows::get(row, 2)?;
    if encoding != "UTF8" {
        return foreign(format!("its database has the encoding {encoding}; rehome needs UTF8"));
    }
    // Set for each connection, except behind a pooler, where there are no settings of a connection.
    let isolation: String = rows::get(row, 3)?;
    if isolation != "read committed" {
        return foreign(format!(
            "its role has default_transaction_isolation = '{isolation}'; rehome needs 'read committed'"
        ));
    }
    Ok(())
}

/// The row of the part in `meta`; `None` if there is none.
pub(crate) async fn installed(
    client: &mut Client,
    schema: &str,
    kind: Kind,
) -> Result<Option<Meta>, ServerError> {
    let found = client
        .read(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_class AS c \
                 JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
                 WHERE n.nspname = $1 AND c.relname = 'meta'), \
             EXISTS (SELECT FROM pg_catalog.pg_class AS c \
                 JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
                 WHERE n.nspname = $1)",
            &[(&schema, Type::TEXT)],
        )
        .await?;
    let Some(row) = found.first() else { return Ok(None) };
    match (rows::get(row, 0)?, rows::get(row, 1)?) {
        (true, _) => {}
        (false, false) => return Ok(None),
        (false, true) => {
            let why = format!("its schema {schema} has other tables; name a separate schema");
            return Err(ServerError::new(FaultKind::Foreign(why)));
        }
    }
    read_meta(client, kind).await
}

/// The part's row in `meta`; refuses a part that only a newer rehome may touch.
pub(crate) async fn read_meta(
    client: &mut Client,
    kind: Kind,
) -> Result<Option<Meta>, ServerError> {
    let found = client
        .read(
            // The last one is there from format 3 on.
            "SELECT format, oldest_reader, oldest_writer, deployment, identity, \
                 to_jsonb(m) ->> 'system_identifier' \
             FROM {schema}.meta AS m WHERE kind = $1",
            &[(&kind.name(), Type::TEXT)],
        )
        .await?;
    let Some(row) = found.first() else { return Ok(None) };
    let (format, reader, writer): (i32, i32, i32) =
        (rows::get(row, 0)?, rows::get(row, 1)?, rows::get(row, 2)?);
    let oldest = reader.max(writer);
    if oldest > kind.format() {
        return Err(ServerError::new(FaultKind::NewerFormat {
            found: oldest.unsigned_abs(),
            known: kind.format().unsigned_abs(),
        }));
    }
    let format = u32::try_from(format)
        .map_err(|_| ServerError::corrupt(format!("a {} of format {format}", kind.noun())))?;
    Ok(Some(Meta {
        format,
        deployment: rows::get(row, 3)?,
        identity: rows::get(row, 4)?,
        system_identifier: rows::get(row, 5)?,
        kind,
    }))
}

/// Makes the part in the caller's transaction.
pub(crate) async fn install(
    tx: &mut Transaction<'_>,
    schema: &str,
    kind: Kind,
    deployment: Option<&str>,
) -> Result<Meta, ServerError> {
    // Not IF NOT EXISTS, which needs the right to create one even if there is one.
    let found = tx
        .query(
            "SELECT to_regnamespace($1) IS NOT NULL, to_regclass($2) IS NOT NULL",
            &[
                (&names::quoted(schema), Type::TEXT),
                (&format!("{}.meta", names::quoted(schema)), Type::TEXT),
            ],
        )
        .await?;
    let (has_schema, has_meta) = match found.first() {
        Some(row) => (rows::get(row, 0)?, rows::get(row, 1)?),
        None => (false, false),
    };
    owners::check_may_create(tx, schema, has_schema).await?;
    if !has_schema {
        tx.batch("CREATE SCHEMA {schema}").await?;
    }
    if has_meta {
        // The other part may be of an older format.
        tx.batch("ALTER TABLE {schema}.meta ADD COLUMN IF NOT EXISTS system_identifier text")
            .await?;
    } else {
        tx.batch(include_str!("meta.sql")).await?;
    }
    for script in kind.scripts() {
        tx.batch(script).await?;
    }
    let meta = Meta {
        format: kind.format().unsigned_abs(),
        deployment: deployment.map_or_else(|| Uuid::new_v4().to_string(), str::to_owned),
        identity: Uuid::new_v4().to_string(),
        system_identifier: system_identifier(tx).await?,
        kind,
    };
    tx.query(
        "INSERT INTO {schema}.meta \
         (kind, format, oldest_reader, oldest_writer, deployment, identity, system_identifier, \
          created_at) \
         VALUES ($1, $2, $3, $3, $4, $5, $6, \
                 (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)",
        &[
            (&kind.name(), Type::TEXT),
            (&kind.format(), Type::INT4),
            (&kind.oldest(), Type::INT4),
            (&meta.deployment, Type::TEXT),
            (&meta.identity, Type::TEXT),
            (&meta.system_identifier, Type::TEXT),
        ],
    )
    .await?;
    Ok(meta)
}
