use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::config::ChannelBinding;

use super::parse::read;
use super::{InvalidUrl, PostgresUrl};
use crate::server::tls::{CertMode, Mode, Root};

fn among(text: &str, variables: &[(&str, &str)]) -> Result<PostgresUrl, InvalidUrl> {
    let find = |name: &str| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    };
    read(text, &find)
}

fn url(text: &str) -> PostgresUrl {
    among(text, &[("PGUSER", "us")]).unwrap_or_else(|problem| panic!("{text}: {problem}"))
}

#[test]
fn urls_are_read_as_libpq_reads_them() {
    for (text, shown) in [
        ("postgres://h", "postgres://us@h:5432/us?schema=rehome"),
        ("postgres://u@h/d", "postgres://u@h:5432/d?schema=rehome"),
        ("postgresql://u:p@h:6000/d?schema=a", "postgres://u@h:6000/d?schema=a"),
        ("postgres://u@[::1]:6000/d", "postgres://u@[::1]:6000/d?schema=rehome"),
        ("postgres://u@a:1,b:2/d", "postgres://u@a:1,b:2/d?schema=rehome"),
        ("postgres://u@a,b,[::1]/d?port=7", "postgres://u@a:7,b:7,[::1]:7/d?schema=rehome"),
        ("postgres://u@/d?host=/run/pg", "postgres://u@/run/pg:5432/d?schema=rehome"),
        ("postgres://%2Frun%2Fpg/d", "postgres://us@/run/pg:5432/d?schema=rehome"),
        ("postgres://u%40x:p%40%2F@h/d%20e", "postgres://u@x@h:5432/d e?schema=rehome"),
        ("postgres://h?user=u&dbname=d&port=1", "postgres://u@h:1/d?schema=rehome"),
        ("postgres://u:x?y=z@h/d", "postgres://u@h:5432/d?schema=rehome"),
        (
            "postgres://u@/d?hostaddr=10.0.0.1,::2",
            "postgres://u@10.0.0.1:5432,[::2]:5432/d?schema=rehome",
        ),
        ("host=h dbname=d user=u", "postgres://u@h:5432/d?schema=rehome"),
        (
            " host = 'a b' port=7\tuser='o\\'u' dbname=d\\ e schema=s",
            "postgres://o'u@a b:7/d e?schema=s",
        ),
    ] {
        assert_eq!(url(text).to_string(), shown, "{text}");
    }
    assert_eq!(url("postgres://u:p%40%2F@h").config.get_password(), Some(&b"p@/"[..]));
    assert!(url("postgres://u@/d").places[0].is_socket());
    assert!(PostgresUrl::is_keywords("host=h dbname=d") && PostgresUrl::is_keywords("service=a"));
    assert!(!PostgresUrl::is_keywords("sqlite:host=h") && !PostgresUrl::is_keywords("hosts=h"));
}

#[test]
fn what_the_text_has_not_comes_from_a_service_and_then_from_variables() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("services");
    std::fs::write(&file, "[a]\nhost=h\nport=1\nsslmode=require\n").unwrap();
    let file = file.to_str().unwrap().to_owned();
    let variables = [
        ("PGSERVICEFILE", file.as_str()),
        ("PGHOST", "v"),
        ("PGPORT", "2"),
        ("PGUSER", "u"),
        ("PGDATABASE", "d"),
        ("PGSSLMODE", "disable"),
        ("PGCONNECT_TIMEOUT", "1"),
        ("PGAPPNAME", "mine"),
    ];
    let url = among("service=a port=3", &variables).unwrap();
    assert_eq!(url.to_string(), "postgres://u@h:3/d?schema=rehome");
    assert_eq!(url.tls.mode, Mode::Require);
    assert_eq!(url.connect_timeout, Some(Duration::from_secs(2)));
    assert_eq!(url.config.get_application_name(), Some("mine"));
    let url = among("postgres:///?service=a", &variables).unwrap();
    assert_eq!(url.to_string(), "postgres://u@h:1/d?schema=rehome");
    let url = among("postgres://", &variables).unwrap();
    assert_eq!(
        (url.to_string().as_str(), url.tls.mode),
        ("postgres://u@v:2/d?schema=rehome", Mode::Disable)
    );
    let problem = among("service=b", &variables).unwrap_err().to_string();
    assert!(problem.contains("pg_service.conf"), "{problem}");
}

