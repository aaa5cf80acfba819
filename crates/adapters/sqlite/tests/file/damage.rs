//! A ledger that does not have the digest of its last event: the next append notices.

use rehome_domain::ids::Epoch;
use rehome_ports::{FaultKind, LedgerStore};

use crate::kit::{activate, append, audited, fault, fill, folder, outsider, store, tenant};

#[tokio::test]
async fn a_ledger_that_was_changed_behind_its_back_takes_no_append() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let store = store(&path).await;
    for who in [1, 2] {
        activate(&store, tenant(who)).await;
        fill(&store, tenant(who), 1, 20).await;
    }
    for flip in [
        "UPDATE ledger SET digest = randomblob(32) WHERE tenant_no = 1",
        "UPDATE events SET digest = randomblob(32) WHERE position = (1 << 40) + 20",
        "UPDATE ledger SET seq = 19 WHERE tenant_no = 1",
    ] {
        let other = outsider(&path);
        let undo = "SELECT seq, digest, (SELECT digest FROM events WHERE position = (1 << 40) + 20) \
                    FROM ledger WHERE tenant_no = 1";
        let (seq, digest, last): (i64, Vec<u8>, Vec<u8>) =
            other.query_row(undo, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        assert_eq!(other.execute(flip, []).unwrap(), 1);
        let group: Vec<_> = (30..34).map(append).collect();
        for appends in [&[append(21)][..], &group] {
            let answer = fault(store.append(tenant(1), Epoch(1), appends).await);
            let FaultKind::Corrupt(why) = &answer.kind else { panic!("{flip}: {answer:?}") };
            assert!(why.contains("does not have the digest of its last event"), "{why}");
            let answer = fault(store.append_chain(tenant(1), Epoch(1), appends).await);
            assert!(answer.is_damage(), "{flip}");
        }
        // Nothing was written, and the others continue.
        store.append(tenant(2), Epoch(1), &[append(40)]).await.unwrap();
        let mend = "UPDATE ledger SET seq = ?1, digest = ?2 WHERE tenant_no = 1";
        other.execute(mend, rusqlite::params![seq, digest]).unwrap();
        let mend = "UPDATE events SET digest = ?1 WHERE position = (1 << 40) + 20";
        other.execute(mend, [last]).unwrap();
        assert_eq!(audited(&store, tenant(1)).await.len(), 20);
    }
    fill(&store, tenant(1), 21, 22).await;
    assert_eq!(audited(&store, tenant(1)).await.len(), 22);
}

#[tokio::test]
async fn a_ledger_of_no_event_with_a_digest_takes_none() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let store = store(&path).await;
    activate(&store, tenant(1)).await;
    outsider(&path).execute("UPDATE ledger SET digest = randomblob(32)", []).unwrap();
    assert!(fault(store.append(tenant(1), Epoch(1), &[append(1)]).await).is_damage());
}
