//! The example configurations are valid for the command, and the load balancers' configurations agree with
//! them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use rehome_app::Config;
use rehome_app::config::Url;

pub(crate) fn packaging(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(file)
}

pub(crate) fn text(file: &str) -> Result<String> {
    fs::read_to_string(packaging(file)).with_context(|| file.to_owned())
}

fn load(file: &str, variables: Vec<(String, String)>) -> Result<Config> {
    Config::load_from(Some(&packaging(file)), variables).with_context(|| file.to_owned())
}

#[test]
fn every_example_has_a_test() -> Result<()> {
    let mut examples: Vec<String> = fs::read_dir(packaging("examples"))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    examples.sort();
    ensure!(examples == ["one-machine", "several-servers"], "{examples:?}");
    Ok(())
}

/// A tag can be moved to other bytes, a digest cannot.
#[test]
fn base_images_are_pinned_by_digest_and_have_a_compiler_that_is_new_enough() -> Result<()> {
    let dockerfile = text("docker/Dockerfile")?;
    let images: Vec<_> = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM ")).collect();
    ensure!(images.len() == 2, "{images:?}");
    for image in &images {
        let digest = image.split(' ').next().and_then(|name| name.split_once("@sha256:"));
        let digest = digest.with_context(|| format!("no digest: {image}"))?.1;
        let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        ensure!(is_digest, "no digest: {image}");
    }
    let version = |text: &str| -> Result<(u32, u32)> {
        let (major, minor) = text.split_once('.').context("no version")?;
        let minor = minor.split(['.', '-']).next().unwrap_or_default();
        Ok((major.parse()?, minor.parse()?))
    };
    let compiler = images[0].strip_prefix("rust:").context("no compiler")?;
    let wanted = env!("CARGO_PKG_RUST_VERSION");
    ensure!(version(compiler)? >= version(wanted)?, "{compiler} is older than {wanted}");
    Ok(())
}

#[test]
fn one_machine_has_files_and_listens_to_itself() -> Result<()> {
    let config = load("examples/one-machine/rehome.toml", Vec::new())?;
    let urls = config.stores.iter().map(|store| &store.url).chain([&config.control_plane]);
    let folders: Vec<_> = urls.map(|url| url.file().and_then(Path::parent)).collect();
    // The only folder that the unit may write to.
    let state = Path::new("/var/lib/rehome");
    ensure!(folders.iter().all(|folder| *folder == Some(state)), "{folders:?}");
    let unit = text("systemd/rehome.service")?;
    for line in ["StateDirectory=rehome", "WorkingDirectory=/var/lib/rehome", "DynamicUser=yes"] {
        ensure!(unit.lines().any(|said| said == line), "the unit does not say {line}");
    }
    ensure!(config.server.bind.ip().is_loopback(), "{}", config.server.bind);
    Ok(())
}

#[test]
fn several_servers_have_tokens_and_their_passwords_come_from_the_environment() -> Result<()> {
    let env = text("examples/several-servers/rehome.env")?;
    let variables: Vec<_> = env
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    ensure!(variables.len() == 3, "{}", variables.len());
    let config = load("examples/several-servers/rehome.toml", variables)?;
    let urls = config.stores.iter().map(|store| &store.url).chain([&config.control_plane]);
    ensure!(urls.into_iter().all(|url| matches!(url, Url::Postgres(_))), "not all on PostgreSQL");
    ensure!(!config.tokens.is_empty() && config.server.without_tls, "it would refuse to listen");
    // No secret is shown, wherever it came from.
    ensure!(!format!("{config:?}").contains("SECRET"), "a password is shown");
    ensure!(!text("examples/several-servers/rehome.toml")?.contains("SECRET"), "a password");

    // The load balancers know the port, and accept at least what the servers accept.
    let port = format!(":{}", config.server.bind.port());
    for balancer in ["nginx.conf", "haproxy.cfg"] {
        let said = text(&format!("examples/several-servers/{balancer}"))?;
        ensure!(said.matches(&port).count() == 2, "{balancer} does not name the port");
    }
    let nginx = text("examples/several-servers/nginx.conf")?;
    let most = nginx.split("client_max_body_size ").nth(1).and_then(|rest| rest.split("m;").next());
    let most: u32 = most.context("client_max_body_size in MiB")?.parse()?;
    ensure!(most << 20 > config.server.limits.body_bytes_max, "nginx refuses bodies before rehome");
    Ok(())
}

/// Only with systemd; elsewhere the test prints that it was skipped.
#[test]
fn systemd_understands_the_unit() -> Result<()> {
    let mut verify = Command::new("systemd-analyze");
    let Ok(verified) = verify.arg("verify").arg(packaging("systemd/rehome.service")).output()
    else {
        eprintln!("no systemd-analyze here: the unit was not looked at");
        return Ok(());
    };
    let said = String::from_utf8_lossy(&verified.stderr);
    // The program is where a package puts it, which need not be on this machine.
    let wrong = said.lines().filter(|line| line.contains("rehome.service"));
    let wrong: Vec<_> = wrong.filter(|line| !line.contains("/usr/bin/rehome")).collect();
    ensure!(wrong.is_empty(), "{wrong:?}");
    Ok(())
}
