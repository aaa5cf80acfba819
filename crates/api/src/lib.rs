//! Documents that people and programs exchange with rehome: what `--json` prints, what the server
//! answers, and the lines of NDJSON that events travel in.
//!
//! This room imports nothing of ours; conversions live in the rooms that know both sides.
