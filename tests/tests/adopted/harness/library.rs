//! Libraries, and what a deployment over their tables looks like.

use super::{BYSTANDER, TENANT};

/// A library, and what a deployment over its tables looks like.
pub(crate) struct Library {
    /// As rehome calls its layout, and the programs of `tests/adopted` their `--library`.
    pub(super) name: &'static str,
    /// The tenant that moves, and one that does not.
    pub(crate) tenant: &'static str,
    pub(super) bystander: &'static str,
    /// How its application learns of a switch: what is in `[[publish]]` beside the url.
    pub(super) publish: &'static str,
    /// Where it looks: `$1` is the tenant.
    pub(super) route: &'static str,
    /// What its own installation, by the server's administrator, leaves to whom the database belongs, `$1`; empty: it
    /// needs no administrator.
    pub(super) handed_over: &'static str,
}

pub(super) const EVENTSOURCE_PY: Library = Library {
    name: "eventsource-py",
    tenant: TENANT,
    bystander: BYSTANDER,
    publish: "kind = \"eventsource-py\"",
    route: "SELECT store_id FROM tenant_routing WHERE tenant_id = '$1'",
    handed_over: "",
};

pub(crate) const PYEVENTSOURCING: Library = in_text("pyeventsourcing");
pub(crate) const EMMETT: Library = in_text("emmett");

pub(crate) const MESSAGE_DB: Library = Library {
    handed_over: "ALTER SCHEMA message_store OWNER TO $1; \
        ALTER TABLE message_store.messages OWNER TO $1",
    ..in_text("message-db")
};

/// A library without tenants or a router: ids begin with the tenant, and the application looks into a table.
const fn in_text(name: &'static str) -> Library {
    Library {
        name,
        tenant: "acme",
        bystander: "acme north",
        publish: r#"kind = "sql"
statements = ["""
INSERT INTO public.tenant_stores (tenant, store, epoch) VALUES ($6, $2, $4)
ON CONFLICT (tenant) DO UPDATE SET store = excluded.store, epoch = excluded.epoch
WHERE tenant_stores.epoch <= excluded.epoch"""]"#,
        route: "SELECT store FROM tenant_stores WHERE tenant = '$1'",
        handed_over: "",
    }
}
