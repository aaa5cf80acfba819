//! The driver of a migration, by its lease.

use std::time::Duration;

use rehome_domain::ids::MigrationId;
use rehome_ports::{ControlError, ControlPlane};
use tokio::time::Instant;

/// How often a lease is read.
const LEASE_POLL: Duration = Duration::from_millis(50);

/// The holder of the lease once it was seen to be renewed; `None` once it has run out.
pub(super) async fn worker(
    control: &dyn ControlPlane,
    id: MigrationId,
) -> Result<Option<String>, ControlError> {
    let Some(first) = control.lease_holder(id).await? else { return Ok(None) };
    let since = Instant::now();
    let mut last = first.clone();
    loop {
        tokio::time::sleep(LEASE_POLL).await;
        // Taken before the read, which may be slow: its result is from after this.
        let waited = since.elapsed().as_millis();
        let Some(now) = control.lease_holder(id).await? else { return Ok(None) };
        let renewed = now.remaining_ms > last.remaining_ms || now.holder != last.holder;
        // Beyond its time it can only have been renewed between two reads.
        if renewed || waited > u128::from(first.remaining_ms) {
            return Ok(Some(now.holder));
        }
        last = now;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rehome_domain::event::Timestamp;
    use rehome_domain::ids::TenantId;
    use rehome_domain::migration::{Fact, Options};
    use rehome_ports::clock::Clock;
    use rehome_ports::fault::{ControlOp, FaultyControlPlane, Script};
    use rehome_ports::memory::MemoryControlPlane;
    use rehome_ports::{Change, Lease, LeaseRequest};
    use uuid::Uuid;

    use super::*;

    const ID: MigrationId = MigrationId::new(Uuid::from_u128(5));
    const TTL: Duration = Duration::from_secs(1);

    /// The wall clock, by the test's own time.
    struct TestClock(Instant);

    impl Clock for TestClock {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(i64::try_from(self.0.elapsed().as_micros()).unwrap())
        }
    }

    /// A control plane with a migration whose lease is held.
    async fn held() -> (Arc<FaultyControlPlane>, Arc<Script>) {
        let plane = MemoryControlPlane::new(Arc::new(TestClock(Instant::now())));
        let tenant = TenantId::new(Uuid::from_u128(7));
        let route = plane.create_route(tenant, &"a".parse().unwrap()).await.unwrap();
        let route = plane.mark_created(tenant, route.epoch).await.unwrap();
        let target = "b".parse().unwrap();
        let fact = Fact::Started { migration: ID, target, options: Options::default() };
        let actor = "an operator".to_owned();
        let change = Change { tenant, migration: ID, rev: Some(route.rev), fact, actor };
        plane.record(change).await.unwrap();
        renew(&plane).await;
        let script = Script::new();
        (Arc::new(FaultyControlPlane::new(Arc::new(plane), Arc::clone(&script))), script)
    }

    async fn renew(plane: &dyn ControlPlane) {
        let ttl_ms = u64::try_from(TTL.as_millis()).unwrap();
        let request = LeaseRequest { migration: ID, holder: "a process".to_owned(), ttl_ms };
        assert!(matches!(plane.lease(&request).await.unwrap(), Lease::Held { .. }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_of_the_dead_runs_out_and_one_that_is_renewed_is_somebodys() {
        let (plane, _) = held().await;
        assert_eq!(worker(&*plane, ID).await.unwrap(), None);
        renew(&*plane).await;
        let renewing = async {
            tokio::time::sleep(TTL / 3).await;
            renew(&*plane).await;
        };
        let (found, ()) = tokio::join!(worker(&*plane, ID), renewing);
        assert_eq!(found.unwrap().as_deref(), Some("a process"));
    }

    /// The reply of a read takes longer than the lease: its content is from before that.
    #[tokio::test(start_paused = true)]
    async fn a_slow_look_at_a_lease_of_the_dead_is_not_taken_for_its_renewal() {
        let (plane, script) = held().await;
        let looking = tokio::spawn({
            let plane = Arc::clone(&plane);
            async move { worker(&*plane, ID).await }
        });
        script.called(ControlOp::LeaseHolder, 1).await;
        let slow = script.gate_after(ControlOp::LeaseHolder);
        slow.reached().await;
        tokio::time::sleep(TTL * 2).await;
        slow.open();
        assert_eq!(looking.await.unwrap().unwrap(), None);
        assert!(script.calls(ControlOp::LeaseHolder) >= 3, "it looked again");
    }
}
