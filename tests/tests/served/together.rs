//! Two servers over one control plane on PostgreSQL, behind a balancer that sends each connection to
//! the next one. A tenant moves and returns, and its clients notice nothing that is not documented.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use rehome_cluster::Database;
use rehome_tests::checker::{self, Moment, Place, Places, parse_hex};
use rehome_tests::history::{self, IMPORTED, TENANT};
use rehome_tests::process::{Process, wait_for};
use serde_json::{Value, json};

use crate::balancer::Balancer;
use crate::clients::{Clients, WRITERS};
use crate::harness::Site;

/// The schema that a URL means if it names none.
const SCHEMA: &str = "rehome";
/// Appends of each writer between two steps.
const BETWEEN: u64 = 8;

/// A deployment, its servers, and all clients of the load balancer.
pub(crate) struct Stage<'a> {
    places: &'a Places,
    balancer: Balancer,
    pub(crate) clients: Clients,
    failed: AtomicBool,
}

/// Where a database or a file is, and how a configuration names it.
pub(crate) fn on_server(database: &Database) -> (Place, String) {
    let url = database.url();
    (Place::Postgres { url: url.clone(), schema: SCHEMA.to_owned() }, url)
}

/// A site with both stores, and the checker's view of it. `target` is the database of `dedicated`, or it is a
/// file; `migration` are lines for that section of the configuration, in addition to ours.
pub(crate) fn site(target: Option<&Database>, migration: &str) -> Result<(Site, Places)> {
    let databases = [(); 2].map(|()| rehome_cluster::shared().database());
    let [control, shared] = databases;
    let ((control, control_url), (shared, shared_url)) =
        (on_server(&control?), on_server(&shared?));
    let target_url = target.map_or("sqlite:dedicated.db".to_owned(), Database::url);
    let config = format!(
        "[control_plane]\nurl = \"{control_url}\"\n\
         [[stores]]\nid = \"shared\"\nurl = \"{shared_url}\"\ndefault = true\n\
         [[stores]]\nid = \"dedicated\"\nurl = \"{target_url}\"\n\
         [migration]\nbatch_events = 200\nlag_events_max = 200\n{migration}"
    );
    let site = Site::with_history(&config, "shared")?;
    let dedicated = match target {
        Some(database) => on_server(database).0,
        None => Place::Sqlite(site.path("dedicated.db")),
    };
    let stores = [("shared".to_owned(), shared), ("dedicated".to_owned(), dedicated)];
    Ok((site, Places { control, stores: stores.into() }))
}

/// The same with all of it in files.
pub(crate) fn site_in_files(migration: &str) -> Result<(Site, Places)> {
    let config = format!(
        "[control_plane]\nurl = \"sqlite:control.db\"\n\
         [[stores]]\nid = \"shared\"\nurl = \"sqlite:shared.db\"\ndefault = true\n\
         [[stores]]\nid = \"dedicated\"\nurl = \"sqlite:dedicated.db\"\n\
         [migration]\nbatch_events = 200\nlag_events_max = 200\n{migration}"
    );
    let site = Site::with_history(&config, "shared")?;
    let file = |name: &str| Place::Sqlite(site.path(&format!("{name}.db")));
    let stores = ["shared", "dedicated"].map(|name| (name.to_owned(), file(name)));
    let places = Places { control: file("control"), stores: stores.into() };
    Ok((site, places))
}

/// The name of the database that a place is in.
pub(crate) fn database_of(place: &Place) -> Result<String> {
    let Place::Postgres { url, .. } = place else { anyhow::bail!("{place:?} is no database") };
    let name = url.rsplit('/').next().and_then(|name| name.split('?').next());
    name.map(ToOwned::to_owned).context("a name")
}

impl<'a> Stage<'a> {
    pub(crate) fn new(
        site: &Site,
        places: &'a Places,
        servers: [std::net::SocketAddr; 2],
        may_break: bool,
    ) -> Result<Self> {
        let balancer = Balancer::start(servers)?;
        let clients = Clients::new(balancer.address(), may_break, site.folder());
        Ok(Self { places, balancer, clients, failed: AtomicBool::new(false) })
    }

