//! The image: `tests/packaging/image.py` carries out the Dockerfile and starts the server, in namespaces of its own.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rehome_monitor::python::python;

use crate::deb::succeeds;

/// The longest that it may take, in seconds.
const PATIENCE: &str = "300";

#[test]
fn the_image_is_built_as_the_dockerfile_says_and_serves() -> Result<()> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = tests.join("../target/debian/root.tar");
    ensure!(root.is_file(), "{} is missing; `./x setup` makes it", root.display());
    let folder = tempfile::Builder::new().prefix("rehome-binary-").tempdir()?;
    let binary = folder.path().join("rehome");
    let mut strip = Command::new("strip");
    succeeds(strip.arg("-o").arg(&binary).arg(env!("CARGO_BIN_EXE_rehome-failpoints")))?;

    let mut pytest = Command::new("timeout");
    pytest.args(["--kill-after=10", PATIENCE]);
    // Who is not root is root in a user namespace.
    if succeeds(Command::new("id").arg("-u"))?.trim() != "0" {
        pytest.args(["buildah", "unshare"]);
    }
    pytest.args(["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    pytest.arg(python()?).args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "image.py"]);
    pytest.current_dir(tests.join("packaging"));
    pytest.env("PYTHONDONTWRITEBYTECODE", "1").env("REHOME_BINARY", &binary);
    let output = pytest.output().context("timeout, of coreutils, is missing")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
