//! Servers of the real command, as in a deployment.
//!
//! | file | what it tests |
//! |---|---|
//! | `contract` | schemathesis compares the responses with the served document |
//! | `together` | two servers behind a load balancer, whose clients see a tenant move |
//! | `killed` | the same, and one of the servers is killed meanwhile |
//! | `drained` | a store of some hundred tenants is drained, by servers that are added and killed |
//! | `upgraded` | a deployment of the previous formats is upgraded, server by server, while its clients continue |
//! | `hostile` | clients that hold, break and corrupt connections: the server releases the resources |
//!
//! [`rehome_tests::checker`] decides whether the result is right.

#![cfg(target_os = "linux")]

mod balancer;
mod clients;
mod contract;
mod drained;
mod harness;
mod hostile;
mod http;
mod killed;
mod together;
mod upgraded;
