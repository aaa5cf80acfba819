//! `clients/python`: its tests are run by pytest, in the tests' Python environment.

use std::process::Command;

use anyhow::Result;
use rehome_monitor::python::python;

use crate::harness::{Site, client};

#[test]
fn the_python_client() -> Result<()> {
    let site = Site::new()?;
    let mut pytest = Command::new(python()?);
    pytest.current_dir(client("python")).env("PYTHONPATH", client("python").join("src"));
    // No bytecode beside the sources.
    pytest.env("PYTHONDONTWRITEBYTECODE", "1");
    pytest.args(["-m", "pytest", "-q", "-p", "no:cacheprovider"]);
    site.succeeds(pytest, "pytest")
}
