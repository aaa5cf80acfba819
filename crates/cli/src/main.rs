//! The `rehome` command: arguments in, documents out. What it does is in `rehome_app`.

mod args;
mod commands;

use clap::Parser as _;

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let args = args::Args::parse();
    commands::run(args).await
}
