//! Anchors: how far logs of migrations were seen.

use rehome_domain::digest::{Digest, sha256};

use crate::contract::kit::{Store, migration_id, tenant};
use crate::log_chain::{Followed, LogAnchor};

fn hash(n: u64) -> Digest {
    sha256(&[&n.to_be_bytes()])
}

fn anchor(migration: u64, of: u64, index: u64) -> LogAnchor {
    let seen = Followed { index, hash: hash(index) };
    LogAnchor { tenant: tenant(of), migration: migration_id(migration), seen }
}

pub async fn anchors_are_kept_and_never_go_back(store: Store) {
    assert_eq!(store.anchors(None, 10).await.unwrap(), []);
    // Several processes write them, and one of them may be late.
    for (index, kept) in [(3, 3), (7, 7), (5, 7), (7, 7), (8, 8)] {
        store.keep_anchor(&anchor(1, 1, index)).await.unwrap();
        assert_eq!(store.anchors(None, 10).await.unwrap(), [anchor(1, 1, kept)]);
    }
    // Another hash for the same entry is no news: what was seen first is what there was.
    let other = Followed { index: 8, hash: hash(99) };
    store.keep_anchor(&LogAnchor { seen: other, ..anchor(1, 1, 8) }).await.unwrap();
    assert_eq!(store.anchors(None, 10).await.unwrap(), [anchor(1, 1, 8)]);
}

pub async fn anchors_are_listed_in_pages_and_forgotten_by_tenant(store: Store) {
    for n in [4, 2, 5, 1, 3] {
        store.keep_anchor(&anchor(n, n % 2, n + 10)).await.unwrap();
    }
    let all = [1, 2, 3, 4, 5].map(|n| anchor(n, n % 2, n + 10));
    let mut paged = Vec::new();
    loop {
        let after = paged.last().map(|last: &LogAnchor| last.migration);
        let page = store.anchors(after, 2).await.unwrap();
        assert!(page.len() <= 2);
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, all);
    store.forget_anchors(tenant(1)).await.unwrap();
    assert_eq!(store.anchors(None, 10).await.unwrap(), [all[1], all[3]]);
    store.forget_anchors(tenant(1)).await.unwrap();
    store.keep_anchor(&anchor(5, 1, 1)).await.unwrap();
    assert_eq!(store.anchors(None, 10).await.unwrap(), [all[1], all[3], anchor(5, 1, 1)]);
}
