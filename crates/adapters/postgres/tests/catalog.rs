//! Foreign tables, as the catalog describes them, and the findings about adopting them.

use rehome_cluster::Database;
use rehome_domain::layout::{Layout, TenantPart};
use rehome_postgres::catalog::{
    self, Enabled, Finding, Kind, Persistence, Rights, Severity, Table, Weak,
};

/// A database with these things in it, made by its owner.
fn database(sql: &str) -> Database {
    let database = rehome_cluster::shared().database().expect("a database");
    as_owner(&database, sql);
    database
}

fn as_owner(database: &Database, sql: &str) -> String {
    let sql = format!("SET ROLE {}; {sql}", database.name());
    rehome_cluster::shared().sql(database.name(), &sql).expect("an answer")
}

async fn table(database: &Database, schema: &str, name: &str) -> Table {
    let url = database.url().parse().expect("a URL");
    let found = catalog::table(&url, schema, name).await.expect("an answer");
    found.unwrap_or_else(|| panic!("no table {schema}.{name}"))
}

fn layout(table: &str, tenant: TenantPart, stream: &[&str], version: &str) -> Layout {
    Layout {
        name: "theirs".to_owned(),
        schema: "public".to_owned(),
        table: table.to_owned(),
        tenant,
        stream_type: None,
        stream_id: stream.iter().map(|name| (*name).to_owned()).collect(),
        version: version.to_owned(),
        first_version: 1,
        position: None,
        event_id: None,
        event_type: "type".to_owned(),
        occurred_at: None,
        recorded_at: None,
        data: "data".to_owned(),
        metadata: None,
        anew: Vec::new(),
        beside: Vec::new(),
        locks_table: false,
    }
}

fn column(name: &str) -> TenantPart {
    TenantPart::Column(name.to_owned())
}

fn name(name: &str) -> String {
    name.to_owned()
}

/// The findings of one severity, in a line each.
fn texts(found: &[Finding], severity: Severity) -> Vec<&str> {
    let these = found.iter().filter(|finding| finding.severity == severity);
    these.map(|finding| finding.text.as_str()).collect()
}

#[track_caller]
fn finds(found: &[Finding], severity: Severity, parts: &[&str]) {
    let texts = texts(found, severity);
    let has = |text: &&&str| parts.iter().all(|part| text.contains(part));
    assert!(texts.iter().any(|text| has(&text)), "{parts:?} is not in {found:#?}");
}

#[track_caller]
fn refuses_nothing(found: &[Finding]) {
    assert_eq!(texts(found, Severity::Refuse), Vec::<&str>::new());
}

const EVENTSOURCE_PY: &str = "\
    CREATE TABLE events ( \
        global_position bigserial PRIMARY KEY, event_id uuid NOT NULL UNIQUE, aggregate_id uuid NOT NULL, \
        aggregate_type varchar(255) NOT NULL, event_type varchar(255) NOT NULL, tenant_id uuid, \
        actor_id varchar(255), version integer NOT NULL, timestamp timestamptz NOT NULL, \
        payload jsonb NOT NULL, created_at timestamptz NOT NULL DEFAULT now(), \
        CONSTRAINT uq_events_aggregate_version UNIQUE (aggregate_id, aggregate_type, version)); \
    ALTER TABLE events ADD COLUMN txid xid8; \
    ALTER TABLE events ALTER COLUMN txid SET DEFAULT pg_current_xact_id();";

/// Versions of libraries differ in their tables: the finding names the version that the layout is of, and what differs.
#[tokio::test]
async fn a_librarys_table_of_another_version_is_named_with_what_differs() {
    let database = database(EVENTSOURCE_PY);
    let layout = Layout::built_in("eventsource-py").expect("it comes with rehome");
    let is_not = "differs from the table of eventsource-py 0.8.1";
    let found = catalog::judge(&layout, &table(&database, "public", "events").await);
    assert!(!texts(&found, Severity::Warn).iter().any(|text| text.contains(is_not)), "{found:#?}");
    as_owner(
        &database,
        "ALTER TABLE events DROP COLUMN txid; ALTER TABLE events RENAME aggregate_id TO stream_uuid",
    );
    let found = catalog::judge(&layout, &table(&database, "public", "events").await);
    let differs = [is_not, "it lacks \"aggregate_id\", \"txid\"", "it also has \"stream_uuid\""];
    finds(&found, Severity::Warn, &differs);
    finds(&found, Severity::Refuse, &["no column \"aggregate_id\" for the stream id"]);
}

