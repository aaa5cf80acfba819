//! Marks of unfinished work, which belongs into an issue, not into a comment.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Put together here, so that this file does not find itself.
const MARKS: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("#[", "ignore"),
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
];

/// One line for each mark in a Rust or Markdown file under `root`.
pub(crate) fn find(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for path in files(root, &["rs", "md"])? {
        let name = path.strip_prefix(root).unwrap_or(&path).display();
        let text = fs::read_to_string(&path).with_context(|| format!("{name} is not readable"))?;
        found.extend(marks(&text).map(|(line, mark)| format!("{name}:{line} has {mark}")));
    }
    Ok(found)
}

fn marks(text: &str) -> impl Iterator<Item = (usize, &'static str)> + '_ {
    (1..).zip(text.lines()).flat_map(|(number, line)| {
        MARKS.into_iter().filter(move |mark| line.contains(mark)).map(move |mark| (number, mark))
    })
}

/// The files under `folder` with one of these extensions (an empty one: none), without hidden folders and `target`.
pub(crate) fn files(folder: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let extension = |path: &Path| path.extension().and_then(OsStr::to_str).unwrap_or("").to_owned();
    files_where(folder, |path| extensions.contains(&extension(path).as_str()))
}

/// The files under `folder` that are wanted, without hidden folders and `target`.
pub(crate) fn files_where(
    folder: &Path,
    is_wanted: impl Fn(&Path) -> bool,
) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder)
            .with_context(|| format!("{} is not readable", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                if !name.starts_with('.') && name != "target" {
                    folders.push(path);
                }
            } else if is_wanted(&path) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{MARKS, marks};

    #[test]
    fn each_mark_is_found_with_its_line() {
        for mark in MARKS {
            let text = format!("fine\n  // {mark}: later\n");
            assert_eq!(marks(&text).collect::<Vec<_>>(), [(2, mark)]);
        }
    }

    #[test]
    fn ordinary_text_has_none() {
        assert_eq!(marks("nothing to do, everything is done\n#[test]\n").count(), 0);
    }
}
