//! Putting the guard beside a table, and taking it out again.

use rehome_domain::layout::Layout;
use rehome_ports::FaultKind;
use tokio_postgres::types::Type;

use super::render::{Names, TRIGGER};
use super::shape::{Shape, not_set_up, qualified};
use crate::catalog::{self, Severity};
use crate::error::ServerError;
use crate::rows::{self, Read, get};
use crate::schema::names::quoted;
use crate::schema::{self, Kind, owners};
use crate::server::{Client, Transaction};

const TABLES: &str = include_str!("../schema/guard/tables.sql");
const FUNCTIONS: [&str; 4] = [
    include_str!("../schema/guard/triggers.sql"),
    include_str!("../schema/guard/numbering.sql"),
    include_str!("../schema/guard/ledger.sql"),
    include_str!("../schema/guard/read.sql"),
];

/// How long the installation waits for writers that hold the table; those that come later stand in line
/// behind it.
const TABLE_LOCK_MS: u32 = 1_000;

/// What is installed, as the store needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Installed {
    /// The layout, as it was configured.
    layout: String,
    /// The columns that travel.
    pub(super) row_columns: Vec<String>,
    row_types: Vec<String>,
    /// The columns that name a row here.
    pub(super) key_columns: Vec<String>,
    /// The column that this database numbers rows by.
    pub(super) position: Option<String>,
    fingerprint: String,
}

impl Installed {
    fn of(shape: &Shape, layout: &Layout) -> Read<Self> {
        let row = shape.row_columns(layout);
        Ok(Self {
            layout: format!("{layout:?}"),
            row_columns: row.iter().map(|column| column.name.clone()).collect(),
            row_types: row.iter().map(|column| column.kind.clone()).collect(),
            key_columns: shape.key(layout)?.iter().map(|column| column.name.clone()).collect(),
            position: layout.position.clone(),
            fingerprint: String::new(),
        })
    }

    /// The type of a column that travels.
    pub(super) fn kind(&self, name: &str) -> Option<&str> {
        let place = self.row_columns.iter().position(|column| column == name)?;
        self.row_types.get(place).map(String::as_str)
    }
}

/// What an installation does, a sentence each, in order.
pub(super) async fn plan(client: &mut Client, layout: &Layout, schema: &str) -> Read<Vec<String>> {
    let (warned, refused) = judged(client, layout).await?;
    if !refused.is_empty() {
        return Err(not_set_up(format!("its table cannot be adopted: {}", refused.join("; "))));
    }
    let shape = Shape::of(client, layout).await?;
    let installed = Installed::of(&shape, layout)?;
    let table = shape.quoted();
    let list = |names: &[String]| names.join(", ");
    let mut steps = vec![
        format!(
            "CREATE SCHEMA {} with the tables installed, tenants, ledger, heads, arrivals, positions",
            quoted(schema)
        ),
        format!(
            "row triggers on {table}: before and after INSERT, before UPDATE or DELETE, ENABLE ALWAYS"
        ),
        format!("a row is named by {}", list(&installed.key_columns)),
        format!("a row travels with {}", list(&installed.row_columns)),
    ];
    steps.extend(shape.leaves.iter().map(|leaf| format!("a trigger before TRUNCATE of {leaf}")));
    let left: Vec<_> =
        shape.columns.iter().filter(|c| !installed.row_columns.contains(&c.name)).collect();
    if !left.is_empty() {
        let names: Vec<_> = left.iter().map(|column| column.name.clone()).collect();
        steps.push(format!("the target gives anew: {}", list(&names)));
    }
    steps.extend(warned.into_iter().map(|warning| format!("to know: {warning}")));
    Ok(steps)
}

/// What an operator has to know of the table, and what keeps it from being adopted.
async fn judged(client: &mut Client, layout: &Layout) -> Read<(Vec<String>, Vec<String>)> {
    let table = catalog::read(client, &layout.schema, &layout.table).await?;
    let Some(table) = table else {
        let missing = format!("there is no table {}", qualified(layout));
        return Ok((Vec::new(), vec![missing]));
    };
    let (refused, warned): (Vec<_>, Vec<_>) = catalog::judge(layout, &table)
        .into_iter()
        .partition(|finding| finding.severity == Severity::Refuse);
    let sentences = |findings: Vec<catalog::Finding>| {
        findings.into_iter().map(|finding| finding.text).collect()
    };
    Ok((sentences(warned), sentences(refused)))
}

