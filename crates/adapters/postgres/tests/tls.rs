//! Certificates of every kind that PostgreSQL's manual makes and providers have, in every `sslmode`: we
//! connect where psql connects, and refuse where it refuses.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::symm::Cipher;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name, X509NameBuilder};
use rehome_cluster::{Cluster, Database, Options};
use rehome_ports::clock::SystemClock;
use rehome_ports::contract::kit::store_id;
use rehome_ports::{Fault, LedgerStore as _};
use rehome_postgres::{PgStore, PgStoreOptions};
use tempfile::TempDir;

type Key = PKey<Private>;

fn rsa(bits: u32) -> Key {
    PKey::from_rsa(Rsa::generate(bits).expect("a key")).expect("a key")
}

fn curve(nid: Nid) -> Key {
    let group = EcGroup::from_curve_name(nid).expect("a curve");
    PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key")
}

/// What a certificate is made from.
#[derive(Clone)]
struct Wish {
    common_name: &'static str,
    /// 1 or 3.
    version: i32,
    is_authority: bool,
    names: Vec<&'static str>,
    addresses: Vec<&'static str>,
    /// Days from now to its end.
    days: i64,
}

impl Wish {
    fn of(common_name: &'static str) -> Self {
        let (names, addresses) = (Vec::new(), Vec::new());
        Self { common_name, version: 3, is_authority: false, names, addresses, days: 30 }
    }

    fn authority(self) -> Self {
        Self { is_authority: true, ..self }
    }
}

fn named(common_name: &str) -> X509Name {
    let mut name = X509NameBuilder::new().expect("a name");
    name.append_entry_by_nid(Nid::COMMONNAME, common_name).expect("a name");
    name.build()
}

/// A certificate for `key`, signed by `issuer` or by itself.
fn certify(wish: &Wish, key: &Key, issuer: Option<(&X509, &Key)>) -> X509 {
    let mut made = X509Builder::new().expect("a builder");
    made.set_version(wish.version - 1).expect("a version");
    let serial = BigNum::from_u32(rand_serial()).and_then(|n| n.to_asn1_integer());
    made.set_serial_number(&serial.expect("a number")).expect("a number");
    let name = named(wish.common_name);
    made.set_subject_name(&name).expect("a subject");
    made.set_issuer_name(issuer.map_or(&name, |(issuer, _)| issuer.subject_name()))
        .expect("an issuer");
    made.set_pubkey(key).expect("a key");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time");
    let now = i64::try_from(now.as_secs()).expect("a time");
    let at = |days: i64| Asn1Time::from_unix(now + days * 86_400).expect("a time");
    made.set_not_before(&at(wish.days.min(0) - 10)).expect("a time");
    made.set_not_after(&at(wish.days)).expect("a time");
    if wish.version == 3 {
        if wish.is_authority {
            made.append_extension(BasicConstraints::new().critical().ca().build().expect("it"))
                .expect("an extension");
        }
        let mut alternative = SubjectAlternativeName::new();
        for name in &wish.names {
            alternative.dns(name);
        }
        for address in &wish.addresses {
            alternative.ip(address);
        }
        if !wish.names.is_empty() || !wish.addresses.is_empty() {
            let context = made.x509v3_context(None, None);
            let extension = alternative.build(&context).expect("names");
            made.append_extension(extension).expect("an extension");
        }
    }
    let signer = issuer.map_or(key, |(_, key)| key);
    made.sign(signer, MessageDigest::sha256()).expect("a signature");
    made.build()
}

fn rand_serial() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn pem(certificates: &[&X509]) -> String {
    let pem = certificates.iter().map(|one| one.to_pem().expect("PEM"));
    String::from_utf8(pem.flatten().collect()).expect("text")
}

fn key_pem(key: &Key) -> String {
    String::from_utf8(key.private_key_to_pem_pkcs8().expect("PEM")).expect("text")
}

struct Site {
    cluster: Cluster,
    database: Database,
    folder: TempDir,
}

