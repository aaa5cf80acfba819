//! Query parameters that a path does not know are refused, as unknown keys of a body are: a misspelt
//! `after` would otherwise read from the start for ever.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::{Operation, ParameterIn};

use crate::answer::Problem;

/// What the start of a migration takes in the console.
const WISH: &[&str] = &["tenant", "to", "cutover", "rate", "window"];
/// The pages of the console with a query; the API's are in the OpenAPI document.
const CONSOLE: &[(&str, &[&str])] =
    &[("/console/live", &["migration"]), ("/console/start", WISH), ("/console/plan", WISH)];
/// Further off than this is another word and not a misspelt one.
const TYPOS_MAX: usize = 3;

/// The parameters of each path and method; what is not in it has none.
#[derive(Clone)]
pub(crate) struct Parameters(Arc<HashMap<(Method, String), Vec<String>>>);

impl Parameters {
    /// Of the API by its document, and of the console.
    pub(crate) fn new(api: &OpenApi) -> Self {
        let mut known = HashMap::new();
        for (path, item) in &api.paths.paths {
            for (method, operation) in [
                (Method::GET, &item.get),
                (Method::POST, &item.post),
                (Method::PUT, &item.put),
                (Method::PATCH, &item.patch),
                (Method::DELETE, &item.delete),
            ] {
                if let Some(operation) = operation {
                    known.insert((method, path.clone()), names(operation));
                }
            }
        }
        for (path, names) in CONSOLE {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            known.insert((Method::GET, (*path).to_owned()), names);
        }
        Self(Arc::new(known))
    }

    /// Refuses the first parameter that the path does not know.
    fn check(&self, method: &Method, path: &str, query: &str) -> Result<(), Problem> {
        let method = if *method == Method::HEAD { Method::GET } else { method.clone() };
        let none = Vec::new();
        let known = match self.0.get(&(method, path.to_owned())) {
            Some(known) => known,
            // The path has other methods: 405 says so. What the console posts has no parameters.
            None if !path.starts_with("/console")
                && self.0.keys().any(|(_, known)| known == path) =>
            {
                return Ok(());
            }
            None => &none,
        };
        // What is no query at all is refused where it is read.
        let given: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap_or_default();
        match given.iter().find(|(name, _)| !known.contains(name)) {
            None => Ok(()),
            Some((name, _)) => Err(Problem::bad_request("bad_query", unknown(name, known))),
        }
    }
}

fn names(operation: &Operation) -> Vec<String> {
    let parameters = operation.parameters.iter().flatten();
    let queries = parameters.filter(|one| matches!(one.parameter_in, ParameterIn::Query));
    queries.map(|one| one.name.clone()).collect()
}

fn unknown(name: &str, known: &[String]) -> String {
    // It is the client's text: short, and nothing that a terminal would obey.
    let shown: String = name.chars().take(64).flat_map(char::escape_debug).collect();
    let distance = |other: &String| {
        if other.starts_with(name) { 1 } else { edits(name, other) }
    };
    let nearest = known.iter().map(|other| (distance(other), other)).min();
    match nearest.filter(|(distance, _)| *distance <= TYPOS_MAX) {
        Some((_, nearest)) => format!("there is no query parameter \"{shown}\"; \"{nearest}\"?"),
        None if known.is_empty() => {
            format!("there is no query parameter \"{shown}\"; this path has none")
        }
        None => {
            let known = known.join(", ");
            format!("there is no query parameter \"{shown}\"; this path has {known}")
        }
    }
}

/// How many characters have to be changed, added or left out (Levenshtein).
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(64).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// The layer.
pub(crate) async fn check(
    State(parameters): State<Parameters>,
    request: Request,
    next: Next,
) -> Response {
    let checked = match (request.extensions().get::<MatchedPath>(), request.uri().query()) {
        (Some(path), Some(query)) => parameters.check(request.method(), path.as_str(), query),
        _ => Ok(()),
    };
    match checked {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(method: &Method, path: &str, query: &str) -> String {
        let parameters = Parameters::new(&crate::routes::document());
        match parameters.check(method, path, query) {
            Ok(()) => String::new(),
            Err(problem) => problem.document().detail.clone(),
        }
    }

    const FEED: &str = "/v1/tenants/{tenant}/events";

    #[test]
    fn what_the_path_knows_is_taken() {
        for query in ["", "after_seq=3&limit=10", "limit=1", "after%5Fseq=1"] {
            assert_eq!(refusal(&Method::GET, FEED, query), "", "{query}");
        }
        assert_eq!(refusal(&Method::HEAD, FEED, "limit=1"), "");
        assert_eq!(refusal(&Method::GET, "/console/plan", "tenant=x&to=b"), "");
    }

    #[test]
    fn what_is_misspelt_is_refused_with_the_nearest_name() {
        for query in ["after=15", "limit=1&after=15", "after_sq=1", "After_seq=1"] {
            let refusal = refusal(&Method::GET, FEED, query);
            assert!(refusal.contains("\"after_seq\"?"), "{refusal}");
        }
        assert!(refusal(&Method::GET, FEED, "colour=red").contains("after_seq, limit"));
        assert!(refusal(&Method::GET, "/health/live", "x").contains("has none"));
        assert!(refusal(&Method::POST, "/console/start", "to=b").contains("has none"));
        assert!(!refusal(&Method::GET, FEED, "%1b%5b31m=1").contains('\u{1b}'));
    }

    #[test]
    fn edits_are_counted() {
        for (a, b, edits_expected) in [("", "", 0), ("limit", "limit", 0), ("limt", "limit", 1)] {
            assert_eq!(edits(a, b), edits_expected, "{a} {b}");
        }
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
