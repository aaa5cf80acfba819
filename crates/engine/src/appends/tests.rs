use uuid::Uuid;

use super::*;

#[test]
fn the_tenant_that_was_silent_longest_makes_room_and_nothing_is_lost() {
    let appends = Appends::default();
    let tenant = |n: usize| TenantId::new(Uuid::from_u128(n as u128));
    let busy = appends.meter(tenant(0));
    for n in 1..=TENANTS_MAX {
        appends.meter(tenant(n)).ended(&Err(AppendError::Busy), Duration::from_millis(1));
    }
    assert_eq!(appends.tenants().len(), TENANTS_MAX);
    assert!(appends.tenant(tenant(0)).is_some(), "an append is under way");
    assert!(appends.tenant(tenant(1)).is_none());
    assert_eq!(appends.others().durations(Outcome::Busy).snapshot().count(), 1);
    let _three = [(); 3].map(|()| busy.handed_in(Instant::now()));
    assert_eq!(appends.tenant(tenant(0)).unwrap().waiting().unwrap().appends, 3);
}

#[tokio::test(start_paused = true)]
async fn an_append_waits_from_when_it_is_handed_in_until_its_caller_is_gone() {
    let meter = Arc::new(Meter::new());
    let second = Duration::from_secs(1);
    assert_eq!((meter.waiting(), meter.blocked_for()), (None, None));
    let began = Instant::now();
    let first = meter.handed_in(began);
    meter.group(began);
    tokio::time::advance(second).await;
    let later = meter.handed_in(Instant::now());
    assert_eq!(meter.waiting(), Some(Waiting { appends: 2, since: began }));
    assert_eq!(meter.blocked_for(), Some(second));

    // The first is stored, and held for the mirror.
    meter.group_is_over(began + second / 2);
    let held = first.hold();
    assert_eq!(meter.waiting().unwrap().since, began);
    drop(held);
    drop(first);
    // The later one has not come to its group.
    let since = began + second / 2;
    assert_eq!(meter.waiting(), Some(Waiting { appends: 1, since }));
    drop(later);
    assert_eq!((meter.waiting(), meter.blocked_for()), (None, None));
}

#[tokio::test(start_paused = true)]
async fn those_that_give_up_and_come_again_are_blocked_since_they_came_first() {
    let meter = Arc::new(Meter::new());
    let five = Duration::from_secs(5);
    for _ in 0..3 {
        let again = meter.handed_in(Instant::now());
        tokio::time::advance(five).await;
        meter.ended(&Err(AppendError::Busy), five);
        drop(again);
    }
    let again = meter.handed_in(Instant::now());
    assert_eq!(meter.blocked_for(), Some(five * 3));
    let appended = Appended { first_version: 1, last_version: 1, first_seq: 1, last_seq: 1 };
    meter.ended(&Ok(appended), five);
    assert_eq!(meter.blocked_for(), Some(Duration::ZERO));
    meter.ended(&Err(AppendError::Busy), five);
    drop(again);
    tokio::time::advance(AGAIN_WITHIN * 2).await;
    let _much_later = meter.handed_in(Instant::now());
    assert_eq!(meter.blocked_for(), Some(Duration::ZERO), "nobody waited in between");
}

#[tokio::test(start_paused = true)]
async fn however_many_append_at_once_the_series_are_bounded_and_come_down_again() {
    let appends = Appends::default();
    let tenant = |n: usize| TenantId::new(Uuid::from_u128(n as u128));
    let many = TENANTS_MAX * 3;
    let meters: Vec<_> = (0..many).map(|n| appends.meter(tenant(n))).collect();
    assert_eq!(appends.tenants().len(), TENANTS_MAX);
    for meter in meters {
        meter.ended(&Err(AppendError::Busy), Duration::from_millis(1));
    }
    let count = |meter: &Meter| meter.durations(Outcome::Busy).snapshot().count();
    let by_tenant: u64 = appends.tenants().iter().map(|(_, meter)| count(meter)).sum();
    assert_eq!(by_tenant + count(appends.others()), many as u64, "nothing is lost");
    tokio::time::advance(SILENT_MAX).await;
    assert_eq!(appends.tenants().len(), 0);
    assert_eq!(count(appends.others()), many as u64);
}