impl Site {
    async fn new() -> Self {
        let cluster = Cluster::start(&Options::default().in_memory()).expect("a server");
        let database = cluster.database().expect("a database");
        let folder = tempfile::tempdir().expect("a folder");
        let site = Self { cluster, database, folder };
        open(&site.url("127.0.0.1", "sslmode=disable")).await.expect("a store");
        site
    }

    fn url(&self, host: &str, query: &str) -> String {
        let url = self.database.url().replace("127.0.0.1", host);
        format!("{url}?{query}")
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let file = self.folder.path().join(name);
        fs::write(&file, text).expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
        file
    }

    /// What psql does with the same URL.
    fn psql(&self, url: &str) -> Result<(), String> {
        let mut psql = Command::new(self.cluster.programs().join("psql"));
        psql.args(["--no-psqlrc", "-Atc", "SELECT 1", url]).env("HOME", self.folder.path());
        let output = psql.output().expect("psql");
        let said = || String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(said()) }
    }

    /// Where psql and we do not do the same, for each of these URLs.
    async fn differences(&self, what: &str, urls: &[String]) -> Vec<String> {
        let mut differences = Vec::new();
        for url in urls {
            let (theirs, ours) = (self.psql(url), open(url).await);
            if theirs.is_ok() != ours.is_ok() {
                let ours = ours.map(drop).map_err(|fault| said(&fault));
                let query = url.split_once('?').map_or("", |(_, query)| query);
                differences.push(format!("{what} {query}: psql {theirs:?}, we {ours:?}"));
            }
        }
        differences
    }

    /// Every mode that has TLS in it, with these authorities.
    fn modes(&self, authority: &Path) -> Vec<String> {
        let root = format!("sslrootcert={}", authority.display());
        let mut urls = Vec::new();
        for mode in ["allow", "prefer", "require"] {
            urls.push(self.url("localhost", &format!("sslmode={mode}")));
        }
        for mode in ["prefer", "require", "verify-ca", "verify-full"] {
            urls.push(self.url("localhost", &format!("sslmode={mode}&{root}")));
        }
        // For the host alone it makes a difference how the server is called.
        urls.push(self.url("127.0.0.1", &format!("sslmode=verify-full&{root}")));
        urls
    }
}

async fn open(url: &str) -> Result<PgStore, Fault> {
    PgStore::open(PgStoreOptions {
        id: store_id("far"),
        url: url.parse().expect("a URL"),
        deployment: "tls".to_owned(),
        create: true,
        clock: Arc::new(SystemClock),
    })
    .await
}

fn said(fault: &Fault) -> String {
    let mut words = fault.to_string();
    let mut below = std::error::Error::source(fault);
    while let Some(error) = below {
        words = format!("{words}: {error}");
        below = error.source();
    }
    words
}

async fn refused(url: &str) -> String {
    match open(url).await {
        Ok(_) => panic!("it was let in"),
        Err(fault) => said(&fault),
    }
}

