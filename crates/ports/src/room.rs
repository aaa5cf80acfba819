//! What a cutover takes at its two stores before its pause.

use std::any::Any;

/// Which of the two stores of a cutover one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The tenant leaves it.
    Source,
    /// The tenant goes there.
    Target,
}

/// What [`LedgerStore::make_room`] holds; dropping it lets it go.
pub type Room = Box<dyn Any + Send>;
