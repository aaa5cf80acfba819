use std::path::PathBuf;

use tokio_postgres::config::SslMode;

use super::{PostgresUrl, Trust};

fn url(text: &str) -> PostgresUrl {
    match text.parse() {
        Ok(url) => url,
        Err(problem) => panic!("{text}: {problem}"),
    }
}

#[test]
fn urls_are_read_as_libpq_reads_them() {
    for (text, shown) in [
        ("postgres://h", "postgres://h:5432/?schema=rehome"),
        ("postgres://u@h/d", "postgres://u@h:5432/d?schema=rehome"),
        ("postgresql://u:p@h:6000/d?schema=a", "postgres://u@h:6000/d?schema=a"),
        ("postgres://u@[::1]:6000/d", "postgres://u@[::1]:6000/d?schema=rehome"),
        ("postgres://u@a:1,b:2/d", "postgres://u@a:1,b:2/d?schema=rehome"),
        ("postgres://u@/d?host=/run/pg", "postgres://u@/run/pg:5432/d?schema=rehome"),
        ("postgres://u%40x:p%40%2F@h/d%20e", "postgres://u@x@h:5432/d e?schema=rehome"),
    ] {
        assert_eq!(url(text).to_string(), shown);
    }
    assert_eq!(url("postgres://u:p%40%2F@h").config().get_password(), Some(&b"p@/"[..]));
}

#[test]
fn modes_of_tls_are_those_of_libpq() {
    let trust = |query: &str| {
        let url = url(&format!("postgres://h/d?{query}"));
        (url.config().get_ssl_mode(), url.trust)
    };
    let file = || PathBuf::from("/ca.pem");
    assert_eq!(trust(""), (SslMode::Prefer, Trust::Anyone));
    assert_eq!(trust("sslmode=disable"), (SslMode::Disable, Trust::Anyone));
    assert_eq!(trust("sslmode=allow"), (SslMode::Prefer, Trust::Anyone));
    assert_eq!(trust("sslmode=require"), (SslMode::Require, Trust::Anyone));
    let checked = trust("sslmode=require&sslrootcert=/ca.pem");
    assert_eq!(checked, (SslMode::Require, Trust::Authority(file())));
    let checked = trust("sslmode=verify-ca&sslrootcert=%2Fca.pem");
    assert_eq!(checked, (SslMode::Require, Trust::Authority(file())));
    let checked = trust("sslrootcert=/ca.pem&sslmode=verify-full");
    assert_eq!(checked, (SslMode::Require, Trust::AuthorityAndHost(file())));
}

#[test]
fn what_is_no_url_is_refused_without_its_password() {
    for text in [
        "hunter2",
        "mysql://u:hunter2@h/d",
        "postgres://u:hunter2@/d",
        "postgres://u:hunter2@h/d?schema=",
        "postgres://u:hunter2@h/d?schema=public",
        "postgres://u:hunter2@h/d?sslmode=hunter2",
        "postgres://u:hunter2@h/d?sslmode=verify-full",
        "postgres://u:hunter2@h/d?sslmode=verify-ca",
        "postgres://u:hunter2@h/d?sslrootcert=system",
        "postgres://u:hunter2@h/d?pool_size=0",
        "postgres://u:hunter2@h/d?pool_size=hunter2",
        "postgres://u:hunter2@h/d?pooler=session",
        "postgres://u:hunter2@h/d?direct=hunter2",
        "postgres://u:hunter2@h/d?port=hunter2",
        "postgres://u:hunter2@h/d?flag",
        "postgres://u:hunter2@h/d?application_name=%zz",
        "postgres://u:x@hunter2@h/d",
        "postgres://u:x?hunter2=y@h/d",
    ] {
        let problem = text.parse::<PostgresUrl>().unwrap_err().to_string();
        assert!(!problem.contains("hunter2"), "{problem}");
    }
    let unknown = "postgres://h/d?sslcrl=x".parse::<PostgresUrl>().unwrap_err().to_string();
    assert_eq!(unknown, "has a parameter sslcrl that is not known");
}

#[test]
fn nothing_shows_the_password() {
    let url = url("postgres://u:hunter2@h/d");
    assert!(!format!("{url} {url:?}").contains("hunter2"));
}