/// Installs the guard in one transaction. Done already, by the same layout: nothing.
pub(super) async fn adopt(
    client: &mut Client,
    layout: &Layout,
    schema: &str,
    deployment: &str,
) -> Read<()> {
    let (_, refused) = judged(client, layout).await?;
    if !refused.is_empty() {
        return Err(not_set_up(format!(
            "its table cannot be adopted, and nothing was installed: {}",
            refused.join("; ")
        )));
    }
    let shape = Shape::of(client, layout).await?;
    let mut tx = client.begin().await?;
    schema::lock(&mut tx, schema).await?;
    owners::check(&mut tx, schema).await?;
    if let Some(meta) = schema::installed(&mut tx, schema, Kind::Guard).await? {
        meta.check_deployment(Some(deployment))?;
        read(&mut tx, layout).await?;
        return tx.roll_back().await;
    }
    schema::install(&mut tx, schema, Kind::Guard, Some(deployment)).await?;
    make(&mut tx, &shape, layout, schema).await?;
    tx.commit().await
}

/// Whose the table is.
const OWNER: &str = "SELECT r.rolname::text FROM pg_class AS c JOIN pg_roles AS r ON r.oid = c.relowner \
    WHERE c.oid = to_regclass($1)";

async fn make(tx: &mut Transaction<'_>, shape: &Shape, layout: &Layout, schema: &str) -> Read<()> {
    let names = Names::new(shape, layout, schema, class(schema))?;
    tx.batch(&names.render(TABLES)).await?;
    for functions in FUNCTIONS {
        tx.batch(&names.render(functions)).await?;
    }
    tx.batch("REVOKE ALL ON ALL FUNCTIONS IN SCHEMA {schema} FROM PUBLIC").await?;
    // Whoever owns the table may make a partition, which takes the row triggers over. Nobody else may have a
    // trigger of ours on a table of theirs.
    let owner = tx.query(OWNER, &[(&shape.quoted(), Type::TEXT)]).await?;
    let owner: &str = get(owner.first().ok_or_else(|| ServerError::corrupt("no owner"))?, 0)?;
    for function in ["guard_insert", "guard_note", "guard_change"] {
        let owner = quoted(owner);
        tx.batch(&format!("GRANT EXECUTE ON FUNCTION {{schema}}.{function}() TO {owner}")).await?;
    }
    tx.batch(&format!("SET LOCAL lock_timeout = {TABLE_LOCK_MS}")).await?;
    let table = shape.quoted();
    let mut triggers = Vec::new();
    for (name, when, function) in [
        ("insert", "BEFORE INSERT", "guard_insert"),
        ("note", "AFTER INSERT", "guard_note"),
        ("change", "BEFORE UPDATE OR DELETE", "guard_change"),
    ] {
        triggers.push(format!(
            "CREATE TRIGGER {TRIGGER}_{name} {when} ON {table} FOR EACH ROW \
             EXECUTE FUNCTION {{schema}}.{function}();\n"
        ));
    }
    for leaf in &shape.leaves {
        triggers.push(format!(
            "CREATE TRIGGER {TRIGGER}_truncate BEFORE TRUNCATE ON {leaf} FOR EACH STATEMENT \
             EXECUTE FUNCTION {{schema}}.guard_truncate();\n"
        ));
    }
    let mut tables: Vec<&String> = shape.leaves.iter().collect();
    if !tables.contains(&&table) {
        tables.push(&table);
    }
    for on in tables {
        for name in ["insert", "note", "change"] {
            triggers.push(format!("ALTER TABLE {on} ENABLE ALWAYS TRIGGER {TRIGGER}_{name};\n"));
        }
    }
    for leaf in &shape.leaves {
        triggers.push(format!("ALTER TABLE {leaf} ENABLE ALWAYS TRIGGER {TRIGGER}_truncate;\n"));
    }
    tx.batch(&triggers.concat()).await.map_err(|error| {
        if error.is_locked() {
            return not_set_up(format!(
                "somebody holds {table} for longer than {TABLE_LOCK_MS} ms, and writers would stand in line; \
                 nothing was installed; try again when it is quieter (pg_locks says who it is)"
            ));
        }
        error
    })?;
    let installed = Installed::of(shape, layout)?;
    tx.query(
        "INSERT INTO {schema}.installed (layout, row_columns, row_types, key_columns, position) \
         VALUES ($1, $2, $3, $4, $5)",
        &[
            (&installed.layout, Type::TEXT),
            (&installed.row_columns, Type::TEXT_ARRAY),
            (&installed.row_types, Type::TEXT_ARRAY),
            (&installed.key_columns, Type::TEXT_ARRAY),
            (&installed.position, Type::TEXT),
        ],
    )
    .await?;
    tx.batch("UPDATE {schema}.installed SET fingerprint = {schema}.fingerprint()").await
}

/// The first key of our advisory locks, from the schema's name (FNV-1a), so that two guards in one database
/// have their own.
fn class(schema: &str) -> i32 {
    let hash = schema
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    i32::try_from(hash >> 1).unwrap_or(i32::MAX)
}

