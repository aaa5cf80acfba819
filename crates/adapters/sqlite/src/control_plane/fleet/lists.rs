//! Lists of routes and migrations: each is found by an index, whatever it filters by.

use rehome_domain::ids::{MigrationId, TenantId};
use rehome_domain::migration::{Migration, Phase};
use rehome_domain::route::Route;
use rehome_ports::{MigrationFilter, RouteFilter};
use rusqlite::types::Value;
use rusqlite::{Transaction, params_from_iter};

use super::super::tables::{all, at_most, migration};
use crate::error::FileError;
use crate::rows;

type Done<T> = Result<T, FileError>;

/// Conditions and their parameters.
#[derive(Default)]
struct Where {
    conditions: Vec<String>,
    params: Vec<Value>,
}

impl Where {
    /// `?` in the condition stands for the parameter.
    fn and(&mut self, condition: &str, param: impl Into<Value>) {
        self.params.push(param.into());
        self.conditions.push(condition.replace('?', &format!("?{}", self.params.len())));
    }

    fn text(&self) -> String {
        if self.conditions.is_empty() {
            return String::new();
        }
        format!("WHERE {}", self.conditions.join(" AND "))
    }

    fn tenants(&mut self, range: Option<(TenantId, TenantId)>) {
        if let Some((first, last)) = range {
            self.and("tenant >= ?", first.as_bytes().to_vec());
            self.and("tenant <= ?", last.as_bytes().to_vec());
        }
    }
}

pub(super) fn routes(tx: &Transaction<'_>, which: &RouteFilter) -> Done<Vec<Route>> {
    let mut filter = Where::default();
    filter.tenants(which.tenants);
    let removed = "SELECT 1 FROM removals AS x WHERE x.tenant = routes.tenant AND x.events IS NULL";
    filter.conditions.push(format!("NOT EXISTS ({removed})"));
    if let Some(after) = which.after {
        filter.and("tenant > ?", after.as_bytes().to_vec());
    }
    if let Some(store) = &which.store {
        filter.and("store = ?", store.as_str().to_owned());
    }
    if let Some(phase) = which.phase {
        filter.and("phase = ?", phase.as_str().to_owned());
    }
    if which.pinned {
        filter.conditions.push("tenant IN (SELECT tenant FROM pins)".to_owned());
    }
    if which.removing {
        let running = "tenant IN (SELECT tenant FROM removals WHERE events IS NOT NULL)";
        filter.conditions.push(running.to_owned());
    }
    let limit = Value::from(at_most(which.limit));
    let sql = format!(
        "SELECT {} FROM routes {} ORDER BY tenant LIMIT ?{}",
        rows::ROUTE,
        filter.text(),
        filter.params.len() + 1
    );
    let params = params_from_iter(filter.params.into_iter().chain([limit]));
    all(tx, &sql, params, rows::route)
}

pub(super) fn migrations(tx: &Transaction<'_>, which: &MigrationFilter) -> Done<Vec<Migration>> {
    let before = match which.before {
        None => None,
        Some(id) => match migration(tx, id)? {
            Some(found) => Some(found),
            None => return Ok(Vec::new()),
        },
    };
    // By each of its two stores in turn: a condition with OR is answered by no index in the order of age.
    let sides: &[Option<&str>] =
        if which.store.is_some() { &[Some("source"), Some("target")] } else { &[None] };
    let mut lists = Vec::new();
    for side in sides {
        lists.push(one_side(tx, which, *side, before.as_ref())?);
    }
    Ok(which.joined(lists))
}

