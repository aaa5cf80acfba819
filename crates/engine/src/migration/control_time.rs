//! The control plane's time.

use std::time::Duration;

use rehome_domain::event::Timestamp;
use rehome_ports::{ControlError, ControlPlane};
use tokio::time::Instant;

/// How long a reading is extrapolated, on the monotonic clock.
const GOOD_FOR: Duration = Duration::from_secs(10);

/// The control plane's time, read periodically. The clock of the driver's host may
/// be hours off; this does not change a window that was promised to an operator.
#[derive(Debug, Default)]
pub(super) struct ControlTime {
    answer: Option<(Timestamp, Instant)>,
}

impl ControlTime {
    /// How long until then, as far as is known; zero if it is not.
    pub(super) fn until(&self, then: Option<Timestamp>) -> Duration {
        let (Some(then), Some((read, at))) = (then, self.answer) else { return Duration::ZERO };
        let left = then.micros().saturating_sub(read.micros());
        let left = Duration::from_micros(u64::try_from(left).unwrap_or_default());
        left.saturating_sub(at.elapsed())
    }

    /// Never ahead of the control plane: a slow response makes it earlier.
    pub(super) async fn now(
        &mut self,
        control: &dyn ControlPlane,
    ) -> Result<Timestamp, ControlError> {
        let (read, at) = match self.answer {
            Some((read, at)) if at.elapsed() < GOOD_FOR => (read, at),
            _ => {
                let read = control.now().await?;
                *self.answer.insert((read, Instant::now()))
            }
        };
        let since = i64::try_from(at.elapsed().as_micros()).unwrap_or(i64::MAX);
        Ok(Timestamp::from_micros(read.micros().saturating_add(since)))
    }
}
