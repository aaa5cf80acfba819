//! As much of Kibana's and Loki's query languages as the documentation uses.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

/// The code blocks of that language on a page, each with the line before it as its title.
pub(crate) fn of_page<'a>(page: &'a str, language: &str) -> Vec<(&'a str, &'a str)> {
    let begin = format!("```{language}\n");
    let blocks = page.match_indices(&begin).filter_map(|(at, _)| {
        let title = page[..at].trim_end().lines().last()?.trim_end_matches(':');
        let (query, _) = page[at + begin.len()..].split_once("\n```")?;
        Some((title, query))
    });
    blocks.collect()
}

/// `field:value AND field:"value"`. A keyword field has to be the value; `message` is analysed text, in
/// which the words of the value have to follow each other, in small or capital letters.
pub(crate) fn kibana(query: &str, line: &Value) -> Result<bool> {
    for term in query.split(" AND ") {
        let (field, value) = term.split_once(':').context("no field")?;
        let value = value.trim_matches('"');
        let found = line[field].as_str().unwrap_or_default();
        let matches = match field {
            "message" => {
                let (text, phrase) = (words(found), words(value));
                text.windows(phrase.len()).any(|part| part == phrase)
            }
            _ => found == value,
        };
        if !matches {
            return Ok(false);
        }
    }
    Ok(true)
}

fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

/// `{app="eventsource"}`, then `|= "text"`, `| json`, `| field="value"` and `| field=~"prefix.*"`, from
/// left to right. Fields are there once the line was parsed.
pub(crate) fn loki(query: &str, line: &Value) -> Result<bool> {
    let text = line.to_string();
    let mut rest = query.strip_prefix("{app=\"eventsource\"}").context("another stream")?.trim();
    let mut parsed = false;
    while !rest.is_empty() {
        let contains = rest.strip_prefix("|=");
        let stage = contains.or_else(|| rest.strip_prefix('|')).context("no stage")?;
        let end = stage.find(" |").unwrap_or(stage.len());
        let (stage, more) = (stage[..end].trim(), stage[end..].trim());
        rest = more;
        let matches = if contains.is_some() {
            text.contains(quoted(stage)?)
        } else if stage == "json" {
            parsed = true;
            true
        } else {
            ensure!(parsed, "no field is there before | json: {query}");
            let (field, value) = stage.split_once('=').context("no comparison")?;
            let found = line[field].as_str().unwrap_or_default();
            match value.strip_prefix('~') {
                None => found == quoted(value)?,
                Some(pattern) => match quoted(pattern)?.strip_suffix(".*") {
                    Some(prefix) => found.starts_with(prefix),
                    None => bail!("not understood: {pattern}"),
                },
            }
        };
        if !matches {
            return Ok(false);
        }
    }
    Ok(true)
}

fn quoted(text: &str) -> Result<&str> {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).context("no quoted text")
}
