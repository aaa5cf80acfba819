//! The chart, the compose file and the Dockerfile: `tests/packaging` has the tests, run by pytest.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use rehome_app::Config;
use rehome_monitor::python::python;

use crate::examples::packaging;

#[test]
fn the_chart_the_compose_file_and_the_dockerfile_are_as_their_tools_want_them() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let mut pytest = Command::new(python()?);
    pytest.current_dir(&folder).env("PYTHONDONTWRITEBYTECODE", "1");
    pytest.args(["-m", "pytest", "-q", "-p", "no:cacheprovider"]);
    let output = pytest.output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn the_configuration_of_the_compose_file_is_one() -> Result<()> {
    let variable = |(key, database)| {
        (format!("REHOME_{key}_URL"), format!("postgres://rehome:SECRET@postgres/{database}"))
    };
    let stores = [("STORES_SHARED", "shared"), ("STORES_DEDICATED", "dedicated")];
    let variables = [("CONTROL_PLANE", "control")].into_iter().chain(stores).map(variable);
    let config =
        Config::load_from(Some(&packaging("docker/compose.toml")), variables.collect::<Vec<_>>())?;
    ensure!(config.server.without_tls && config.server.bind.port() == 7411, "it would not listen");
    ensure!(!format!("{config:?}").contains("SECRET"), "a password is shown");
    Ok(())
}
