//! Kinds of values: their form, their range, how they are read and shown.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rehome_api::duration::Millis;
use rehome_api::{OptionsPatch, Time};
use rehome_domain::event::Timestamp;
use rehome_domain::ids::{StoreId, TenantId};
use rehome_domain::verification::Level;
use rehome_engine::On;

use super::super::network::Network;
use super::super::{Headers, LogFormat, OtlpProtocol, Url};
use super::{Shape, Show};
use crate::certificates::Named;
use crate::http::{Endpoint, HttpUrl};
use crate::layouts::LayoutSource;
use crate::options;
use crate::tokens::TokenHash;

/// A kind of values.
pub(in super::super) struct Kind<T: 'static> {
    pub(super) shape: Shape,
    /// Continues "must be".
    pub(super) wanted: fn() -> String,
    /// From the texts of a value; of all shapes but lists and maps there is one. The error follows the key.
    pub(in super::super) parse: fn(&[String], &Path) -> Result<T, String>,
    /// What else has to be so.
    pub(in super::super) also: fn(&T) -> Result<(), String>,
    pub(super) show: Show,
}

impl<T> Kind<T> {
    /// Of this kind, and this is so of it as well.
    pub(super) const fn also(self, also: fn(&T) -> Result<(), String>) -> Self {
        Self { shape: self.shape, wanted: self.wanted, parse: self.parse, show: self.show, also }
    }

    /// Of this kind, and never shown.
    pub(super) const fn hidden(self) -> Self {
        let show = |_: &[String], _: &Path| "(hidden)".to_owned();
        Self { shape: self.shape, wanted: self.wanted, parse: self.parse, also: self.also, show }
    }
}

fn one(raw: &[String]) -> &str {
    raw.first().map_or("", String::as_str)
}

/// As it is.
pub(super) fn plain(raw: &[String], _: &Path) -> String {
    raw.join(", ")
}

/// A path, as it is after it was joined to the folder of the file.
fn joined(raw: &[String], folder: &Path) -> String {
    folder.join(one(raw)).display().to_string()
}

const fn text_of<T>(
    wanted: fn() -> String,
    parse: fn(&[String], &Path) -> Result<T, String>,
) -> Kind<T> {
    Kind { shape: Shape::Text, wanted, parse, also: |_| Ok(()), show: plain }
}

/// A whole number in a range.
pub(super) const fn number<const LEAST: u32, const MOST: u32>() -> Kind<u32> {
    Kind {
        shape: Shape::Number,
        wanted: || format!("a whole number from {LEAST} to {MOST}"),
        parse: |raw, _| {
            let number = one(raw).parse().ok().filter(|number| (LEAST..=MOST).contains(number));
            number.ok_or_else(|| format!("must be a whole number from {LEAST} to {MOST}"))
        },
        also: |_| Ok(()),
        show: plain,
    }
}

/// A number of bytes.
pub(super) const fn size() -> Kind<u64> {
    Kind {
        shape: Shape::Number,
        wanted: || "a whole number of bytes".to_owned(),
        parse: |raw, _| {
            let size = one(raw).parse().ok().filter(|size| *size > 0);
            size.ok_or_else(|| "must be a whole number of bytes, at least 1".to_owned())
        },
        also: |_| Ok(()),
        show: plain,
    }
}

/// An option of migrations that is a number; `patch` sets it and nothing else.
pub(super) const fn option_number(also: fn(&u32) -> Result<(), String>) -> Kind<u32> {
    number::<0, { u32::MAX }>().also(also)
}

/// Whether the options of this patch may be set.
pub(super) fn may_set(patch: &OptionsPatch) -> Result<(), String> {
    options::apply(options::defaults(), patch).map(drop).map_err(|problem| {
        let text = problem.to_string();
        // The message names the option itself.
        text.split_once([' ', ':']).map_or(text.clone(), |(_, rest)| {
            if text.starts_with("cutover:") { format!("is{rest}") } else { rest.to_owned() }
        })
    })
}

/// A string.
pub(super) const fn text() -> Kind<String> {
    text_of(|| "a string".to_owned(), |raw, _| Ok(one(raw).to_owned()))
}

/// `true` or `false`.
pub(super) const fn flag() -> Kind<bool> {
    Kind {
        shape: Shape::Flag,
        wanted: || "true or false".to_owned(),
        parse: |raw, _| one(raw).parse().map_err(|_| "must be true or false".to_owned()),
        also: |_| Ok(()),
        show: plain,
    }
}

