//! Verifications: what they find, and how it is said.

use rehome_domain::digest::Digest;
use rehome_domain::ledger::Head;
use rehome_domain::verification::{
    Coverage, Finding, Level, Side, Violation, ViolationType, ends_as_said,
};

use crate::kit::{finding, head_of, history, stream};

#[test]
fn a_history_ends_as_its_ledger_says() {
    let events = history(3);
    let head = head_of(&events);
    assert!(ends_as_said(head, Some(head.digest)));
    assert!(!ends_as_said(head, Some(events[1].digest)));
    assert!(!ends_as_said(head, None), "the last event is missing");
    assert!(ends_as_said(Head::EMPTY, None));
    let changed = Head { seq: 0, digest: head.digest };
    assert!(!ends_as_said(changed, None) && !ends_as_said(changed, Some(head.digest)));
    // The digest of no event is not that of an event.
    assert!(!ends_as_said(Head { seq: 1, digest: head.digest }, Some(Digest::EMPTY)));
}

#[test]
fn a_violation_says_its_kind_and_its_place() {
    let violation = Violation {
        kind: ViolationType::Content,
        side: Side::Copy,
        seq: Some(7),
        stream: Some(stream("a")),
        detail: "the data differs".to_owned(),
    };
    assert_eq!(violation.to_string(), "content at seq 7 in stream order/a: the data differs");
    let nowhere = Violation { seq: None, stream: None, ..violation.clone() };
    assert_eq!(nowhere.to_string(), "content: the data differs");
    let coverage = Coverage { level: Level::Full, after: 0, upto: 9, whole: true };
    let expected = Finding {
        coverage,
        violations: 1,
        seq: Some(7),
        side: Side::Copy,
        first: violation.to_string().into(),
    };
    assert_eq!(Finding::of(&violation, coverage), expected);
    assert_eq!(
        expected.to_string(),
        "1 open violation (full), the first: content at seq 7 in stream order/a: the data differs"
    );
    let two = Finding { violations: 2, ..expected };
    assert!(two.to_string().starts_with("2 open violations (full), "), "{two}");
}

#[test]
fn two_findings_are_of_a_whole_range_only_if_both_are() {
    let whole = finding(Level::Hash, 4, 9, Side::Copy);
    let sample = |mut one: Finding| {
        one.coverage.whole = false;
        one
    };
    let before = finding(Level::Hash, 0, 5, Side::Copy);
    assert!(whole.and(&before).coverage.whole);
    for both in [whole.and(&sample(before.clone())), sample(whole).and(&before)] {
        let coverage = Coverage { level: Level::Hash, after: 0, upto: 9, whole: false };
        assert_eq!(both.coverage, coverage);
    }
}

#[test]
fn kinds_of_violations_have_the_names_of_the_metrics() {
    for (kind, name) in [
        (ViolationType::Missing, "missing"),
        (ViolationType::Unexpected, "unexpected"),
        (ViolationType::Content, "content"),
        (ViolationType::Order, "order"),
        (ViolationType::Version, "version"),
        (ViolationType::Ledger, "ledger"),
    ] {
        assert_eq!(kind.as_str(), name);
    }
}