#[test]
fn modes_of_tls_are_those_of_libpq() {
    let tls = |query: &str| url(&format!("postgres://h/d?{query}")).tls;
    let trust = |query: &str| (tls(query).mode, tls(query).root);
    let file = || Root::File(PathBuf::from("/ca.pem"));
    assert_eq!(trust(""), (Mode::Prefer, Root::None));
    assert_eq!(trust("sslmode=disable"), (Mode::Disable, Root::None));
    assert_eq!(trust("sslmode=allow"), (Mode::Allow, Root::None));
    assert_eq!(trust("sslmode=require"), (Mode::Require, Root::None));
    assert_eq!(trust("ssl=true"), (Mode::Require, Root::None));
    assert_eq!(trust("sslmode=require&sslrootcert=/ca.pem"), (Mode::Require, file()));
    assert_eq!(trust("sslmode=verify-ca&sslrootcert=%2Fca.pem"), (Mode::VerifyCa, file()));
    assert_eq!(trust("sslrootcert=/ca.pem&sslmode=verify-full"), (Mode::VerifyFull, file()));
    assert_eq!(trust("sslrootcert=system"), (Mode::VerifyFull, Root::System));
    assert!(tls("sslmode=require&sslnegotiation=direct").direct);
    assert_eq!(tls("sslcert=/c&sslcertmode=disable").cert, None);
    assert_eq!(tls("sslcertmode=require").cert_mode, CertMode::Require);
    // What is in the user's folder is used without being named.
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".postgresql")).unwrap();
    let root = home.path().join(".postgresql/root.crt");
    std::fs::write(&root, "").unwrap();
    let variables = [("HOME", home.path().to_str().unwrap()), ("PGUSER", "u")];
    let url = among("postgres://h?sslmode=verify-ca", &variables).unwrap();
    assert_eq!((url.tls.mode, url.tls.root), (Mode::VerifyCa, Root::File(root)));
}

#[test]
fn parameters_mean_what_they_mean_to_libpq() {
    let url =
        url("postgres://h?tcp_user_timeout=1500&keepalives=0&keepalives_count=4&connect_timeout=9\
                   &load_balance_hosts=random&channel_binding=require&target_session_attrs=primary\
                   &gssencmode=disable&client_encoding=UTF8&sslsni=0&options=-c%20work_mem%3D1MB");
    assert_eq!(url.config.get_tcp_user_timeout(), Some(&Duration::from_millis(1_500)));
    assert!(!url.config.get_keepalives());
    assert_eq!(url.config.get_keepalives_retries(), Some(4));
    assert_eq!(url.connect_timeout, Some(Duration::from_secs(9)));
    assert!(url.shuffled && !url.tls.sni);
    assert_eq!(url.config.get_channel_binding(), ChannelBinding::Require);
    assert_eq!(url.config.get_options(), Some("-c work_mem=1MB"));
}

#[test]
fn what_is_no_url_is_refused_without_its_password() {
    for text in [
        "hunter2",
        "mysql://u:hunter2@h/d",
        "host=h password='hunter2",
        "host=h hunter2",
        "host=h hunter2=x",
        "postgres://u:hunter2@[::1/d",
        "postgres://u:hunter2@[::1]x/d",
        "postgres://u:hunter2@h:0/d",
        "postgres://u:hunter2@h,i:1,2,3/d?hostaddr=10.0.0.1",
        "postgres://u:hunter2@h/d?hostaddr=hunter2",
        "postgres://u:hunter2@h/d?target_session_attrs=standby",
        "postgres://u:hunter2@h/d?target_session_attrs=read-only",
        "postgres://u:hunter2@h/d?target_session_attrs=hunter2",
        "postgres://u:hunter2@h/d?load_balance_hosts=hunter2",
        "postgres://u:hunter2@h/d?connect_timeout=hunter2",
        "postgres://u:hunter2@h/d?require_auth=hunter2",
        "postgres://u:hunter2@h/d?gssencmode=require",
        "postgres://u:hunter2@h/d?sslmode=prefer&sslnegotiation=direct",
        "postgres://u:hunter2@h/d?sslmode=require&sslrootcert=system",
        "postgres://u:hunter2@h/d?user=%00hunter2",
        "postgres://u:hunter2@h/d?schema=",
        "postgres://u:hunter2@h/d?schema=public",
        "postgres://u:hunter2@h/d?sslmode=hunter2",
        "postgres://u:hunter2@h/d?sslmode=verify-full",
        "postgres://u:hunter2@h/d?sslmode=verify-ca",
        "postgres://u:hunter2@h/d?pool_size=0",
        "postgres://u:hunter2@h/d?pool_size=hunter2",
        "postgres://u:hunter2@h/d?pooler=session",
        "postgres://u:hunter2@h/d?direct=hunter2",
        "postgres://u:hunter2@h/d?port=hunter2",
        "postgres://u:hunter2@h/d?flag",
        "postgres://u:hunter2@h/d?sslmode=",
        "postgres://u:hunter2@h/d?channel_binding=",
        "postgres://u:hunter2@h/d?target_session_attrs=",
        "host=h user=u dbname=postgresql://u:hunter2@h/d",
        "postgres://u:hunter2@h/d?application_name=%zz",
        "postgres://u:x@hunter2@h/d",
    ] {
        let problem = among(text, &[]).unwrap_err().to_string();
        assert!(!problem.contains("hunter2"), "{problem}");
    }
    // What stands behind a password with a space may be a part of it.
    let spaced = among("host=h password=correct horse=x", &[]).unwrap_err().to_string();
    assert!(spaced.contains("needs quotes") && !spaced.contains("horse"), "{spaced}");
    let unknown = "postgres://h/d?sslcrlfile=x".parse::<PostgresUrl>().unwrap_err().to_string();
    assert_eq!(unknown, "has an unknown parameter sslcrlfile");
}

#[test]
fn nothing_shows_the_password() {
    let url = url("postgres://u:hunter2@h/d");
    assert!(!format!("{url} {url:?}").contains("hunter2"));
}
