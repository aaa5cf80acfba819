//! Who asks, and whether they may.
//!
//! Who asks is found out once, before anything else (`rooms/admit`), and stands in the extensions of the
//! request from then on: [`Identity`]. Whether they may is asked of the [`Caller`] by whoever answers.

mod access_log;
mod caller;
mod identity;
mod known;
mod origin;
mod roll;
#[cfg(test)]
mod tests;
mod tokens;

pub(crate) use access_log::AccessLog;
pub(crate) use caller::{Caller, Permit};
pub(crate) use identity::{COOKIE, Identity, cookie};
pub(crate) use known::Known;
pub(crate) use origin::{Origins, check_origin};
pub(crate) use roll::{Roll, SESSION};
use tokens::Tokens;
