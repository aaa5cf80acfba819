//! What we ship beside the binary: each file is read by the tool that it is for, and the Debian package is installed,
//! used, upgraded and removed.

mod balancers;
mod deb;
mod examples;
mod files;
mod image;
mod scraped;
