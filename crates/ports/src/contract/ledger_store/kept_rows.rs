//! Rows of another library's table: an event that was copied with one is read back with it.

use std::sync::Arc;

use rehome_domain::digest;
use rehome_domain::event::Event;
use rehome_domain::ids::Epoch;
use rehome_domain::layout::{ColumnKind, ForeignRow, FormColumn, Part, RowForm, Texts};
use rehome_domain::ledger::{Activation, Head, Role};
use rehome_domain::stream::ExpectedVersion::Any;

use crate::contract::kit::{At, Store, append_of, head_of, history};
use crate::{FaultKind, StoreError};

/// Columns of a table, the last two without a part of an event.
fn form(names: [&str; 4]) -> Arc<RowForm> {
    let [version, data, first, second] = names;
    let column = |name: &str, kind, parts: &[Part]| FormColumn {
        name: name.to_owned(),
        kind,
        parts: parts.to_vec(),
    };
    let columns = vec![
        column(version, ColumnKind::Integer, &[Part::Version(1)]),
        column(data, ColumnKind::Json, &[Part::Data]),
        column(first, ColumnKind::Text, &[]),
        column(second, ColumnKind::Other("numeric".to_owned()), &[]),
    ];
    Arc::new(RowForm { texts: Texts::AsPostgresql, columns })
}

fn table() -> Arc<RowForm> {
    form(["version", "body", "note \"of\" it", "über"])
}

/// The history as a table of another library would hold it.
fn with_rows(mut events: Vec<Event>, form: &Arc<RowForm>) -> Vec<Event> {
    let mut previous = Head::EMPTY.digest;
    for event in &mut events {
        let (version, number) = (event.version.to_string(), format!("{}.50", event.seq));
        let note = match event.seq % 3 {
            0 => None,
            1 => Some("\"quoted\", \\ and\n(more) \u{e9}\0 \u{1f600}"),
            _ => Some(""),
        };
        let data = Some(event.data.as_str());
        let row = ForeignRow::of([Some(&*version), data, note, Some(&*number)]);
        event.row = Some(Arc::new(row.with_form(form)));
        event.digest = digest::chain(&previous, event);
        previous = event.digest;
    }
    events
}

fn forms(events: &[Event]) -> Vec<Option<RowForm>> {
    events.iter().map(|event| Some(event.row.as_ref()?.form()?.as_ref().clone())).collect()
}

pub async fn rows_are_read_back_with_their_columns(store: Store) {
    let events = with_rows(history(150), &table());
    let at = At::replica(&store, 1, 5, &events[..40]).await;
    // Few at a time, and then many.
    let mut head = head_of(&events[..40]);
    for some in events[40..60].chunks(3) {
        head = at.extend_all(5, head, some).await;
    }
    at.extend_all(5, head, &events[60..]).await;
    let read = at.audit().await;
    assert_eq!(read, events);
    assert_eq!(forms(&read), forms(&events));
}

pub async fn a_history_goes_on_without_rows_and_is_copied_with_them(store: Store) {
    let events = with_rows(history(90), &table());
    let at = At::replica(&store, 1, 5, &events).await;
    let route = Activation { epoch: Epoch(6), base: 90, created: true };
    store.activate(at.tenant, route).await.unwrap();
    for n in 91..=95 {
        at.append(6, "a", Any, [n]).await.unwrap();
    }
    // A retry finds an event that was copied with a row.
    assert_eq!(at.append(6, "b", Any, [1]).await.unwrap().last_seq, 1);
    let read = at.audit().await;
    assert_eq!(read[..90], events);
    assert!(read[90..].iter().all(|event| event.row.is_none()));
    assert_eq!(read.len(), 95);

    let copy = At::replica(&store, 2, 9, &read[..92]).await;
    copy.extend_all(9, head_of(&read[..92]), &read[92..]).await;
    let copied = copy.audit().await;
    assert_eq!(copied, read);
    assert_eq!(forms(&copied), forms(&read));
}

