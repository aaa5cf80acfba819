//! Authentication and authorisation.
//!
//! A request is authenticated once, before anything else (`rooms/admit`), and its extensions carry the result
//! from then on: [`Identity`]. Handlers authorise with the [`Caller`].

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
