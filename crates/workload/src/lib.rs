//! Load on a deployment: writers that record their acknowledgements, the check of these records
//! against the stores, and `rehome quickstart`, which moves a tenant under such a load.
//!
//! Only the command and the tests depend on this crate.

pub mod load;
pub mod quickstart;