#[tokio::test]
async fn the_table_of_eventsource_py_is_described_and_fits_its_layout() {
    let database = database(EVENTSOURCE_PY);
    let table = table(&database, "public", "events").await;
    assert_eq!((table.kind, table.persistence), (Kind::Plain, Persistence::Permanent));
    assert_eq!((&*table.owner, &*table.role), (database.name(), database.name()));
    let (owns, use_schema, create_schema) = (true, true, true);
    assert_eq!(table.rights, Rights { owns, lacks: Vec::new(), use_schema, create_schema });
    assert!(!table.may_silence);
    let position = table.column("global_position").expect("the position");
    assert_eq!((&*position.kind, position.not_null), ("bigint", true));
    let sequence = position.sequence.as_ref().expect("its sequence");
    assert_eq!(sequence.name, "public.events_global_position_seq");
    assert_eq!((sequence.cache, sequence.may_draw), (1, true));
    let kind = table.column("aggregate_type").expect("the type");
    assert_eq!((&*kind.kind, kind.not_null), ("character varying(255)", true));
    let keys: Vec<_> = table.keys.iter().map(|key| (key.primary, key.columns.join(","))).collect();
    let unique = (false, "aggregate_id,aggregate_type,version".to_owned());
    assert_eq!(
        keys,
        [(true, "global_position".to_owned()), (false, "event_id".to_owned()), unique]
    );

    let layout = Layout::built_in("eventsource-py").expect("it comes with rehome");
    let found = catalog::judge(&layout, &table);
    refuses_nothing(&found);
    finds(&found, Severity::Warn, &["\"tenant_id\" may be NULL", "belong to no tenant"]);
    assert_eq!(found.len(), 1, "{found:#?}");

    let mut raw = layout.clone();
    raw.anew.clear();
    finds(&catalog::judge(&raw, &table), Severity::Refuse, &["\"txid\"", "list it in anew"]);
    as_owner(&database, "ALTER SEQUENCE events_global_position_seq CACHE 32");
    let cached = self::table(&database, "public", "events").await;
    let found = catalog::judge(&layout, &cached);
    finds(&found, Severity::Refuse, &["caches 32 numbers", "ALTER SEQUENCE public.events_global"]);
    assert_eq!(found[0].column.as_deref(), Some("global_position"));
}

#[tokio::test]
async fn partitions_are_listed_and_their_key_is_told_of() {
    let database = database(
        "CREATE SEQUENCE s; \
         CREATE TABLE events (global_position bigint NOT NULL DEFAULT nextval('s'), event_id uuid NOT NULL, \
            aggregate_id uuid NOT NULL, aggregate_type varchar(255) NOT NULL, event_type varchar(255) NOT NULL, \
            tenant_id uuid, version integer NOT NULL, timestamp timestamptz NOT NULL, payload jsonb NOT NULL, \
            created_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (global_position, timestamp), \
            UNIQUE (event_id, timestamp), UNIQUE (aggregate_id, aggregate_type, version, timestamp)) \
         PARTITION BY RANGE (timestamp); \
         CREATE TABLE \"Old Ones\" PARTITION OF events FOR VALUES FROM (MINVALUE) TO ('2026-01-01'); \
         CREATE TABLE rest PARTITION OF events DEFAULT PARTITION BY RANGE (timestamp); \
         CREATE UNLOGGED TABLE others PARTITION OF rest DEFAULT",
    );
    let table = table(&database, "public", "events").await;
    assert_eq!(table.kind, Kind::Partitioned);
    assert_eq!(table.partition_columns, ["timestamp"]);
    let parts: Vec<_> = table.partitions.iter().map(|part| (&*part.name, part.kind)).collect();
    let expected = [
        ("public.\"Old Ones\"", Kind::Plain),
        ("public.others", Kind::Plain),
        ("public.rest", Kind::Partitioned),
    ];
    assert_eq!(parts, expected);
    assert_eq!(
        table.column("global_position").unwrap().sequence.as_ref().unwrap().name,
        "public.s"
    );

    let layout = Layout::built_in("eventsource-py").expect("it comes with rehome");
    let found = catalog::judge(&layout, &table);
    let refused = texts(&found, Severity::Refuse);
    assert_eq!(refused.len(), 1, "{found:#?}");
    finds(&found, Severity::Refuse, &["public.others is unlogged", "SET LOGGED"]);
    finds(&found, Severity::Warn, &["contains \"timestamp\"", "as partitioning requires"]);
    finds(&found, Severity::Warn, &["no column \"txid\""]);

    // A partition is not the table.
    let part = self::table(&database, "public", "Old Ones").await;
    let found = catalog::judge(&layout, &part);
    finds(&found, Severity::Refuse, &["\"Old Ones\" is a partition of public.events"]);
}

