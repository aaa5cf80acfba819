//! People with a token of an issuer, and clients with a certificate.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rehome_app::certificates::{CertificateRule, Named};
use rehome_app::config::{Config, TlsFiles};
use rehome_app::oidc::{IssuerConfig, KeySource, RoleRule, StoresOf, TenantsOf};
use rehome_app::tokens::{Grant, Role};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use uuid::Uuid;

use crate::kit::{Events, Request, Site};

const ISSUER: &str = "https://login.example";

/// An issuer, and the file with its keys.
struct Login {
    key: Ed25519KeyPair,
    folder: tempfile::TempDir,
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Login {
    fn new() -> Self {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let key = Ed25519KeyPair::from_pkcs8(made.as_ref()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let x = base64(key.public_key().as_ref());
        let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x}]});
        std::fs::write(folder.path().join("keys.json"), keys.to_string()).unwrap();
        Self { key, folder }
    }

    /// A token of a user in this group, for this many seconds.
    fn token(&self, group: &str, seconds: i64, other: &Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let end = i64::try_from(now).unwrap() + seconds;
        let mut claims = json!({"iss": ISSUER, "aud": "rehome", "sub": "alice", "exp": end,
            "groups": [group]});
        for (name, value) in other.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let header = json!({"alg": "EdDSA", "kid": "k"});
        let said = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
        let signed = self.key.sign(said.as_bytes());
        format!("{said}.{}", base64(signed))
    }

    fn config(&self) -> IssuerConfig {
        let rule = |value: &str, role| RoleRule {
            claim: "groups".to_owned(),
            value: value.to_owned(),
            role,
            tenants: TenantsOf::These(Vec::new()),
            stores: StoresOf::These(Vec::new()),
        };
        let tenants = TenantsOf::Claim("tenant".to_owned());
        let roles = vec![
            rule("ops", Role::Operator),
            rule("look", Role::Viewer),
            RoleRule { tenants, ..rule("shop", Role::Tenant) },
        ];
        IssuerConfig {
            issuer: ISSUER.to_owned(),
            audience: vec!["rehome".to_owned()],
            keys: KeySource::File(self.folder.path().join("keys.json")),
            algorithms: IssuerConfig::default_algorithms(),
            skew: Duration::ZERO,
            name_claim: "sub".to_owned(),
            roles,
        }
    }
}

async fn site(login: &Login) -> Site {
    Site::with(|config| config.issuers = vec![login.config()]).await
}

#[tokio::test]
async fn a_person_may_what_the_claims_of_the_token_allow() {
    let login = Login::new();
    let site = site(&login).await;
    // An issuer is enough for a deployment to be closed.
    site.get("/v1/migrations").await.problem(401, "unauthorized");

    let look = login.token("look", 60, &json!({}));
    site.ask(Request::new("GET", "/v1/migrations").token(&look)).await.is(200);
    let (own, other) = (Uuid::new_v4(), Uuid::new_v4());
    let shop = login.token("shop", 60, &json!({"tenant": own}));
    let append = |tenant: Uuid, token: &str| {
        let path = format!("/v1/tenants/{tenant}/streams/order/o-1/events");
        let body = json!({"events": [{"event_type": "Placed", "data": {}}]});
        site.ask(Request::new("POST", path).token(token).json(&body))
    };
    append(own, &shop).await.is(201);
    let refused = append(other, &shop).await.problem(403, "forbidden");
    assert!(refused["detail"].as_str().unwrap().contains("oidc:alice"), "{refused}");
    append(own, &look).await.problem(403, "forbidden");

    let nobody = login.token("others", 60, &json!({}));
    let refused = site.ask(Request::new("GET", "/v1/migrations").token(&nobody)).await;
    let refused = refused.problem(403, "no_role");
    assert!(refused["detail"].as_str().unwrap().contains("auth.roles"), "{refused}");
    let over = login.token("ops", -5, &json!({}));
    let refused = site.ask(Request::new("GET", "/v1/migrations").token(&over)).await;
    let refused = refused.problem(401, "unauthorized");
    assert!(refused["detail"].as_str().unwrap().contains("has expired"), "{refused}");
    let text = refused.to_string();
    assert!(!text.contains(&over), "the token is repeated: {text}");
    site.ends().await;
}

#[tokio::test]
async fn a_follower_is_sent_home_when_the_persons_token_ends() {
    let login = Login::new();
    let site = site(&login).await;
    let own = Uuid::new_v4();
    let shop = login.token("shop", 3, &json!({"tenant": own}));
    let body = json!({"events": [{"event_type": "Placed", "data": {}}]});
    let path = format!("/v1/tenants/{own}/streams/order/o-1/events");
    site.ask(Request::new("POST", path).token(&shop).json(&body)).await.is(201);
    let follow = Request::new("GET", format!("/v1/tenants/{own}/events")).token(&shop);
    let mut events = Events::open(&site, follow).await;
    assert!(events.next().await.is_some());
    // Only the end of the token ends it: nothing else is sent.
    while events.next().await.is_some() {}
    site.ends().await;
}

