//! Hooks: a veto is recorded, shown and retried; steps are delivered at least once, in
//! the order of the log, by any live process, and delay nothing. A requested cutover can be withdrawn until
//! it begins.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

#[allow(unreachable_pub, dead_code, reason = "each test file uses its own part of the kit")]
mod world;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rehome_domain::ids::MigrationId;
use rehome_domain::migration::{Phase, Undone};
use rehome_engine::migration::{OperationError, Operations, Supervisor, Waiting};
use rehome_engine::{Deliveries, Hooks, Occasion, On, Veto};
use rehome_ports::ControlPlane as _;
use rehome_ports::fault::{ControlOp, Op};
use tokio_util::sync::CancellationToken;
use world::{Acked, Process, World, auto, manual, store_id};

/// Two hooks, `one` and `two`, that are for everything.
#[derive(Default)]
struct Book {
    heard: Mutex<Vec<(String, On, u64)>>,
    veto: Mutex<Option<&'static str>>,
    /// The hook that fails.
    fails: Mutex<Option<&'static str>>,
    /// So many calls of `one` panic.
    panics: Mutex<u32>,
    /// Answers come after so long.
    takes: Mutex<Duration>,
}

impl Book {
    fn heard(&self, name: &str) -> Vec<(On, u64)> {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|(by, ..)| by == name).map(|(_, on, epoch)| (*on, *epoch)).collect()
    }

    fn vetoes(&self, why: Option<&'static str>) {
        *self.veto.lock().unwrap() = why;
    }

    fn fails(&self, name: Option<&'static str>) {
        *self.fails.lock().unwrap() = name;
    }
}

#[async_trait]
impl Hooks for Book {
    async fn ask(&self, occasion: &Occasion) -> Result<(), Veto> {
        let takes = *self.takes.lock().unwrap();
        tokio::time::sleep(takes).await;
        self.heard.lock().unwrap().push(("ask".to_owned(), occasion.on, occasion.epoch.0));
        match *self.veto.lock().unwrap() {
            Some(why) => Err(Veto { hook: "calendar".to_owned(), why: why.to_owned() }),
            None => Ok(()),
        }
    }

    fn listeners(&self) -> Vec<String> {
        vec!["one".to_owned(), "two".to_owned()]
    }

    fn hears(&self, _: &str, _: On) -> bool {
        true
    }

    async fn notify(&self, name: &str, occasion: &Occasion) -> Result<(), String> {
        let takes = *self.takes.lock().unwrap();
        tokio::time::sleep(takes).await;
        let panics = {
            let mut left = self.panics.lock().unwrap();
            let panics = name == "one" && *left > 0;
            *left -= u32::from(panics);
            panics
        };
        assert!(!panics, "a planned panic");
        if *self.fails.lock().unwrap() == Some(name) {
            return Err("503".to_owned());
        }
        self.heard.lock().unwrap().push((name.to_owned(), occasion.on, occasion.epoch.0));
        Ok(())
    }
}

/// A process with hooks.
fn hooked(world: &World, name: &str, book: &Arc<Book>) -> Process {
    let process = world.process(name);
    let engine = process.engine.clone().hooked(Arc::clone(book) as Arc<dyn Hooks>);
    let operations = Operations::new(&engine, name);
    let supervisor = Supervisor::new(&engine, name);
    Process { engine, operations, supervisor, ..process }
}

async fn log(world: &World, id: MigrationId) -> Vec<&'static str> {
    let log = world.control.log(id, 0, 1_000).await.unwrap();
    log.iter().map(|entry| entry.fact.name()).collect()
}

/// Waits until it is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let waits = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(600), waits)
        .await
        .unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test(start_paused = true)]