#[tokio::test]
async fn tables_of_four_libraries_and_of_the_house_can_be_adopted() {
    let database = database(
        "CREATE SCHEMA message_store; \
         CREATE TABLE message_store.messages (id uuid NOT NULL DEFAULT gen_random_uuid(), \
            stream_name text NOT NULL, type text NOT NULL, position bigint NOT NULL, \
            global_position bigserial NOT NULL PRIMARY KEY, data jsonb, metadata jsonb, \
            time timestamp WITHOUT TIME ZONE DEFAULT (now() AT TIME ZONE 'utc') NOT NULL); \
         CREATE UNIQUE INDEX messages_id ON message_store.messages (id); \
         CREATE UNIQUE INDEX messages_stream ON message_store.messages (stream_name, position); \
         CREATE TABLE stored_events (originator_id uuid NOT NULL, originator_version bigint NOT NULL, \
            topic text, state bytea, notification_id bigserial, tenant text NOT NULL, \
            PRIMARY KEY (originator_id, originator_version)); \
         CREATE UNIQUE INDEX ON stored_events (notification_id); \
         CREATE DOMAIN order_no AS bigint CHECK (VALUE > 0); \
         CREATE TYPE what AS ENUM ('Placed', 'Paid'); \
         CREATE TABLE \"Order Events\" (\"Shop\" text NOT NULL, \"Year\" smallint NOT NULL, \
            \"No\" order_no NOT NULL, \"Version\" smallint NOT NULL, \"What\" what NOT NULL, \
            \"Payload\" bytea NOT NULL, \"At\" timestamptz NOT NULL, \
            UNIQUE (\"Shop\", \"Year\", \"No\", \"Version\"));",
    );
    let message_db = Layout {
        schema: "message_store".to_owned(),
        position: Some(name("global_position")),
        event_id: Some(name("id")),
        occurred_at: Some(name("time")),
        metadata: Some(name("metadata")),
        first_version: 0,
        ..layout(
            "messages",
            TenantPart::Prefix { separator: "-".to_owned() },
            &["stream_name"],
            "position",
        )
    };
    let described = table(&database, "message_store", "messages").await;
    assert_eq!(catalog::judge(&message_db, &described), []);

    let python = Layout {
        position: Some(name("notification_id")),
        event_type: "topic".to_owned(),
        data: "state".to_owned(),
        ..layout("stored_events", column("tenant"), &["originator_id"], "originator_version")
    };
    let described = table(&database, "public", "stored_events").await;
    let found = catalog::judge(&python, &described);
    refuses_nothing(&found);
    finds(&found, Severity::Warn, &["\"topic\" may be NULL"]);

    let house = Layout {
        event_type: "What".to_owned(),
        data: "Payload".to_owned(),
        occurred_at: Some(name("At")),
        ..layout("Order Events", column("Shop"), &["Year", "No"], "Version")
    };
    let described = table(&database, "public", "Order Events").await;
    let no = described.column("No").expect("a domain");
    assert_eq!((&*no.kind, &*no.base), ("public.order_no", "bigint"));
    assert!(described.column("What").expect("an enumeration").is_enum);
    assert_eq!(catalog::judge(&house, &described), []);
    let folded = Layout { version: "version".to_owned(), ..house };
    let found = catalog::judge(&folded, &described);
    finds(
        &found,
        Severity::Refuse,
        &["no column \"version\"", "it has \"Version\"", "names are case-sensitive"],
    );
}

