//! Putting the guard beside a table, and taking it out again.

use rehome_domain::layout::Layout;
use rehome_ports::FaultKind;
use tokio_postgres::types::Type;

use super::heads::Headed;
use super::installed::{self, Installed};
use super::render::{Names, TRIGGER};
use super::shape::{Shape, not_set_up, qualified};
use crate::catalog::{self, Severity};
use crate::error::ServerError;
use crate::rows::{self, Read, get};
use crate::schema::names::quoted;
use crate::schema::{self, Kind, Meta, owners};
use crate::server::{Client, Transaction};

const TABLES: &str = include_str!("../schema/guard/tables.sql");
/// What format 2 has beside that of format 1.
const FORMAT_2: &str = include_str!("../schema/guard/format_2.sql");
/// What format 3 has beside that: anchors of logs, as a store of rehome's own has them.
const FORMAT_3: &str = include_str!("../schema/store/anchors.sql");
/// What format 4 has beside that.
const FORMAT_4: &str = include_str!("../schema/guard/format_4.sql");
const FUNCTIONS: [&str; 4] = [
    include_str!("../schema/guard/triggers.sql"),
    include_str!("../schema/guard/numbering.sql"),
    include_str!("../schema/guard/ledger.sql"),
    include_str!("../schema/guard/read.sql"),
];

/// How long the installation waits for writers that hold the table; later ones queue
/// behind it.
const TABLE_LOCK_MS: u32 = 1_000;

/// What an installation does, a sentence each, in order.
pub(super) async fn plan(client: &mut Client, layout: &Layout, schema: &str) -> Read<Vec<String>> {
    let (warned, refused) = judged(client, layout).await?;
    if !refused.is_empty() {
        return Err(not_set_up(format!("its table cannot be adopted: {}", refused.join("; "))));
    }
    let shape = Shape::of(client, layout).await?;
    let installed = Installed::of(&shape, layout)?;
    Headed::of(client, layout, &installed.row_columns).await?;
    let table = shape.quoted();
    let list = |names: &[String]| names.join(", ");
    let mut steps = vec![
        format!(
            "CREATE SCHEMA {} with the tables installed, tenants, ledger, heads, arrivals, positions, log_anchors",
            quoted(schema)
        ),
        format!(
            "row triggers on {table}: before and after INSERT, before UPDATE or DELETE, ENABLE ALWAYS"
        ),
        format!("a row is identified by {}", list(&installed.key_columns)),
        format!("the copied columns are {}", list(&installed.row_columns)),
    ];
    steps.extend(shape.leaves.iter().map(|leaf| format!("a trigger before TRUNCATE of {leaf}")));
    let left: Vec<_> =
        shape.columns.iter().filter(|c| !installed.row_columns.contains(&c.name)).collect();
    if let Some((beside, heads)) = layout.heads() {
        steps.push(format!(
            "a row of {} goes with the events of its stream, with {}",
            quoted(&beside.table),
            list(&heads.travels)
        ));
    }
    if !left.is_empty() {
        let names: Vec<_> = left.iter().map(|column| column.name.clone()).collect();
        steps.push(format!("the target computes: {}", list(&names)));
    }
    steps.extend(warned.into_iter().map(|warning| format!("note: {warning}")));
    Ok(steps)
}

/// Remarks about the table for an operator, and what prevents its adoption.
async fn judged(client: &mut Client, layout: &Layout) -> Read<(Vec<String>, Vec<String>)> {
    let table = catalog::read(client, &layout.schema, &layout.table).await?;
    let Some(table) = table else {
        let missing = format!("there is no table {}", qualified(layout));
        return Ok((Vec::new(), vec![missing]));
    };
    let mut findings = catalog::judge(layout, &table);
    findings.extend(heads_judged(client, layout).await?);
    let (refused, warned): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(|finding| finding.severity == Severity::Refuse);
    let sentences = |findings: Vec<catalog::Finding>| {
        findings.into_iter().map(|finding| finding.text).collect()
    };
    Ok((sentences(warned), sentences(refused)))
}

