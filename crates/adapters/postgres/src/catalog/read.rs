//! The catalog's tables. Names are values here, never part of a statement.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::{
    Action, Column, Enabled, ForeignKey, Given, Key, Kind, Part, Persistence, Rights, Sequence,
    Table, Trigger, Weak,
};
use crate::error::ServerError;
use crate::rows::{Read, get};
use crate::server::Client;

/// A relation by the names of its schema and its own; rights of a schema and a parameter that are not there
/// are no rights.
const TABLE: &str = "\
    SELECT c.oid, c.relkind::text, c.relpersistence::text, r.rolname::text, current_user::text, \
        current_database()::text, pg_has_role(c.relowner, 'USAGE'), \
        has_table_privilege(c.oid, 'SELECT'), has_table_privilege(c.oid, 'INSERT'), \
        has_table_privilege(c.oid, 'DELETE'), has_table_privilege(c.oid, 'TRIGGER'), \
        has_schema_privilege(n.oid, 'USAGE'), has_database_privilege(current_database(), 'CREATE'), \
        row_security_active(c.oid), u.rolsuper, current_setting('server_version_num')::int >= 150000, \
        has_table_privilege(c.oid, 'UPDATE') \
    FROM pg_namespace AS n JOIN pg_class AS c ON c.relnamespace = n.oid \
    JOIN pg_roles AS r ON r.oid = c.relowner JOIN pg_roles AS u ON u.rolname = current_user \
    WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S')";

/// From PostgreSQL 15 on.
const MAY_SILENCE: &str = "SELECT has_parameter_privilege('session_replication_role', 'SET')";

/// The base of a domain is resolved through domains of domains. The sequence is that of an identity, one
/// that the default draws from, or one that belongs to the column.
const COLUMNS: &str = "\
    SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), format_type(b.oid, b.typmod), \
        b.typtype = 'e', a.attnotnull, \
        pg_get_expr(d.adbin, d.adrelid), a.attgenerated <> '', a.attidentity <> '', quote_ident(s.nspname) || '.' || quote_ident(s.relname), \
        s.seqcache, has_sequence_privilege(s.oid, 'USAGE') \
    FROM pg_attribute AS a \
    LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
    CROSS JOIN LATERAL ( \
        WITH RECURSIVE below (oid, typmod, typtype, depth) AS ( \
            SELECT t.oid, a.atttypmod, t.typtype, 0 FROM pg_type AS t WHERE t.oid = a.atttypid \
            UNION ALL SELECT t.oid, o.typtypmod, t.typtype, w.depth + 1 FROM below AS w \
                JOIN pg_type AS o ON o.oid = w.oid AND o.typtype = 'd' JOIN pg_type AS t ON t.oid = o.typbasetype) \
        SELECT w.oid, w.typmod, w.typtype FROM below AS w ORDER BY w.depth DESC LIMIT 1) AS b \
    LEFT JOIN LATERAL ( \
        SELECT c.oid, n.nspname, c.relname, q.seqcache FROM pg_depend AS p \
        JOIN pg_class AS c ON c.oid = CASE WHEN p.deptype = 'n' THEN p.refobjid ELSE p.objid END \
        JOIN pg_sequence AS q ON q.seqrelid = c.oid JOIN pg_namespace AS n ON n.oid = c.relnamespace \
        WHERE (p.deptype = 'n' AND p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid \
                AND p.refclassid = 'pg_class'::regclass) \
            OR (p.deptype IN ('i', 'a') AND p.classid = 'pg_class'::regclass AND p.refclassid = 'pg_class'::regclass \
                AND p.refobjid = a.attrelid AND p.refobjsubid = a.attnum) \
        ORDER BY p.deptype = 'a', c.oid LIMIT 1) AS s ON true \
    WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

const KEYS: &str = "\
    SELECT c.relname::text, \
        ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n) \
            JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
            WHERE k.n <= i.indnkeyatts ORDER BY k.n), \
        i.indisprimary, i.indisvalid, i.indpred IS NOT NULL, i.indexprs IS NOT NULL, i.indimmediate \
    FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid \
    WHERE i.indrelid = $1 AND i.indisunique \
    ORDER BY i.indisprimary DESC, i.indnkeyatts, c.relname";

const PARTITION_COLUMNS: &str = "\
    SELECT a.attname::text FROM pg_partitioned_table AS p \
    CROSS JOIN LATERAL unnest(p.partattrs::int2[]) WITH ORDINALITY AS k (attnum, n) \
    JOIN pg_attribute AS a ON a.attrelid = p.partrelid AND a.attnum = k.attnum \
    WHERE p.partrelid = $1 ORDER BY k.n";

