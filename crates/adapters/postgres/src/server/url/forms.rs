//! The two forms of a connection string: a URI, and keywords with values. The result is keys and
//! values, in order; of two with one key the later one counts.

use super::InvalidUrl;

/// Keys and values.
pub(super) type Pairs = Vec<(String, String)>;

fn invalid<T>(why: impl Into<String>) -> Result<T, InvalidUrl> {
    Err(InvalidUrl(why.into()))
}

/// Reads either form.
pub(super) fn read(text: &str) -> Result<Pairs, InvalidUrl> {
    let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
    match rest {
        Some(rest) => uri(rest),
        None if text.contains('=') => keywords(text),
        None => invalid(
            "is neither a URL that starts with postgres:// nor a list of keywords and values like \
             host=HOST dbname=DATABASE",
        ),
    }
}

/// `[USER[:PASSWORD]@][HOST[:PORT],...][/DATABASE][?KEY=VALUE&...]`
fn uri(text: &str) -> Result<Pairs, InvalidUrl> {
    let mut pairs = Pairs::new();
    let mut put = |key: &str, value: &str| {
        if !value.is_empty() {
            pairs.push((key.to_owned(), decoded(value)?));
        }
        Ok(())
    };
    let mut rest = text;
    // As libpq does: up to the first @ or /.
    let end = rest.find(['@', '/']).filter(|end| rest[*end..].starts_with('@'));
    if let Some(end) = end {
        let (user, password) = rest[..end].split_once(':').unwrap_or((&rest[..end], ""));
        put("user", user)?;
        put("password", password)?;
        rest = &rest[end + 1..];
    }
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    loop {
        let host;
        if let Some(inside) = rest.strip_prefix('[') {
            let Some((address, after)) = inside.split_once(']') else {
                return invalid("has a [ without its ]");
            };
            if !after.is_empty() && !after.starts_with([':', '/', '?', ',']) {
                return invalid("has a text that is not a port after a ]");
            }
            (host, rest) = (address, after);
        } else {
            let end = rest.find([':', '/', '?', ',']).unwrap_or(rest.len());
            (host, rest) = rest.split_at(end);
        }
        hosts.push(host);
        let mut port = "";
        if let Some(after) = rest.strip_prefix(':') {
            let end = after.find(['/', '?', ',']).unwrap_or(after.len());
            (port, rest) = after.split_at(end);
        }
        ports.push(port);
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => break,
        }
    }
    if hosts.iter().any(|host| host.contains('@')) {
        return invalid("has a character like @ or / in its password that is not percent-encoded");
    }
    let some = |list: &[&str]| list.iter().any(|one| !one.is_empty());
    if some(&hosts) {
        put("host", &hosts.join(","))?;
    }
    if some(&ports) {
        put("port", &ports.join(","))?;
    }
    if let Some(after) = rest.strip_prefix('/') {
        let (database, query) = after.split_once('?').unwrap_or((after, ""));
        put("dbname", database)?;
        rest = query;
    } else {
        rest = rest.strip_prefix('?').unwrap_or(rest);
    }
    for pair in rest.split('&').filter(|pair| !pair.is_empty()) {
        let Some((key, value)) = pair.split_once('=') else {
            return invalid("has a parameter without a value");
        };
        let (key, value) = (decoded(key)?, decoded(value)?);
        // As in JDBC, and accepted by libpq.
        if key == "ssl" && value == "true" {
            pairs.push(("sslmode".to_owned(), "require".to_owned()));
        } else {
            pairs.push((key, value));
        }
    }
    Ok(pairs)
}

/// `KEY = VALUE ...`; a value with spaces is in single quotes, and a backslash escapes the next
/// character.
fn keywords(text: &str) -> Result<Pairs, InvalidUrl> {
    let mut pairs = Pairs::new();
    let mut signs = text.chars().peekable();
    loop {
        while signs.next_if(char::is_ascii_whitespace).is_some() {}
        if signs.peek().is_none() {
            return Ok(pairs);
        }
        let mut key = String::new();
        while let Some(sign) = signs.next_if(|sign| *sign != '=' && !sign.is_ascii_whitespace()) {
            key.push(sign);
        }
        while signs.next_if(char::is_ascii_whitespace).is_some() {}
        if signs.next() != Some('=') {
            return invalid(
                "has a keyword without a value; write KEY=VALUE, with quotes around spaces",
            );
        }
        while signs.next_if(char::is_ascii_whitespace).is_some() {}
        let quoted = signs.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        loop {
            match signs.next() {
                Some('\\') => value.extend(signs.next()),
                Some('\'') if quoted => break,
                Some(sign) if !quoted && sign.is_ascii_whitespace() => break,
                Some(sign) => value.push(sign),
                None if quoted => return invalid("has an unterminated quote"),
                None => break,
            }
        }
        pairs.push((key, value));
    }
}

/// Undoes percent-encoding.
fn decoded(value: &str) -> Result<String, InvalidUrl> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut left = value.as_bytes();
    while let [first, rest @ ..] = left {
        if *first != b'%' {
            bytes.push(*first);
            left = rest;
            continue;
        }
        let digits = rest.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(0) => return invalid("has a %00, which no value can contain"),
            Some(byte) => bytes.push(byte),
            None => return invalid("has a % that is not followed by two hexadecimal digits"),
        }
        left = &rest[2..];
    }
    String::from_utf8(bytes).or_else(|_| invalid("has a parameter that is not UTF-8"))
}
