//! The control plane's time.

use std::time::Duration;

use rehome_domain::event::Timestamp;
use rehome_ports::{ControlError, ControlPlane};
use tokio::time::Instant;

/// How long an answer is counted on from, on a clock that nobody sets.
const GOOD_FOR: Duration = Duration::from_secs(10);

/// What time it is by the control plane, which is asked now and then. The clock of the driver's host may
/// be hours off; a window that an operator was promised is neither shorter nor longer for it.
#[derive(Debug, Default)]
pub(super) struct ControlTime {
    answer: Option<(Timestamp, Instant)>,
}

impl ControlTime {
    /// Never later than it is: an answer that took long makes it earlier.
    pub(super) async fn now(
        &mut self,
        control: &dyn ControlPlane,
    ) -> Result<Timestamp, ControlError> {
        let (told, at) = match self.answer {
            Some((told, at)) if at.elapsed() < GOOD_FOR => (told, at),
            _ => {
                let told = control.now().await?;
                *self.answer.insert((told, Instant::now()))
            }
        };
        let since = i64::try_from(at.elapsed().as_micros()).unwrap_or(i64::MAX);
        Ok(Timestamp::from_micros(told.micros().saturating_add(since)))
    }
}