/// The place of a store or of the control plane.
pub(super) const fn url() -> Kind<Url> {
    Kind {
        shape: Shape::Text,
        wanted: || "a string".to_owned(),
        parse: |raw, folder| Url::parse(one(raw), folder),
        also: |_| Ok(()),
        show: |raw, folder| {
            Url::parse(one(raw), folder)
                .map_or_else(|_| "(hidden)".to_owned(), |url| url.to_string())
        },
    }
}

/// The name of a store.
pub(super) const fn store_id() -> Kind<StoreId> {
    text_of(
        || "a string".to_owned(),
        |raw, _| one(raw).parse().map_err(|problem| format!("is not valid: {problem}")),
    )
}

/// The layout of a foreign table. It is read later, where it is certain that it is used.
pub(super) const fn layout() -> Kind<LayoutSource> {
    text_of(|| "a string".to_owned(), |raw, folder| Ok(LayoutSource::parse(one(raw), folder)))
}

/// A path; a relative one is relative to the file.
pub(super) const fn path() -> Kind<PathBuf> {
    Kind {
        shape: Shape::Text,
        wanted: || "a string".to_owned(),
        parse: |raw, folder| Ok(folder.join(one(raw))),
        also: |_| Ok(()),
        show: joined,
    }
}

/// An address to listen on.
pub(super) const fn address() -> Kind<SocketAddr> {
    text_of(
        || "a string".to_owned(),
        |raw, _| {
            let address = one(raw).parse();
            address.map_err(|_| "must be an address like \"127.0.0.1:7411\"".to_owned())
        },
    )
}

/// A length of time.
pub(super) const fn duration() -> Kind<Duration> {
    text_of(
        || "a duration like \"15m\"".to_owned(),
        |raw, _| {
            let millis = one(raw).parse::<Millis>();
            let millis = millis.map_err(|_| "must be a duration like \"15m\"".to_owned())?;
            Ok(Duration::from_millis(millis.0))
        },
    )
}

/// Timeout of a program.
pub(super) const fn patience() -> Kind<Duration> {
    duration().also(|within| {
        if (1..=600_000).contains(&within.as_millis()) {
            return Ok(());
        }
        Err("must be a duration like \"10s\", at most 10 minutes".to_owned())
    })
}

/// A length of time, as a migration's option has it.
pub(super) const fn millis() -> Kind<Millis> {
    text_of(
        || "a duration like \"1h\"".to_owned(),
        |raw, _| one(raw).parse().map_err(|_| "must be a duration like \"1h\"".to_owned()),
    )
}

/// A part of a whole.
pub(super) const fn ratio() -> Kind<f64> {
    Kind {
        shape: Shape::Decimal,
        wanted: || "a number from 0 to 1".to_owned(),
        parse: |raw, _| {
            let ratio = one(raw).parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
            ratio.ok_or_else(|| "must be a number from 0 to 1".to_owned())
        },
        also: |_| Ok(()),
        show: plain,
    }
}

/// The format of log lines.
pub(super) const fn log_format() -> Kind<LogFormat> {
    text_of(
        || "a string".to_owned(),
        |raw, _| {
            LogFormat::parse(one(raw)).ok_or_else(|| "must be \"json\" or \"pretty\"".to_owned())
        },
    )
}

/// How spans and metrics travel.
pub(super) const fn otlp_protocol() -> Kind<OtlpProtocol> {
    text_of(
        || "\"grpc\" or \"http\"".to_owned(),
        |raw, _| {
            let protocol = super::super::otlp::protocol_named(one(raw));
            protocol.ok_or_else(|| {
                "must be \"grpc\" or \"http\" (http/protobuf); rehome sends no JSON".to_owned()
            })
        },
    )
}

/// Where spans and metrics go.
pub(super) const fn otlp_endpoint() -> Kind<String> {
    text_of(
        || "a URL like \"http://localhost:4317\"".to_owned(),
        |raw, _| {
            let text = one(raw);
            super::super::otlp::check(text, true)?;
            Ok(text.to_owned())
        },
    )
}

/// Headers of the requests.
pub(super) const fn otlp_headers() -> Kind<Headers> {
    text_of(
        || "like \"name=value,name=value\"".to_owned(),
        |raw, _| super::super::otlp::headers(one(raw)),
    )
    .hidden()
}