    /// Runs an operator while all others write and follow; then checks everything.
    pub(crate) fn play(&self, operate: impl FnOnce() -> Result<()>) -> Result<()> {
        thread::scope(|scope| {
            let watched = |work: Result<()>| {
                self.failed.fetch_or(work.is_err(), Ordering::Relaxed);
                work
            };
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| scope.spawn(move || watched(self.clients.write(writer))))
                .collect();
            let follower = scope.spawn(move || watched(self.clients.follow()));
            let operated = operate();
            self.clients.stop();
            let ended = |thread: thread::ScopedJoinHandle<'_, Result<()>>| {
                thread.join().map_err(|_| anyhow!("a client panicked")).flatten()
            };
            let wrote: Vec<_> = writers.into_iter().map(ended).collect();
            // Also after a failure: all clients end.
            let last = self.last_seq();
            self.clients.ends_at(*last.as_ref().unwrap_or(&1));
            let followed = ended(follower);
            wrote.into_iter().collect::<Result<Vec<()>>>().context("a writer")?;
            followed.context("the follower")?;
            last?;
            operated.context("the operator")
        })?;
        self.check()
    }

    fn last_seq(&self) -> Result<u64> {
        let found = self.clients.ask("GET", &format!("/v1/tenants/{TENANT}"), &[], None)?;
        found.body["seq"].as_u64().with_context(|| format!("{found:?}"))
    }

    fn check(&self) -> Result<()> {
        let known = || {
            let mut known = history::known()?;
            for writer in 0..WRITERS {
                known.add_load(&self.clients.record(writer))?;
            }
            known.add_subscriber("follower", &self.clients.seen())?;
            Ok(known)
        };
        let report =
            checker::check(self.places, parse_hex(TENANT)?, Moment::End, known)?.clean()?;
        ensure!(report.acked > IMPORTED + WRITERS * BETWEEN, "too little was written: {report:?}");
        let (followed, _) = known()?.watched();
        ensure!(followed >= report.events, "the follower saw {followed} of {}", report.events);
        let taken = self.balancer.taken();
        ensure!(taken.iter().all(|taken| *taken > 0), "one server did nothing: {taken:?}");
        eprintln!(
            "{} events; connections {taken:?}; sent again {:?}",
            report.events,
            self.clients.again()
        );
        Ok(())
    }

    /// Every writer gets further acknowledgements.
    pub(crate) fn goes_on(&self) -> Result<()> {
        let before = self.clients.acked();
        wait_for("appends", || {
            ensure!(!self.failed.load(Ordering::Relaxed), "a client failed");
            let now = self.clients.acked();
            let all = now.iter().zip(&before).all(|(now, before)| *now >= before + BETWEEN);
            Ok(all.then_some(()))
        })
    }

    /// Starts the request; returns the migration's id.
    pub(crate) fn start(&self, path: &str, body: &Value) -> Result<String> {
        let key = [("Idempotency-Key", path)];
        let answer = self.clients.ask("POST", path, &key, Some(body))?;
        // The same again, now at the other server.
        let again = self.clients.ask("POST", path, &key, Some(body))?;
        ensure!(answer.status == 201 && again.status == 201, "{answer:?}, {again:?}");
        ensure!(answer.body["id"] == again.body["id"], "two of them: {answer:?}, {again:?}");
        Ok(answer.body["id"].as_str().context("its id")?.to_owned())
    }

    pub(crate) fn wait_for(&self, migration: &str, state: &str) -> Result<()> {
        wait_for(state, || {
            ensure!(!self.failed.load(Ordering::Relaxed), "a client failed");
            let path = format!("/v1/migrations/{migration}");
            let found = self.clients.ask("GET", &path, &[], None)?;
            ensure!(found.status == 200, "{found:?}");
            ensure!(found.body["state"] != "failed", "{found:?}");
            Ok((found.body["state"] == state).then_some(()))
        })
    }

    pub(crate) fn cut_over(&self, migration: &str) -> Result<()> {
        let path = format!("/v1/migrations/{migration}/cutover");
        let answer = self.clients.ask("POST", &path, &[], None)?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(())
    }

    /// Ends a server as at a shutdown: it finishes accepted requests.
    pub(crate) fn ends(mut server: Process) -> Result<()> {
        server.terminate()?;
        server.succeeds()
    }
}

/// The request for a move with a manual cutover.
pub(crate) fn to_dedicated() -> Value {
    json!({
        "tenant_id": TENANT,
        "target_store": "dedicated",
        "options": {"cutover": "manual", "cutover_timeout_ms": 60_000, "rollback_window": "1h"},
        "reason": "a test"
    })
}

#[test]
fn a_tenant_moves_and_returns_and_its_clients_are_at_two_servers() -> Result<()> {
    let database = rehome_cluster::shared().database()?;
    let (site, places) = site(Some(&database), "lease_ttl_ms = 1000\n")?;
    site.with(|site| {
        let (first, one) = site.serve("first", "")?;
        let (second, other) = site.serve("second", "")?;
        let stage = Stage::new(site, &places, [one, other], false)?;
        stage.play(|| {
            stage.goes_on()?;
            let there = stage.start("/v1/migrations", &to_dedicated())?;
            stage.wait_for(&there, "dual_write")?;
            stage.goes_on()?;
            stage.cut_over(&there)?;
            stage.wait_for(&there, "migrated")?;
            stage.goes_on()?;
            let back = format!("/v1/migrations/{there}/return");
            let back = stage.start(&back, &json!({"options": {"cutover": "auto"}}))?;
            stage.wait_for(&back, "migrated")?;
            stage.goes_on()
        })?;
        Stage::ends(first)?;
        Stage::ends(second)
    })
}
