//! The public views: the history in plain columns, from which any reader can recompute the chain.

use rusqlite::Connection;
use sha2::{Digest as _, Sha256};

use rehome_ports::LedgerStore;

use crate::kit::{activate, fill, folder, outsider, store, tenant};

/// The protocol's text, read literally, knowing nothing of our code.
fn recomputed(conn: &Connection, tenant: &str) -> (i64, String) {
    let sql = "SELECT seq, stream_type, stream_id, version, event_id, event_type, occurred_at, \
               recorded_at, data, metadata, digest FROM history WHERE tenant = ?1 ORDER BY seq";
    let mut statement = conn.prepare(sql).unwrap();
    let mut rows = statement.query([tenant]).unwrap();
    let (mut seq, mut digest) = (0, vec![0; 32]);
    while let Some(row) = rows.next().unwrap() {
        let number = |i: usize| row.get::<_, i64>(i).unwrap().to_be_bytes();
        let text = |i: usize| row.get::<_, String>(i).unwrap();
        let prefixed = |text: String| {
            let length = u32::try_from(text.len()).unwrap().to_be_bytes();
            [&length, text.as_bytes()].concat()
        };
        let id = u128::from_str_radix(&text(4).replace('-', ""), 16).unwrap().to_be_bytes();
        let hash = [
            digest.as_slice(),
            &number(0),
            &prefixed(text(1)),
            &prefixed(text(2)),
            &number(3),
            &id,
            &prefixed(text(5)),
            &number(6),
            &number(7),
            &Sha256::digest(text(8)),
            &Sha256::digest(text(9)),
        ]
        .concat();
        digest = Sha256::digest(hash).to_vec();
        assert_eq!(hex(&digest), text(10));
        assert_eq!(row.get::<_, i64>(0).unwrap(), seq + 1);
        seq += 1;
    }
    (seq, hex(&digest))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

#[tokio::test]
async fn anybody_can_recompute_the_chain() {
    let folder = folder();
    let path = folder.path().join("store.db");
    let store = store(&path).await;
    for n in 1..=3 {
        activate(&store, tenant(n)).await;
        fill(&store, tenant(n), 1, 200 * n).await;
    }
    let conn = outsider(&path);
    for n in 1..=3 {
        let head = store.ledger(tenant(n)).await.unwrap().head;
        let id = tenant(n).to_string();
        let (seq, digest) = recomputed(&conn, &id);
        assert_eq!((seq.cast_unsigned(), digest.as_str()), (200 * n, &*head.digest.to_string()));
        let ledger: (String, i64, i64, String) = conn
            .query_row(
                "SELECT role, epoch, seq, digest FROM ledgers WHERE tenant = ?1",
                [id],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
            )
            .unwrap();
        assert_eq!(ledger, ("active".to_owned(), 1, seq, digest));
    }
    let all: i64 = conn.query_row("SELECT count(*) FROM history", [], |row| row.get(0)).unwrap();
    assert_eq!(all, 1_200);
    let sound: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
}
