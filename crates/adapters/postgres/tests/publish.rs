//! Publishing a switch in an application's own tables: of two switches the later one stays, in any order;
//! nothing is half done; errors are found in advance.

use rehome_cluster::Database;
use rehome_domain::ids::{Epoch, MigrationId, TenantId};
use rehome_ports::FaultKind;
use rehome_postgres::{PgPublisher, Published, Switch, Wording};
use uuid::Uuid;

const ROUTING: &str = "\
    CREATE TABLE tenant_routing (tenant_id uuid PRIMARY KEY, store_id varchar(255) NOT NULL, \
        migration_state varchar(50) NOT NULL DEFAULT 'normal', active_migration_id uuid, \
        created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now())";

fn database(tables: &str) -> Database {
    let database = rehome_cluster::shared().database().expect("a new database");
    as_owner(&database, tables);
    database
}

/// As the role that publishes, which owns the database.
fn as_owner(database: &Database, statements: &str) -> String {
    let name = database.name();
    let statements = format!("SET ROLE {name}; SET search_path = public; {statements}");
    rehome_cluster::shared()
        .sql(name, &format!("GRANT CREATE ON SCHEMA public TO {name}"))
        .expect("granted");
    rehome_cluster::shared().sql(name, &statements).expect(statements.as_str())
}

fn publisher(database: &Database, wording: Wording) -> PgPublisher {
    let url = database.url().parse().expect("a url");
    PgPublisher::new(url, wording).expect("a publisher")
}

fn library() -> Wording {
    Wording::EventsourcePy { schema: "public".to_owned() }
}

fn switch(epoch: u64, to: &str) -> Switch {
    Switch {
        tenant: TenantId::new(Uuid::from_u128(7)),
        name: "Acme".to_owned(),
        from: "shared".to_owned(),
        to: to.to_owned(),
        epoch: Epoch(epoch),
        migration: MigrationId::new(Uuid::from_u128(9)),
    }
}

const ROUTED: &str = "SELECT store_id, migration_state FROM tenant_routing";

#[tokio::test]
async fn the_librarys_row_follows_and_a_late_switch_changes_nothing() {
    let database = database(ROUTING);
    let publisher = publisher(&database, library());
    publisher.prepare(TenantId::new(Uuid::from_u128(7))).await.unwrap();
    assert_eq!(as_owner(&database, ROUTED), "", "looking tells nothing");
    assert_eq!(publisher.publish(&switch(3, "b")).await.unwrap(), Published::Done);
    assert_eq!(publisher.publish(&switch(5, "a")).await.unwrap(), Published::Done);
    assert_eq!(publisher.publish(&switch(5, "a")).await.unwrap(), Published::Done, "once more");
    assert_eq!(publisher.publish(&switch(3, "b")).await.unwrap(), Published::Superseded);
    assert_eq!(as_owner(&database, ROUTED), "a|normal");
    let noted = "SELECT epoch, store FROM rehome_published.epochs";
    assert_eq!(as_owner(&database, noted), "5|a");
}

/// Two that come at once: the later one of the two stays, in every order of their commits.
#[tokio::test]
async fn of_two_at_once_the_later_switch_stays() {
    let database = database(ROUTING);
    let (one, other) = (publisher(&database, library()), publisher(&database, library()));
    one.prepare(TenantId::new(Uuid::from_u128(7))).await.unwrap();
    for round in 0..20 {
        let (old, new) = (switch(2 * round + 2, "old"), switch(2 * round + 3, "new"));
        let (first, second) = tokio::join!(one.publish(&old), other.publish(&new));
        first.unwrap();
        assert_eq!(second.unwrap(), Published::Done);
        assert_eq!(as_owner(&database, ROUTED), "new|normal", "round {round}");
    }
}