/// The findings about the table of streams' heads, if the layout has one.
async fn heads_judged(client: &mut Client, layout: &Layout) -> Read<Vec<catalog::Finding>> {
    let Some((beside, _)) = layout.heads() else { return Ok(Vec::new()) };
    let table = catalog::read(client, &layout.schema, &beside.table).await?;
    Ok(catalog::judge_heads(layout, table.as_ref()))
}

/// What of that table would prevent its adoption now.
pub(super) async fn heads_refused(client: &mut Client, layout: &Layout) -> Read<Vec<String>> {
    let findings = heads_judged(client, layout).await?.into_iter();
    Ok(findings.filter(|it| it.severity == Severity::Refuse).map(|it| it.text).collect())
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
    Headed::of(client, layout, &Installed::of(&shape, layout)?.row_columns).await?;
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
    tx.batch(FORMAT_3).await?;
    make_functions(tx, shape, &names).await?;
    tx.batch(&format!("SET LOCAL lock_timeout = {TABLE_LOCK_MS}")).await?;
    let made = tx.batch(&make_triggers(shape, &names)).await;
    made.map_err(|error| in_the_way(error, shape, "nothing was installed"))?;
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
    tx.batch(SEAL).await
}

/// Records the fingerprint of the installation.
const SEAL: &str = "UPDATE {schema}.installed SET fingerprint = {schema}.fingerprint()";

async fn make_functions(tx: &mut Transaction<'_>, shape: &Shape, names: &Names) -> Read<()> {
    for functions in FUNCTIONS {
        tx.batch(&names.render(functions)).await?;
    }
    tx.batch("REVOKE ALL ON ALL FUNCTIONS IN SCHEMA {schema} FROM PUBLIC").await?;
    // The owner of the table may create a partition, which inherits the row triggers. No other role may have a
    // trigger of the guard on its table.
    let owner = tx.query(OWNER, &[(&shape.quoted(), Type::TEXT)]).await?;
    let owner: &str = get(owner.first().ok_or_else(|| ServerError::corrupt("no owner"))?, 0)?;
    // Each writer evaluates the triggers' condition as itself.
    tx.batch("GRANT EXECUTE ON FUNCTION {schema}.marked(regclass, integer) TO PUBLIC").await?;
    for function in ["guard_insert", "guard_note", "guard_change"] {
        let owner = quoted(owner);
        tx.batch(&format!("GRANT EXECUTE ON FUNCTION {{schema}}.{function}() TO {owner}")).await?;
    }
    Ok(())
}

/// The row triggers: a name, when, which rows, and the function.
const ROW_TRIGGERS: [(&str, &str, &str, &str); 3] = [
    ("insert", "BEFORE INSERT", "WHEN ({is_marked})", "guard_insert"),
    ("note", "AFTER INSERT", "WHEN ({is_marked})", "guard_note"),
    ("change", "BEFORE UPDATE OR DELETE", "", "guard_change"),
];

