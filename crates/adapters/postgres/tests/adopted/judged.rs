//! The table of streams' heads is judged like that of the events, before anything is installed and by `store check`.

use rehome_domain::layout::{Layout, TenantPart};
use rehome_ports::{LedgerStore as _, TenantNames};
use rehome_postgres::catalog::{self, Finding, Severity};

use crate::heads::{EMMETT, MARTEN};
use crate::kit::{Place, adoption};

fn emmett() -> Layout {
    Layout::built_in("emmett").expect("it comes with rehome")
}

async fn findings(database: &rehome_cluster::Database, layout: &Layout) -> Vec<Finding> {
    let url = database.url().parse().expect("a URL");
    let (beside, _) = layout.heads().expect("heads");
    let table = catalog::table(&url, &layout.schema, &beside.table).await.expect("an answer");
    catalog::judge_heads(layout, table.as_ref())
}

#[track_caller]
fn finds(found: &[Finding], severity: Severity, part: &str) {
    let has = |finding: &Finding| finding.severity == severity && finding.text.contains(part);
    assert!(found.iter().any(has), "{part:?} is not in {found:#?}");
}

#[tokio::test]
async fn what_would_keep_heads_from_being_copied_is_named() {
    let database = rehome_cluster::shared().database().unwrap();
    let us = database.name();
    let admin = |sql: &str| rehome_cluster::shared().sql(us, sql).expect("an answer");
    let layout = emmett();
    finds(&findings(&database, &layout).await, Severity::Refuse, "there is no table");
    admin(&format!("SET ROLE {us}; {EMMETT}"));
    let found = findings(&database, &layout).await;
    assert_eq!(found, Vec::new());

    admin(&format!(
        "CREATE ROLE {us}_app; GRANT {us}_app TO {us}; SET ROLE {us}; \
         CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
         CREATE TRIGGER zzzzz BEFORE INSERT ON emt_streams FOR EACH ROW EXECUTE FUNCTION tell(); \
         CREATE TABLE views (id text, partition text, archived boolean, \
             CONSTRAINT of_stream FOREIGN KEY (id, partition, archived) REFERENCES emt_streams); \
         ALTER TABLE emt_streams ADD COLUMN shard int NOT NULL; \
         CREATE UNLOGGED TABLE others PARTITION OF emt_streams DEFAULT; \
         RESET ROLE; REVOKE {us}_app FROM {us}; ALTER TABLE emt_streams OWNER TO {us}_app; \
         GRANT SELECT, DELETE ON emt_streams TO {us}; \
         ALTER TABLE emt_streams ENABLE ROW LEVEL SECURITY"
    ));
    let found = findings(&database, &layout).await;
    for part in [
        "lacks INSERT, UPDATE on \"public\".\"emt_streams\"; GRANT INSERT, UPDATE ON",
        "row level security hides rows of \"public\".\"emt_streams\"",
        "public.others is unlogged",
        "column \"shard\" of \"public\".\"emt_streams\" has no default",
    ] {
        finds(&found, Severity::Refuse, part);
    }
    finds(&found, Severity::Warn, "trigger \"zzzzz\" on public.emt_streams");
    finds(&found, Severity::Warn, "public.views points to");

    // Adopting says so too.
    let names = TenantNames::default();
    let refused = adoption(&database, "shared", layout, &names).adopt().await;
    let refused = refused.expect_err("heads could not be written").to_string();
    assert!(refused.contains("lacks INSERT, UPDATE on \"public\".\"emt_streams\""), "{refused}");
}

/// What becomes so after the installation is a problem of the store.
#[tokio::test]
async fn a_table_of_heads_that_changes_under_the_guard_is_noticed() {
    let names = TenantNames::default();
    let place = Place::with("shared", EMMETT, emmett(), &names).await;
    assert_eq!(place.store.check().await.unwrap().problems, Vec::<String>::new());
    place
        .app
        .batch_execute("ALTER TABLE emt_streams DROP CONSTRAINT emt_streams_pkey")
        .await
        .unwrap();
    let problems = place.store.check().await.unwrap().problems;
    assert!(problems.iter().any(|it| it.contains("no unique key of the NOT NULL")), "{problems:?}");
}

/// A foreign key between events and heads asks for nothing: both go together.
#[tokio::test]
async fn a_foreign_key_to_the_heads_needs_no_rows_before_the_copy() {
    let database = rehome_cluster::shared().database().unwrap();
    rehome_cluster::shared()
        .sql(database.name(), &format!("SET ROLE {}; {MARTEN}", database.name()))
        .unwrap();
    let layout = Layout::built_in("marten").expect("it comes with rehome");
    let url = database.url().parse().expect("a URL");
    let events = catalog::table(&url, "public", "mt_events").await.unwrap().expect("the table");
    let found = catalog::judge(&layout, &events);
    finds(
        &found,
        Severity::Warn,
        "points to public.mt_streams (foreign key \"fkey_mt_events_stream_id_tenant_id\"), whose rows go",
    );
    assert!(!found.iter().any(|it| it.text.contains("before the copy")), "{found:#?}");
    assert_eq!(findings(&database, &layout).await, Vec::new());
}

/// Whose a head is has to be seen: else a target could have some of the tenant.
#[tokio::test]
async fn heads_without_a_tenant_are_refused() {
    let database = rehome_cluster::shared().database().unwrap();
    rehome_cluster::shared()
        .sql(database.name(), &format!("SET ROLE {}; {EMMETT}", database.name()))
        .unwrap();
    let json = TenantPart::Json { column: "message_metadata".to_owned(), key: "tenant".to_owned() };
    let layout = Layout { tenant: json, ..emmett() };
    finds(&findings(&database, &layout).await, Severity::Refuse, "does not say whose a row of");
}
