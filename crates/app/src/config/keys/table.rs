//! The table. A line here defines a key: its kind, its default, its unit, and its documentation. Everything else
//! about keys is derived from it; `every_key_is_read` fails when no struct reads a key.

use rehome_api::OptionsPatch;
use rehome_engine::EngineConfig;
use rehome_engine::metrics::RETENTION;

use super::kind::{
    address, alternative_name, duration, endpoint, flag, hook_name, hosts, layout, level,
    log_format, may_set, millis, networks, number, occasions, on_error, option_number, origins,
    otlp_endpoint, otlp_headers, otlp_protocol, path, patience, program, ratio, required,
    server_url, service_name, size, some_texts, store_id, store_ids, store_names, tenants, text,
    throttle, throttle_goal, time, token_hash, url, url_of_kind,
};
use super::{Check, Entry, Key, Section};
use crate::options::{defaults, document};

/// The default value, as it would be written.
macro_rules! is {
    ($value:expr) => {
        Some(($value).to_string())
    };
}

fn options() -> rehome_api::Options {
    document(&defaults())
}

fn engine() -> EngineConfig {
    EngineConfig::default()
}

macro_rules! keys {
    ($(
        $(#[doc = $about:literal])+
        $section:ident = $title:literal, $repeats:expr, {
            $(
                $(#[doc = $doc:literal])+
                $key:ident = $name:literal: $type:ty = $kind:expr, $unit:literal, $default:expr;
            )+
        }
    )+) => {
        $(
            $(#[doc = $about])+
            pub(in super::super) mod $section {
                use super::*;

                $(
                    $(#[doc = $doc])+
                    pub(in super::super::super) const $key: Key<$type> = Key {
                        section: $title,
                        name: $name,
                        kind: $kind,
                        default: || $default,
                    };
                )+
            }
        )+

        pub(super) static SECTIONS: &[Section] = &[$(
            Section { name: $title, repeats: $repeats, doc: concat!($($about, "\n",)+) },
        )+];

        pub(super) static ENTRIES: &[Entry] = &[$($(
            Entry {
                section: $title,
                name: $name,
                shape: $section::$key.kind.shape,
                wanted: $section::$key.kind.wanted,
                default: $section::$key.default,
                unit: $unit,
                doc: concat!($($doc, "\n",)+),
                check: Check::By(|raw, folder| {
                    let kind = $section::$key.kind;
                    let value = (kind.parse)(raw, folder)?;
                    (kind.also)(&value)
                }),
                show: $section::$key.kind.show,
            },
        )+)+];
    };
}

/// A patch that sets one option.
macro_rules! sets {
    ($option:ident) => {
        |value| may_set(&OptionsPatch { $option: Some(value.clone()), ..OptionsPatch::default() })
    };
}

keys! {
    /// The control plane: routes and logs.
    control_plane = "control_plane", false, {
        /// The control plane: `sqlite:PATH`, or `postgres://USER@HOST/DATABASE?schema=NAME`. A relative
        /// path is relative to the file.
        URL = "url": crate::config::Url = url(), "", None;
    }

    /// A store of events. Repeat the section for each store.
    stores = "stores", true, {
        /// The name of the store.
        ID = "id": rehome_domain::ids::StoreId = store_id(), "", None;
        /// Its address: `sqlite:PATH`, or `postgres://USER@HOST/DATABASE?schema=NAME`.
        URL = "url": crate::config::Url = url(), "", None;
        /// Whether new tenants are created here. Exactly one store is the default; a single store needs no such
        /// key.
        DEFAULT = "default": bool = flag(), "", is!(false);
        /// The layout of a table of another library (docs/layouts.md): the name of a built-in one,
        /// or a file.
        LAYOUT = "layout": crate::layouts::LayoutSource = layout(), "", None;
        /// The size that its file or database may have. A store at its limit gets no further tenants, and a
        /// migration to a store that is nearly full is slow. On PostgreSQL only this limit is known, not the disk.
        SIZE_MAX_BYTES = "size_max_bytes": u64 = size(), "bytes", None;
    }

    /// Defaults of migrations. A start can set other values, except for throttle, throttle_goal, throttle_replica_lag_ms, lease_ttl_ms and write_pause_timeout_ms.
    migration = "migration", false, {
        /// Events of one batch of the copy.
        BATCH_EVENTS = "batch_events": u32 =
            option_number(sets!(batch_events)), "events", is!(options().batch_events);
        /// Bytes of one batch of the copy.
        BATCH_BYTES = "batch_bytes": u32 =
            option_number(sets!(batch_bytes)), "bytes", is!(options().batch_bytes);
        /// Highest rate of the copy; 0: no limit.
        COPY_RATE_MAX = "copy_rate_max": u32 =
            option_number(sets!(copy_rate_max)), "events/s", is!(options().copy_rate_max);
        /// Highest rate of the copy; 0: no limit.
        COPY_BYTES_RATE_MAX = "copy_bytes_rate_max": u32 =
            option_number(sets!(copy_bytes_rate_max)), "bytes/s", is!(options().copy_bytes_rate_max);
        /// Largest lag at which a cutover starts.
        LAG_EVENTS_MAX = "lag_events_max": u32 =
            option_number(sets!(lag_events_max)), "events", is!(options().lag_events_max);
        /// When the cutover starts: `auto` (as soon as the target has caught up), `manual` (on request), or a
        /// time.
        CUTOVER = "cutover": String = text().also(sets!(cutover)), "", is!(options().cutover);
        /// How long a cutover may pause writes before it is rolled back.
        CUTOVER_TIMEOUT_MS = "cutover_timeout_ms": u32 =
            option_number(sets!(cutover_timeout_ms)), "ms", is!(options().cutover_timeout_ms);
        /// How long an append of this process waits for a cutover.
        WRITE_PAUSE_TIMEOUT_MS = "write_pause_timeout_ms": u32 =
            number::<1, 600_000>(), "ms", is!(engine().write_pause_timeout.as_millis());
        /// How long after a driving process last renewed its lease another process takes over.
        LEASE_TTL_MS = "lease_ttl_ms": u32 =
            number::<300, 600_000>(), "ms", is!(engine().lease_ttl.as_millis());
        /// When an append is acknowledged in dual write: once it is in the `source`, or also in the
        /// `target`.
        MIRROR_ACK = "mirror_ack": String =
            text().also(sets!(mirror_ack)), "", is!(options().mirror_ack);
        /// How long an append waits for the target where `mirror_ack` is `target`.
        MIRROR_ACK_TIMEOUT_MS = "mirror_ack_timeout_ms": u32 =
            option_number(sets!(mirror_ack_timeout_ms)), "ms", is!(options().mirror_ack_timeout_ms);
        /// How deep the two stores are compared before the cutover: `count`, `hash` or `full`.
        VERIFICATION = "verification": String =
            text().also(sets!(verification)), "", is!(options().verification);
        /// Whether copying, reading back and verifying give way to writers: `auto` or `off`. The limits of the copy apply as well.
        THROTTLE = "throttle": bool = throttle(), "", is!("auto");
        /// How many times its latency in quiet stores an append may take before copying, reading back and verifying give way.
        THROTTLE_GOAL = "throttle_goal": f64 = throttle_goal(), "", is!(2);
        /// How far a replica of a PostgreSQL store may be behind before copying, reading back and verifying give way;
        /// 0: however far.
        THROTTLE_REPLICA_LAG_MS = "throttle_replica_lag_ms": u32 =
            number::<0, 86_400_000>(), "ms", is!(engine().replica_lag_max.unwrap_or_default().as_millis());
        /// How long to keep replicating to the old source after the cutover, so that the tenant can return;
        /// 0: not at all. A drain opens no window unless this key or the drain sets one.
        ROLLBACK_WINDOW = "rollback_window": rehome_api::duration::Millis =
            millis().also(sets!(rollback_window)), "", is!(options().rollback_window);
    }

    /// How the server listens, and its limits.
    server = "server", false, {
        /// Address and port to listen on; with port 0 the system chooses one.
        BIND = "bind": std::net::SocketAddr = address(), "", is!("127.0.0.1:7411");
        /// The server's certificate chain, in PEM. Needs `tls_key`.
        TLS_CERT = "tls_cert": std::path::PathBuf = path(), "", None;
        /// The private key of the certificate, in PEM.
        TLS_KEY = "tls_key": std::path::PathBuf = path(), "", None;
        /// The authorities (PEM) that sign the certificates of clients. Needs `tls_cert` and `tls_key`.
        CLIENT_CA = "client_ca": std::path::PathBuf = path(), "", None;
        /// Whether clients must present a certificate (`required`) or may (`optional`).
        CLIENT_CERTIFICATES = "client_certificates": bool = required(), "", is!("optional");
        /// How often the server verifies each store (docs/integrity.md); 0: never.
        VERIFY_STORES_EVERY = "verify_stores_every": std::time::Duration = duration(), "", is!("0");
        /// The level of these verifications: `count`, `hash` or `full`.
        VERIFY_STORES_LEVEL = "verify_stores_level": rehome_domain::verification::Level =
            level(), "", is!("hash");
        /// Highest rate of these verifications; 0: no limit.
        VERIFY_STORES_RATE_MAX = "verify_stores_rate_max": u32 =
            number::<0, { u32::MAX }>(), "events/s", is!(1_000);
        /// Origins whose pages may call the server from a browser.
        CORS = "cors": Vec<String> = origins(), "", None;
        /// Host names, besides those of this machine, by which clients may call a server without tokens; if any
        /// are set, a server with tokens also refuses all others.
        HOSTS = "hosts": Vec<String> = hosts(), "", None;
        /// Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are trusted.
        TRUSTED_PROXIES = "trusted_proxies": Vec<crate::config::Network> = networks(), "", None;
        /// Allows unencrypted traffic, tokens included, on a non-loopback address.
        WITHOUT_TLS = "without_tls": bool = flag(), "", is!(false);
        /// Allows every client everything, on a non-loopback address.
        WITHOUT_TOKENS = "without_tokens": bool = flag(), "", is!(false);
        /// Refuses appends to unknown tenants, instead of creating them.
        REFUSE_UNKNOWN_TENANTS = "refuse_unknown_tenants": bool = flag(), "", is!(false);
        /// Largest body of a request.
        BODY_BYTES_MAX = "body_bytes_max": u32 =
            number::<1_024, { 1 << 30 }>(), "bytes", is!(8_u32 << 20);
        /// Total size of the bodies of all requests in flight.
        BODIES_BYTES_MAX = "bodies_bytes_max": u32 =
            number::<1_024, { u32::MAX }>(), "bytes", is!(256_u32 << 20);
        /// Total size of all responses that are read from a store and not yet sent.
        ANSWERS_BYTES_MAX = "answers_bytes_max": u32 =
            number::<{ 8 << 20 }, { u32::MAX }>(), "bytes", is!(256_u32 << 20);
        /// Largest number of events in one append.
        APPEND_EVENTS_MAX = "append_events_max": u32 =
            number::<1, 100_000>(), "events", is!(1_000);
        /// Maximum number of connections, and of requests in flight.
        CONNECTIONS_MAX = "connections_max": u32 = number::<1, 1_000_000>(), "", is!(4_096);
        /// Maximum number of followers of feeds and migrations.
        FOLLOWERS_MAX = "followers_max": u32 = number::<1, 1_000_000>(), "", is!(2_048);
        /// `bodies_bytes_max` for one caller. Default: a quarter of it.
        BODIES_BYTES_PER_CALLER_MAX = "bodies_bytes_per_caller_max": u32 =
            number::<1_024, { u32::MAX }>(), "bytes", None;
        /// `answers_bytes_max` for one caller. Default: a quarter of it.
        ANSWERS_BYTES_PER_CALLER_MAX = "answers_bytes_per_caller_max": u32 =
            number::<{ 4 << 20 }, { u32::MAX }>(), "bytes", None;
        /// `connections_max` for one caller. Default: a quarter of it.
        CONNECTIONS_PER_CALLER_MAX = "connections_per_caller_max": u32 =
            number::<1, 1_000_000>(), "", None;
        /// `followers_max` for one caller. Default: a quarter of it.
        FOLLOWERS_PER_CALLER_MAX = "followers_per_caller_max": u32 =
            number::<1, 1_000_000>(), "", None;
        /// How long a client may take to send its headers, to send its body, or to receive a piece of a
        /// response; also how long a connection may be idle.
        CLIENT_TIMEOUT_MS = "client_timeout_ms": u32 = number::<100, 600_000>(), "ms", is!(30_000);
        /// Lowest rate at which a client must send a body and receive a response, after a few seconds.
        CLIENT_BYTES_PER_SECOND_MIN = "client_bytes_per_second_min": u32 =
            number::<1, { 1 << 30 }>(), "bytes/s", is!(1_024);
    }

    /// A token that a server accepts. Repeat the section for each token. `rehome token create` prints it.
    auth_tokens = "auth.tokens", true, {
        /// The name of its owner, in logs.
        NAME = "name": String = text(), "", None;
        /// What its bearer may do: `viewer`, `operator`, `admin`, `tenant`, `reader` or `metrics`.
        ROLE = "role": String = text(), "", None;
        /// The SHA-256 of the token, as 64 hexadecimal digits.
        SHA256 = "sha256": crate::tokens::TokenHash = token_hash(), "", None;
        /// The tenant of a `tenant` token; the same as one in `tenants`.
        TENANT = "tenant": Vec<rehome_domain::ids::TenantId> = tenants(), "", None;
        /// The tenants to which the token is bound.
        TENANTS = "tenants": Vec<rehome_domain::ids::TenantId> = tenants(), "", None;
        /// The stores to which the token is bound.
        STORES = "stores": Vec<rehome_domain::ids::StoreId> = store_ids(), "", None;
        /// When it expires.
        EXPIRES_AT = "expires_at": rehome_domain::event::Timestamp = time(), "", None;
    }

    /// An issuer (OpenID Connect) whose tokens a server accepts. Repeat the section for each issuer (docs/http.md).
    auth_issuers = "auth.issuers", true, {
        /// Its name: the claim `iss`, to the byte.
        ISSUER = "issuer": String = text(), "", None;
        /// The accepted audiences: one of them must be in the claim `aud`.
        AUDIENCE = "audience": Vec<String> = some_texts(), "", None;
        /// The file with its keys, as a JWK set.
        JWKS_FILE = "jwks_file": std::path::PathBuf = path(), "", None;
        /// The address of its keys. Without it and `jwks_file`: the one in the issuer's
        /// `/.well-known/openid-configuration`.
        JWKS_URL = "jwks_url": String = text(), "", None;
        /// The accepted signature algorithms. Default: RS256, PS256, ES256 and EdDSA.
        ALGORITHMS = "algorithms": Vec<String> = some_texts(), "", None;
        /// The accepted difference between its clock and the server's.
        CLOCK_SKEW_S = "clock_skew_s": u32 = number::<0, 300>(), "s", is!(60);
        /// The claim with the person's name, for logs.
        NAME_CLAIM = "name_claim": String = text(), "", is!("sub");
    }

    /// The role of people with a token of an issuer. Repeat the section for each role; the first match applies.
    auth_roles = "auth.roles", true, {
        /// The issuer; optional if there is only one.
        ISSUER = "issuer": String = text(), "", None;
        /// The claim; `a.b` is `b` within `a`.
        CLAIM = "claim": String = text(), "", None;
        /// The value of the claim, or one element of it.
        VALUE = "value": String = text(), "", None;
        /// The role: `viewer`, `operator`, `admin`, `tenant`, `reader` or `metrics`.
        ROLE = "role": String = text(), "", None;
        /// The tenants to which it is bound.
        TENANTS = "tenants": Vec<rehome_domain::ids::TenantId> = tenants(), "", None;
        /// The claim with the tenants to which it is bound.
        TENANTS_CLAIM = "tenants_claim": String = text(), "", None;
        /// The stores to which it is bound.
        STORES = "stores": Vec<rehome_domain::ids::StoreId> = store_ids(), "", None;
        /// The claim with the stores to which it is bound.
        STORES_CLAIM = "stores_claim": String = text(), "", None;
    }

    /// The role of a client with a certificate. Repeat the section for each role; the first match applies. Needs `server.client_ca`.
    auth_certificates = "auth.certificates", true, {
        /// The name of the client, in logs.
        NAME = "name": String = text(), "", None;
        /// The subject alternative name of its certificate: `DNS:`, `URI:` or `email:` and the name.
        SAN = "san": crate::certificates::Named = alternative_name(), "", None;
        /// The subject common name of its certificate, instead of `san`.
        SUBJECT_CN = "subject_cn": String = text(), "", None;
        /// The role: `viewer`, `operator`, `admin`, `tenant`, `reader` or `metrics`.
        ROLE = "role": String = text(), "", None;
        /// The tenants to which it is bound.
        TENANTS = "tenants": Vec<rehome_domain::ids::TenantId> = tenants(), "", None;
        /// The stores to which it is bound.
        STORES = "stores": Vec<rehome_domain::ids::StoreId> = store_ids(), "", None;
    }

    /// The server that commands act through, and how they reach it. A file may have this section alone.
    client = "client", false, {
        /// The server. Without it, commands act on the stores and the control plane directly.
        /// `--server` and `REHOME_SERVER` override it.
        URL = "url": crate::http::HttpUrl = server_url(), "", None;
        /// The file that holds the token; `REHOME_TOKEN` overrides it.
        TOKEN_FILE = "token_file": std::path::PathBuf = path(), "", None;
        /// The authorities (PEM) that sign the server's certificate, instead of those that the system trusts.
        CA_FILE = "ca_file": std::path::PathBuf = path(), "", None;
        /// How long to retry while the server does not answer.
        RETRY_FOR = "retry_for": std::time::Duration = duration(), "", is!("30s");
        /// Allows the token to travel unencrypted to another machine.
        WITHOUT_TLS = "without_tls": bool = flag(), "", is!(false);
    }

    /// Log lines, metrics and spans.
    telemetry = "telemetry", false, {
        /// The format of log lines: `pretty`, or `json` (one object per line).
        LOG = "log": crate::config::LogFormat = log_format(), "", is!("pretty");
        /// How long the metrics of a migration are exported after it ended.
        METRICS_RETENTION = "metrics_retention": std::time::Duration = duration(), "",
            is!(rehome_api::duration::Millis(u64::try_from(RETENTION.as_millis()).unwrap_or(0)));
        /// `service.name` of spans and metrics, `service` of log lines. Default:
        /// `OTEL_SERVICE_NAME`, or else `eventsource`.
        SERVICE_NAME = "service_name": String = service_name(), "", None;
        /// The collector of spans and metrics. Default: `OTEL_EXPORTER_OTLP_ENDPOINT`;
        /// without either nothing is sent (docs/monitoring/traces.md).
        OTLP_ENDPOINT = "otlp_endpoint": String = otlp_endpoint(), "", None;
        /// The collector of metrics, if it is another one.
        OTLP_METRICS_ENDPOINT = "otlp_metrics_endpoint": String = otlp_endpoint(), "", None;
        /// Headers of requests to the collector, as `name=value,name=value`, percent-encoded; never shown.
        OTLP_HEADERS = "otlp_headers": crate::config::Headers = otlp_headers(), "", None;
        /// The authorities (PEM) that sign the collector's certificate, instead of those that the system trusts.
        OTLP_CA_FILE = "otlp_ca_file": std::path::PathBuf = path(), "", None;
        /// The protocol: `grpc` or `http`. Default: `OTEL_EXPORTER_OTLP_PROTOCOL`,
        /// or else `grpc`.
        OTLP_PROTOCOL = "otlp_protocol": crate::config::OtlpProtocol = otlp_protocol(), "", None;
        /// The fraction of the spans of successful batches and appends that is sent; all other spans are sent.
        SPAN_SAMPLE_RATIO = "span_sample_ratio": f64 = ratio(), "", is!(0.1);
    }

    /// The signature of exported logs.
    audit = "audit", false, {
        /// The file with the key: 32 bytes or more, readable by its owner only.
        KEY_FILE = "key_file": std::path::PathBuf = path(), "", None;
    }

    /// A receiver that is notified of a tenant's switch. Repeat the section for each receiver (docs/adopting.md).
    publish = "publish", true, {
        /// Its kind: `eventsource-py`, `sql`, `http` or `command`.
        KIND = "kind": String = text(), "", None;
        /// The database (`eventsource-py`, `sql`) or the address (`http`).
        URL = "url": String = url_of_kind(), "", None;
        /// `eventsource-py`: the schema of `tenant_routing`.
        SCHEMA = "schema": String = text(), "", is!("public");
        /// `sql`: the statements; `$1` is the tenant, `$2` the store.
        STATEMENTS = "statements": Vec<String> = some_texts(), "", None;
        /// `http`: the file with the key by which the document is signed.
        KEY_FILE = "key_file": std::path::PathBuf = path(), "", None;
        /// `command`: the program and its arguments.
        COMMAND = "command": Vec<String> = program(), "", None;
        /// `command`: the timeout, at most 10 minutes.
        WITHIN = "within": std::time::Duration = patience(), "", is!("10s");
        /// The application's names of the stores, where they differ.
        STORES = "stores": Vec<(rehome_domain::ids::StoreId, String)> = store_names(), "", None;
    }

    /// A hook that may veto a step of a migration, or is notified after it; one section each (docs/hooks.md).
    hooks = "hooks", true, {
        /// The name of the hook.
        NAME = "name": String = hook_name(), "", None;
        /// The steps it is for: `before_start`, `before_cutover`, `after_start`, `after_switch`, `returned`, `failed`,
        /// `rolled_back`, `aborted`.
        ON = "on": Vec<rehome_engine::On> = occasions(), "", None;
        /// Its kind: `http` or `command`.
        KIND = "kind": String = text(), "", None;
        /// `http`: the address.
        URL = "url": crate::http::Endpoint = endpoint(), "", None;
        /// `http`: the file with the key that signs the document.
        KEY_FILE = "key_file": std::path::PathBuf = path(), "", None;
        /// `command`: the program and its arguments.
        COMMAND = "command": Vec<String> = program(), "", None;
        /// Its timeout, at most 10 minutes.
        WITHIN = "within": std::time::Duration = patience(), "", is!("10s");
        /// What an error or timeout of a `before_` hook means: `veto` or `ignore`.
        ON_ERROR = "on_error": bool = on_error(), "", is!("veto");
    }

    /// The tools that watch the deployment, and the limits of the checklists.
    monitoring = "monitoring", false, {
        /// The address of Prometheus.
        PROMETHEUS_URL = "prometheus_url": crate::http::Endpoint = endpoint(), "", None;
        /// The address of Alertmanager.
        ALERTMANAGER_URL = "alertmanager_url": crate::http::Endpoint = endpoint(), "", None;
        /// The address of Grafana.
        GRAFANA_URL = "grafana_url": crate::http::Endpoint = endpoint(), "", None;
        /// The address of Loki.
        LOKI_URL = "loki_url": crate::http::Endpoint = endpoint(), "", None;
        /// The address of Elasticsearch; the path of the URL names the index.
        ELASTICSEARCH_URL = "elasticsearch_url": crate::http::Endpoint = endpoint(), "", None;
        /// The longest accepted p99 latency of appends.
        LATENCY_P99_MAX_MS = "latency_p99_max_ms": u32 = number::<1, 600_000>(), "ms", is!(100);
        /// The address of the runbook of the alerts; `#` and the name of an alert are appended.
        RUNBOOK_URL = "runbook_url": String = text(), "", is!(rehome_dashboards::RUNBOOK);
    }
}
