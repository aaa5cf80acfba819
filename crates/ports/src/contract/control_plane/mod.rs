//! The contract of [`ControlPlane`](crate::ControlPlane); [`control_plane_contract!`] runs it.
//!
//! [`control_plane_contract!`]: crate::control_plane_contract

pub mod leases;
pub mod listing;
pub mod lives;
pub mod marks;
pub mod records;
pub mod recovery;
pub mod removals;
pub mod routes;
pub mod subject;