fn one_side(
    tx: &Transaction<'_>,
    which: &MigrationFilter,
    side: Option<&str>,
    before: Option<&Migration>,
) -> Done<Vec<Migration>> {
    let mut filter = Where::default();
    filter.tenants(which.tenants);
    if let (Some(side), Some(store)) = (side, &which.store) {
        filter.and(&format!("{side} = ?"), store.as_str().to_owned());
    }
    if let Some(phase) = which.phase {
        filter.and("phase = ?", Phase::as_str(phase).to_owned());
    }
    if let Some(before) = before {
        let id: &MigrationId = &before.id;
        filter.params.push(before.created_at.micros().into());
        filter.params.push(id.as_bytes().to_vec().into());
        let n = filter.params.len();
        filter.conditions.push(format!("(created_at, id) < (?{}, ?{n})", n - 1));
    }
    let limit = Value::from(at_most(which.limit));
    // Without statistics SQLite would rather read all of them in the order of age than those of few tenants.
    let by = if which.tenants.is_some() { "INDEXED BY migrations_by_tenant" } else { "" };
    let sql = format!(
        "SELECT {} FROM migrations {by} {} ORDER BY created_at DESC, id DESC LIMIT ?{}",
        rows::MIGRATION,
        filter.text(),
        filter.params.len() + 1
    );
    let params = params_from_iter(filter.params.into_iter().chain([limit]));
    all(tx, &sql, params, rows::migration)
}
#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use rehome_domain::event::Timestamp;
    use rehome_domain::ids::{Epoch, StoreId};
    use rehome_domain::migration::{Cleanup, OldSource, Options, State, Violations};
    use rusqlite::Connection;
    use uuid::Uuid;

    use super::super::super::tables::{put_migration, put_route};
    use super::*;
    use crate::schema::{Kind, install};

    fn store(name: &str) -> StoreId {
        name.parse().unwrap()
    }

    fn tenant(n: u128) -> TenantId {
        // Spread over all beginnings, in no order.
        TenantId::new(Uuid::from_u128(n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)))
    }

    /// A control plane with so many migrated tenants; of all of them the first three are in another store and
    /// have failed.
    fn filled(tenants: u128) -> Connection {
        let mut conn = Connection::open_in_memory().unwrap();
        let tx = conn.transaction().unwrap();
        install(&tx, Kind::ControlPlane, "d", Timestamp::from_micros(0)).unwrap();
        for n in 0..tenants {
            let id = MigrationId::new(Uuid::from_u128(n + 1));
            let is_rare = n < 3;
            let state = if is_rare {
                State::Failed { acknowledged: false }
            } else if n % 2 == 0 {
                State::RolledBack(Cleanup::Done)
            } else {
                State::Migrated { activated: true, old_source: OldSource::Purged }
            };
            let at = Timestamp::from_micros(i64::try_from(n).unwrap());
            let name = if is_rare { "rare" } else { "common" };
            let migration = Migration {
                id,
                tenant: tenant(n),
                source: store(name),
                target: store(if is_rare { "rare" } else { "other" }),
                m: Epoch(2),
                state,
                options: Options::default(),
                cutover_attempts: 1,
                created_at: at,
                started_at: Some(at),
                completed_at: Some(at),
                error: None,
                violations: Violations::default(),
            };
            put_migration(&tx, &migration).unwrap();
            let route = Route::create(tenant(n), store(name));
            put_route(&tx, &Route { migration: Some((id, state.phase())), ..route }).unwrap();
        }
        for n in 0..3 {
            let pin = "INSERT INTO pins (tenant, at, actor, why) VALUES (?1, 0, 'ada', '')";
            tx.execute(pin, [tenant(n).as_bytes().as_slice()]).unwrap();
        }
        // Three removals are under way; many are complete, of tenants that are in no list.
        for n in 0..2 * tenants {
            let events = (n < 3).then_some(7);
            let id = if n < 3 { tenant(n) } else { tenant(tenants + n) };
            let removal = "INSERT INTO removals (tenant, epoch, events) VALUES (?1, 2, ?2)";
            tx.execute(removal, (id.as_bytes().as_slice(), events)).unwrap();
        }
        tx.commit().unwrap();
        conn
    }

    type List = Box<dyn Fn(&Transaction<'_>) -> Done<usize>>;

    /// Steps of SQLite's machine, in hundreds, and how many rows were found.
    fn steps(
        conn: &mut Connection,
        list: &dyn Fn(&Transaction<'_>) -> Done<usize>,
    ) -> (u64, usize) {
        let count = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&count);
        let more = move || {
            counted.fetch_add(1, Ordering::Relaxed);
            false
        };
        conn.progress_handler(100, Some(more)).unwrap();
        let tx = conn.transaction().unwrap();
        let found = list(&tx).unwrap_or_else(|_| panic!("a list"));
        drop(tx);
        (count.load(Ordering::Relaxed), found)
    }

    /// A list is as much work with many tenants as with few: also one of three among all of them.
    #[test]
    fn a_list_costs_no_more_where_there_are_more_tenants() {
        const LIMIT: usize = 50;
        let of_routes = |filter: RouteFilter| {
            move |tx: &Transaction<'_>| {
                routes(tx, &RouteFilter { limit: LIMIT, ..filter.clone() }).map(|found| found.len())
            }
        };
        let of_migrations = |filter: MigrationFilter| {
            move |tx: &Transaction<'_>| {
                let filter = MigrationFilter { limit: LIMIT, ..filter.clone() };
                migrations(tx, &filter).map(|found| found.len())
            }
        };
        let (rare, failed) = (Some(store("rare")), Some(Phase::Failed));
        let one = Some((tenant(1), tenant(1)));
        let all = RouteFilter::default;
        let every = MigrationFilter::default;
        let lists: Vec<(&str, usize, List)> = vec![
            ("all routes", LIMIT, Box::new(of_routes(all()))),
            ("of a store", 3, Box::new(of_routes(RouteFilter { store: rare.clone(), ..all() }))),
            ("in a phase", 3, Box::new(of_routes(RouteFilter { phase: failed, ..all() }))),
            ("of one tenant", 1, Box::new(of_routes(RouteFilter { tenants: one, ..all() }))),
            ("pinned", 3, Box::new(of_routes(RouteFilter { pinned: true, ..all() }))),
            ("removed", 3, Box::new(of_routes(RouteFilter { removing: true, ..all() }))),
            ("all migrations", LIMIT, Box::new(of_migrations(every()))),
            (
                "from or to a store",
                3,
                Box::new(of_migrations(MigrationFilter { store: rare.clone(), ..every() })),
            ),
            ("failed", 3, Box::new(of_migrations(MigrationFilter { phase: failed, ..every() }))),
            (
                "of a tenant",
                1,
                Box::new(of_migrations(MigrationFilter { tenants: one, ..every() })),
            ),
        ];
        let (mut few, mut many) = (filled(300), filled(3_000));
        for (name, wanted, list) in &lists {
            let (small, found) = steps(&mut few, list);
            assert_eq!(found, *wanted, "{name}");
            let (large, found) = steps(&mut many, list);
            assert_eq!(found, *wanted, "{name}");
            assert!(
                large <= small + small / 4 + 3,
                "{name}: {small} and then {large} hundreds of steps"
            );
        }
    }
}