/// In whose name they are sent.
pub(super) const fn service_name() -> Kind<String> {
    text().also(|name| {
        let fits = !name.trim().is_empty() && !name.chars().any(char::is_control);
        if fits { Ok(()) } else { Err("must be a name like \"eventsource\"".to_owned()) }
    })
}

/// Whether something has to be there.
pub(super) const fn required() -> Kind<bool> {
    text_of(
        || "\"required\" or \"optional\"".to_owned(),
        |raw, _| match one(raw) {
            "required" => Ok(true),
            "optional" => Ok(false),
            _ => Err("must be \"required\" or \"optional\"".to_owned()),
        },
    )
}

/// The level of a verification.
pub(super) const fn level() -> Kind<Level> {
    text_of(
        || "\"count\", \"hash\" or \"full\"".to_owned(),
        |raw, _| {
            let level = Level::parse(one(raw));
            level.ok_or_else(|| "must be \"count\", \"hash\" or \"full\"".to_owned())
        },
    )
}

/// An alternative name in a certificate.
pub(super) const fn alternative_name() -> Kind<Named> {
    text_of(
        || "a name like \"DNS:deploy.example\"".to_owned(),
        |raw, _| Named::parse(one(raw)).map_err(str::to_owned),
    )
}

/// Where a tool is.
pub(super) const fn endpoint() -> Kind<Endpoint> {
    Kind {
        shape: Shape::Text,
        wanted: || "a string".to_owned(),
        parse: |raw, _| Endpoint::parse(one(raw)).map_err(str::to_owned),
        also: |_| Ok(()),
        show: |raw, _| {
            Endpoint::parse(one(raw)).map_or_else(|_| "(hidden)".to_owned(), |it| it.to_string())
        },
    }
}

/// Where a server of rehome is.
pub(super) const fn server_url() -> Kind<HttpUrl> {
    text_of(
        || "a string".to_owned(),
        |raw, _| super::super::client::server_url(one(raw)).map_err(str::to_owned),
    )
}

/// Where an application, or its database, is. What it has to be depends on the kind of the entry.
pub(super) const fn url_of_kind() -> Kind<String> {
    Kind {
        shape: Shape::Text,
        wanted: || "a string".to_owned(),
        parse: |raw, _| Ok(one(raw).to_owned()),
        also: |_| Ok(()),
        show: |raw, folder| match (Url::parse(one(raw), folder), Endpoint::parse(one(raw))) {
            (Ok(url), _) => url.to_string(),
            (Err(_), Ok(endpoint)) => endpoint.to_string(),
            (Err(_), Err(_)) => "(hidden)".to_owned(),
        },
    }
}

const fn list_of<T>(parse: fn(&[String], &Path) -> Result<T, String>) -> Kind<T> {
    Kind {
        shape: Shape::List,
        wanted: || "a list of strings".to_owned(),
        parse,
        also: |_| Ok(()),
        show: plain,
    }
}

/// Strings.
pub(super) const fn texts() -> Kind<Vec<String>> {
    list_of(|raw, _| Ok(raw.to_vec()))
}

/// Strings, at least one, and none of them empty.
pub(super) const fn some_texts() -> Kind<Vec<String>> {
    texts().also(|texts| {
        if texts.is_empty() || texts.iter().any(|text| text.trim().is_empty()) {
            return Err("must not be empty".to_owned());
        }
        Ok(())
    })
}

/// A program and its arguments, which may hold secrets.
pub(super) const fn program() -> Kind<Vec<String>> {
    let Kind { shape, wanted, parse, also, .. } = some_texts();
    let show = |raw: &[String], _: &Path| match raw {
        [] | [_] => one(raw).to_owned(),
        [program, rest @ ..] => format!("{program} (arguments: {})", rest.len()),
    };
    Kind { shape, wanted, parse, also, show }
}

/// Whether migrations give way.
pub(super) const fn throttle() -> Kind<bool> {
    text_of(
        || "\"auto\" or \"off\"".to_owned(),
        |raw, _| match one(raw) {
            "auto" => Ok(true),
            "off" => Ok(false),
            _ => Err("must be \"auto\" or \"off\"".to_owned()),
        },
    )
}

/// When they do.
pub(super) const fn throttle_goal() -> Kind<f64> {
    Kind {
        shape: Shape::Decimal,
        wanted: || "a number from 1.1 to 100".to_owned(),
        parse: |raw, _| {
            let goal = one(raw).parse().ok().filter(|goal| (1.1..=100.0).contains(goal));
            goal.ok_or_else(|| "must be a number from 1.1 to 100".to_owned())
        },
        also: |_| Ok(()),
        show: plain,
    }
}

