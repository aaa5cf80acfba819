//! Rate limiting of repeated messages.

use rehome_domain::event::Timestamp;

/// One kind of line that is not written too often.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    last: Option<Timestamp>,
    suppressed: u64,
}

impl Quiet {
    /// Whether to log it now: the first time, and not again for `every_micros`. Returns how often it
    /// was suppressed since the last time.
    pub(super) fn ask(&mut self, now: Timestamp, every_micros: i64) -> Option<u64> {
        // A clock that was ahead and was set right suppresses nothing.
        let due = self.last.is_none_or(|last| {
            now < last || now.micros().saturating_sub(last.micros()) >= every_micros
        });
        if due {
            self.last = Some(now);
            return Some(std::mem::take(&mut self.suppressed));
        }
        self.suppressed += 1;
        None
    }
}
