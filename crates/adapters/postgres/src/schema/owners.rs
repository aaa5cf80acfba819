//! Other roles that could run code as rehome's role, or change its objects.
//!
//! A table's triggers, rules and defaults, a view and a function run as the role that writes, reads and
//! calls: rehome's. So nothing in its schema may belong to another role, nor the schema itself: that role could
//! change it at any time, or may have prepared it. Superusers can do all that anyway, and a role
//! that cannot log in and of which rehome's role is a member is a way to share ownership.

use rehome_ports::FaultKind;
use tokio_postgres::types::Type;

use super::names::quoted;
use crate::error::ServerError;
use crate::rows;
use crate::server::Client;

/// Objects in schema $1 that belong to an untrusted role.
const FOREIGN: &str = "\
    WITH ours AS (SELECT n.oid, n.nspname, n.nspowner FROM pg_namespace AS n WHERE n.nspname = $1), \
    things (rank, kind, name, owner) AS ( \
        SELECT 1, 'schema', o.nspname::text, o.nspowner FROM ours AS o \
        UNION ALL SELECT 2, CASE c.relkind WHEN 'v' THEN 'view' WHEN 'S' THEN 'sequence' \
                ELSE 'table' END, c.relname::text, c.relowner \
            FROM ours AS o JOIN pg_class AS c ON c.relnamespace = o.oid \
            WHERE c.relkind NOT IN ('i', 'I') \
        UNION ALL SELECT 3, 'function', p.proname::text, p.proowner \
            FROM ours AS o JOIN pg_proc AS p ON p.pronamespace = o.oid \
        UNION ALL SELECT 4, 'the function of trigger', \
                t.tgname::text || ' on table ' || c.relname::text, p.proowner \
            FROM ours AS o JOIN pg_class AS c ON c.relnamespace = o.oid \
            JOIN pg_trigger AS t ON t.tgrelid = c.oid AND NOT t.tgisinternal \
            JOIN pg_proc AS p ON p.oid = t.tgfoid \
        UNION ALL SELECT 5, 'operator', p.oprname::text, p.oprowner \
            FROM ours AS o JOIN pg_operator AS p ON p.oprnamespace = o.oid \
        UNION ALL SELECT 6, 'type', t.typname::text, t.typowner \
            FROM ours AS o JOIN pg_type AS t ON t.typnamespace = o.oid \
            WHERE t.typrelid = 0 AND t.typelem = 0) \
    SELECT t.kind, t.name, coalesce(r.rolname::text, t.owner::text), current_user::text \
    FROM things AS t LEFT JOIN pg_roles AS r ON r.oid = t.owner \
    WHERE r.oid IS NULL OR NOT (r.rolname = current_user OR r.rolsuper \
        OR (NOT r.rolcanlogin AND pg_has_role(r.oid, 'MEMBER'))) \
    ORDER BY t.rank, t.name LIMIT 1";

/// Tables in schema $1 of which row level security hides rows from us.
const HIDDEN: &str = "\
    SELECT c.relname::text, current_user::text FROM pg_namespace AS n \
    JOIN pg_class AS c ON c.relnamespace = n.oid \
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND row_security_active(c.oid) \
    ORDER BY c.relname LIMIT 1";

fn foreign<T>(why: String) -> Result<T, ServerError> {
    Err(ServerError::new(FaultKind::Foreign(why)))
}

fn not_set_up<T>(why: String) -> Result<T, ServerError> {
    Err(ServerError::new(FaultKind::NotSetUp(why)))
}

