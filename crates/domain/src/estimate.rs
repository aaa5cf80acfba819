//! How long a migration will take.

/// What an estimate is made from. The defaults are the monitoring guide's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Inputs {
    /// Events to copy.
    pub total_events: u64,
    /// Copied per second.
    pub copy_rate_per_second: f64,
    /// Expected lag, in events, when mirroring begins.
    pub dual_write_lag_events: u64,
    /// Expected pause, in seconds.
    pub cutover_pause_seconds: f64,
    /// Factor on the sum.
    pub buffer_factor: f64,
    /// Events the tenant writes per second while it is copied. Not in the guide: with 0 the
    /// guide's formula is what remains.
    pub write_rate_per_second: f64,
}

impl Default for Inputs {
    fn default() -> Self {
        Self {
            total_events: 0,
            copy_rate_per_second: 10_000.0,
            dual_write_lag_events: 100,
            cutover_pause_seconds: 5.0,
            buffer_factor: 1.5,
            write_rate_per_second: 0.0,
        }
    }
}

/// How long, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Copying the history, and what is written meanwhile.
    pub bulk_copy_seconds: f64,
    /// Catching up.
    pub dual_write_seconds: f64,
    /// The pause.
    pub cutover_seconds: f64,
    /// All of it with the buffer.
    pub total_seconds: f64,
}

/// Inputs that no estimate can be made from.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidInput {
    /// A number that has to be above zero and finite.
    #[error("{0} must be a finite number above 0, not {1}")]
    NotPositive(&'static str, f64),
    /// A number that has to be at least zero and finite.
    #[error("{0} must be a finite number of at least 0, not {1}")]
    Negative(&'static str, f64),
    /// Catching up never ends.
    #[error(
        "the tenant writes {write} events/s and the copy {copy} events/s: it would never \
         catch up; raise the copy rate or wait for a quieter hour"
    )]
    NeverCatchesUp {
        /// Copy rate in events per second.
        copy: f64,
        /// Write rate in events per second.
        write: f64,
    },
}

/// The guide's formula, with the copy slowed by what the tenant writes meanwhile.
pub fn estimate(inputs: &Inputs) -> Result<Estimate, InvalidInput> {
    for (name, value) in [
        ("copy_rate_per_second", inputs.copy_rate_per_second),
        ("buffer_factor", inputs.buffer_factor),
    ] {
        if !(value.is_finite() && value > 0.0) {
            return Err(InvalidInput::NotPositive(name, value));
        }
    }
    for (name, value) in [
        ("cutover_pause_seconds", inputs.cutover_pause_seconds),
        ("write_rate_per_second", inputs.write_rate_per_second),
    ] {
        if !(value.is_finite() && value >= 0.0) {
            return Err(InvalidInput::Negative(name, value));
        }
    }
    let (copy, write) = (inputs.copy_rate_per_second, inputs.write_rate_per_second);
    if write >= copy {
        return Err(InvalidInput::NeverCatchesUp { copy, write });
    }
    let net_rate = copy - write;
    let bulk_copy_seconds = inputs.total_events as f64 / net_rate;
    let dual_write_seconds = inputs.dual_write_lag_events as f64 / net_rate;
    let cutover_seconds = inputs.cutover_pause_seconds;
    let total_seconds =
        (bulk_copy_seconds + dual_write_seconds + cutover_seconds) * inputs.buffer_factor;
    Ok(Estimate { bulk_copy_seconds, dual_write_seconds, cutover_seconds, total_seconds })
}
