//! What the programs of this package have in common.