/// What a hook is for.
pub(super) const fn occasions() -> Kind<Vec<On>> {
    Kind {
        shape: Shape::List,
        wanted: wanted_occasions,
        parse: |raw, _| {
            let all: Option<Vec<_>> = raw.iter().map(|word| On::parse(word)).collect();
            let all = all.filter(|all| !all.is_empty());
            all.ok_or_else(|| format!("must be {}", wanted_occasions()))
        },
        also: |_| Ok(()),
        show: plain,
    }
}

fn wanted_occasions() -> String {
    format!("some of {}", On::ALL.map(On::as_str).join(", "))
}

/// What an error of a hook means: whether it is a veto.
pub(super) const fn on_error() -> Kind<bool> {
    text_of(
        || "\"veto\" or \"ignore\"".to_owned(),
        |raw, _| match one(raw) {
            "veto" => Ok(true),
            "ignore" => Ok(false),
            _ => Err("must be \"veto\" or \"ignore\"".to_owned()),
        },
    )
}

/// The name of a hook.
pub(super) const fn hook_name() -> Kind<String> {
    text().also(|name| {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if (1..=64).contains(&name.len()) && name.chars().all(fits) {
            return Ok(());
        }
        Err("must be 1 to 64 letters, digits, \"-\", \"_\" or \".\"".to_owned())
    })
}

/// Origins of pages, as a browser sends them.
pub(super) const fn origins() -> Kind<Vec<String>> {
    texts().also(|origins| {
        if origins.iter().all(|origin| super::super::server::is_origin(origin)) {
            return Ok(());
        }
        Err("must be origins like \"https://ops.example\"".to_owned())
    })
}

/// Names of this server.
pub(super) const fn hosts() -> Kind<Vec<String>> {
    texts().also(|hosts| {
        if hosts.iter().all(|host| super::super::server::is_host(host)) {
            return Ok(());
        }
        Err("must be names like \"rehome.internal\", without a port".to_owned())
    })
}

/// Networks of addresses.
pub(super) const fn networks() -> Kind<Vec<Network>> {
    list_of(|raw, _| {
        let networks = raw.iter().map(|text| text.parse());
        networks
            .collect::<Result<_, ()>>()
            .map_err(|()| "must be addresses or networks like \"10.0.0.0/8\"".to_owned())
    })
}

/// Tenants, by their ids.
pub(super) const fn tenants() -> Kind<Vec<TenantId>> {
    list_of(|raw, _| {
        let tenants = raw.iter().map(|text| text.parse());
        tenants.collect::<Result<_, _>>().map_err(|_| "must be a UUID".to_owned())
    })
}

/// Stores, by their names.
pub(super) const fn store_ids() -> Kind<Vec<StoreId>> {
    list_of(|raw, _| {
        let stores = raw.iter().map(|text| text.parse());
        stores.collect::<Result<_, _>>().map_err(|problem| format!("is not valid: {problem}"))
    })
}

/// The names of stores elsewhere, by their names here.
pub(super) const fn store_names() -> Kind<Vec<(StoreId, String)>> {
    Kind {
        shape: Shape::Map,
        wanted: || "a table".to_owned(),
        parse: |raw, _| {
            let pairs = raw.chunks_exact(2).map(|pair| Ok((pair[0].parse()?, pair[1].clone())));
            pairs
                .collect::<Result<_, rehome_domain::ids::InvalidStoreId>>()
                .map_err(|problem| format!("is not valid: {problem}"))
        },
        also: |_| Ok(()),
        show: |raw, _| {
            let pairs = raw.chunks_exact(2).map(|pair| format!("{} = {}", pair[0], pair[1]));
            pairs.collect::<Vec<_>>().join(", ")
        },
    }
}

/// A moment.
pub(super) const fn time() -> Kind<Timestamp> {
    text_of(
        || "a time like \"2026-01-01T00:00:00Z\"".to_owned(),
        |raw, _| {
            let time = one(raw).parse::<Time>().map_err(|error| format!("is {error}"))?;
            Ok(Timestamp::from_micros(time.0))
        },
    )
}

/// The hash of a token.
pub(super) const fn token_hash() -> Kind<TokenHash> {
    text_of(
        || "a string".to_owned(),
        |raw, _| {
            let hash = one(raw).parse();
            hash.map_err(|()| "must be the 64 hexadecimal digits of a hash".to_owned())
        },
    )
    .hidden()
}