const PARTITIONS: &str = "\
    SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relkind::text, c.relpersistence::text, \
        pg_has_role(c.relowner, 'USAGE') \
    FROM pg_partition_tree($1::oid::regclass) AS p \
    JOIN pg_class AS c ON c.oid = p.relid JOIN pg_namespace AS n ON n.oid = c.relnamespace \
    WHERE p.relid <> $1 ORDER BY 1";

/// Kin of table $1, by the column of `pg_inherits` that it is in: its name, and whether it is a partition.
const CHILDREN: &str = "\
    SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) \
    FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid \
    JOIN pg_namespace AS n ON n.oid = c.relnamespace \
    WHERE i.inhparent = $1 AND NOT c.relispartition ORDER BY 1";
const PARENTS: &str = "\
    SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname) \
    FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhparent \
    JOIN pg_namespace AS n ON n.oid = c.relnamespace \
    WHERE i.inhrelid = $1 ORDER BY 1";

/// A trigger that a partition inherits from its table is listed once.
const TRIGGERS: &str = "\
    SELECT t.tgname::text, quote_ident(n.nspname) || '.' || quote_ident(c.relname), \
        quote_ident(m.nspname) || '.' || quote_ident(f.proname), t.tgtype::int, t.tgenabled::text \
    FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid \
    JOIN pg_namespace AS n ON n.oid = c.relnamespace \
    JOIN pg_proc AS f ON f.oid = t.tgfoid JOIN pg_namespace AS m ON m.oid = f.pronamespace \
    WHERE NOT t.tgisinternal AND t.tgparentid = 0::oid \
        AND (t.tgrelid = $1 OR t.tgrelid IN (SELECT p.relid::oid FROM pg_partition_tree($1::oid::regclass) AS p)) \
    ORDER BY 2, 1";

const RULES: &str = "\
    SELECT r.rulename::text FROM pg_rewrite AS r \
    WHERE r.ev_class = $1 AND r.rulename <> '_RETURN' ORDER BY 1";

/// A key that a partition inherits from its table, or its table from the other's partition, is listed once.
const FOREIGN_KEYS: &str = "\
    SELECT k.conname::text, k.conrelid = $1, quote_ident(n.nspname) || '.' || quote_ident(c.relname), \
        k.confdeltype::text, k.confupdtype::text \
    FROM pg_constraint AS k \
    JOIN pg_class AS c ON c.oid = CASE WHEN k.conrelid = $1 THEN k.confrelid ELSE k.conrelid END \
    JOIN pg_namespace AS n ON n.oid = c.relnamespace \
    WHERE k.contype = 'f' AND k.conparentid = 0::oid AND (k.conrelid = $1 OR k.confrelid = $1) \
    ORDER BY 2 DESC, 1, 3";

/// Describes a table; `None`: there is nothing of that name.
pub(crate) async fn read(client: &mut Client, schema: &str, name: &str) -> Read<Option<Table>> {
    let found = client.read(TABLE, &[(&schema, Type::TEXT), (&name, Type::TEXT)]).await?;
    let Some(row) = found.first() else { return Ok(None) };
    let oid: u32 = get(row, 0)?;
    let text = |column: usize| get::<String>(row, column);
    let right = |column: usize| get::<bool>(row, column);
    let privileges = [("SELECT", 7), ("INSERT", 8), ("UPDATE", 16), ("DELETE", 9), ("TRIGGER", 10)];
    let mut lacks = Vec::new();
    for (privilege, column) in privileges {
        if !right(column)? {
            lacks.push(privilege);
        }
    }
    let rights =
        Rights { owns: right(6)?, lacks, use_schema: right(11)?, create_schema: right(12)? };
    let mut may_silence = right(14)?;
    if !may_silence && right(15)? {
        let answer = client.read(MAY_SILENCE, &[]).await?;
        may_silence = answer.first().map_or(Ok(false), |row| get(row, 0))?;
    }
    let of = [(&oid as _, Type::OID)];
    Ok(Some(Table {
        schema: schema.to_owned(),
        name: name.to_owned(),
        kind: kind(get(row, 1)?),
        persistence: persistence(get(row, 2)?),
        owner: text(3)?,
        role: text(4)?,
        database: text(5)?,
        rights,
        hides_rows: right(13)?,
        may_silence,
        columns: each(&client.read(COLUMNS, &of).await?, column)?,
        keys: each(&client.read(KEYS, &of).await?, key)?,
        partition_columns: each(&client.read(PARTITION_COLUMNS, &of).await?, |row| get(row, 0))?,
        partitions: each(&client.read(PARTITIONS, &of).await?, part)?,
        children: each(&client.read(CHILDREN, &of).await?, |row| get(row, 0))?,
        parents: each(&client.read(PARENTS, &of).await?, |row| get(row, 0))?,
        triggers: each(&client.read(TRIGGERS, &of).await?, trigger)?,
        rules: each(&client.read(RULES, &of).await?, |row| get(row, 0))?,
        foreign_keys: each(&client.read(FOREIGN_KEYS, &of).await?, foreign_key)?,
    }))
}

