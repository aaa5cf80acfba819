//! `docs`: the site of the documentation, by mdBook, in `target/book/html`. And the check of `tidy` that every page is
//! in the table of contents, that every link leads somewhere, and that every file which the maps name exists.
//!
//! A page is a Markdown file that `docs/SUMMARY.md` names, and may be outside of `docs`. Links between pages stay as they
//! are, and images are copied; a link to any other file of the sources is left out of the site, where that file is not.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::leftovers;
use crate::step::{none, root, run as run_command};
use crate::tools;

const CONTENTS: &str = "docs/SUMMARY.md";
/// The pages that lead to files of the sources, by their paths or the ends of these.
const MAPS: [&str; 2] = ["ARCHITECTURE.md", "CONTRIBUTING.md"];

pub(crate) fn run() -> Result<()> {
    let (root, book) = (root(), root().join("target/book"));
    none(&findings(&root)?)?;
    let source = book.join("src");
    if source.exists() {
        fs::remove_dir_all(&source)?;
    }
    let pages = pages(&root)?;
    for page in &pages {
        let text =
            fs::read_to_string(root.join(page)).with_context(|| page.display().to_string())?;
        let there = |link: &Link<'_>| {
            link.is_elsewhere() || is_image(&link.path(page)) || pages.contains(&link.path(page))
        };
        write(&source.join(page), without(&text, |link| !there(link)).as_bytes())?;
        for image in links(&text).map(|link| link.path(page)).filter(|path| is_image(path)) {
            write(&source.join(&image), &fs::read(root.join(&image))?)?;
        }
    }
    let contents = fs::read_to_string(root.join(CONTENTS))?;
    fs::write(source.join("SUMMARY.md"), from_root(&contents))?;
    fs::copy(root.join("docs/book.toml"), book.join("book.toml"))?;
    let mut mdbook = tools::mdbook()?;
    mdbook.arg("build").arg(&book);
    run_command(mdbook)?;
    println!("{}", book.join("html/index.html").display());
    Ok(())
}

fn is_image(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "png" || extension == "svg")
}

fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(fs::write(file, bytes)?)
}

/// The pages of the site.
fn pages(root: &Path) -> Result<BTreeSet<PathBuf>> {
    let contents = fs::read_to_string(root.join(CONTENTS)).context(CONTENTS)?;
    Ok(links(&contents).map(|link| link.path(Path::new(CONTENTS))).collect())
}

/// Pages that the table of contents does not name, and links that lead nowhere.
pub(crate) fn findings(root: &Path) -> Result<Vec<String>> {
    let named = pages(root)?;
    let mut found = Vec::new();
    let relative = |path: PathBuf| path.strip_prefix(root).map(Path::to_owned).unwrap_or(path);
    let docs = leftovers::files(&root.join("docs"), &["md"])?.into_iter().map(relative);
    let mut looked_at: BTreeSet<PathBuf> = docs.collect();
    for page in
        looked_at.iter().filter(|page| *page != Path::new(CONTENTS) && !named.contains(*page))
    {
        found.push(format!("{} is not in {CONTENTS}", page.display()));
    }
    looked_at.extend(named);
    for page in &looked_at {
        let Ok(text) = fs::read_to_string(root.join(page)) else {
            found.push(format!("{CONTENTS} names {}, which is not there", page.display()));
            continue;
        };
        for link in links(&text).filter(|link| !link.is_elsewhere()) {
            let target = link.path(page);
            if !root.join(&target).exists() {
                found.push(format!("{}: nothing is at {}", page.display(), link.target));
            } else if let Some(place) = link.place() {
                let text = fs::read_to_string(root.join(&target)).unwrap_or_default();
                if !places(&text).contains(place) {
                    found.push(format!("{}: no heading for {}", page.display(), link.target));
                }
            }
        }
    }
    found.extend(unmapped(root)?);
    Ok(found)
}

/// Files that a map names in backticks and that do not exist. The folder `src` and the extension may be left out.
fn unmapped(root: &Path) -> Result<Vec<String>> {
    let files = leftovers::files_where(root, |_| true)?;
    let there: BTreeSet<_> = files
        .iter()
        .map(|file| ending(&file.strip_prefix(root).unwrap_or(file).to_string_lossy()))
        .collect();
    let mut found = Vec::new();
    for map in MAPS {
        let Ok(text) = fs::read_to_string(root.join(map)) else { continue };
        for name in text.split('`').skip(1).step_by(2).filter(|name| is_path(name)) {
            let wanted = ending(name.trim_end_matches('*'));
            if !there.iter().any(|path| path.contains(&wanted)) {
                found.push(format!("{map}: there is no file {name}"));
            }
        }
    }
    Ok(found)
}

