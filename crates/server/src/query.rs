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

use crate::console;
use crate::response::Problem;

/// The pages of the console with a query, besides the form for a move; the API's are in the OpenAPI document.
const CONSOLE: &[(&str, &[&str])] = &[
    ("/console/live", &["migration", "drain", "tenant"]),
    ("/migrations", &["search", "store", "state", "cursor"]),
    ("/tenants", &["search", "store", "state", "cursor"]),
];
/// Further off than this is another word and not a misspelt one.
const TYPOS_MAX: usize = 3;

/// The parameters of each path and method; others have none.
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
        for path in ["/console/start", "/console/plan"] {
            let names = console::wish_fields().into_iter().map(str::to_owned).collect();
            known.insert((Method::GET, path.to_owned()), names);
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
            // The path has other methods: the router answers 405. Console forms have no parameters.
            None if !path.starts_with("/console")
                && self.0.keys().any(|(_, known)| known == path) =>
            {
                return Ok(());
            }
            None => &none,
        };
        // An invalid query is refused where it is read.
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
        if other.starts_with(name) { 1 } else { strsim::levenshtein(&shown, other) }
    };
    let nearest = known.iter().map(|other| (distance(other), other)).min();
    match nearest.filter(|(distance, _)| *distance <= TYPOS_MAX) {
        Some((_, nearest)) => {
            format!("unknown query parameter \"{shown}\"; did you mean \"{nearest}\"?")
        }
        None if known.is_empty() => {
            format!("unknown query parameter \"{shown}\"; this path has none")
        }
        None => {
            let known = known.join(", ");
            format!("unknown query parameter \"{shown}\"; this path has {known}")
        }
    }
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
}
