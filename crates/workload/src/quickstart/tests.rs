//! The quickstart, small.

use std::sync::Mutex;

use uuid::Uuid;

use super::*;

fn small(folder: &tempfile::TempDir) -> QuickstartOptions {
    QuickstartOptions {
        tenants: 2,
        events: 1_500,
        writers: 4,
        rate: 200.0,
        watch: Duration::from_millis(500),
        folder: Some(folder.path().join("stores")),
        ..QuickstartOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_moves_and_returns_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let heard = Mutex::new(Vec::new());
    let options = QuickstartOptions { there_and_back: true, ..small(&folder) };
    let verdict = Box::pin(run(&options, &|step| heard.lock().unwrap().push(step))).await.unwrap();
    assert!(verdict.ok, "{verdict:?}");
    assert!(verdict.acked > 100, "{verdict:?}");
    assert_eq!(verdict.events, 1_500);
    assert_eq!(verdict.events_now, verdict.events + verdict.acked);
    assert!(verdict.pause_ms.appends > 0 && verdict.append_ms.before.appends > 0);
    let back = verdict.back.unwrap();
    assert_eq!(
        (back.migration.target_store.as_str(), verdict.migration.target_store.as_str()),
        (SOURCE, TARGET)
    );
    let heard = heard.into_inner().unwrap();
    assert!(heard.iter().any(|step| matches!(step, Step::Moving { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn real_events_are_imported_and_the_named_tenant_moves() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("events.ndjson");
    let tenants = [Uuid::from_u128(1), Uuid::from_u128(2)];
    let lines: String = (0..30_u128)
        .map(|n| {
            let tenant = tenants[usize::from(n % 3 == 0)];
            let id = Uuid::from_u128(100 + n);
            format!(
                r#"{{"tenant_id":"{tenant}","stream_type":"t","stream_id":"s{}","event_id":"{id}","event_type":"E","occurred_at":"2024-01-01T00:00:00Z","data":{{"n":{n}}},"metadata":{{}}}}"#,
                n % 4
            ) + "\n"
        })
        .collect();
    std::fs::write(&input, lines).unwrap();
    let options = QuickstartOptions {
        input: Some(input),
        tenant: Some(TenantId::new(tenants[1])),
        ..small(&folder)
    };
    let verdict = Box::pin(run(&options, &|_| {})).await.unwrap();
    assert!(verdict.ok, "{verdict:?}");
    assert_eq!((verdict.tenant_id, verdict.events), (tenants[1], 10));
}

#[tokio::test]
async fn what_cannot_be_is_refused_before_a_folder_is_made() {
    let folder = tempfile::tempdir().unwrap();
    for options in [
        QuickstartOptions { tenants: 0, ..small(&folder) },
        QuickstartOptions { events: 0, ..small(&folder) },
        QuickstartOptions { writers: 0, ..small(&folder) },
        QuickstartOptions { rate: f64::NAN, ..small(&folder) },
        QuickstartOptions { rate: 0.0, ..small(&folder) },
    ] {
        assert_eq!(Box::pin(run(&options, &|_| {})).await.unwrap_err().kind(), Kind::Usage);
    }
    let missing = QuickstartOptions { input: Some("no/such/file".into()), ..small(&folder) };
    assert!(Box::pin(run(&missing, &|_| {})).await.is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_is_not_in_the_input_is_not_found() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("events.ndjson");
    std::fs::write(&input, "").unwrap();
    let options = QuickstartOptions {
        input: Some(input),
        tenant: Some(TenantId::new(Uuid::from_u128(1))),
        ..small(&folder)
    };
    assert_eq!(Box::pin(run(&options, &|_| {})).await.unwrap_err().kind(), Kind::NotFound);
}
