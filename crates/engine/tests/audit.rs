//! What is read back and verified before a cutover, and what of it other processes see.

#![allow(clippy::unwrap_used, reason = "a test may end anywhere")]

#[allow(unreachable_pub, dead_code, reason = "each test file uses its own part of the kit")]
mod world;

use std::time::Duration;

use rehome_domain::migration::{Fact, Options, Phase};
use rehome_ports::ControlPlane;
use world::{World, auto, manual};

/// A history within the lag bound is not copied but mirrored as a whole: the target is empty when
/// mirroring begins, and a verification then would have looked at nothing.
#[tokio::test(start_paused = true)]
async fn the_verification_covers_a_history_that_was_mirrored_as_a_whole() {
    let world = World::new();
    let tenant = world.tenant_with(1, 60).await;
    let process = world.process("p1");
    let id = process.start(tenant, "b", Options { lag_events_max: 1_000, ..auto() }).await;
    process.drive_to_end(id).await;
    let log = world.control.log(id, 0, 100).await.unwrap();
    let verified = log.iter().find_map(|entry| match entry.fact {
        Fact::Verified { seq, violations, .. } => Some((seq, violations)),
        _ => None,
    });
    assert_eq!(verified, Some((60, 0)));
}

#[tokio::test(start_paused = true)]
async fn the_mark_of_the_read_back_is_kept_also_when_nothing_more_comes() {
    let world = World::new();
    let tenant = world.tenant_with(1, 60).await;
    let process = world.process("p1");
    let id = process.start(tenant, "b", Options { lag_events_max: 1_000, ..manual() }).await;
    let _driving = process.supervisor.spawn(id, |_| false);
    world.reached(tenant, Phase::DualWrite).await;
    let marked = async {
        loop {
            let mark = world.control.marks(id).await.unwrap().read_back;
            if mark.is_some_and(|mark| mark.head.seq == 60) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), marked).await.expect("a mark at the last event");
}