#[tokio::test]
async fn columns_that_cannot_be_what_they_are_to_be_are_refused_by_name() {
    let database = database(
        "CREATE TABLE t (tenant jsonb NOT NULL, stream float8 NOT NULL, version text NOT NULL, type json NOT NULL, \
            data text, id text, at bigint, pos bigint NOT NULL, double text GENERATED ALWAYS AS (id || id) STORED, \
            anew pg_lsn NOT NULL, snap pg_snapshot, key oid, serial bigint GENERATED ALWAYS AS IDENTITY UNIQUE, \
            UNIQUE (stream, version) DEFERRABLE)",
    );
    let described = table(&database, "public", "t").await;
    assert_eq!(described.keys.iter().find_map(|key| key.weak), Some(Weak::Deferrable));
    let bad = Layout {
        position: Some(name("pos")),
        event_id: Some(name("id")),
        occurred_at: Some(name("at")),
        anew: vec!["anew".to_owned()],
        stream_type: Some(name("double")),
        ..layout("t", column("tenant"), &["stream"], "version")
    };
    let found = catalog::judge(&bad, &described);
    for (column, parts) in [
        (Some("tenant"), &["is jsonb, which cannot be the tenant"][..]),
        (Some("stream"), &["is double precision, which cannot be the stream id"]),
        (Some("version"), &["is text, which cannot be the version", "a whole number"]),
        (Some("type"), &["is json, which cannot be the event type"]),
        (Some("double"), &["is generated", "name the column from which it is computed"]),
        (
            Some("pos"),
            &["no unique key guarantees", "CREATE UNIQUE INDEX ON \"public\".\"t\" (\"pos\")"],
        ),
        (Some("pos"), &["from no sequence"]),
        (Some("anew"), &["has no default"]),
        (Some("snap"), &["list it in anew"]),
        (Some("serial"), &["may collide with the same number"]),
        (None, &["is deferrable", "CREATE UNIQUE INDEX CONCURRENTLY", "\"stream\", \"version\")"]),
    ] {
        finds(&found, Severity::Refuse, parts);
        let it = found.iter().find(|finding| finding.text.contains(parts[0])).expect("it is there");
        assert_eq!(it.column.as_deref(), column, "{}", it.text);
    }
    finds(&found, Severity::Warn, &["\"id\" is text, not a uuid"]);
    finds(&found, Severity::Warn, &["\"at\" is bigint, which cannot be read as a time"]);
    finds(&found, Severity::Warn, &["\"key\" is oid"]);
    assert!(found.is_sorted_by_key(|finding| finding.severity), "what refuses comes first");
}

const HOUSE: &str = "\
    CREATE TABLE t (tenant text NOT NULL, stream text NOT NULL, version int NOT NULL, type text NOT NULL, \
        data text, at timestamptz NOT NULL, PRIMARY KEY (tenant, stream, version));";

fn house() -> Layout {
    Layout {
        occurred_at: Some(name("at")),
        ..layout("t", column("tenant"), &["stream"], "version")
    }
}

#[tokio::test]
async fn unique_indexes_that_promise_less_are_not_taken_for_keys() {
    let key = "PRIMARY KEY (tenant, stream, version)";
    for (index, words) in [
        (
            "CREATE UNIQUE INDEX i ON t (tenant, stream, version) WHERE version > 1",
            "covers some of",
        ),
        ("CREATE UNIQUE INDEX i ON t (tenant, stream, version, lower(type))", "an expression"),
        ("CREATE INDEX i ON t (tenant, stream, version)", "has no unique key over"),
        ("CREATE UNIQUE INDEX i ON t (tenant, version) INCLUDE (stream)", "has no unique key over"),
    ] {
        let database = database(&format!("{}{index}", HOUSE.replace(key, "CHECK (true)")));
        let found = catalog::judge(&house(), &table(&database, "public", "t").await);
        finds(&found, Severity::Refuse, &[words, "\"tenant\", \"stream\", \"version\")"]);
    }
    let loose =
        HOUSE.replace("tenant text NOT NULL", "tenant text").replace("PRIMARY KEY", "UNIQUE");
    let found = catalog::judge(&house(), &table(&database(&loose), "public", "t").await);
    finds(
        &found,
        Severity::Refuse,
        &["no unique key identifies every row", "\"tenant\" of the key"],
    );
}

#[tokio::test]
async fn what_has_no_rows_of_its_own_is_refused() {
    let database = database(&format!(
        "{HOUSE} CREATE VIEW v AS SELECT * FROM t; CREATE UNLOGGED TABLE u (LIKE t INCLUDING ALL); \
         CREATE TABLE parent (LIKE t INCLUDING ALL); CREATE TABLE child () INHERITS (parent); \
         CREATE TABLE ruled (LIKE t INCLUDING ALL); \
         CREATE RULE \"No News\" AS ON INSERT TO ruled WHERE NEW.version > 9 DO INSTEAD NOTHING; \
         CREATE TABLE \"a{{schema}}\" (LIKE t INCLUDING ALL)"
    ));
    for (name, words) in [
        ("v", &["\"public\".\"v\" is a view"][..]),
        ("u", &["is unlogged", "ALTER TABLE \"public\".\"u\" SET LOGGED"]),
        ("parent", &["public.child inherits from", "NO INHERIT"]),
        ("child", &["is a partition of public.parent"]),
        ("ruled", &["rule \"No News\"", "DROP RULE \"No News\" ON"]),
        ("a{schema}", &["contains braces"]),
    ] {
        let found = catalog::judge(&house(), &table(&database, "public", name).await);
        finds(&found, Severity::Refuse, words);
    }
    let url = database.url().parse().expect("a URL");
    for (schema, name) in [("public", "T"), ("public", "nothing"), ("nowhere", "t")] {
        assert_eq!(catalog::table(&url, schema, name).await.expect("an answer"), None);
    }
}

