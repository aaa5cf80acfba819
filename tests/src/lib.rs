//! What the programs and the tests of this package have in common.

pub mod chaos;
pub mod checker;
pub mod history;
pub mod process;
