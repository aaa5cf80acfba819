//! The form of a response that a client asks for: what `Accept` names, and what it refuses with `q=0`.

use axum::http::{HeaderMap, header};

/// Whether `Accept` names this media type, and does not refuse it.
pub(crate) fn names(headers: &HeaderMap, kind: &str) -> bool {
    ranges(headers, kind).any(|is_refused| !is_refused)
}

/// Whether `Accept` refuses this media type.
pub(crate) fn refuses(headers: &HeaderMap, kind: &str) -> bool {
    !names(headers, kind) && ranges(headers, kind).any(|is_refused| is_refused)
}

/// The ranges that name the media type: whether each refuses it.
fn ranges<'a>(headers: &'a HeaderMap, kind: &'a str) -> impl Iterator<Item = bool> + 'a {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    accepts.flat_map(|accept| accept.split(',')).filter_map(move |range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next().unwrap_or_default();
        named.eq_ignore_ascii_case(kind).then(|| parts.any(is_no))
    })
}

/// Whether a parameter of a media range refuses it: `q=0`, with any number of decimals.
fn is_no(parameter: &str) -> bool {
    let weight =
        parameter.split_once('=').filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    weight.is_some_and(|(_, weight)| weight.trim().parse::<f64>().is_ok_and(|weight| weight <= 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_given_and_what_has_no_weight_is_refused() {
        let accept = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::ACCEPT, line.parse().unwrap());
            }
            (names(&headers, "text/html"), refuses(&headers, "text/html"))
        };
        assert_eq!(accept(&[]), (false, false));
        assert_eq!(accept(&["*/*"]), (false, false));
        for named in ["text/html", "a/b, TEXT/HTML;q=0.5", "text/html;charset=utf-8;q=1"] {
            assert_eq!(accept(&[named]), (true, false), "{named}");
        }
        assert_eq!(accept(&["a/b", "text/html"]), (true, false));
        for refused in ["text/html;q=0", "text/html; level=1 ; Q = 0.000, a/b", "text/html;q=0.0"] {
            assert_eq!(accept(&[refused]), (false, true), "{refused}");
        }
    }
}