#[tokio::test]
async fn a_migration_of_the_librarys_own_is_left_alone() {
    let database = database(ROUTING);
    let under_way = "INSERT INTO tenant_routing (tenant_id, store_id, migration_state) VALUES \
        ('00000000-0000-0000-0000-000000000007', 'x', 'dual_write')";
    as_owner(&database, under_way);
    let publisher = publisher(&database, library());
    let before = publisher.prepare(switch(3, "b").tenant).await.unwrap_err();
    assert!(before.to_string().contains("the library's own migration"), "{before}");
    let fault = publisher.publish(&switch(3, "b")).await.unwrap_err();
    assert!(fault.to_string().contains("the library's own migration"), "{fault}");
    assert_eq!(as_owner(&database, ROUTED), "x|dual_write");
    // Nothing of it is recorded either: once that one has ended, the switch is published.
    as_owner(&database, "UPDATE tenant_routing SET migration_state = 'normal'");
    assert_eq!(publisher.publish(&switch(3, "b")).await.unwrap(), Published::Done);
    assert_eq!(as_owner(&database, ROUTED), "b|normal");
}

#[tokio::test]
async fn statements_of_the_operators_get_values_bound_and_run_together_or_not_at_all() {
    let database = database("CREATE TABLE told (n int PRIMARY KEY, what text)");
    let everything = "INSERT INTO public.told VALUES ($4::int, \
        concat_ws('|', $1, $2, $3, $5, $6, '{schema}{body}'))";
    let both = Wording::Statements(vec![
        everything.to_owned(),
        "INSERT INTO public.told VALUES (100 - $4::int, 'second')".to_owned(),
    ]);
    let both = publisher(&database, both);
    both.prepare(TenantId::new(Uuid::from_u128(7))).await.unwrap();
    let hostile = Switch { name: "'; DROP TABLE told; --".to_owned(), ..switch(3, "b") };
    assert_eq!(both.publish(&hostile).await.unwrap(), Published::Done);
    let told = as_owner(&database, "SELECT what FROM told ORDER BY n");
    let wanted = "00000000-0000-0000-0000-000000000007|b|shared|\
        00000000-0000-0000-0000-000000000009|'; DROP TABLE told; --|{schema}{body}\nsecond";
    assert_eq!(told, wanted);
    // At 50 both statements make the same key: the second fails, and nothing of the first stays.
    both.publish(&switch(50, "b")).await.unwrap_err();
    assert_eq!(as_owner(&database, "SELECT count(*) FROM told"), "2");
    assert_eq!(as_owner(&database, "SELECT epoch FROM rehome_published.epochs"), "3");
}

#[tokio::test]
async fn what_would_fail_is_known_before() {
    let database = database("CREATE TABLE told (n int)");
    let problem = async |statement: &str| {
        let wording = Wording::Statements(vec![statement.to_owned()]);
        publisher(&database, wording)
            .prepare(TenantId::new(Uuid::from_u128(7)))
            .await
            .unwrap_err()
            .to_string()
    };
    let said = problem("UPDATE public.nothing SET n = 1").await;
    assert!(said.contains("public.nothing"), "{said}");
    // An unqualified name is not looked up in the search path.
    let said = problem("INSERT INTO told VALUES ($4)").await;
    assert!(said.contains("told"), "{said}");
    let said = problem("DELETE FROM public.told; DROP TABLE public.told").await;
    assert!(said.contains("multiple commands"), "{said}");
    assert_eq!(as_owner(&database, "SELECT count(*) FROM told"), "0");
    let missing = publisher(&database, library())
        .prepare(TenantId::new(Uuid::from_u128(7)))
        .await
        .unwrap_err();
    assert!(missing.to_string().contains("tenant_routing"), "{missing}");
}

/// A role that can create a schema of that name first could run code with the privileges of the publishing role.
#[tokio::test]
async fn a_schema_that_another_role_made_is_refused() {
    let database = database(ROUTING);
    let name = database.name();
    let planted = "CREATE SCHEMA rehome_published; \
        CREATE TABLE rehome_published.epochs (tenant uuid PRIMARY KEY, epoch bigint, store text, \
            migration uuid, published_at timestamptz)";
    let other = rehome_cluster::shared().database().unwrap();
    let as_other = format!(
        "GRANT CREATE ON DATABASE {name} TO {other}; SET ROLE {other}; {planted}",
        other = other.name()
    );
    rehome_cluster::shared().sql(name, &as_other).unwrap();
    let fault = publisher(&database, library()).publish(&switch(3, "b")).await.unwrap_err();
    assert!(matches!(fault.kind, FaultKind::Foreign(_)), "{fault}");
    assert_eq!(as_owner(&database, ROUTED), "");
}