async fn not_kept(at: &At, m: u64, head: Head, events: &[Event]) {
    let before = at.ledger().await;
    match at.store.extend(at.tenant, Epoch(m), head, events).await {
        Err(StoreError::Fault(fault)) if matches!(fault.kind, FaultKind::NotSetUp(_)) => {}
        other => panic!("rows that are not kept: {other:?}"),
    }
    assert_eq!(at.ledger().await, before);
}

pub async fn rows_that_do_not_follow_on_others_are_refused(store: Store) {
    let with = with_rows(history(9), &table());
    let at = At::replica(&store, 1, 5, &with[..4]).await;
    let head = head_of(&with[..4]);
    // Of other columns, and of unknown ones.
    let other = form(["version", "body", "über", "note \"of\" it"]);
    let of_another = |form: Option<&Arc<RowForm>>| {
        let text = ForeignRow::new(with[4].row.as_ref().unwrap().as_str());
        let row = form.map_or_else(|| text.clone(), |form| text.clone().with_form(form));
        Event { row: Some(Arc::new(row)), ..with[4].clone() }
    };
    not_kept(&at, 5, head, &[of_another(Some(&other))]).await;
    not_kept(&at, 5, head, &[of_another(None)]).await;
    // Other names of columns with the same parts of an event are the same columns.
    let renamed = form(["revision", "payload", "note \"of\" it", "über"]);
    let next = of_another(Some(&renamed));
    at.extend_all(5, head, std::slice::from_ref(&next)).await;
    at.extend_all(5, Head::of(&next), &with[5..]).await;
    assert_eq!(at.audit().await, with);

    // Behind an event without a row.
    let plain = history(9);
    let at = At::replica(&store, 2, 5, &plain[..4]).await;
    let mut mixed = [plain[..4].to_vec(), with[4..5].to_vec()].concat();
    mixed[4].digest = digest::chain(&plain[3].digest, &mixed[4]);
    not_kept(&at, 5, head_of(&plain[..4]), &mixed[4..]).await;
}

pub async fn rows_of_a_stream_with_a_gap_are_refused(store: Store) {
    let mut events = history(9);
    events[6].version += 1;
    let events = with_rows(events, &table());
    let at = At::replica(&store, 1, 5, &events[..6]).await;
    not_kept(&at, 5, head_of(&events[..6]), &events[6..]).await;
    assert_eq!(at.audit().await, events[..6]);
}

pub async fn rows_are_cut_back_and_purged_with_their_events(store: Store) {
    let events = with_rows(history(30), &table());
    let at = At::dropped(&store, 1, 5, &events).await;
    let to = head_of(&events[..10]);
    while store.cut_back(at.tenant, Epoch(5), to, 7).await.unwrap().head != to {}
    assert_eq!(at.audit().await, events[..10]);
    store.adopt(at.tenant, Epoch(8), to).await.unwrap();
    at.extend_all(8, to, &events[10..]).await;
    assert_eq!(at.audit().await, events);

    store.drop_replica(at.tenant, Epoch(8)).await.unwrap();
    while store.purge(at.tenant, Epoch(8), 7).await.unwrap().role != Role::Absent {}
    // Nothing is left that would fix the columns.
    let other = form(["body", "note \"of\" it", "version", "über"]);
    let others = with_rows(history(30), &other);
    store.adopt(at.tenant, Epoch(9), Head::EMPTY).await.unwrap();
    at.extend_all(9, Head::EMPTY, &others).await;
    let read = at.audit().await;
    assert_eq!(read, others);
    assert_eq!(forms(&read), forms(&others));
}

pub async fn tenants_with_rows_and_without_are_independent(store: Store) {
    let (plain, with) = (history(20), with_rows(history(20), &table()));
    let one = At::replica(&store, 1, 5, &plain).await;
    let two = At::dropped(&store, 2, 5, &with).await;
    let three = At::replica(&store, 3, 5, &with).await;
    let four = At::written(&store, 4, 6).await;
    four.send(1, append_of("a", Any, [7])).await.unwrap();
    while store.purge(two.tenant, Epoch(5), 100).await.unwrap().role != Role::Absent {}
    assert_eq!(one.audit().await, plain);
    assert_eq!(three.audit().await, with);
    assert_eq!(four.audit().await.len(), 7);
}
