//! Issuers, their people, and certificates.

use super::*;

const PEOPLE: &str = r#"
[server]
tls_cert = "cert.pem"
tls_key = "key.pem"
client_ca = "clients.pem"
client_certificates = "required"
verify_stores_every = "7d"

[[auth.issuers]]
issuer = "https://login.example/ops"
audience = "rehome"
jwks_file = "keys.json"
algorithms = ["ES256"]
clock_skew_s = 5
name_claim = "email"

[[auth.roles]]
claim = "groups"
value = "ops"
role = "operator"
stores_claim = "stores"

[[auth.roles]]
claim = "groups"
value = "shop"
role = "tenant"
tenants = ["824a8fcf-0c14-513f-bd3a-4c35d1078706"]

[[auth.certificates]]
name = "deployer"
san = "URI:spiffe://example/deployer"
role = "operator"
"#;

#[test]
fn people_and_certificates_are_read() {
    let config = load_with(&format!("{GOOD}{PEOPLE}"), &[]).unwrap();
    let [issuer] = &*config.issuers else { panic!("{:?}", config.issuers) };
    assert_eq!((issuer.roles.len(), issuer.skew), (2, Duration::from_secs(5)));
    assert!(format!("{:?}", issuer.keys).ends_with("/keys.json"));
    assert_eq!(config.certificates[0].name, "deployer");
    assert!(config.server.client_certificate_required && config.lets_somebody_in());
    let verify = config.server.verify_stores.unwrap();
    assert_eq!((verify.every.as_secs(), verify.rate_max), (7 * 86_400, 1_000));
    assert_eq!(load_with(GOOD, &[]).unwrap().server.verify_stores, None);
}

#[test]
fn what_would_let_in_the_wrong_people_is_refused() {
    let changed = |from: &str, to: &str| {
        assert!(PEOPLE.contains(from), "{from}");
        refused(&format!("{GOOD}{}", PEOPLE.replacen(from, to, 1)))
    };
    for (from, to, why) in [
        ("\"ES256\"", "\"HS256\"", "shared secret"),
        ("\"ES256\"", "\"none\"", "no signature"),
        ("clock_skew_s = 5", "clock_skew_s = 3600", "from 0 to 300"),
        ("audience = \"rehome\"", "audience = \"\"", "must not be empty"),
        ("audience = \"rehome\"\n", "", "audience is missing"),
        ("jwks_file = \"keys.json\"", "jwks_url = \"http://login.example/k\"", "must be https"),
        ("jwks_file =", "jwks_url = \"https://a/k\"\njwks_file =", "both jwks_file and jwks_url"),
        ("role = \"operator\"\nstores_claim", "role = \"admin\"\nstores_claim", "bound to nothing"),
        ("role = \"operator\"\nstores_claim", "role = \"root\"\nstores_claim", "the roles are"),
        ("stores_claim", "stores = [\"a\"]\nstores_claim", "both stores and stores_claim"),
        (
            "claim = \"groups\"\nvalue = \"ops\"",
            "issuer = \"x\"\nclaim = \"groups\"\nvalue = \"ops\"",
            "not one of",
        ),
        (
            "client_ca = \"clients.pem\"\nclient_certificates = \"required\"\n",
            "",
            "needs server.client_ca",
        ),
        ("URI:", "OTHER:", "must be like"),
        ("san =", "subject_cn = \"x\"\nsan =", "not both"),
    ] {
        let found = changed(from, to);
        assert!(found.contains(why), "{from} -> {to}: {found}");
    }
    let without_roles = PEOPLE.split("[[auth.roles]]").next().unwrap();
    assert!(refused(&format!("{GOOD}{without_roles}")).contains("can do nothing"));
}
