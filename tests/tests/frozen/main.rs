//! Checks every screen while a component hangs: it accepts connections and does not respond, or holds a lock.
//! An error is visible by itself; a hang is visible only in the numbers, which must be right within one scrape.
//!
//! | file | contents |
//! |---|---|
//! | `table` | every screen, and its expected contents for each component and phase |
//! | `complete` | no screen is without a row |
//! | `scene` | one deployment with a tenant in each phase, the frozen component, and the times of the checks |
//! | `harness` | the deployment: databases, proxies, `rehome serve` |
//! | `truth` | the state according to the test's own writers and SQL |
//! | `screens` | reads all screens |
//!
//! No screen is trusted: each number is compared with the writers' responses and
//! the contents of the stores.

#![cfg(target_os = "linux")]

mod complete;
mod harness;
mod scene;
mod screens;
mod table;
mod truth;
