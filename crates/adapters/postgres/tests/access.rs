//! Connecting: TLS according to `sslmode`, and the permitted sources of passwords.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rehome_cluster::{Cluster, Database, Options};
use rehome_ports::clock::SystemClock;
use rehome_ports::contract::kit::{store_id, tenant};
use rehome_ports::{Fault, LedgerStore as _};
use rehome_postgres::{PgStore, PgStoreOptions};
use tempfile::TempDir;

/// Longest wait for anything; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

async fn open(url: &str) -> Result<PgStore, Fault> {
    PgStore::open(PgStoreOptions {
        id: store_id("far"),
        url: url.parse().expect("a URL"),
        deployment: "access".to_owned(),
        create: true,
        clock: Arc::new(SystemClock),
    })
    .await
}

/// That the store opens, and is one.
async fn works(url: &str) -> PgStore {
    let store = open(url).await.unwrap_or_else(|fault| panic!("{}", said(&fault)));
    store.ledger(tenant(1)).await.expect("a ledger, if only an absent one");
    store
}

/// The fault and everything below it.
fn said(fault: &Fault) -> String {
    let mut words = fault.to_string();
    let mut below = std::error::Error::source(fault);
    while let Some(error) = below {
        words = format!("{words}: {error}");
        below = error.source();
    }
    format!("{words} {fault:?}")
}

async fn refused(url: &str) -> String {
    match open(url).await {
        Ok(_) => panic!("{url} was let in"),
        Err(fault) => said(&fault),
    }
}

/// An authority, and its certificate in a file.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key).expect("a certificate");
        let file = folder.join(format!("{name}.pem"));
        fs::write(&file, certificate.pem()).expect("a file");
        Self { issuer: Issuer::new(params, key), file }
    }

    /// A certificate for `host`, valid to the end of that year, and its key.
    fn certify(&self, host: &str, until: i32) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([host.to_owned()]).expect("a host");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 12, 31);
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }
}

/// A server with TLS, whose certificate is for `localhost` and from an authority of its own.
struct Site {
    cluster: Cluster,
    database: Database,
    folder: TempDir,
    authority: Authority,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::new(folder.path(), "ours");
        let cluster = Cluster::start(&Options::default().in_memory()).expect("a server");
        let database = cluster.database().expect("a database");
        let site = Self { cluster, database, folder, authority };
        site.certified("localhost", 4000);
        site
    }

    fn certified(&self, host: &str, until: i32) {
        let (certificate, key) = self.authority.certify(host, until);
        self.cluster.use_tls(&certificate, &key).expect("a server with TLS");
    }

    /// By the address.
    fn url(&self, query: &str) -> String {
        format!("{}?{query}", self.database.url())
    }

    /// By the name that the certificate is for.
    fn url_by_name(&self, query: &str) -> String {
        self.url(query).replace("@127.0.0.1:", "@localhost:")
    }

    /// `t` if all connections to the database are encrypted, `f` if none is.
    fn is_encrypted(&self) -> String {
        let sql = format!(
            "SELECT DISTINCT s.ssl FROM pg_stat_ssl AS s JOIN pg_stat_activity AS a USING (pid) \
             WHERE a.datname = '{}'",
            self.database.name()
        );
        self.cluster.sql("postgres", &sql).expect("an answer")
    }
}

fn root(file: &Path) -> String {
    format!("sslrootcert={}", file.display())
}

#[tokio::test]
async fn connections_are_encrypted_unless_that_is_declined() {
    let site = Site::new();
    for (query, encrypted) in [
        ("sslmode=disable", "f"),
        ("", "t"),
        ("sslmode=prefer", "t"),
        ("sslmode=require", "t"),
        // The signature is bound to this connection.
        ("sslmode=require&channel_binding=require", "t"),
    ] {
        let store = works(&site.url(query)).await;
        assert_eq!(site.is_encrypted(), encrypted, "{query}");
        drop(store);
        until_left(&site).await;
    }
    let bound = refused(&site.url("sslmode=disable&channel_binding=require")).await;
    assert!(bound.contains("channel binding"), "{bound}");
}