async fn an_automatic_cutover_that_is_vetoed_says_why_and_is_tried_again() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let book = Arc::new(Book::default());
    let driver = hooked(&world, "p1", &book);
    let id = driver.start(tenant, "b", auto()).await;
    book.vetoes(Some("a change freeze"));
    let driving = driver.drive(id);
    until("it waits", async || {
        let waiting = Waiting::of(&*world.control, id).await.unwrap();
        waiting
            .is_some_and(|waiting| waiting.why.contains("vetoed by hook calendar: a change freeze"))
    })
    .await;
    // For ten minutes: the waits get longer, and the log has one entry.
    tokio::time::sleep(Duration::from_secs(600)).await;
    let migration = world.control.migration(id).await.unwrap();
    assert_eq!(migration.state.phase(), Phase::DualWrite);
    assert_eq!(migration.undone(), Some(Undone::Vetoed));
    let asked = book.heard("ask").len();
    assert!((8..20).contains(&asked), "{asked} questions in ten minutes");
    let vetoed = log(&world, id).await.into_iter().filter(|fact| *fact == "cutover_vetoed").count();
    assert_eq!(vetoed, 1);
    // The mirror ran all the time.
    let acked = Acked::default();
    let writers = driver.writers(tenant, 2, &acked);
    book.vetoes(None);
    driving.await.unwrap().unwrap();
    writers.stop().await;
    world.check(tenant, &acked).await;
    assert_eq!(Waiting::of(&*world.control, id).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_cutover_that_an_operator_asked_for_and_a_hook_vetoed_is_asked_for_again_by_the_operator()
{
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let book = Arc::new(Book::default());
    let driver = hooked(&world, "p1", &book);
    let id = driver.start(tenant, "b", manual()).await;
    let driving = driver.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    for (why, times) in [("a freeze", 1), ("a freeze", 2)] {
        book.vetoes(Some(why));
        driver.operations.request_cutover(id).await.unwrap();
        until("it is vetoed", async || {
            let vetoes = log(&world, id).await.into_iter().filter(|fact| *fact == "cutover_vetoed");
            vetoes.count() == times
        })
        .await;
        let error = world.control.migration(id).await.unwrap().error.unwrap();
        assert_eq!(&*error, "last cutover vetoed by hook calendar: a freeze");
    }
    let asked = book.heard("ask").len();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(book.heard("ask").len(), asked, "nobody asked for it again");
    book.vetoes(None);
    driver.operations.request_cutover(id).await.unwrap();
    driving.await.unwrap().unwrap();
    assert_eq!(world.phase(tenant).await, Some(Phase::Migrated));
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_vetoed_changes_nothing() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let book = Arc::new(Book::default());
    let driver = hooked(&world, "p1", &book);
    book.vetoes(Some("not on a friday"));
    let before = world.control.route(tenant).await.unwrap();
    let started = driver.operations.start(tenant, &store_id("b"), auto()).await;
    let Err(OperationError::Vetoed(veto)) = started else { panic!("{started:?}") };
    assert_eq!(veto.to_string(), "vetoed by hook calendar: not on a friday");
    assert_eq!(world.control.route(tenant).await.unwrap(), before);
    assert_eq!(book.heard("one"), []);
}

#[tokio::test(start_paused = true)]
async fn what_has_happened_is_delivered_in_order_by_whoever_lives_and_holds_nothing_up() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let book = Arc::new(Book::default());
    let driver = hooked(&world, "p1", &book);
    book.fails(Some("two"));
    let id = driver.start(tenant, "b", auto()).await;
    let began = tokio::time::Instant::now();
    driver.drive_to_end(id).await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let back = driver.start(tenant, "a", auto()).await;
    driver.drive_to_end(back).await;
    // A failing hook does not prevent notifications of the others, and is reported. The second migration is delivered
    // after all hooks have received the first.
    let wanted = [(On::AfterStart, 2), (On::AfterSwitch, 4)];
    assert_eq!(book.heard("one"), wanted);
    assert_eq!(book.heard("two"), []);
    let memo = world.control.memo(id, Deliveries::MEMO).await.unwrap().unwrap();
    let failing = Deliveries::of_memo(&memo).unwrap().failing().unwrap();
    assert!(failing.contains("hook two is not notified yet: 503"), "{failing}");
    drop(driver);

    book.fails(None);
    let keeper = hooked(&world, "p2", &book);
    let stop = CancellationToken::new();
    let keeping = tokio::spawn({
        let (supervisor, stop) = (keeper.supervisor.clone(), stop.clone());
        async move { supervisor.run_all(&stop).await }
    });
    let wanted = [
        (On::AfterStart, 2),
        (On::AfterSwitch, 4),
        (On::AfterStart, 5),
        (On::AfterSwitch, 7),
        (On::Returned, 7),
    ];
    for name in ["one", "two"] {
        until("all is delivered", async || book.heard(name) == wanted).await;
    }
    for id in [id, back] {
        until("it is over", async || {
            let memo = world.control.memo(id, Deliveries::MEMO).await.unwrap().unwrap();
            Deliveries::of_memo(&memo).unwrap().over
        })
        .await;
    }
    // Delivered once, for any number of attempts; nothing is added to the log.
    let logged = log(&world, id).await.len();
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(book.heard("two"), wanted);
    assert_eq!(log(&world, id).await.len(), logged);
    stop.cancel();
    keeping.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_process_that_dies_in_a_delivery_leaves_it_to_the_next() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let book = Arc::new(Book::default());
    let driver = hooked(&world, "p1", &book);
    let id = driver.start(tenant, "b", manual()).await;
    *book.takes.lock().unwrap() = Duration::from_secs(1);
    let driving = driver.drive(id);
    until("hooks follow", async || {
        world.control.memo(id, Deliveries::MEMO).await.unwrap().is_some()
    })
    .await;
    // Acknowledged, and not noted any more: the process dies before.
    driver.control.down_for(ControlOp::SetMemo);
    until("one is notified", async || !book.heard("one").is_empty()).await;
    drop(driving);
    drop(driver);
    let heir = hooked(&world, "p2", &book);
    let driving = heir.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    heir.operations.request_cutover(id).await.unwrap();
    driving.await.unwrap().unwrap();
    let heard = book.heard("one");
    let (starts, switches): (Vec<_>, Vec<_>) =
        heard.into_iter().partition(|(on, _)| *on == On::AfterStart);
    assert!(starts.len() >= 2, "{starts:?}");
    assert_eq!(switches, [(On::AfterSwitch, 4)]);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_panics_is_repeated() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let book = Arc::new(Book::default());
    let driver = hooked(&world, "p1", &book);
    *book.panics.lock().unwrap() = 2;
    let id = driver.start(tenant, "b", auto()).await;
    driver.drive_to_end(id).await;
    assert_eq!(*book.panics.lock().unwrap(), 0);
    assert_eq!(book.heard("one"), [(On::AfterStart, 2), (On::AfterSwitch, 4)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_is_not_sent_again_while_it_cannot_be_recorded() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let book = Arc::new(Book::default());
    let driver = hooked(&world, "p1", &book);
    let id = driver.start(tenant, "b", manual()).await;
    *book.takes.lock().unwrap() = Duration::from_secs(1);
    let driving = driver.drive(id);
    until("hooks follow", async || {
        world.control.memo(id, Deliveries::MEMO).await.unwrap().is_some()
    })
    .await;
    driver.control.down_for(ControlOp::SetMemo);
    until("one is notified", async || !book.heard("one").is_empty()).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(book.heard("one"), [(On::AfterStart, 2)]);
    drop(driving);
}

/// A server that keeps all migrations.
fn kept(process: &Process) -> (CancellationToken, tokio::task::JoinHandle<()>) {
    let (supervisor, stop) = (process.supervisor.clone(), CancellationToken::new());
    let until = stop.clone();
    (stop, tokio::spawn(async move { supervisor.run_all(&until).await }))
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_does_not_keep_a_paused_migration_from_being_resumed() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let book = Arc::new(Book::default());
    let server = hooked(&world, "p1", &book);
    book.fails(Some("two"));
    let (stop, keeping) = kept(&server);
    let id = server.start(tenant, "b", manual()).await;
    world.reached(tenant, Phase::DualWrite).await;
    server.operations.pause(id).await.unwrap();
    // The driver has ended, and its notifications are tried again and again.
    tokio::time::sleep(Duration::from_secs(60)).await;
    server.operations.resume(id).await.unwrap();
    server.operations.request_cutover(id).await.unwrap();
    until("it has switched", async || {
        world.control.migration(id).await.unwrap().state.phase() == Phase::Migrated
    })
    .await;
    assert_eq!(book.heard("two"), []);
    stop.cancel();
    keeping.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_process_that_stops_while_a_hook_is_asked_begins_no_cutover() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let book = Arc::new(Book::default());
    let server = hooked(&world, "p1", &book);
    *book.takes.lock().unwrap() = Duration::from_secs(3_600);
    let (stop, keeping) = kept(&server);
    // The hook before the start answers at once: there is no process with hooks that starts it.
    let id = world.process("p2").start(tenant, "b", auto()).await;
    world.reached(tenant, Phase::DualWrite).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    *book.takes.lock().unwrap() = Duration::ZERO;
    let began = tokio::time::Instant::now();
    stop.cancel();
    keeping.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(world.control.lease_holder(id).await.unwrap().is_none());
    assert_eq!(world.control.migration(id).await.unwrap().cutover_attempts, 0);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_hangs_holds_up_neither_mirror_nor_writers() {
    let world = World::new();
    let tenant = world.tenant_with(1, 50).await;
    let book = Arc::new(Book::default());
    let driver = hooked(&world, "p1", &book);
    let acked = Acked::default();
    let id = driver.start(tenant, "b", auto()).await;
    *book.takes.lock().unwrap() = Duration::from_secs(6);
    let driving = driver.drive(id);
    world.reached(tenant, Phase::DualWrite).await;
    let writers = driver.writers(tenant, 2, &acked);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (a, b) = world.ledgers(tenant).await;
    assert!(a.head.seq > 1_000 && a.head.seq - b.head.seq < 1_000, "{} {}", a.head.seq, b.head.seq);
    driving.await.unwrap().unwrap();
    writers.stop().await;
    world.check(tenant, &acked).await;
}

#[tokio::test(start_paused = true)]
async fn a_cutover_that_is_withdrawn_before_it_begins_does_not_begin() {
    for asked in [true, false] {
        let world = World::new();
        let tenant = world.tenant_with(1, 50).await;
        let (driver, other) = (world.process("p1"), world.process("p2"));
        let id = driver.start(tenant, "b", if asked { manual() } else { auto() }).await;
        let driving = driver.drive(id);
        if asked {
            world.reached(tenant, Phase::DualWrite).await;
        }
        // The driver has decided, and its word is on its way.
        let gate = driver.control.gate_before(Op::record("cutover_started"));
        if asked {
            other.operations.request_cutover(id).await.unwrap();
        }
        gate.reached().await;
        other.operations.withdraw_cutover(id).await.unwrap();
        gate.open();
        tokio::time::sleep(Duration::from_secs(600)).await;
        let migration = world.control.migration(id).await.unwrap();
        assert_eq!(migration.state.phase(), Phase::DualWrite);
        assert_eq!(migration.cutover_attempts, 0);
        let again = other.operations.withdraw_cutover(id).await;
        assert!(again.unwrap_err().to_string().contains("no cutover to withdraw"));
        other.operations.request_cutover(id).await.unwrap();
        driving.await.unwrap().unwrap();
        world.check(tenant, &Acked::default()).await;
        let late = other.operations.withdraw_cutover(id).await;
        assert!(late.is_err(), "{late:?}");
    }
}
