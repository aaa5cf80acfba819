//! The contract of [`ControlPlane`](crate::ControlPlane); [`control_plane_contract!`] runs it.
//!
//! [`control_plane_contract!`]: crate::control_plane_contract