/// Connections end a moment after they were dropped.
async fn until_left(site: &Site) {
    let sql =
        format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{}'", site.database.name());
    let left = async {
        while site.cluster.sql("postgres", &sql).expect("an answer") != "0" {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(PATIENCE, left).await.expect("a dropped store ends its connections");
}

#[tokio::test]
async fn a_server_without_tls_is_taken_by_prefer_and_refused_by_require() {
    let database = rehome_cluster::shared().database().expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(folder.path(), "ours");
    works(&format!("{}?sslmode=prefer", database.url())).await;
    let ca = root(&authority.file);
    for query in ["sslmode=require", &format!("sslmode=verify-full&{ca}")] {
        let problem = refused(&format!("{}?{query}", database.url())).await;
        assert!(problem.contains("server does not support TLS"), "{problem}");
    }
}

#[tokio::test]
async fn a_certificate_is_looked_at_as_far_as_the_url_asks() {
    let site = Site::new();
    let ours = root(&site.authority.file);
    works(&site.url(&format!("sslmode=verify-ca&{ours}"))).await;
    works(&site.url_by_name(&format!("sslmode=verify-full&{ours}"))).await;
    let problem = refused(&site.url(&format!("sslmode=verify-full&{ours}"))).await;
    assert!(problem.contains("not valid for name"), "{problem}");

    let other = Authority::new(site.folder.path(), "another");
    let theirs = root(&other.file);
    works(&site.url("sslmode=require")).await;
    // `require` with an authority is `verify-ca`, as it is to libpq.
    for mode in ["require", "verify-ca", "verify-full"] {
        let problem = refused(&site.url_by_name(&format!("sslmode={mode}&{theirs}"))).await;
        assert!(problem.contains("certificate is refused"), "{mode}: {problem}");
    }

    // To the end of a year that is over.
    site.certified("localhost", 2021);
    works(&site.url("sslmode=require")).await;
    for mode in ["verify-ca", "verify-full"] {
        let problem = refused(&site.url_by_name(&format!("sslmode={mode}&{ours}"))).await;
        assert!(problem.contains("certificate has expired"), "{mode}: {problem}");
    }
}

#[tokio::test]
async fn a_file_of_authorities_that_is_of_no_use_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let empty = folder.path().join("empty.pem");
    fs::write(&empty, "nothing here\n").expect("a file");
    let missing = folder.path().join("missing.pem");
    for (file, why) in [(&empty, "has no usable certificate"), (&missing, "cannot be read")] {
        let url = format!("postgres://nobody@127.0.0.1:1/x?sslmode=verify-ca&{}", root(file));
        let problem = refused(&url).await;
        assert!(problem.contains(why), "{problem}");
        assert!(problem.contains(&file.display().to_string()), "{problem}");
    }
}

/// The URL of the database without a password.
fn without_password(database: &Database, query: &str) -> String {
    let name = database.name();
    format!("postgres://{name}@127.0.0.1:{}/{name}?{query}", database.port())
}

#[tokio::test]
async fn a_password_comes_from_a_passfile_that_nobody_else_can_read() {
    let database = rehome_cluster::shared().database().expect("a database");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pass");
    let url = without_password(&database, &format!("passfile={}", file.display()));
    let missing = refused(&url).await;
    assert!(missing.contains("cannot be read"), "{missing}");

    let (name, password) = (database.name(), database.password());
    fs::write(&file, format!("127.0.0.1:{}:{name}:{name}:{password}\n", database.port()))
        .expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("a mode");
    let open_to_all = refused(&url).await;
    assert!(open_to_all.contains("it needs the mode 0600"), "{open_to_all}");
    assert!(!open_to_all.contains(password), "{open_to_all}");

    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
    works(&url).await;
}

#[tokio::test]
async fn a_password_comes_from_the_variable_that_the_url_names() {
    let cluster = rehome_cluster::shared();
    let database = cluster.database().expect("a database");
    let unset = refused(&without_password(&database, "password_env=REHOME_NOT_SET")).await;
    assert!(unset.contains("REHOME_NOT_SET, which is not set"), "{unset}");

    // A test cannot change its own environment safely, so it sets the expected password to the existing value.
    let there = std::env::var("PATH").expect("a PATH");
    let sql = format!("ALTER ROLE {} PASSWORD '{}'", database.name(), there.replace('\'', "''"));
    cluster.sql("postgres", &sql).expect("another password");
    works(&without_password(&database, "password_env=PATH")).await;
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_not_repeated() {
    let database = rehome_cluster::shared().database().expect("a database");
    let name = database.name();
    let url = format!("postgres://{name}:hunter2@127.0.0.1:{}/{name}", database.port());
    let problem = refused(&url).await;
    assert!(problem.contains("password authentication failed"), "{problem}");
    assert!(problem.contains("cannot be reached"), "{problem}");
    assert!(!problem.contains("hunter2"), "{problem}");
}
