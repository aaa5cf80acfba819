//! An issuer of our own: it signs by RSA, by elliptic curves, and badly.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use serde_json::{Value, json};

use super::*;
use crate::http::fake::Fake;
use crate::tokens::Role;

const ISSUER: &str = "https://login.example/ops";

pub(super) fn config(roles: Vec<RoleRule>) -> IssuerConfig {
    IssuerConfig {
        issuer: ISSUER.to_owned(),
        audience: vec!["rehome".to_owned(), "console".to_owned()],
        keys: KeySource::File("/nowhere/keys.json".into()),
        algorithms: IssuerConfig::default_algorithms(),
        skew: Duration::from_secs(30),
        name_claim: "sub".to_owned(),
        roles,
    }
}

fn operators() -> Vec<RoleRule> {
    vec![RoleRule {
        claim: "groups".to_owned(),
        value: "ops".to_owned(),
        role: Role::Operator,
        tenants: TenantsOf::These(Vec::new()),
        stores: StoresOf::These(Vec::new()),
    }]
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

enum Signing {
    Rsa(PKey<Private>),
    Ec(Box<EcdsaKeyPair>),
    Ed(Box<Ed25519KeyPair>),
}

struct Signer {
    id: &'static str,
    signing: Signing,
}

impl Signer {
    fn rsa(id: &'static str) -> Self {
        let key = PKey::from_rsa(Rsa::generate(2_048).unwrap()).unwrap();
        Self { id, signing: Signing::Rsa(key) }
    }

    fn ec(id: &'static str) -> Self {
        let (random, how) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let made = EcdsaKeyPair::generate_pkcs8(how, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(how, made.as_ref(), &random).unwrap();
        Self { id, signing: Signing::Ec(Box::new(key)) }
    }

    fn ed(id: &'static str) -> Self {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let key = Ed25519KeyPair::from_pkcs8(made.as_ref()).unwrap();
        Self { id, signing: Signing::Ed(Box::new(key)) }
    }

    fn algorithm(&self) -> &'static str {
        match self.signing {
            Signing::Rsa(_) => "RS256",
            Signing::Ec(_) => "ES256",
            Signing::Ed(_) => "EdDSA",
        }
    }

    fn jwk(&self) -> Value {
        match &self.signing {
            Signing::Rsa(key) => {
                let rsa = key.rsa().unwrap();
                json!({"kty": "RSA", "kid": self.id, "use": "sig", "alg": "RS256",
                    "n": base64(rsa.n().to_vec()), "e": base64(rsa.e().to_vec())})
            }
            Signing::Ec(key) => {
                let point = key.public_key().as_ref();
                json!({"kty": "EC", "kid": self.id, "crv": "P-256",
                    "x": base64(&point[1..33]), "y": base64(&point[33..])})
            }
            Signing::Ed(key) => json!({"kty": "OKP", "kid": self.id, "crv": "Ed25519",
                "x": base64(key.public_key().as_ref())}),
        }
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let said = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
        let signed = match &self.signing {
            Signing::Rsa(key) => {
                let mut signer = openssl::sign::Signer::new(MessageDigest::sha256(), key).unwrap();
                signer.sign_oneshot_to_vec(said.as_bytes()).unwrap()
            }
            Signing::Ec(key) => {
                key.sign(&SystemRandom::new(), said.as_bytes()).unwrap().as_ref().to_vec()
            }
            Signing::Ed(key) => key.sign(said.as_bytes()).as_ref().to_vec(),
        };
        format!("{said}.{}", base64(signed))
    }

    fn token(&self, claims: &Value) -> String {
        self.sign(&json!({"alg": self.algorithm(), "kid": self.id, "typ": "JWT"}), claims)
    }
}

fn now() -> i64 {
    SystemClock.now().micros() / 1_000_000
}

/// Good claims, with these in their place or besides; `null` takes one away.
fn claims(other: &Value) -> Value {
    let mut claims = json!({"iss": ISSUER, "aud": "rehome", "sub": "alice", "groups": ["ops"],
        "iat": now(), "nbf": now(), "exp": now() + 300});
    for (name, value) in other.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

/// Who trusts these keys, which are in a file.
fn trusting(signers: &[&Signer]) -> (Issuers, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let keys: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
    std::fs::write(&file, json!({"keys": keys}).to_string()).unwrap();
    let config = IssuerConfig { keys: KeySource::File(file), ..config(operators()) };
    (Issuers::new(&[config]), folder)
}

fn token_refused(found: Result<Person, Refused>) -> String {
    match found {
        Err(Refused::Token(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_good_token_is_a_person_whichever_way_it_is_signed() {
    let signers = [Signer::rsa("r"), Signer::ec("c"), Signer::ed("d")];
    let (issuers, _folder) = trusting(&signers.iter().collect::<Vec<_>>());
    for signer in &signers {
        let text = signer.token(&claims(&json!({"aud": ["other", "console"]})));
        assert!(issuers.is_theirs(&text));
        let person = issuers.person(&text).await.unwrap();
        assert_eq!((person.name.as_str(), person.grant.role()), ("oidc:alice", Role::Operator));
        let lasts = person.expires_at.micros() / 1_000_000 - now();
        assert!((325..=330).contains(&lasts), "{lasts}");
    }
    assert!(!issuers.is_theirs("rehome_0123"));
}

#[tokio::test]
async fn claims_that_are_not_good_are_refused_and_the_refusal_says_what_to_do() {
    let signer = Signer::ec("c");
    let (issuers, _folder) = trusting(&[&signer]);
    for (changed, said) in [
        (json!({"exp": now() - 31}), "has expired; get a new one"),
        (json!({"exp": null}), "has no claim exp"),
        (json!({"exp": "tomorrow"}), "claim exp"),
        (json!({"nbf": now() + 40}), "not good yet"),
        (json!({"iat": now() + 40}), "made in the future"),
        (json!({"aud": "another"}), "has another audience; get one for rehome or console"),
        (json!({"aud": null}), "has no claim aud"),
        (json!({"aud": []}), "has another audience"),
        (json!({"sub": null}), "has no claim sub"),
        (json!({"iss": "https://login.example/ops/"}), "not trusted here"),
        (json!({"iss": [ISSUER]}), "not trusted here"),
    ] {
        let why = token_refused(issuers.person(&signer.token(&claims(&changed))).await);
        assert!(why.contains(said), "{changed}: {why}");
    }
    let within = json!({"exp": now() - 20, "nbf": now() + 20, "iat": now() + 20});
    assert!(issuers.person(&signer.token(&claims(&within))).await.is_ok(), "within the skew");
    let nothing = issuers.person(&signer.token(&claims(&json!({"groups": ["x"]})))).await;
    let Err(Refused::Nothing(why)) = nothing else { panic!("{nothing:?}") };
    assert!(why.contains("groups") && why.contains("[[auth.roles]]"), "{why}");
}

#[tokio::test]
async fn what_is_not_signed_by_a_key_of_the_issuer_is_refused() {
    let (signer, stranger) = (Signer::rsa("r"), Signer::rsa("r"));
    let (issuers, _folder) = trusting(&[&signer]);
    let refused = async |text: String| token_refused(issuers.person(&text).await);
    let good = claims(&json!({}));

    assert!(refused(stranger.token(&good)).await.contains("not signed by it"));
    let text = signer.token(&good);
    let parts: Vec<_> = text.split('.').collect();
    let forged = base64(claims(&json!({"sub": "mallory"})).to_string());
    assert!(refused(format!("{}.{forged}.{}", parts[0], parts[2])).await.contains("not signed"));
    assert!(refused(format!("{}.{}.", parts[0], parts[1])).await.contains("not signed"));

    // No signature at all, and the public key taken for a shared secret.
    for (algorithm, said) in
        [("none", "supported signature"), ("HS256", "HS256"), ("RS384", "RS384")]
    {
        let header = json!({"alg": algorithm, "kid": "r"});
        assert!(refused(signer.sign(&header, &good)).await.contains(said), "{algorithm}");
    }
    // A key of another kind than the algorithm is for.
    let header = json!({"alg": "ES256", "kid": "r"});
    assert!(refused(signer.sign(&header, &good)).await.contains("does not publish"));
    // A key that the token brings along, and words that must be understood.
    let header = json!({"alg": "RS256", "kid": "r", "jwk": stranger.jwk()});
    assert!(refused(stranger.sign(&header, &good)).await.contains("not signed by it"));
    let header = json!({"alg": "RS256", "kid": "r", "crit": ["x"], "x": 1});
    refused(signer.sign(&header, &good)).await;
    let long = signer.token(&claims(&json!({"x": "x".repeat(TOKEN_BYTES_MAX)})));
    assert!(refused(long).await.contains("bytes"));
    for junk in ["eyJ.x.y", "eyJhbGciOiJSUzI1NiJ9.e30.", "eyJhbGciOiJSUzI1NiJ9.!.AA"] {
        refused(junk.to_owned()).await;
    }
}

#[test]
fn shared_secrets_and_none_are_no_algorithms() {
    for name in ["HS256", "HS384", "HS512", "none", "None", "", "rs256"] {
        assert_eq!(IssuerConfig::algorithm(name), None, "{name}");
    }
    assert_eq!(IssuerConfig::algorithm("PS512"), Some(Algorithm::PS512));
}

#[tokio::test]
async fn a_key_is_for_what_it_says() {
    let signer = Signer::rsa("r");
    for (name, value) in
        [("use", json!("enc")), ("alg", json!("PS256")), ("key_ops", json!(["encrypt"]))]
    {
        let mut jwk = signer.jwk();
        jwk[name] = value;
        if name == "key_ops" {
            jwk.as_object_mut().unwrap().remove("use");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys.json");
        let other = Signer::ec("other");
        std::fs::write(&file, json!({"keys": [jwk, other.jwk()]}).to_string()).unwrap();
        let keys = KeySource::File(file);
        let issuers = Issuers::new(&[IssuerConfig { keys, ..config(operators()) }]);
        let why = token_refused(issuers.person(&signer.token(&claims(&json!({})))).await);
        assert!(why.contains("does not publish"), "{name}: {why}");
        // A token that names no key is checked by the only one that fits.
        let header = json!({"alg": "ES256"});
        assert!(issuers.person(&other.sign(&header, &claims(&json!({})))).await.is_ok(), "{name}");
    }
}

/// An issuer over HTTP that publishes what is in `published` and counts who asks for it.
async fn published(signers: Arc<std::sync::Mutex<Vec<Value>>>) -> (Fake, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&asked);
    let fake = Fake::start(move |path| {
        assert_eq!(path, "/keys?p=1");
        counts.fetch_add(1, Ordering::Relaxed);
        (200, json!({"keys": *signers.lock().unwrap()}).to_string())
    });
    (fake.await, asked)
}

#[tokio::test]
async fn a_new_key_is_found_at_once_and_unknown_ones_are_asked_for_once_in_a_while() {
    let (old, new, unknown) = (Signer::ec("old"), Signer::ec("new"), Signer::ec("unknown"));
    let keys = Arc::new(std::sync::Mutex::new(vec![old.jwk()]));
    let (fake, asked) = published(Arc::clone(&keys)).await;
    let (at, path) = KeySource::place(&format!("{}/keys?p=1", fake.url())).unwrap();
    let config = IssuerConfig { keys: KeySource::Url(at, path), ..config(operators()) };
    let issuers = Issuers::new(&[config]);
    let person = async |signer: &Signer| issuers.person(&signer.token(&claims(&json!({})))).await;
    assert!(person(&old).await.is_ok());
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    for _ in 0..20 {
        token_refused(person(&unknown).await);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1, "it was read a moment ago");

    // The issuer changes its key. From here on time is what the test says.
    *keys.lock().unwrap() = vec![new.jwk()];
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    tokio::time::resume();
    assert!(person(&new).await.is_ok());
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    token_refused(person(&old).await);
}

#[tokio::test]
async fn keys_that_cannot_be_read_again_are_believed_for_an_hour_and_no_longer() {
    let signer = Signer::ec("c");
    let keys = Arc::new(std::sync::Mutex::new(vec![signer.jwk()]));
    let (fake, _) = published(keys).await;
    let (at, path) = KeySource::place(&format!("{}/keys?p=1", fake.url())).unwrap();
    let issuers =
        Issuers::new(&[IssuerConfig { keys: KeySource::Url(at, path), ..config(operators()) }]);
    let person = async || issuers.person(&signer.token(&claims(&json!({})))).await;
    assert!(person().await.is_ok());
    drop(fake);
    for (minutes, is_let_in) in [(50, true), (11, false)] {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(minutes * 60)).await;
        tokio::time::resume();
        let found = person().await;
        assert_eq!(found.is_ok(), is_let_in, "{found:?}");
        if let Err(refused) = found {
            assert!(
                matches!(&refused, Refused::NotNow(why) if why.contains("try again")),
                "{refused}"
            );
        }
    }
}

#[tokio::test]
async fn an_issuer_says_itself_where_its_keys_are() {
    let signer = Signer::ed("d");
    let jwk = signer.jwk();
    let named = Arc::new(std::sync::Mutex::new(String::new()));
    let told = Arc::clone(&named);
    let fake = Fake::start(move |path| {
        let base = told.lock().unwrap().clone();
        let answer = match path {
            "/ops/.well-known/openid-configuration" => {
                json!({"issuer": format!("{base}/ops"), "jwks_uri": format!("{base}/certs")})
            }
            "/other/.well-known/openid-configuration" => {
                json!({"issuer": format!("{base}/ops"), "jwks_uri": format!("{base}/certs")})
            }
            _ => json!({"keys": [jwk]}),
        };
        (200, answer.to_string())
    })
    .await;
    *named.lock().unwrap() = fake.url();
    for (name, is_let_in) in [("ops", true), ("other", false)] {
        let issuer = format!("{}/{name}", fake.url());
        let (at, path) =
            KeySource::place(&format!("{issuer}/.well-known/openid-configuration")).unwrap();
        let keys = KeySource::Discovered(at, path);
        let config = IssuerConfig { issuer: issuer.clone(), keys, ..config(operators()) };
        let found = Issuers::new(&[config]);
        let found = found.person(&signer.token(&claims(&json!({"iss": issuer})))).await;
        assert_eq!(found.is_ok(), is_let_in, "{found:?}");
    }
}

#[test]
fn keys_travel_encrypted_or_not_at_all() {
    assert!(KeySource::place("https://login.example/keys?p=1").is_ok());
    assert!(KeySource::place("http://127.0.0.1:1/keys").is_ok());
    for url in ["http://login.example/keys", "ftp://x", "https://", "login.example", "https://a/ b"]
    {
        assert!(KeySource::place(url).is_err(), "{url}");
    }
}