fn each<T>(rows: &[Row], read: impl Fn(&Row) -> Read<T>) -> Read<Vec<T>> {
    rows.iter().map(read).collect()
}

fn kind(letter: &str) -> Kind {
    match letter {
        "r" => Kind::Plain,
        "p" => Kind::Partitioned,
        "f" => Kind::Foreign,
        "v" => Kind::View,
        "m" => Kind::MaterializedView,
        _ => Kind::Other,
    }
}

fn persistence(letter: &str) -> Persistence {
    match letter {
        "u" => Persistence::Unlogged,
        "t" => Persistence::Temporary,
        _ => Persistence::Permanent,
    }
}

fn column(row: &Row) -> Read<Column> {
    let sequence = match get::<Option<String>>(row, 8)? {
        Some(name) => Some(Sequence { name, cache: get(row, 9)?, may_draw: get(row, 10)? }),
        None => None,
    };
    let given = match (get(row, 6)?, get(row, 7)?, get(row, 5)?) {
        (true, ..) => Given::Generated,
        (_, true, _) => Given::Identity,
        (.., Some(default)) => Given::Default(default),
        (.., None) => Given::Nothing,
    };
    Ok(Column {
        name: get(row, 0)?,
        kind: get(row, 1)?,
        base: get(row, 2)?,
        is_enum: get(row, 3)?,
        not_null: get(row, 4)?,
        given,
        sequence,
    })
}

fn key(row: &Row) -> Read<Key> {
    let flag = |column: usize| get::<bool>(row, column);
    let weak = match (flag(3)?, flag(4)?, flag(5)?, flag(6)?) {
        (false, ..) => Some(Weak::Invalid),
        (_, true, ..) => Some(Weak::Partial),
        (_, _, true, _) => Some(Weak::Expression),
        (.., false) => Some(Weak::Deferrable),
        _ => None,
    };
    Ok(Key { name: get(row, 0)?, columns: get(row, 1)?, primary: flag(2)?, weak })
}

fn part(row: &Row) -> Read<Part> {
    let (kind, persistence) = (kind(get(row, 1)?), persistence(get(row, 2)?));
    Ok(Part { name: get(row, 0)?, kind, persistence, owns: get(row, 3)? })
}

fn trigger(row: &Row) -> Read<Trigger> {
    let enabled = match get::<&str>(row, 4)? {
        "A" => Enabled::Always,
        "R" => Enabled::Replicating,
        "D" => Enabled::Never,
        _ => Enabled::Usually,
    };
    Ok(Trigger {
        name: get(row, 0)?,
        table: get(row, 1)?,
        function: get(row, 2)?,
        when: when(get(row, 3)?),
        enabled,
    })
}

/// When a trigger fires, from `tgtype` (PostgreSQL's `trigger.h`).
fn when(kind: i32) -> String {
    let has = |bit: i32| kind & bit != 0;
    let time = match (has(2), has(64)) {
        (true, _) => "BEFORE",
        (_, true) => "INSTEAD OF",
        _ => "AFTER",
    };
    let events = [(4, "INSERT"), (16, "UPDATE"), (8, "DELETE"), (32, "TRUNCATE")];
    let events: Vec<_> =
        events.into_iter().filter(|(bit, _)| has(*bit)).map(|(_, it)| it).collect();
    format!("{time} {} {}", events.join(" OR "), if has(1) { "ROW" } else { "STATEMENT" })
}

fn foreign_key(row: &Row) -> Read<ForeignKey> {
    let action = |column: usize| {
        Ok::<_, ServerError>(match get::<&str>(row, column)? {
            "c" => Action::Cascade,
            "n" | "d" => Action::Unset,
            _ => Action::Refuse,
        })
    };
    Ok(ForeignKey {
        name: get(row, 0)?,
        outgoing: get(row, 1)?,
        other: get(row, 2)?,
        on_delete: action(3)?,
        on_update: action(4)?,
    })
}
