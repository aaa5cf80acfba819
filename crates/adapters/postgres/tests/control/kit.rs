//! Control planes in databases of their own, and what the tests do to them.

use std::time::Duration;

use rehome_cluster::Database;
use rehome_domain::ids::{Epoch, MigrationId, StoreId, TenantId};
use rehome_domain::migration::{Fact, Options};
use rehome_domain::route::Route;
use rehome_ports::{Change, ControlError, ControlPlane, RouteListener, RouteNews};
use rehome_postgres::{PgControlPlane, PostgresOptions, PostgresUrl};
use tokio_postgres::NoTls;
use uuid::Uuid;

/// Longest wait for anything; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// An empty database of the server that all tests share.
pub(crate) fn database() -> Database {
    rehome_cluster::shared().database().expect("a database")
}

/// A control plane there, made if there is none.
pub(crate) async fn open(url: &str) -> PgControlPlane {
    let url: PostgresUrl = url.parse().expect("a URL");
    let opened = PgControlPlane::open(url, true, PostgresOptions::default()).await;
    opened.expect("a control plane")
}

/// A connection that bypasses rehome.
pub(crate) async fn client(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

pub(crate) fn tenant(n: u128) -> TenantId {
    TenantId::new(Uuid::from_u128(0x7e_0000 + n))
}

pub(crate) fn migration(n: u128) -> MigrationId {
    MigrationId::new(Uuid::from_u128(0x319_0000 + n))
}

pub(crate) fn store(name: &str) -> StoreId {
    name.parse().expect("a name")
}

/// A tenant that writes to store a.
pub(crate) async fn create(plane: &dyn ControlPlane, n: u128) -> Route {
    plane.create_route(tenant(n), &store("a")).await.expect("a route");
    plane.mark_created(tenant(n), Epoch(1)).await.expect("a route")
}

/// The beginning of a migration with the tenant's number.
pub(crate) fn start(n: u128, rev: u64) -> Change {
    let (migration, target) = (migration(n), store("b"));
    change(n, Some(rev), Fact::Started { migration, target, options: Options::default() })
}

/// A change of the migration with the tenant's number.
pub(crate) fn change(n: u128, rev: Option<u64>, fact: Fact) -> Change {
    Change { tenant: tenant(n), migration: migration(n), rev, fact, actor: "a test".to_owned() }
}

/// A tenant with a migration.
pub(crate) async fn started(plane: &dyn ControlPlane, n: u128) -> Route {
    let route = create(plane, n).await;
    plane.record(start(n, route.rev)).await.expect("it starts").route
}

/// The next notification.
pub(crate) async fn heard(listener: &mut RouteListener) -> RouteNews {
    let news = tokio::time::timeout(PATIENCE, listener.next()).await;
    news.expect("there is news").expect("there is more to come")
}

/// Waits for `wanted`; returns the notifications before it.
pub(crate) async fn heard_until(listener: &mut RouteListener, wanted: RouteNews) -> Vec<RouteNews> {
    let mut before = Vec::new();
    loop {
        let news = heard(listener).await;
        if news == wanted {
            return before;
        }
        before.push(news);
    }
}

/// Retries while the control plane reports a transient error.
pub(crate) async fn patiently<T, F: Future<Output = Result<T, ControlError>>>(
    ask: impl Fn() -> F,
) -> T {
    let answer = async {
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(error) if error.class() == rehome_ports::Class::Retry => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, answer).await.expect("it answers again")
}
