//! Other roles in the same database, and hostile names: no object that another role can
//! create runs with our privileges, even through a pooler.

use std::sync::Arc;

use rehome_cluster::{Cluster, Database, Pooler};
use rehome_domain::ids::Epoch;
use rehome_domain::ledger::{Activation, Head};
use rehome_domain::stream::ExpectedVersion;
use rehome_ports::clock::SystemClock;
use rehome_ports::contract::kit::{append_of, store_id, tenant};
use rehome_ports::{BatchLimit, ControlPlane as _, Fault, LedgerStore as _};
use rehome_postgres::{PgControlPlane, PgStore, PgStoreOptions, PostgresOptions};

async fn open(url: &str) -> Result<PgStore, Fault> {
    PgStore::open(PgStoreOptions {
        id: store_id("shared"),
        url: url.parse().expect("a URL"),
        deployment: "namespaces".to_owned(),
        create: true,
        clock: Arc::new(SystemClock),
    })
    .await
}

async fn refused(url: &str) -> String {
    match open(url).await {
        Ok(_) => panic!("it was opened"),
        Err(fault) => fault.to_string(),
    }
}

fn sql(database: &Database, statements: &str) -> String {
    rehome_cluster::shared().sql(database.name(), statements).expect("an answer")
}

/// A database with another role in it, of the database's name and `_other`.
fn with_another_role() -> (Database, String) {
    let database = rehome_cluster::shared().database().expect("a database");
    let other = format!("{}_other", database.name());
    sql(&database, &format!("CREATE ROLE {other} LOGIN"));
    (database, other)
}

/// Operators and functions for every pair of types for which `pg_catalog` has none that fits, as
/// a role with CREATE on `public` can define them. Each fails when it is called.
const TRAPS: &str = "\
    CREATE FUNCTION public.sprung(anyelement) RETURNS void LANGUAGE plpgsql AS \
        'BEGIN RAISE EXCEPTION ''a trap sprang''; END'; \
    DO $do$ \
    DECLARE op record; a regtype; b regtype; result regtype; made integer := 0; \
        kinds regtype[] := '{smallint,integer,bigint,numeric,double precision,text,varchar,bytea,\
uuid,boolean,name,oid,xid,timestamptz,\"char\"}'; \
    BEGIN \
        FOREACH a IN ARRAY kinds LOOP FOREACH b IN ARRAY kinds LOOP \
            EXECUTE format('CREATE FUNCTION public.trap(%s, %s) RETURNS boolean LANGUAGE plpgsql \
                AS ''BEGIN RAISE EXCEPTION ''''a trap sprang''''; END''', a, b); \
            FOR op IN SELECT unnest('{=,<>,<,>,<=,>=,+,-,*,/,||,&,|,<<}'::text[]) AS name LOOP \
                IF NOT EXISTS (SELECT FROM pg_operator AS o WHERE o.oprname = op.name \
                               AND o.oprleft = a AND o.oprright = b \
                               AND o.oprnamespace = 'pg_catalog'::regnamespace) THEN \
                    EXECUTE format('CREATE OPERATOR public.%s (leftarg = %s, rightarg = %s, \
                        function = public.trap)', op.name, a, b); \
                    made := made + 1; \
                END IF; \
            END LOOP; \
        END LOOP; END LOOP; \
        FOREACH a IN ARRAY kinds LOOP \
            FOR op IN SELECT unnest('{max,sum,least,greatest,set_config,pg_notify,sha256,int8send,\
octet_length,convert_to,coalesce,row_security_active,to_regclass,to_regnamespace,current_setting,\
array_agg,count,now_us,hashtextextended}'::text[]) AS name LOOP \
                IF NOT EXISTS (SELECT FROM pg_proc AS p WHERE p.proname = op.name \
                               AND p.pronargs = 1 AND p.proargtypes[0] = a) THEN \
                    EXECUTE format('CREATE FUNCTION public.%I(%s) RETURNS boolean LANGUAGE plpgsql \
                        AS ''BEGIN RAISE EXCEPTION ''''a trap sprang''''; END''', op.name, a); \
                END IF; \
            END LOOP; \
        END LOOP; \
        IF made < 1000 THEN RAISE EXCEPTION 'only % traps', made; END IF; \
    END $do$";

