//! Whole schedules.