#[tokio::test]
async fn the_console_takes_the_token_that_a_proxy_has_added() {
    let login = Login::new();
    let site = site(&login).await;
    assert_eq!(site.get("/").await.status, 303, "to the login");
    let look = login.token("look", 60, &json!({}));
    let page = site.ask(Request::new("GET", "/").token(&look)).await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("oidc:alice"), "{}", page.text());
    // A token of rehome is for programs, not for browsers.
    let junk = site.ask(Request::new("GET", "/").token("rehome_x")).await;
    assert_eq!(junk.status, 303);
    site.ends().await;
}

/// An authority for clients' certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "clients");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate with this common name and this URI, and its key.
    fn certify(&self, name: &str, uri: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        let made = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        (made.der().clone(), key)
    }
}

type Shown = (CertificateDer<'static>, PrivateKeyDer<'static>);

struct Secure {
    site: Site,
    authority: Authority,
    trusts: CertificateDer<'static>,
    _folder: tempfile::TempDir,
}

impl Secure {
    async fn new(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let authority = Authority::new();
        std::fs::write(path("clients.pem"), &authority.pem).unwrap();
        let rule =
            |name: &str, named, grant| CertificateRule { name: name.to_owned(), named, grant };
        let site = Site::with(|config| {
            config.server.tls = Some(TlsFiles { cert: path("cert.pem"), key: path("key.pem") });
            config.server.client_ca = Some(path("clients.pem"));
            let uri = Named::Uri("spiffe://example/deploy".to_owned());
            config.certificates = vec![
                rule("deployer", uri, Grant::from(Role::Operator)),
                rule("scraper", Named::CommonName("prometheus".to_owned()), Role::Metrics.into()),
            ];
            change(config);
        })
        .await;
        Self { site, authority, trusts: made.cert.der().clone(), _folder: folder }
    }

    /// The first line of the answer and all behind it; an error if there is no connection.
    async fn ask(&self, shown: Option<Shown>, request: Request) -> std::io::Result<String> {
        let mut roots = RootCertStore::empty();
        roots.add(self.trusts.clone()).unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match shown {
            Some((chain, key)) => builder.with_client_auth_cert(vec![chain], key).unwrap(),
            None => builder.with_no_client_auth(),
        };
        let stream = self.site.connect().await;
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        stream.write_all(&request.bytes(self.site.address)).await?;
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await?;
        Ok(String::from_utf8_lossy(&all).into_owned())
    }
}

#[tokio::test]
async fn a_certificate_has_the_role_of_a_name_in_it() {
    let secure = Secure::new(|_| {}).await;
    let get = |path: &str| Request::new("GET", path);
    let shown = |name: &str, uri: &str| Some(secure.authority.certify(name, uri));
    let status = |answer: &str, status: &str| {
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    };
    let deployer = || shown("someone", "spiffe://example/deploy");
    status(&secure.ask(deployer(), get("/v1/migrations")).await.unwrap(), "200");
    let answer = secure.ask(deployer(), get("/v1/tokens")).await.unwrap();
    status(&answer, "403");
    assert!(answer.contains("the certificate of \\\"deployer\\\""), "{answer}");
    let page = secure.ask(deployer(), get("/")).await.unwrap();
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("deployer"), "{page}");

    let scraper = || shown("prometheus", "spiffe://example/other");
    status(&secure.ask(scraper(), get("/metrics")).await.unwrap(), "200");
    status(&secure.ask(scraper(), get("/v1/migrations")).await.unwrap(), "403");

    // A good one without a role, one that another authority signed, a token beside it, and none at all.
    let answer = secure.ask(shown("x", "spiffe://x"), get("/v1/migrations")).await.unwrap();
    status(&answer, "403");
    assert!(answer.contains("auth.certificates"), "{answer}");
    let forged = Authority::new().certify("prometheus", "spiffe://example/deploy");
    assert!(secure.ask(Some(forged), get("/v1/migrations")).await.is_err());
    let both = get("/v1/migrations").token("rehome_unknown");
    status(&secure.ask(deployer(), both).await.unwrap(), "401");
    status(&secure.ask(None, get("/v1/migrations")).await.unwrap(), "401");
    secure.site.ends().await;
}

#[tokio::test]
async fn nobody_connects_without_a_certificate_where_one_is_required() {
    let secure = Secure::new(|config| config.server.client_certificate_required = true).await;
    let live = || Request::new("GET", "/health/live");
    assert!(secure.ask(None, live()).await.is_err());
    let shown = secure.authority.certify("x", "spiffe://x");
    assert!(secure.ask(Some(shown), live()).await.unwrap().starts_with("HTTP/1.1 200"));
    secure.site.ends().await;
}
