//! `rehome config ...` and `rehome init`

use std::path::Path;

use rehome_app::config::{
    DEFAULT_FILE, Template, TemplateStore, problems, report, unicode_variables,
};
use rehome_app::init::init as initialize;
use rehome_app::{AppError, Kind};
use serde::Serialize;

use crate::args::{ConfigCommand, Init};
use crate::output::{Out, cell, table};

/// What `config check` found.
#[derive(Serialize)]
struct Checked {
    ok: bool,
    problems: Vec<String>,
}

pub(super) fn run(out: Out, file: Option<&Path>, command: ConfigCommand) -> Result<(), AppError> {
    match command {
        ConfigCommand::Show => out.show(&report(file, unicode_variables())?, |report| {
            let rows = report.settings.iter().map(|setting| {
                let unit = if setting.unit.is_empty() { "" } else { " " };
                let value = format!("{}{unit}{}", setting.value, setting.unit);
                [setting.key.clone(), format!("{value} ({})", setting.origin)]
            });
            let file = report.file.as_ref().map(|file| format!("{}\n\n", file.display()));
            file.unwrap_or_default() + &table(["KEY", "VALUE, AND WHERE IT COMES FROM"], &[], rows)
        }),
        ConfigCommand::Check => {
            let found = problems(file, unicode_variables());
            let problems: Vec<_> = found.iter().map(ToString::to_string).collect();
            let checked = Checked { ok: problems.is_empty(), problems };
            out.show(&checked, |checked| {
                if checked.ok {
                    return "no mistakes found".to_owned();
                }
                checked.problems.join("\n")
            })?;
            match checked.problems.len() {
                0 => Ok(()),
                1 => Err(bad("1 mistake in the configuration".to_owned())),
                more => Err(bad(format!("{more} mistakes in the configuration"))),
            }
        }
    }
}

fn bad(message: String) -> AppError {
    AppError::new(Kind::Usage, "bad_configuration", message)
}

pub(super) async fn init(out: Out, file: Option<&Path>, args: Init) -> Result<(), AppError> {
    let stores = args.stores.iter().map(|text| store(text)).collect::<Result<Vec<_>, _>>()?;
    let template = Template { control_plane: args.control_plane, stores };
    let made = initialize(file.unwrap_or(Path::new(DEFAULT_FILE)), &template).await?;
    out.show(&made, |made| {
        format!(
            "wrote {}\ncontrol plane: {}\nstores: {}\n\nnext: `rehome config show` prints the values in effect, \
             `rehome serve` starts a server",
            made.config,
            cell(&made.control_plane),
            made.stores.join(", ")
        )
    })
}

fn store(text: &str) -> Result<TemplateStore, AppError> {
    let usage = |problem: String| {
        AppError::new(
            Kind::Usage,
            "bad_usage",
            format!("--store {problem}, like main=sqlite:main.db"),
        )
    };
    let (id, url) = text.split_once('=').ok_or_else(|| usage("must be ID=URL".to_owned()))?;
    let id = id.parse().map_err(|problem| usage(format!("must be ID=URL: {problem}")))?;
    Ok(TemplateStore { id, url: url.to_owned() })
}
