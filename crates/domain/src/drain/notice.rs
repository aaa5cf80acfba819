//! Words of an operator beside a store or a tenant: a cordon, a pin.

use crate::event::Timestamp;

/// A cordon or a pin: who set it, when, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// When it was put up.
    pub at: Timestamp,
    /// Who set it.
    pub by: String,
    /// Why; may be empty.
    pub why: String,
}
