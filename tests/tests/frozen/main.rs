//! What every screen says while a component hangs: takes connections and answers nothing, or keeps a lock.
//! An error tells of itself; here nothing does but the numbers, and they have to be true within one scrape.
//!
//! | file | what it knows |
//! |---|---|
//! | `table` | every screen, and what is true on it for each component and phase |
//! | `complete` | no screen is without a row |
//! | `scene` | one deployment with a tenant in each phase, what freezes, and when the screens are looked at |
//! | `site` | the deployment: databases, proxies, `rehome serve` |
//! | `truth` | what the test knows by its own writers and its own SQL |
//! | `screens` | a look at all screens |
//!
//! Nothing that a screen says is taken for true: a number is compared with what the writers were told and
//! what the stores hold.

#![cfg(target_os = "linux")]

mod complete;
mod scene;
mod screens;
mod site;
mod table;
mod truth;
