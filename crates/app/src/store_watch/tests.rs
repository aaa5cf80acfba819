use rehome_ports::fault::{FaultyStore, Script, StoreOp};
use rehome_ports::memory::MemoryStore;
use uuid::Uuid;

use super::*;

const TENANT: TenantId = TenantId::new(Uuid::from_u128(1));

/// The wall clock, by the test's own time.
struct TestClock(Instant);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let micros = i64::try_from(self.0.elapsed().as_micros()).unwrap();
        Timestamp::from_micros(1_800_000_000_000_000 + micros)
    }
}

fn watch() -> (StoreWatch, Arc<Script>, StoreId) {
    let id: StoreId = "a".parse().unwrap();
    let clock: Arc<dyn Clock> = Arc::new(TestClock(Instant::now()));
    let script = Script::new();
    let inner = Arc::new(MemoryStore::new(id.clone(), Arc::clone(&clock)));
    let store = Arc::new(FaultyStore::new(inner, Arc::clone(&script)));
    let stores = Stores::new([store as Arc<dyn LedgerStore>], id.clone()).unwrap();
    let watch = StoreWatch::new(&stores, &clock);
    watch.serve();
    (watch, script, id)
}

async fn seen(watch: &StoreWatch, id: &StoreId) -> (Sight<Ledger>, Duration) {
    let began = Instant::now();
    let sight = watch.ledger(id, TENANT).await.unwrap();
    (sight, began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_store_that_answers_is_asked_each_time() {
    let (watch, script, id) = watch();
    for asked in 1..=3 {
        let (sight, _) = seen(&watch, &id).await;
        assert!(sight.last.is_some() && sight.unanswered.is_none(), "{sight:?}");
        assert_eq!(script.calls(StoreOp::Ledger), asked);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_waited_for_once_and_shown_as_last_seen() {
    let (watch, script, id) = watch();
    let (before, _) = seen(&watch, &id).await;
    script.slow(StoreOp::Ledger, Duration::from_secs(3_600));
    let asked_at = watch.of(&id).unwrap().clock.now();
    let (sight, took) = seen(&watch, &id).await;
    assert_eq!((sight, took), (before.clone(), PATIENCE_OF_A_SERVER), "slow is not silent");
    let (sight, took) = seen(&watch, &id).await;
    assert_eq!((sight, took), (before.clone(), Duration::ZERO));
    tokio::time::sleep(ANSWERS_WITHIN).await;
    let (sight, took) = seen(&watch, &id).await;
    assert_eq!((sight.last, took), (before.last, Duration::ZERO));
    let unanswered = sight.unanswered.unwrap();
    assert_eq!(unanswered.since, asked_at);
    assert!(unanswered.sentence().starts_with("store \"a\" has not answered since 2027-01-15T"));
    assert_eq!(script.calls(StoreOp::Ledger), 2, "nothing more is asked of it");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_was_never_seen_and_hangs_is_named() {
    let (watch, script, id) = watch();
    script.slow(StoreOp::Ledger, Duration::from_secs(3_600));
    let (sight, took) = seen(&watch, &id).await;
    // It may have had to be opened.
    assert_eq!((sight.last, took), (None, ANSWERS_WITHIN));
    assert!(sight.unanswered.is_some());
    assert_eq!(seen(&watch, &id).await.1, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_answers_again_is_fresh_at_once() {
    let (watch, script, id) = watch();
    seen(&watch, &id).await;
    script.down_for(StoreOp::Ledger);
    let (first, _) = seen(&watch, &id).await;
    let first = first.unanswered.unwrap();
    assert!(first.has_error());
    tokio::time::sleep(Duration::from_secs(7)).await;
    let (later, _) = seen(&watch, &id).await;
    assert_eq!(later.unanswered.unwrap().since, first.since, "since the first failure");
    script.heal();
    let (sight, _) = seen(&watch, &id).await;
    assert_eq!(sight.unanswered, None);
    assert_eq!(sight.at(), Some(watch.of(&id).unwrap().clock.now()));
}

#[tokio::test(start_paused = true)]
async fn many_screens_ask_few_questions_of_a_store_that_hangs() {
    let (watch, script, id) = watch();
    seen(&watch, &id).await;
    script.slow(StoreOp::Ledger, Duration::from_secs(3_600));
    let began = Instant::now();
    let screens = (0..100_u128).map(|n| watch.ledger(&id, TenantId::new(Uuid::from_u128(n))));
    futures_util::future::join_all(screens).await;
    assert_eq!(began.elapsed(), PATIENCE_OF_A_SERVER);
    assert_eq!(script.calls(StoreOp::Ledger), 1 + SIDE_BY_SIDE as u64);
}
