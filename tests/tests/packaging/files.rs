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
    let config = Config::load_from(Some(&packaging("docker/compose.toml")), Vec::new())?;
    ensure!(config.server.without_tls && config.server.bind.port() == 7411, "it would not listen");
    Ok(())
}
