//! The contract of [`LedgerStore`](crate::LedgerStore); [`ledger_store_contract!`] runs it.
//!
//! [`ledger_store_contract!`]: crate::ledger_store_contract

pub mod anchors;
pub mod appends;
pub mod authority;
pub mod contents;
pub mod cuts;
pub mod kept_rows;
pub mod listing;
pub mod purges;
pub mod reads;
pub mod replicas;
pub mod retries;
pub mod rules;
