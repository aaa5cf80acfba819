//! Places: URLs, addresses and paths.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::super::super::Url;
use super::super::super::network::Network;
use super::super::Shape;
use super::{Kind, joined, list_of, one, text_of, texts};
use crate::http::{Endpoint, HttpUrl};
use crate::layouts::LayoutSource;

/// The place of a store or of the control plane.
pub(in super::super) const fn url() -> Kind<Url> {
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

/// The layout of a foreign table. It is read later, where it is certain that it is used.
pub(in super::super) const fn layout() -> Kind<LayoutSource> {
    text_of(|| "a string".to_owned(), |raw, folder| Ok(LayoutSource::parse(one(raw), folder)))
}

/// A path; a relative one is relative to the file.
pub(in super::super) const fn path() -> Kind<PathBuf> {
    Kind {
        shape: Shape::Text,
        wanted: || "a string".to_owned(),
        parse: |raw, folder| Ok(folder.join(one(raw))),
        also: |_| Ok(()),
        show: joined,
    }
}

/// An address to listen on.
pub(in super::super) const fn address() -> Kind<SocketAddr> {
    text_of(
        || "a string".to_owned(),
        |raw, _| {
            let address = one(raw).parse();
            address.map_err(|_| "must be an address like \"127.0.0.1:7411\"".to_owned())
        },
    )
}

/// Where spans and metrics go.
pub(in super::super) const fn otlp_endpoint() -> Kind<String> {
    text_of(
        || "a URL like \"http://localhost:4317\"".to_owned(),
        |raw, _| {
            let text = one(raw);
            super::super::super::otlp::check(text, true)?;
            Ok(text.to_owned())
        },
    )
}

/// Where a tool is.
pub(in super::super) const fn endpoint() -> Kind<Endpoint> {
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
pub(in super::super) const fn server_url() -> Kind<HttpUrl> {
    text_of(
        || "a string".to_owned(),
        |raw, _| super::super::super::client::server_url(one(raw)).map_err(str::to_owned),
    )
}

/// Where an application, or its database, is. What it has to be depends on the kind of the entry.
pub(in super::super) const fn url_of_kind() -> Kind<String> {
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

/// Origins of pages, as a browser sends them.
pub(in super::super) const fn origins() -> Kind<Vec<String>> {
    texts().also(|origins| {
        if origins.iter().all(|origin| super::super::super::server::is_origin(origin)) {
            return Ok(());
        }
        Err("must be origins like \"https://ops.example\"".to_owned())
    })
}

/// Names of this server.
pub(in super::super) const fn hosts() -> Kind<Vec<String>> {
    texts().also(|hosts| {
        if hosts.iter().all(|host| super::super::super::server::is_host(host)) {
            return Ok(());
        }
        Err("must be names like \"rehome.internal\", without a port".to_owned())
    })
}

/// Networks of addresses.
pub(in super::super) const fn networks() -> Kind<Vec<Network>> {
    list_of(|raw, _| {
        let networks = raw.iter().map(|text| text.parse());
        networks
            .collect::<Result<_, ()>>()
            .map_err(|()| "must be addresses or networks like \"10.0.0.0/8\"".to_owned())
    })
}