#[tokio::test]
async fn rights_that_are_missing_are_named_with_their_grant() {
    let database = database("");
    let admin = |sql: &str| rehome_cluster::shared().sql(database.name(), sql).expect("an answer");
    let us = database.name();
    admin(&format!(
        "CREATE ROLE {us}_app; CREATE SCHEMA app AUTHORIZATION {us}_app; SET ROLE {us}_app; \
         SET search_path = app; {HOUSE} GRANT USAGE ON SCHEMA app TO {us}; GRANT SELECT ON t TO {us}; \
         RESET ROLE; REVOKE CREATE ON DATABASE {us} FROM {us}; ALTER DATABASE {us} OWNER TO {us}_app; \
         REVOKE CREATE ON DATABASE {us} FROM {us}"
    ));
    let layout = Layout { schema: "app".to_owned(), ..house() };
    let found = catalog::judge(&layout, &table(&database, "app", "t").await);
    for part in [
        format!("GRANT \"{us}_app\" TO \"{us}\""),
        "lacks INSERT, DELETE, TRIGGER on \"app\".\"t\"; GRANT INSERT, DELETE, TRIGGER ON"
            .to_owned(),
        format!("GRANT CREATE ON DATABASE \"{us}\" TO \"{us}\""),
    ] {
        finds(&found, Severity::Refuse, &[&part]);
    }
    admin(&format!("REVOKE USAGE ON SCHEMA app FROM {us}"));
    let found = catalog::judge(&layout, &table(&database, "app", "t").await);
    finds(&found, Severity::Refuse, &["GRANT USAGE ON SCHEMA \"app\""]);

    admin(&format!("GRANT {us}_app TO {us}; GRANT CREATE ON DATABASE {us} TO {us}"));
    let found = catalog::judge(&layout, &table(&database, "app", "t").await);
    refuses_nothing(&found);
    admin("ALTER TABLE app.t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY");
    let found = catalog::judge(&layout, &table(&database, "app", "t").await);
    finds(&found, Severity::Refuse, &["row level security hides", "BYPASSRLS"]);
}

#[tokio::test]
async fn triggers_and_foreign_keys_are_named() {
    let database = database(&format!(
        "CREATE TABLE shops (tenant text PRIMARY KEY); {HOUSE} \
         ALTER TABLE t ADD CONSTRAINT of_shop FOREIGN KEY (tenant) REFERENCES shops ON DELETE CASCADE; \
         CREATE TABLE notes (tenant text, stream text, version int, \
            CONSTRAINT of_event FOREIGN KEY (tenant, stream, version) REFERENCES t); \
         CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
         CREATE TRIGGER tells AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION tell(); \
         CREATE TRIGGER off BEFORE DELETE ON t FOR EACH STATEMENT EXECUTE FUNCTION tell(); \
         ALTER TABLE t DISABLE TRIGGER off; \
         CREATE TRIGGER zzzz_rehome_note AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION tell(); \
         CREATE TRIGGER zzzzz BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION tell()"
    ));
    let described = table(&database, "public", "t").await;
    let triggers: Vec<_> =
        described.triggers.iter().map(|it| (&*it.name, &*it.when, it.enabled)).collect();
    let expected = [
        ("off", "BEFORE DELETE STATEMENT", Enabled::Never),
        ("tells", "AFTER INSERT ROW", Enabled::Usually),
        ("zzzz_rehome_note", "AFTER INSERT ROW", Enabled::Usually),
        ("zzzzz", "BEFORE INSERT OR UPDATE ROW", Enabled::Usually),
    ];
    assert_eq!(triggers, expected);
    let found = catalog::judge(&house(), &described);
    assert_eq!(texts(&found, Severity::Refuse).len(), 1, "{found:#?}");
    finds(&found, Severity::Refuse, &["\"zzzzz\" on public.t", "after the guard's"]);
    finds(
        &found,
        Severity::Warn,
        &["\"tells\" on public.t", "calls public.tell", "fires for rows"],
    );
    finds(&found, Severity::Warn, &["points to public.shops", "\"of_shop\"", "before the copy"]);
    finds(&found, Severity::Warn, &["DELETE or UPDATE of public.shops"]);
    finds(&found, Severity::Warn, &["public.notes points to", "\"of_event\"", "prevent the purge"]);
    assert_eq!(found.len(), 5, "{found:#?}");
}
