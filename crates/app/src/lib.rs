//! The composition root: configuration, stores by URL, and the use cases that the command and the
//! server both offer.

pub mod load;
