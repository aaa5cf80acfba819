//! Whether a cutover is wanted, and what became of the last one that was.

use super::{CutoverPolicy, Migration, State, Working};

pub(super) const ROLLED_BACK: &str = "last cutover rolled back";
pub(super) const WITHDRAWN: &str = "last cutover withdrawn by an operator";
pub(super) const VETOED: &str = "last cutover vetoed";

/// Why a cutover that was wanted did not come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undone {
    /// It began and was rolled back.
    RolledBack,
    /// It was withdrawn before it began.
    Withdrawn,
    /// A hook had something against it.
    Vetoed,
}

impl Migration {
    /// A cutover was asked for and has not begun.
    pub const fn is_cutover_requested(&self) -> bool {
        matches!(
            self.state,
            State::Working(Working::DualWrite { cutover_requested: true })
                | State::Paused(Working::DualWrite { cutover_requested: true })
        )
    }

    /// An operator has requested a cutover, or the policy begins one without a request.
    pub fn wants_cutover(&self) -> bool {
        self.is_cutover_requested() || self.options.cutover != CutoverPolicy::Manual
    }

    /// What became of the last cutover, if it did not come about: the reason is [`Migration::error`].
    pub fn undone(&self) -> Option<Undone> {
        let why = self.error.as_deref()?;
        let kinds = [
            (ROLLED_BACK, Undone::RolledBack),
            (WITHDRAWN, Undone::Withdrawn),
            (VETOED, Undone::Vetoed),
        ];
        kinds.into_iter().find(|(text, _)| why.starts_with(text)).map(|(_, undone)| undone)
    }
}
