//! `rehome completions`, `rehome man`: completions for shells and man pages, from the arguments.

use std::fs;
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;
use rehome_app::AppError;

use crate::args::Args;
use crate::output::{Out, count};

pub(super) fn completions(out: Out, shell: Shell) -> Result<(), AppError> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "rehome", &mut text);
    let text = String::from_utf8_lossy(&text).trim_end().to_owned();
    out.show_file(&text, "", String::as_str)
}

/// A page for the command, and one for each command below it, `rehome-migration-start.1`.
pub(super) fn pages(out: Out, folder: &Path) -> Result<(), AppError> {
    let fail = |error: std::io::Error| {
        AppError::failed("unwritable_output", format!("{}: {error}", folder.display()))
    };
    fs::create_dir_all(folder).map_err(fail)?;
    let mut root = Args::command();
    root.build();
    let mut written = Vec::new();
    write(&root, folder, &mut written).map_err(fail)?;
    out.show(&written, |written| {
        format!("{} pages written to {}", count(written.len() as u64), folder.display())
    })
}

fn write(command: &clap::Command, folder: &Path, written: &mut Vec<String>) -> std::io::Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    // `rehome-migration-start`, once the arguments were built.
    let file = format!("{}.1", command.get_display_name().unwrap_or_else(|| command.get_name()));
    fs::write(folder.join(&file), page)?;
    written.push(file);
    let shown = |below: &&clap::Command| !below.is_hide_set() && below.get_name() != "help";
    for below in command.get_subcommands().filter(shown) {
        write(below, folder, written)?;
    }
    Ok(())
}