/// What a server shows, its key, and the authority that a client is given.
fn kinds() -> Vec<(&'static str, String, String, String)> {
    let mut kinds = Vec::new();
    let mut alone = |what, key: &Key, wish: Wish| {
        let certificate = pem(&[&certify(&wish, key, None)]);
        kinds.push((what, certificate.clone(), key_pem(key), certificate));
    };
    let localhost = || Wish::of("localhost");
    alone("self-signed as the manual has it", &rsa(2_048), localhost().authority());
    alone("self-signed, no authority", &rsa(3_072), localhost());
    alone("self-signed, version 1", &rsa(2_048), Wish { version: 1, ..localhost() });
    alone("self-signed, P-256", &curve(Nid::X9_62_PRIME256V1), localhost().authority());
    alone("self-signed, P-384", &curve(Nid::SECP384R1), localhost().authority());
    alone("self-signed, P-521", &curve(Nid::SECP521R1), localhost().authority());
    alone("self-signed, over", &rsa(2_048), Wish { days: -1, ..localhost() }.authority());

    let (root_key, other_key) = (rsa(4_096), rsa(2_048));
    let root = certify(&Wish::of("root.example").authority(), &root_key, None);
    let mut signed = |what, key: &Key, wish: Wish| {
        let leaf = certify(&wish, key, Some((&root, &root_key)));
        kinds.push((what, pem(&[&leaf]), key_pem(key), pem(&[&root])));
    };
    signed("signed, version 1", &rsa(2_048), Wish { version: 1, ..localhost() });
    signed("signed, version 3, common name", &rsa(2_048), localhost());
    signed("signed, P-521", &curve(Nid::SECP521R1), localhost());
    let names = |names: &[&'static str], addresses: &[&'static str]| Wish {
        names: names.to_vec(),
        addresses: addresses.to_vec(),
        ..localhost()
    };
    signed("signed, with names", &rsa(2_048), names(&["localhost"], &[]));
    signed("signed, with other names", &rsa(2_048), names(&["elsewhere"], &[]));
    signed("signed, with an address", &rsa(2_048), names(&[], &["127.0.0.1"]));
    signed("signed, with both", &rsa(2_048), names(&["localhost"], &["127.0.0.1"]));
    signed("signed, for an address as its name", &rsa(2_048), Wish::of("127.0.0.1"));
    signed("signed, for another host", &rsa(2_048), Wish::of("db.example"));
    signed("signed, over", &rsa(2_048), Wish { days: -1, ..localhost() });
    let other = certify(&Wish::of("other.example").authority(), &other_key, None);
    let leaf = certify(&localhost(), &other_key, Some((&other, &other_key)));
    kinds.push(("by another authority", pem(&[&leaf]), key_pem(&other_key), pem(&[&root])));

    let (middle_key, leaf_key) = (rsa(2_048), rsa(2_048));
    let middle = Wish::of("middle.example").authority();
    let middle = certify(&middle, &middle_key, Some((&root, &root_key)));
    let leaf = certify(&localhost(), &leaf_key, Some((&middle, &middle_key)));
    let key = key_pem(&leaf_key);
    kinds.push(("with one in between", pem(&[&leaf, &middle]), key.clone(), pem(&[&root])));
    kinds.push(("without the one in between", pem(&[&leaf]), key.clone(), pem(&[&root])));
    kinds.push(("with one in between as the authority", pem(&[&leaf]), key, pem(&[&middle])));
    let v1 = certify(&Wish { version: 1, ..Wish::of("old.example") }, &root_key, None);
    let key = rsa(2_048);
    let leaf = certify(&localhost(), &key, Some((&v1, &root_key)));
    kinds.push(("by an authority of version 1", pem(&[&leaf]), key_pem(&key), pem(&[&v1])));
    kinds
}

