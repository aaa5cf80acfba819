//! Files with data or secrets: created for their owner only; others' access is reported.
//!
//! One rule for all of them: stores and control planes with the files beside them, exports, journals, token
//! and key files, a configuration with a password, and the folders created for these.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::path::Path;

/// The mode of such a file.
#[cfg(unix)]
const FILE: u32 = 0o600;
/// The mode of a folder for them.
#[cfg(unix)]
const FOLDER: u32 = 0o700;

/// How such a file is opened where that may make it.
pub fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, FILE);
    options
}

/// Makes the folder, and those above it that are missing, for their owner alone.
pub fn create_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, FOLDER);
    builder.create(path)
}

/// Who else can read or write the file, as a sentence with the remedy; `None`: no one, or the file does not
/// exist.
pub fn wider(path: &Path) -> Option<String> {
    mode(path).and_then(|mode| judge(path, mode))
}

#[cfg(unix)]
fn mode(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    Some(metadata.permissions().mode())
}

#[cfg(not(unix))]
fn mode(_: &Path) -> Option<u32> {
    None
}

fn judge(path: &Path, mode: u32) -> Option<String> {
    let others = match (mode & 0o044 != 0, mode & 0o022 != 0) {
        (false, false) => return None,
        (true, false) => "read",
        (false, true) => "write",
        (true, true) => "read and write",
    };
    Some(format!(
        "others can {others} the file {} (mode {:04o}); make it its owner's alone: chmod 0600",
        path.display(),
        mode & 0o7777
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_else_may_read_or_write_is_told_of() {
        let told = |mode| judge(Path::new("a.db"), mode);
        for mode in [0o600, 0o400, 0o700, 0o100_600] {
            assert_eq!(told(mode), None, "{mode:o}");
        }
        let read =
            "others can read the file a.db (mode 0644); make it its owner's alone: chmod 0600";
        assert_eq!(told(0o100_644).as_deref(), Some(read));
        assert!(told(0o640).unwrap().starts_with("others can read the"));
        assert!(told(0o602).unwrap().starts_with("others can write the"));
        assert!(told(0o666).unwrap().starts_with("others can read and write the"));
    }

    #[cfg(unix)]
    #[test]
    fn what_is_made_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = std::env::temp_dir().join(format!("rehome-private-{}", std::process::id()));
        let (inner, file) = (folder.join("a/b"), folder.join("a/b/file"));
        create_folder(&inner).unwrap();
        options().write(true).create_new(true).open(&file).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!([mode(&folder), mode(&inner), mode(&file)], [0o700, 0o700, 0o600]);
        assert_eq!(wider(&file), None);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(wider(&file).is_some());
        assert_eq!(wider(&inner), None);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
