//! Waiting for a lock that another process holds.
//!
//! SQLite's own `busy_timeout` backs off to 100 ms between attempts, so that beside a busy process a
//! writer waits for hundreds of milliseconds although the lock was free most of the time. This one
//! retries within a fraction of a millisecond, at the cost of some wake-ups.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;

/// Set whenever a connection had to wait for another one.
pub(super) type Contended = Arc<AtomicBool>;

/// Makes `conn` wait up to `bound` for a lock, and set `contended` if it did.
pub(super) fn wait_for_locks(
    conn: &mut Connection,
    bound: Duration,
    contended: Contended,
) -> rusqlite::Result<()> {
    let mut since = Instant::now();
    conn.busy_handler(Some(move |tries: i32| {
        if tries == 0 {
            since = Instant::now();
            contended.store(true, Ordering::Relaxed);
        }
        let waited = since.elapsed();
        if waited >= bound {
            return false;
        }
        std::thread::sleep(pause(waited));
        true
    }))
}

/// How long to sleep before the next try.
const fn pause(waited: Duration) -> Duration {
    Duration::from_micros(match waited.as_millis() {
        0..20 => 100,
        20..200 => 250,
        _ => 1_000,
    })
}