fn make_triggers(shape: &Shape, names: &Names) -> String {
    let table = shape.quoted();
    let mut triggers = Vec::new();
    for (name, when, which, function) in ROW_TRIGGERS {
        triggers.push(format!(
            "CREATE TRIGGER {TRIGGER}_{name} {when} ON {table} FOR EACH ROW {} \
             EXECUTE FUNCTION {{schema}}.{function}();\n",
            names.render(which)
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
        for (name, ..) in ROW_TRIGGERS {
            triggers.push(format!("ALTER TABLE {on} ENABLE ALWAYS TRIGGER {TRIGGER}_{name};\n"));
        }
    }
    for leaf in &shape.leaves {
        triggers.push(format!("ALTER TABLE {leaf} ENABLE ALWAYS TRIGGER {TRIGGER}_truncate;\n"));
    }
    triggers.concat()
}

fn drop_triggers(shape: &Shape) -> String {
    let mut sql = Vec::new();
    for (name, ..) in ROW_TRIGGERS {
        sql.push(format!("DROP TRIGGER IF EXISTS {TRIGGER}_{name} ON {};\n", shape.quoted()));
    }
    for leaf in &shape.leaves {
        sql.push(format!("DROP TRIGGER IF EXISTS {TRIGGER}_truncate ON {leaf};\n"));
    }
    sql.concat()
}

/// What a wait for the table that was too long means to an operator.
fn in_the_way(error: ServerError, shape: &Shape, undone: &str) -> ServerError {
    if error.is_locked() {
        return not_set_up(format!(
            "a transaction has held {} for more than {TABLE_LOCK_MS} ms, and writers would queue; \
             {undone}; try again at a quieter time (see pg_locks for the transaction)",
            shape.quoted()
        ));
    }
    error
}

/// The same of a table of the guard: a longer wait for it would hold up all tenants of the store.
fn heads_in_use(error: ServerError, meta: &Meta) -> ServerError {
    if error.is_locked() {
        return not_set_up(format!(
            "its guard stays in format {}: a transaction has used the guard for more than {TABLE_LOCK_MS} ms, as one that numbers a \
             long history does; the next try comes when the store is opened again (see pg_locks for the transaction)",
            meta.format
        ));
    }
    error
}

/// Upgrades a guard of an older format; one of format 1 while no transaction holds the table. If already upgraded: does nothing. Differences from
/// the installation stay.
pub(super) async fn upgrade(client: &mut Client, layout: &Layout, schema: &str) -> Read<()> {
    let mut shape = Shape::of(client, layout).await?;
    let mut tx = client.begin().await?;
    schema::lock(&mut tx, schema).await?;
    owners::check(&mut tx, schema).await?;
    let meta = schema::installed(&mut tx, schema, Kind::Guard).await?;
    let Some(meta) = meta.filter(Meta::is_old) else { return tx.roll_back().await };
    as_installed(&mut shape, &read(&mut tx, layout).await?, layout);
    let names = Names::new(&shape, layout, schema, class(schema))?;
    if meta.format < 3 {
        tx.batch(FORMAT_3).await?;
    }
    tx.batch(&format!("SET LOCAL lock_timeout = {TABLE_LOCK_MS}")).await?;
    let altered = tx.batch(FORMAT_4).await;
    altered.map_err(|error| heads_in_use(error, &meta))?;
    if meta.format > 1 {
        make_functions(&mut tx, &shape, &names).await?;
        schema::upgraded(&mut tx, Kind::Guard).await?;
        return tx.commit().await;
    }
    let lock = format!(
        "LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE; \
         LOCK TABLE {{schema}}.tenants, {{schema}}.ledger IN ACCESS EXCLUSIVE MODE",
        shape.quoted()
    );
    let locked = tx.batch(&lock).await;
    locked.map_err(|error| in_the_way(error, &shape, "its guard stays in format 1"))?;
    let found = tx.query(IS_AS_INSTALLED, &[]).await?;
    let as_installed: bool = found.first().map_or(Ok(false), |row| get(row, 0))?;
    tx.batch(&names.render(FORMAT_2)).await?;
    make_functions(&mut tx, &shape, &names).await?;
    tx.batch(&drop_triggers(&shape)).await?;
    tx.batch(&make_triggers(&shape, &names)).await?;
    tx.batch("SELECT {schema}.mark()").await?;
    if as_installed {
        tx.batch(SEAL).await?;
    }
    schema::upgraded(&mut tx, Kind::Guard).await?;
    tx.commit().await
}

/// The table as the guard's functions know it: a column that came later is in no digest, and a later key names no row.
fn as_installed(shape: &mut Shape, installed: &Installed, layout: &Layout) {
    let copied = shape.row_columns(layout).into_iter().map(|column| column.name.clone());
    let later: Vec<String> = copied.filter(|name| !installed.row_columns.contains(name)).collect();
    shape.columns.retain(|column| !later.contains(&column.name));
    shape.unique = vec![installed.key_columns.clone()];
}

const IS_AS_INSTALLED: &str =
    "SELECT i.fingerprint = {schema}.fingerprint() FROM {schema}.installed AS i";

/// The first key of our advisory locks, from the schema's name (FNV-1a), so that two guards in one database
/// have their own.
fn class(schema: &str) -> i32 {
    let hash = schema
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    i32::try_from(hash >> 1).unwrap_or(i32::MAX)
}

/// The installed guard; refuses another layout than the configured one.
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
    let (row_columns, row_types): (Vec<String>, Vec<String>) = (get(row, 1)?, get(row, 2)?);
    let installed = Installed {
        layout: get(row, 0)?,
        form: installed::form(layout, &row_columns, &row_types),
        row_columns,
        row_types,
        key_columns: get(row, 3)?,
        position: get(row, 4)?,
        fingerprint: get(row, 5)?,
        stamped: Shape::of(client, layout).await?.stamped(layout),
    };
    if installed.layout != format!("{layout:?}") {
        return Err(ServerError::new(FaultKind::Foreign(format!(
            "its guard was installed for another layout than {}; release the store with that layout, and adopt it \
             again",
            layout.name
        ))));
    }
    Ok(installed)
}

/// Changes since the installation, a sentence each.
pub(super) async fn changes(client: &mut Client, layout: &Layout) -> Read<Vec<String>> {
    let installed = read(client, layout).await?;
    let mut changes = Vec::new();
    let shape = Shape::of(client, layout).await?;
    let now = Installed::of(&shape, layout)?;
    if (&now.row_columns, &now.row_types) != (&installed.row_columns, &installed.row_types) {
        changes.push(format!(
            "table {} has changed columns since it was adopted; release the store and adopt it again",
            shape.quoted()
        ));
    }
    let found = client.read("SELECT {schema}.fingerprint()", &[]).await?;
    let fingerprint: String =
        get(found.first().ok_or_else(|| ServerError::corrupt("no answer about triggers"))?, 0)?;
    if fingerprint != installed.fingerprint && changes.is_empty() {
        changes.push(format!(
            "the guard's triggers on {}, its columns or its partitions were changed since installation; rows may \
             be missing from the guard: no tenant is switched until the store is released and adopted again",
            shape.quoted()
        ));
    }
    Ok(changes)
}

/// The tenants that keep a store from being released: those that it is not the authority of.
const KEPT: &str = "\
    SELECT t.key, l.role FROM {schema}.tenants AS t JOIN {schema}.ledger AS l ON l.no = t.no \
    WHERE l.role <> 'active' ORDER BY t.key LIMIT 20";

/// Removes everything. Refused while a tenant is fenced here, unless no old writer is left.
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
    // From here on no tenant is guarded, fenced or moved back. Writers that only read the role continue.
    tx.batch("LOCK TABLE {schema}.tenants, {schema}.ledger IN SHARE ROW EXCLUSIVE MODE").await?;
    let kept = tx.query(KEPT, &[]).await?;
    if !kept.is_empty() && !no_writers_left {
        let named = |row| Ok(format!("{} ({})", get::<&str>(row, 0)?, get::<&str>(row, 1)?));
        let names = kept.iter().map(named).collect::<Read<Vec<_>>>()?;
        return Err(not_set_up(format!(
            "it still refuses tenants that live elsewhere: {}; without the guard it would accept an old writer's \
             rows, and lose them. If no such writer is left: --no-writers-left --reason",
            names.join(", ")
        )));
    }
    let sql = drop_triggers(&shape) + "DROP SCHEMA {schema} CASCADE;";
    let dropped = tx.batch(&sql).await;
    dropped.map_err(|error| in_the_way(error, &shape, "nothing was removed"))?;
    tx.commit().await?;
    Ok(vec![
        format!("dropped the triggers {TRIGGER}_* on {}", qualified(layout)),
        format!("dropped the schema {}", quoted(schema)),
    ])
}

/// Whether there is a guard, of any deployment.
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