/// The same, as good as those of `pg_catalog`: for where `public` comes first.
const CLOSER_TRAPS: &str = "\
    CREATE FUNCTION public.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT NULL::bytea'; \
    CREATE FUNCTION public.int8send(bigint) RETURNS bytea LANGUAGE sql AS 'SELECT NULL::bytea'; \
    CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT NULL::timestamptz'; \
    CREATE FUNCTION public.trap_bytea(bytea, bytea) RETURNS bytea LANGUAGE sql AS 'SELECT NULL::bytea'; \
    CREATE OPERATOR public.|| (leftarg = bytea, rightarg = bytea, function = public.trap_bytea); \
    CREATE OPERATOR public.= (leftarg = uuid, rightarg = uuid, function = public.trap); \
    CREATE OPERATOR public.= (leftarg = text, rightarg = text, function = public.trap); \
    CREATE OPERATOR public.= (leftarg = integer, rightarg = integer, function = public.trap); \
    CREATE OPERATOR public.= (leftarg = bigint, rightarg = bigint, function = public.trap); \
    CREATE OPERATOR public.= (leftarg = bigint, rightarg = integer, function = public.trap); \
    CREATE OPERATOR public.<< (leftarg = bigint, rightarg = integer, function = public.trap); \
    CREATE OPERATOR public.- (leftarg = bigint, rightarg = integer, function = public.trap); \
    CREATE OPERATOR public.+ (leftarg = bigint, rightarg = integer, function = public.trap); \
    CREATE OPERATOR public.+ (leftarg = integer, rightarg = bigint, function = public.trap); \
    CREATE OPERATOR public.+ (leftarg = bigint, rightarg = bigint, function = public.trap)";

/// Everything that a store and a control plane do, in a database full of traps.
async fn everything(url: &str) {
    let store = open(url).await.expect("a store");
    let newborn = Activation { epoch: Epoch(1), base: 0, created: false };
    store.activate(tenant(1), newborn).await.expect("an active tenant");
    let one = append_of("1", ExpectedVersion::Any, 1..=1);
    let many = append_of("1", ExpectedVersion::Exact(1), 2..=200);
    for append in [one.clone(), one, many] {
        let outcomes = store.append(tenant(1), Epoch(1), &[append]).await.expect("an answer");
        outcomes[0].as_ref().expect("it is taken");
    }
    let page = store.read_feed(tenant(1), 0, BatchLimit::PAGE).await.expect("a page").events;
    let stream = &page[0].stream;
    store.read_stream(tenant(1), stream, 1, BatchLimit::PAGE).await.expect("a stream");
    store.digest_at(tenant(1), 3).await.expect("a digest");
    store.streams(tenant(1), 200, None, 10).await.expect("streams");
    store.tenants(None, 10).await.expect("tenants");
    // By COPY, and by a function.
    store.adopt(tenant(2), Epoch(2), Head::EMPTY).await.expect("a replica");
    let head = store.extend(tenant(2), Epoch(2), Head::EMPTY, &page[..100]).await.expect("a head");
    store.extend(tenant(2), Epoch(2), head, &page[100..110]).await.expect("a head");
    store.drop_replica(tenant(2), Epoch(2)).await.expect("it is dropped");
    store.fence(tenant(1), Epoch(1), Epoch(2)).await.expect("a head");
    store.purge(tenant(1), Epoch(2), 50).await.expect("a chunk less");
    store.check().await.expect("a report");

    let url = url.parse().expect("a URL");
    let control = PgControlPlane::open(url, true, PostgresOptions::default()).await;
    let control = control.expect("a control plane");
    control.create_route(tenant(1), &store_id("shared")).await.expect("a route");
    control.mark_created(tenant(1), Epoch(1)).await.expect("a route");
    control.routes(None, 10).await.expect("routes");
    control.set_checkpoint(tenant(1), "reader", 3).await.expect("a checkpoint");
    control.now().await.expect("a time");
}

#[tokio::test]
async fn nothing_that_others_make_in_public_is_run() {
    let (database, other) = with_another_role();
    sql(&database, &format!("GRANT CREATE ON SCHEMA public TO {other}; SET ROLE {other}; {TRAPS}"));
    everything(&database.url()).await;
    // The trap works: no statement of ours may look like this.
    let sprung = rehome_cluster::shared()
        .sql(database.name(), "SELECT 1::numeric * 2::integer")
        .expect_err("a trap");
    assert!(format!("{sprung:#}").contains("a trap sprang"), "{sprung:#}");
}

