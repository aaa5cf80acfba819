//! The checker itself: each kind of violation, planted in files in which all is well.