/// What is installed; refuses another layout than the configured one.
pub(super) async fn read(client: &mut Client, layout: &Layout) -> Read<Installed> {
    let found = client
        .read(
            "SELECT layout, row_columns, row_types, key_columns, position, fingerprint \
             FROM {schema}.installed",
            &[],
        )
        .await?;
    let row =
        found.first().ok_or_else(|| ServerError::corrupt("nothing in the table installed"))?;
    let installed = Installed {
        layout: get(row, 0)?,
        row_columns: get(row, 1)?,
        row_types: get(row, 2)?,
        key_columns: get(row, 3)?,
        position: get(row, 4)?,
        fingerprint: get(row, 5)?,
    };
    if installed.layout != format!("{layout:?}") {
        return Err(ServerError::new(FaultKind::Foreign(format!(
            "its guard was installed for another layout than {}; release the store with that one, and adopt it \
             again",
            layout.name
        ))));
    }
    Ok(installed)
}

/// What is not as it was installed, a sentence each.
pub(super) async fn changes(client: &mut Client, layout: &Layout) -> Read<Vec<String>> {
    let installed = read(client, layout).await?;
    let mut changes = Vec::new();
    let shape = Shape::of(client, layout).await?;
    let now = Installed::of(&shape, layout)?;
    if (&now.row_columns, &now.row_types) != (&installed.row_columns, &installed.row_types) {
        changes.push(format!(
            "table {} has other columns than when it was adopted; release the store and adopt it again",
            shape.quoted()
        ));
    }
    let found = client.read("SELECT {schema}.fingerprint()", &[]).await?;
    let fingerprint: String =
        get(found.first().ok_or_else(|| ServerError::corrupt("no answer about triggers"))?, 0)?;
    if fingerprint != installed.fingerprint && changes.is_empty() {
        changes.push(format!(
            "the guard's triggers on {}, its columns or its partitions are not as they were installed; rows may \
             have come in without a number: no tenant is switched until the store is released and adopted again",
            shape.quoted()
        ));
    }
    Ok(changes)
}

/// The tenants that keep a store from being released: those that it is not the authority of.
const KEPT: &str = "\
    SELECT t.key, l.role FROM {schema}.tenants AS t JOIN {schema}.ledger AS l ON l.no = t.no \
    WHERE l.role <> 'active' ORDER BY t.key LIMIT 20";

/// Takes everything out. Refused while a tenant is fenced here, unless no old writer is left.
pub(super) async fn release(
    client: &mut Client,
    layout: &Layout,
    schema: &str,
    no_writers_left: bool,
) -> Read<Vec<String>> {
    let shape = Shape::of(client, layout).await?;
    let mut tx = client.begin().await?;
    schema::lock(&mut tx, schema).await?;
    tx.batch(&format!("SET LOCAL lock_timeout = {TABLE_LOCK_MS}")).await?;
    // From here on no tenant is guarded, fenced or moved back. Writers that only read the role go on.
    tx.batch("LOCK TABLE {schema}.tenants, {schema}.ledger IN SHARE ROW EXCLUSIVE MODE").await?;
    let kept = tx.query(KEPT, &[]).await?;
    if !kept.is_empty() && !no_writers_left {
        let named = |row| Ok(format!("{} ({})", get::<&str>(row, 0)?, get::<&str>(row, 1)?));
        let names = kept.iter().map(named).collect::<Read<Vec<_>>>()?;
        return Err(not_set_up(format!(
            "tenants that live elsewhere are still refused here: {}; without the guard an old writer's rows \
             would be taken and lost. If no such writer is left: --no-writers-left --reason",
            names.join(", ")
        )));
    }
    let table = shape.quoted();
    let mut sql = Vec::new();
    for name in ["insert", "note", "change"] {
        sql.push(format!("DROP TRIGGER IF EXISTS {TRIGGER}_{name} ON {table};\n"));
    }
    for leaf in &shape.leaves {
        sql.push(format!("DROP TRIGGER IF EXISTS {TRIGGER}_truncate ON {leaf};\n"));
    }
    sql.push("DROP SCHEMA {schema} CASCADE;".to_owned());
    tx.batch(&sql.concat()).await.map_err(|error| {
        if error.is_locked() {
            return not_set_up(format!(
                "somebody holds {table} for longer than {TABLE_LOCK_MS} ms; nothing was taken out; try again \
                 when it is quieter"
            ));
        }
        error
    })?;
    tx.commit().await?;
    Ok(vec![
        format!("dropped the triggers {TRIGGER}_* on {}", qualified(layout)),
        format!("dropped the schema {}", quoted(schema)),
    ])
}

/// Whether a guard is there, whoever's.
pub(super) async fn is_there(client: &mut Client, schema: &str) -> Read<bool> {
    Ok(schema::find(client, schema, Kind::Guard).await?.is_some())
}

/// The rows of `tenants` as they are known by name.
pub(super) async fn keys(client: &mut Client, mut take: impl FnMut(&str) + Send) -> Read<()> {
    client
        .read_each("SELECT o_key FROM {schema}.keys() AS k (o_key)", &[], |row| {
            take(rows::get(&row, 0)?);
            Ok(())
        })
        .await
}