/// Also where `public` comes before `pg_catalog`: by a setting of the role.
#[tokio::test]
async fn nothing_that_others_make_is_run_behind_a_pooler_either() {
    let (database, _) = with_another_role();
    sql(&database, TRAPS);
    let name = database.name();
    sql(&database, &format!("ALTER ROLE {name} SET search_path = public, pg_catalog"));
    sql(&database, CLOSER_TRAPS);
    let pooler = Pooler::start(&database, 2).expect("a pooler");
    everything(&format!("{}?pooler=transaction", database.url_at(pooler.port()))).await;
    everything(&format!("{}?schema=direct", database.url())).await;
}

/// The function of a single append has no path of its own.
#[tokio::test]
async fn an_append_is_the_same_under_whatever_path_it_is_called() {
    let (database, _) = with_another_role();
    let store = open(&database.url()).await.expect("a store");
    for n in [1, 2] {
        let newborn = Activation { epoch: Epoch(1), base: 0, created: false };
        store.activate(tenant(n), newborn).await.expect("an active tenant");
    }
    sql(&database, TRAPS);
    sql(&database, CLOSER_TRAPS);
    let append = |n: u64, path: &str| {
        let tenant = tenant(n);
        let (first, second) =
            (append_sql(&tenant.to_string(), 1), append_sql(&tenant.to_string(), 2));
        // The first creates the stream, so the second succeeds at once.
        sql(&database, &format!("SET search_path = {path}; {first}; {second}"));
        sql(&database, &format!("SELECT digest FROM rehome.ledger WHERE tenant = '{tenant}'"))
    };
    let digest = append(1, "pg_catalog");
    assert_eq!(append(2, "public, pg_catalog"), digest);
}

fn append_sql(tenant: &str, n: u32) -> String {
    format!(
        "SELECT o_outcome FROM rehome.append_one('{tenant}', 1::bigint, 5000, 'order'::text, '1'::text, \
         -1::bigint, '00000000-0000-0000-0000-{n:012}', 'placed'::text, 5::bigint, 7::bigint, '{{}}'::text, \
         '{{}}'::text, '\\x01'::bytea, '\\x02'::bytea, '\\x03'::bytea)"
    )
}

#[tokio::test]
async fn a_schema_or_what_is_in_it_that_another_role_made_is_refused_by_name() {
    let (database, other) = with_another_role();
    let name = database.name();
    sql(
        &database,
        &format!(
            "CREATE SCHEMA squatted AUTHORIZATION {other}; \
        GRANT ALL ON SCHEMA squatted TO {name}"
        ),
    );
    let problem = refused(&format!("{}?schema=squatted", database.url())).await;
    for word in ["schema squatted belongs to role", &other, "ALTER SCHEMA \"squatted\" OWNER TO"] {
        assert!(problem.contains(word), "{problem}");
    }
    for (made, thing) in [
        ("CREATE TABLE ours.meta (kind text)", "table meta"),
        ("CREATE VIEW ours.meta AS SELECT 1", "view meta"),
        (
            "CREATE FUNCTION ours.now_us() RETURNS bigint LANGUAGE sql AS 'SELECT 1'",
            "function now_us",
        ),
        ("CREATE DOMAIN ours.text AS text", "type text"),
    ] {
        sql(
            &database,
            &format!(
                "DROP SCHEMA IF EXISTS ours CASCADE; \
            CREATE SCHEMA ours AUTHORIZATION {name}; GRANT ALL ON SCHEMA ours TO {other}; \
            SET ROLE {other}; {made}"
            ),
        );
        let problem = refused(&format!("{}?schema=ours", database.url())).await;
        assert!(problem.contains(thing) && problem.contains(&other), "{problem}");
    }
}