#[tokio::test]
async fn a_server_is_connected_to_where_psql_does_and_refused_where_it_does() {
    let site = Site::new().await;
    let mut differences = Vec::new();
    for (what, certificate, key, authority) in kinds() {
        site.cluster.use_tls(&certificate, &key).expect("a server with TLS");
        let authority = site.file("root.pem", &authority);
        differences.extend(site.differences(what, &site.modes(&authority)).await);
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[tokio::test]
async fn with_and_without_tls_is_what_the_server_lets_in() {
    let site = Site::new().await;
    let key = rsa(2_048);
    let certificate = pem(&[&certify(&Wish::of("localhost").authority(), &key, None)]);
    let authority = site.file("root.pem", &certificate);
    let other = pem(&[&certify(&Wish::of("other").authority(), &rsa(2_048), None)]);
    let other = site.file("other.pem", &other);
    let mut differences = site.differences("no TLS", &site.modes(&authority)).await;
    site.cluster.use_tls(&certificate, &key_pem(&key)).expect("a server with TLS");
    let name = site.database.name();
    for lines in [
        format!("hostnossl {name} all all reject"),
        format!("hostssl {name} all all reject"),
        format!("host {name} all all reject"),
    ] {
        site.cluster.admit(&lines).expect("other clients");
        differences.extend(site.differences(&lines, &site.modes(&authority)).await);
        // What prefers TLS goes without where the certificate is refused.
        differences.extend(site.differences(&lines, &site.modes(&other)).await);
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[tokio::test]
async fn a_client_shows_its_certificate_and_keeps_its_key_to_itself() {
    let site = Site::new().await;
    let key = rsa(2_048);
    let server = certify(&Wish::of("localhost").authority(), &key, None);
    site.cluster.use_tls(&pem(&[&server]), &key_pem(&key)).expect("a server with TLS");
    let (root_key, client_key) = (rsa(2_048), curve(Nid::SECP384R1));
    let root = certify(&Wish::of("clients").authority(), &root_key, None);
    site.cluster.trust_clients_of(&pem(&[&root])).expect("clients with certificates");
    let name = site.database.name();
    site.cluster
        .admit(&format!("hostssl {name} all all scram-sha-256 clientcert=verify-ca"))
        .expect("only those with certificates");

    let client = certify(&Wish::of("a client"), &client_key, Some((&root, &root_key)));
    let cert = site.file("client.crt", &pem(&[&client]));
    let plain = site.file("client.key", &key_pem(&client_key));
    let secret = client_key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"a secret");
    let secret = String::from_utf8(secret.expect("PEM")).expect("text");
    let secret = site.file("secret.key", &secret);
    let der = site.folder.path().join("client.der");
    fs::write(&der, client_key.private_key_to_der().expect("DER")).expect("a file");
    fs::set_permissions(&der, fs::Permissions::from_mode(0o600)).expect("a mode");
    let other = site.file("other.key", &key_pem(&rsa(2_048)));
    let wide = site.file("wide.key", &key_pem(&client_key));
    fs::set_permissions(&wide, fs::Permissions::from_mode(0o644)).expect("a mode");
    let query = |key: &Path, more: &str| {
        let (cert, key) = (cert.display(), key.display());
        site.url("localhost", &format!("sslmode=require&sslcert={cert}&sslkey={key}{more}"))
    };
    let urls = [
        site.url("localhost", "sslmode=require"),
        query(&plain, ""),
        query(&der, ""),
        query(&secret, "&sslpassword=a%20secret"),
        query(&secret, "&sslpassword=another"),
        query(&other, ""),
        query(&wide, ""),
    ];
    let differences = site.differences("client", &urls).await;
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    let store = open(&query(&plain, "")).await.expect("a store");
    store.check().await.expect("a report");
    let problem = refused(&query(&wide, "")).await;
    assert!(problem.contains("it needs the mode 0600"), "{problem}");
    let problem = refused(&query(&secret, "&sslpassword=hunter2")).await;
    assert!(problem.contains("sslpassword") && !problem.contains("hunter2"), "{problem}");
}

#[tokio::test]
async fn a_certificate_that_was_revoked_is_refused() {
    let site = Site::new().await;
    let key = rsa(2_048);
    let certificate = pem(&[&certify(&Wish::of("localhost").authority(), &key, None)]);
    site.cluster.use_tls(&certificate, &key_pem(&key)).expect("a server with TLS");
    let root = site.file("root.pem", &certificate).display().to_string();
    // A list of another authority says nothing about this one, so its status is unknown.
    let missing =
        site.url("localhost", &format!("sslmode=verify-ca&sslrootcert={root}&sslcrl=/none"));
    let problem = refused(&missing).await;
    assert!(problem.contains("its sslcrl /none cannot be read"), "{problem}");
}

/// The system's authorities do not include this one.
#[tokio::test]
async fn the_systems_authorities_are_asked_where_they_are_wanted() {
    let site = Site::new().await;
    let key = rsa(2_048);
    let certificate = pem(&[&certify(&Wish::of("localhost").authority(), &key, None)]);
    site.cluster.use_tls(&certificate, &key_pem(&key)).expect("a server with TLS");
    let problem = refused(&site.url("localhost", "sslrootcert=system")).await;
    assert!(problem.contains("self-signed certificate"), "{problem}");
}