/// Whether a text in backticks is the path of a source.
fn is_path(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/*".contains(c);
    let is_made = ["/", "./", "target/"].iter().any(|start| name.starts_with(start));
    let is_source = [".rs", ".py", ".md", ".sql", ".toml", ".json"];
    let has_folder = name.trim_end_matches('/').contains('/');
    name.chars().all(is_plain)
        && !is_made
        && (has_folder || is_source.iter().any(|end| name.ends_with(end)))
}

/// A path without `src` and its extension, between slashes: so that one can be the end, or a folder, of another.
fn ending(path: &str) -> String {
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty() && *part != "src").collect();
    let whole = parts.join("/");
    let stem =
        whole.rsplit_once('.').filter(|(stem, end)| !stem.ends_with('/') && !end.contains('/'));
    format!("/{}/", stem.map_or(whole.as_str(), |(stem, _)| stem))
}

/// `[text](target)` in a page, and where it stands.
struct Link<'a> {
    start: usize,
    end: usize,
    text: &'a str,
    target: &'a str,
}

impl Link<'_> {
    fn is_elsewhere(&self) -> bool {
        self.target.contains("://") || self.target.starts_with("mailto:")
    }

    fn place(&self) -> Option<&str> {
        self.target.split_once('#').map(|(_, place)| place)
    }

    /// The file, from the root, when the link is in `page`.
    fn path(&self, page: &Path) -> PathBuf {
        let file = self.target.split('#').next().unwrap_or_default();
        if file.is_empty() {
            return page.to_owned();
        }
        let mut path = page.parent().map(Path::to_owned).unwrap_or_default();
        for part in Path::new(file).components() {
            match part {
                Component::ParentDir => drop(path.pop()),
                Component::CurDir => {}
                part => path.push(part),
            }
        }
        path
    }
}

/// The links of a page, outside of code.
fn links(text: &str) -> impl Iterator<Item = Link<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    let mut is_code = false;
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code && !line.starts_with("    ") {
            links_of(line, at, &mut found);
        }
        at += line.len();
    }
    found.into_iter()
}

fn links_of<'a>(line: &'a str, at: usize, found: &mut Vec<Link<'a>>) {
    let mut from = 0;
    while let Some(middle) = line[from..].find("](").map(|place| place + from) {
        from = middle + 2;
        let Some(end) = line[from..].find(')').map(|place| place + from) else { return };
        // The bracket that this one closes.
        let mut depth = 0;
        let open = line[..middle].char_indices().rev().find_map(|(place, letter)| match letter {
            ']' => {
                depth += 1;
                None
            }
            '[' if depth == 0 => Some(place),
            '[' => {
                depth -= 1;
                None
            }
            _ => None,
        });
        let Some(open) = open else { continue };
        if line[..open].matches('`').count() % 2 == 1 {
            continue;
        }
        let (text, target) = (&line[open + 1..middle], &line[from..end]);
        let start = open - usize::from(line[..open].ends_with('!'));
        found.push(Link { start: at + start, end: at + end + 1, text, target });
    }
}

/// The page with the texts of some links instead of the links.
fn without(page: &str, is_left_out: impl Fn(&Link<'_>) -> bool) -> String {
    let (mut made, mut from) = (String::new(), 0);
    for link in links(page).filter(|link| is_left_out(link)) {
        made.push_str(&page[from..link.start]);
        made.push_str(link.text);
        from = link.end;
    }
    made + &page[from..]
}

/// The table of contents with its links from the root.
fn from_root(contents: &str) -> String {
    let (mut made, mut from) = (String::new(), 0);
    for link in links(contents) {
        made.push_str(&contents[from..link.start]);
        let path = link.path(Path::new(CONTENTS));
        made.extend(["[", link.text, "](", &path.display().to_string(), ")"]);
        from = link.end;
    }
    made + &contents[from..]
}

/// The names of a page's headings in links.
fn places(text: &str) -> BTreeSet<String> {
    let mut is_code = false;
    let headings = text.lines().filter(move |line| {
        is_code ^= line.starts_with("```");
        !is_code && line.starts_with('#')
    });
    headings.map(|line| place(line.trim_start_matches('#').trim())).collect()
}

fn place(heading: &str) -> String {
    let plain = without(heading, |_| true).to_lowercase();
    let kept = plain.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> PathBuf {
        let name = format!("rehome-docs-{}-{}", std::process::id(), files.len());
        let folder = std::env::temp_dir().join(name);
        for (path, text) in files {
            let file = folder.join(path);
            fs::create_dir_all(file.parent().expect("a folder")).expect("it can be made");
            fs::write(file, text).expect("it can be written");
        }
        folder
    }

    #[test]
    fn what_the_contents_leave_out_and_links_to_nowhere_are_found() {
        let root = folder(&[
            ("README.md", "[a](docs/a.md#two-words) [site](https://example.org) `[no](link.md)`\n"),
            ("docs/SUMMARY.md", "[Start](../README.md)\n- [A](a.md)\n- [Gone](gone.md)\n"),
            (
                "docs/a.md",
                "# A\n## Two `words`!\n[b](b.md) [here](#a) [nowhere](#b) ![p](no.png)\n",
            ),
            ("docs/b.md", "```\n[not](a-link.md)\n```\n"),
            ("crates/a/src/one/two.rs", ""),
            (
                "CONTRIBUTING.md",
                "`crates/a/src/one`, `one/two.rs`, `a/one`, `crates/b`, `two/one.rs`, `./x`, `a b/c`",
            ),
        ]);
        let found = findings(&root).expect("they can be read");
        fs::remove_dir_all(&root).expect("it can be removed");
        let words = [
            "docs/b.md is not in docs/SUMMARY.md",
            "docs/SUMMARY.md: nothing is at gone.md",
            "docs/a.md: no heading for #b",
            "docs/a.md: nothing is at no.png",
            "docs/SUMMARY.md names docs/gone.md, which is not there",
            "CONTRIBUTING.md: there is no file crates/b",
            "CONTRIBUTING.md: there is no file two/one.rs",
        ];
        assert_eq!(found, words);
    }

    #[test]
    fn links_to_what_is_not_in_the_site_are_left_out_of_it() {
        let page = "see [the [inner] file](../src/a.rs), [b](b.md)";
        let made = without(page, |link| link.target == "../src/a.rs");
        assert_eq!(made, "see the [inner] file, [b](b.md)");
        let contents = "- [A](a.md)\n  - [B](monitoring/b.md)\n- [C](../C.md)\n";
        assert_eq!(
            from_root(contents),
            "- [A](docs/a.md)\n  - [B](docs/monitoring/b.md)\n- [C](C.md)\n"
        );
    }
}
