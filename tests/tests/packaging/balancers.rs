//! The load balancers' configurations, as nginx and HAProxy read them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::examples::text;

/// A program of the system, also where only root's PATH has it.
fn program(name: &str) -> PathBuf {
    let there =
        ["/usr/sbin", "/usr/bin", "/usr/local/sbin"].map(|folder| Path::new(folder).join(name));
    there.into_iter().find(|path| path.is_file()).unwrap_or_else(|| name.into())
}

/// A folder with a certificate and its key, in files of their own and in one.
fn certificate() -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let made = rcgen::generate_simple_self_signed(vec!["rehome.example".to_owned()])?;
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    fs::write(folder.path().join("rehome.crt"), &certificate)?;
    fs::write(folder.path().join("rehome.key"), &key)?;
    fs::write(folder.path().join("rehome.pem"), certificate + &key)?;
    Ok(folder)
}

fn accepts(mut command: Command) -> Result<()> {
    let name = command.get_program().display().to_string();
    let output =
        command.output().with_context(|| format!("{name} is missing; `./x setup` installs it"))?;
    ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[test]
fn nginx_takes_its_configuration() -> Result<()> {
    let folder = certificate()?;
    let here = folder.path().display().to_string();
    let ours = text("examples/several-servers/nginx.conf")?;
    ensure!(ours.contains("/etc/nginx/rehome.crt"), "another place for its certificate");
    fs::write(folder.path().join("ours.conf"), ours.replace("/etc/nginx", &here))?;
    // A whole nginx configuration around our section.
    let whole = format!(
        "pid {here}/nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\n  access_log off;\n  \
         client_body_temp_path {here}/body;\n  proxy_temp_path {here}/proxy;\n  fastcgi_temp_path {here}/fastcgi;\n  \
         uwsgi_temp_path {here}/uwsgi;\n  scgi_temp_path {here}/scgi;\n  include {here}/ours.conf;\n}}\n"
    );
    fs::write(folder.path().join("nginx.conf"), whole)?;
    let mut nginx = Command::new(program("nginx"));
    nginx.args(["-t", "-q", "-e", "stderr", "-p", &here, "-c", &format!("{here}/nginx.conf")]);
    accepts(nginx)
}

#[test]
fn haproxy_takes_its_configuration() -> Result<()> {
    let folder = certificate()?;
    let here = folder.path().display().to_string();
    let ours = text("examples/several-servers/haproxy.cfg")?;
    ensure!(ours.contains("/etc/haproxy/rehome.pem"), "another place for its certificate");
    let file = folder.path().join("haproxy.cfg");
    fs::write(&file, ours.replace("/etc/haproxy", &here))?;
    let mut haproxy = Command::new(program("haproxy"));
    haproxy.args(["-c", "-q", "-f"]).arg(&file);
    accepts(haproxy)
}
