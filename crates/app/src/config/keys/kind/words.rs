//! One of some words.

use rehome_domain::verification::Level;
use rehome_engine::On;

use super::super::super::{LogFormat, OtlpProtocol};
use super::super::Shape;
use super::{Kind, one, plain, text_of};

/// The format of log lines.
pub(in super::super) const fn log_format() -> Kind<LogFormat> {
    text_of(
        || "a string".to_owned(),
        |raw, _| {
            LogFormat::parse(one(raw)).ok_or_else(|| "must be \"json\" or \"pretty\"".to_owned())
        },
    )
}

/// How spans and metrics travel.
pub(in super::super) const fn otlp_protocol() -> Kind<OtlpProtocol> {
    text_of(
        || "\"grpc\" or \"http\"".to_owned(),
        |raw, _| {
            let protocol = super::super::super::otlp::protocol_named(one(raw));
            protocol.ok_or_else(|| {
                "must be \"grpc\" or \"http\" (http/protobuf); rehome sends no JSON".to_owned()
            })
        },
    )
}

/// Whether something has to be there.
pub(in super::super) const fn required() -> Kind<bool> {
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
pub(in super::super) const fn level() -> Kind<Level> {
    text_of(
        || "\"count\", \"hash\" or \"full\"".to_owned(),
        |raw, _| {
            let level = Level::parse(one(raw));
            level.ok_or_else(|| "must be \"count\", \"hash\" or \"full\"".to_owned())
        },
    )
}

/// Whether migrations give way.
pub(in super::super) const fn throttle() -> Kind<bool> {
    text_of(
        || "\"auto\" or \"off\"".to_owned(),
        |raw, _| match one(raw) {
            "auto" => Ok(true),
            "off" => Ok(false),
            _ => Err("must be \"auto\" or \"off\"".to_owned()),
        },
    )
}

/// What a hook is for.
pub(in super::super) const fn occasions() -> Kind<Vec<On>> {
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
pub(in super::super) const fn on_error() -> Kind<bool> {
    text_of(
        || "\"veto\" or \"ignore\"".to_owned(),
        |raw, _| match one(raw) {
            "veto" => Ok(true),
            "ignore" => Ok(false),
            _ => Err("must be \"veto\" or \"ignore\"".to_owned()),
        },
    )
}
