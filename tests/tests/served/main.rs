//! Servers of the real command, as a deployment has them.
//!
//! | file | what happens |
//! |---|---|
//! | `contract` | schemathesis holds what is answered against the document that is served |
//! | `together` | two servers behind a balancer, whose clients see a tenant move |
//! | `killed` | the same, and one of the servers is killed in the middle of it |
//! | `hostile` | clients that hold, break and spoil connections: what they took is given back |
//! | `packaging` | the example configurations that we ship are read by the real parser |
//!
//! What is true in the end is decided by [`rehome_tests::checker`].

#![cfg(target_os = "linux")]

mod balancer;
mod clients;
mod contract;
mod hostile;
mod http;
mod killed;
mod packaging;
mod site;
mod together;