#[tokio::test]
async fn a_trigger_of_another_role_and_hidden_rows_are_refused_when_a_store_is_opened() {
    let (database, other) = with_another_role();
    open(&database.url()).await.expect("a store");
    sql(
        &database,
        &format!(
            "GRANT TRIGGER ON rehome.events TO {other}; \
        GRANT USAGE ON SCHEMA rehome TO {other}; GRANT CREATE ON SCHEMA public TO {other}; \
        SET ROLE {other}; \
        CREATE FUNCTION public.spy() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
        CREATE TRIGGER spy BEFORE INSERT ON rehome.events FOR EACH ROW EXECUTE FUNCTION public.spy()"
        ),
    );
    let problem = refused(&database.url()).await;
    assert!(problem.contains("trigger spy on table events belongs to role"), "{problem}");
    sql(&database, "DROP TRIGGER spy ON rehome.events");
    open(&database.url()).await.expect("a store");

    sql(
        &database,
        "ALTER TABLE rehome.streams ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    );
    let problem = refused(&database.url()).await;
    for word in ["row level security", "rehome.streams", "DISABLE ROW LEVEL SECURITY"] {
        assert!(problem.contains(word), "{problem}");
    }
}

#[tokio::test]
async fn a_right_that_is_missing_is_named_with_its_grant() {
    let cluster: &Cluster = rehome_cluster::shared();
    let database = cluster.database().expect("a database");
    let name = database.name();
    sql(&database, &format!("ALTER DATABASE {name} OWNER TO administrator"));
    let problem = refused(&database.url()).await;
    let grant = format!("GRANT CREATE ON DATABASE \"{name}\" TO \"{name}\"");
    assert!(problem.contains(&grant), "{problem}");
    sql(&database, &format!("CREATE SCHEMA rehome; GRANT USAGE ON SCHEMA rehome TO {name}"));
    let problem = refused(&database.url()).await;
    let grant = format!("GRANT CREATE, USAGE ON SCHEMA \"rehome\" TO \"{name}\"");
    assert!(problem.contains(&grant), "{problem}");
}

#[tokio::test]
async fn a_database_where_everybody_may_create_is_reported() {
    let (database, other) = with_another_role();
    sql(&database, "REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    let store = open(&database.url()).await.expect("a store");
    assert_eq!(store.check().await.expect("a report").problems, Vec::<String>::new());
    sql(
        &database,
        &format!(
            "GRANT CREATE ON SCHEMA public TO PUBLIC; \
        GRANT CREATE ON SCHEMA rehome TO {other}"
        ),
    );
    let problems = store.check().await.expect("a report").problems.join("\n");
    for word in [
        "REVOKE CREATE ON SCHEMA \"public\" FROM PUBLIC",
        &format!("REVOKE CREATE ON SCHEMA \"rehome\" FROM \"{other}\""),
    ] {
        assert!(problems.contains(word), "{problems}");
    }
}

#[tokio::test]
async fn a_schema_may_have_any_name_that_the_server_takes() {
    let database = rehome_cluster::shared().database().expect("a database");
    for name in [
        "a%24%24b",
        "%24rehome%24",
        "rehome",
        "%24rehome_%24",
        "a%22%3B%20--",
        "%7Bschema%7D",
        "%7Bbody%7D",
        "a%27b%5C",
        "%C3%A9%0A",
    ] {
        everything(&format!("{}?schema={name}", database.url())).await;
    }
}

#[tokio::test]
async fn a_copy_on_another_server_is_reported() {
    let database = rehome_cluster::shared().database().expect("a database");
    let store = open(&database.url()).await.expect("a store");
    sql(&database, "UPDATE rehome.meta SET system_identifier = '42'");
    let copied = store.check().await.expect("a report").copied;
    assert!(copied.iter().any(|why| why.contains("system identifier 42")), "{copied:?}");
}

/// Logical replication copies rows, and not what sequences have given out.
#[tokio::test]
async fn counters_that_are_behind_their_rows_are_reported_and_are_no_damage() {
    let database = rehome_cluster::shared().database().expect("a database");
    let store = open(&database.url()).await.expect("a store");
    let newborn = Activation { epoch: Epoch(1), base: 0, created: false };
    store.activate(tenant(1), newborn).await.expect("an active tenant");
    let append = async |stream: &str, n: u64| {
        let append = append_of(stream, ExpectedVersion::Any, n..=n);
        store.append(tenant(1), Epoch(1), &[append]).await.map(|mut outcomes| outcomes.remove(0))
    };
    for (stream, n) in [("1", 1), ("2", 2)] {
        append(stream, n).await.expect("an answer").expect("it is taken");
    }
    let copied = async || store.check().await.expect("a report").copied;
    assert_eq!(copied().await, Vec::<String>::new());
    for sequence in ["ledger_tenant_no_seq", "streams_stream_no_seq"] {
        sql(&database, &format!("ALTER SEQUENCE rehome.{sequence} RESTART"));
    }
    let found = copied().await;
    assert_eq!(found.len(), 2, "{found:?}");
    let refused = append("3", 3).await.expect_err("its number is in use");
    assert!(!refused.is_damage(), "{refused}");
    let refused = refused.to_string();
    let (_, statement) = refused.split_once("set the counter: ").expect("a statement");
    sql(&database, statement);
    append("3", 3).await.expect("an answer").expect("it is taken");
    let found = copied().await;
    assert_eq!(found.len(), 1, "{found:?}");
    let (_, statement) = found[0].split_once("set it: ").expect("a statement");
    sql(&database, statement);
    assert_eq!(copied().await, Vec::<String>::new());
}
