//! `dist`: the release archive. A stripped binary with its documentation
//! and a software bill of materials (SBOM, CycloneDX), packed, with checksums; in `target/dist`.
//!
//! It is linked statically where the target for musl and its C compiler are installed. Elsewhere it is
//! linked with the C library of this machine, which the command prints.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::sbom;
use crate::step::{cargo, root, run as run_command};

/// The files packed beside the binary, from the root.
const WITH: [&str; 6] =
    ["LICENSE", "README.md", "CHANGELOG.md", "SECURITY.md", "docs", "packaging"];

pub(crate) fn run() -> Result<()> {
    let Target { name: target, without_musl } = target()?;
    if let Some(why) = &without_musl {
        println!("{why}");
    }
    let mut build = cargo("build --release --locked --package rehome-cli --target");
    // The user need not have the OpenSSL that the binary was built with.
    build.arg(&target).env("OPENSSL_STATIC", "1");
    run_command(build)?;
    let built = built_in().join(&target).join("release/rehome");

    let name = format!("rehome-{}-{target}", env!("CARGO_PKG_VERSION"));
    let dist = root().join("target/dist");
    let folder = dist.join(&name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let binary = folder.join("rehome");
    answer(Command::new("strip").arg("-o").arg(&binary).arg(&built))?;
    for part in WITH {
        // What a link points to is packed, and not the link: the chart has one.
        answer(Command::new("cp").arg("-RL").arg(root().join(part)).arg(&folder))?;
    }

    let sbom = format!("{name}.cdx.json");
    let made_of = sbom::make(&target)?;
    fs::write(folder.join("rehome.cdx.json"), &made_of)?;
    fs::write(dist.join(&sbom), &made_of)?;

    let archive = format!("{name}.tar.gz");
    // The archive is reproducible.
    let same = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0"];
    let mut tar = Command::new("tar");
    tar.current_dir(&dist).env("GZIP", "-n").args(same).args(["-czf", &archive, &name]);
    answer(&mut tar)?;
    let sum = answer(Command::new("sha256sum").current_dir(&dist).args([&archive, &sbom]))?;
    fs::write(dist.join(format!("{name}.sha256")), &sum)?;

    println!("{}", answer(Command::new(&binary).arg("--version"))?.trim());
    println!("{} bytes, {}", fs::metadata(&binary)?.len(), linked(&binary)?);
    if let Some(why) = without_musl {
        println!("{why}");
    }
    print!("{sum}");
    println!("{}", dist.join(archive).display());
    if let Some(package) = debian_package(&binary, &dist)? {
        println!("{package}");
    }
    Ok(())
}

/// The package for Debian, where this machine can make one.
fn debian_package(binary: &Path, dist: &Path) -> Result<Option<String>> {
    if Command::new("dpkg-deb").arg("--version").output().is_err() {
        return Ok(None);
    }
    let mut build = Command::new("sh");
    build.arg(root().join("packaging/deb/build.sh")).arg(binary).arg(env!("CARGO_PKG_VERSION"));
    answer(build.arg(dist)).map(|said| Some(said.trim().to_owned()))
}

/// What is built.
struct Target {
    name: String,
    /// Why it is not the target for musl; `None`: it is.
    without_musl: Option<String>,
}

/// The target for musl if all that it needs is there, else this machine's.
fn target() -> Result<Target> {
    let version = answer(Command::new("rustc").args(["--version", "--verbose"]))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc does not say what it builds for")?;
    let musl = host.replace("-gnu", "-musl");
    let library =
        answer(Command::new("rustc").args(["--print", "target-libdir", "--target", &musl]));
    let has_library = library.is_ok_and(|folder| Path::new(folder.trim()).is_dir());
    // The bundled SQLite is C.
    let has_compiler = Command::new("musl-gcc").arg("--version").output().is_ok();
    Ok(match missing(&musl, has_library, has_compiler) {
        None => Target { name: musl, without_musl: None },
        why => Target { name: host.to_owned(), without_musl: why },
    })
}

/// What a static binary needs and this machine lacks, with the commands that install it; `None`: nothing.
fn missing(musl: &str, has_library: bool, has_compiler: bool) -> Option<String> {
    let needed = [
        (has_library, format!("the Rust target {musl} (rustup target add {musl})")),
        (has_compiler, "musl-gcc (apt-get install musl-tools)".to_owned()),
    ];
    let missing = needed.into_iter().filter(|(there, _)| !there).map(|(_, what)| what);
    let missing: Vec<_> = missing.collect();
    (!missing.is_empty()).then(|| {
        format!(
            "Not a static binary: it needs the C library of the build machine or a newer one. Missing: {}",
            missing.join(", ")
        )
    })
}

/// Where cargo builds.
fn built_in() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// What the binary is linked with, as the loader finds it.
fn linked(binary: &Path) -> Result<String> {
    let output = Command::new("ldd").arg(binary).output().context("ldd cannot be started")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    // For a static binary `ldd` reports that in some form, and may fail.
    let is_static = said.contains("statically linked") || !output.status.success();
    Ok(if is_static {
        "linked statically".to_owned()
    } else {
        format!("linked with\n{}", said.trim_end())
    })
}

/// The output of a program that must succeed.
fn answer(command: &mut Command) -> Result<String> {
    let name = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("{name} cannot be started"))?;
    let complained = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name}: {}", complained.trim());
    String::from_utf8(output.stdout).with_context(|| format!("{name} says no text"))
}

#[cfg(test)]
mod tests {
    use super::missing;

    #[test]
    fn what_a_static_binary_needs_is_named_with_its_command() {
        let musl = "x86_64-unknown-linux-musl";
        assert_eq!(missing(musl, true, true), None);
        let said = missing(musl, false, false).unwrap_or_default();
        for part in ["Not a static binary", "rustup target add x86_64", "install musl-tools"] {
            assert!(said.contains(part), "{said}");
        }
        assert!(!missing(musl, true, false).unwrap_or_default().contains("rustup"));
    }
}