/// Refuses a schema that another role owns, or in which it owns something. Before anything in it is read.
pub(crate) async fn check(client: &mut Client, schema: &str) -> Result<(), ServerError> {
    let found = client.read(FOREIGN, &[(&schema, Type::TEXT)]).await?;
    if let Some(row) = found.first() {
        let (kind, name): (&str, &str) = (rows::get(row, 0)?, rows::get(row, 1)?);
        let (owner, us): (&str, &str) = (rows::get(row, 2)?, rows::get(row, 3)?);
        let remedy = if kind == "schema" {
            format!("ALTER SCHEMA {} OWNER TO {}", quoted(name), quoted(us))
        } else {
            format!("drop it, or change its owner to {}", quoted(us))
        };
        return foreign(format!(
            "in its schema {schema}, {kind} {name} belongs to role \"{owner}\", which could run code as \
             \"{us}\" through it; name a separate schema, or, if you trust the objects of \"{owner}\", as an \
             administrator: {remedy}"
        ));
    }
    let found = client.read(HIDDEN, &[(&schema, Type::TEXT)]).await?;
    if let Some(row) = found.first() {
        let (table, us): (&str, &str) = (rows::get(row, 0)?, rows::get(row, 1)?);
        return foreign(format!(
            "row level security hides rows of its table {schema}.{table} from role \"{us}\"; disable it: \
             ALTER TABLE {}.{} DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY",
            quoted(schema),
            quoted(table)
        ));
    }
    Ok(())
}

/// Refuses a place where rehome's role may not create its objects, naming the missing right.
pub(crate) async fn check_may_create(
    client: &mut Client,
    schema: &str,
    has_schema: bool,
) -> Result<(), ServerError> {
    let found = client
        .read(
            "SELECT CASE WHEN $2 THEN has_schema_privilege(n.oid, 'CREATE') \
                     AND has_schema_privilege(n.oid, 'USAGE') \
                 ELSE has_database_privilege(current_database(), 'CREATE') END, \
                 current_database()::text, current_user::text \
             FROM (SELECT 1) AS one LEFT JOIN pg_namespace AS n ON n.nspname = $1",
            &[(&schema, Type::TEXT), (&has_schema, Type::BOOL)],
        )
        .await?;
    let row = found.first().ok_or_else(|| ServerError::corrupt("no answer about rights"))?;
    if rows::get::<Option<bool>>(row, 0)?.unwrap_or(false) {
        return Ok(());
    }
    let (database, us): (&str, &str) = (rows::get(row, 1)?, rows::get(row, 2)?);
    if has_schema {
        return not_set_up(format!(
            "role \"{us}\" may not create tables in schema {schema}; as an administrator: \
             GRANT CREATE, USAGE ON SCHEMA {} TO {}",
            quoted(schema),
            quoted(us)
        ));
    }
    not_set_up(format!(
        "role \"{us}\" may not create schema {schema} in database {database}; as an administrator: \
         GRANT CREATE ON DATABASE {} TO {} (or CREATE SCHEMA {} AUTHORIZATION {})",
        quoted(database),
        quoted(us),
        quoted(schema),
        quoted(us)
    ))
}

/// Rights in the database that are open to every role without need: remarks for an operator.
pub(crate) async fn open_doors(
    client: &mut Client,
    schema: &str,
) -> Result<Vec<String>, ServerError> {
    let found = client
        .read(
            "SELECT n.nspname::text, coalesce(r.rolname::text, 'PUBLIC'), current_user::text \
             FROM pg_namespace AS n \
             CROSS JOIN LATERAL aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) AS a \
             LEFT JOIN pg_roles AS r ON r.oid = a.grantee \
             WHERE a.privilege_type = 'CREATE' AND n.nspname IN ($1, 'public') \
                 AND (a.grantee = 0::oid OR (n.nspname = $1 AND r.rolname <> current_user \
                     AND NOT r.rolsuper AND a.grantee <> n.nspowner)) \
             ORDER BY 1, 2",
            &[(&schema, Type::TEXT)],
        )
        .await?;
    let mut doors = Vec::with_capacity(found.len());
    for row in &found {
        let (there, role): (&str, &str) = (rows::get(row, 0)?, rows::get(row, 1)?);
        let who =
            if role == "PUBLIC" { "every role".to_owned() } else { format!("role \"{role}\"") };
        let grantee = if role == "PUBLIC" { role.to_owned() } else { quoted(role) };
        doors.push(format!(
            "{who} may create objects in schema {there} of its database, which other programs may run by \
             accident; as an administrator: REVOKE CREATE ON SCHEMA {} FROM {grantee}",
            quoted(there)
        ));
    }
    Ok(doors)
}
