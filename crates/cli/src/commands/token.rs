//! `rehome token ...`

use rehome_app::tokens::{Role, Token};
use rehome_app::{AppError, Kind};
use serde::Serialize;
use uuid::Uuid;

use crate::args::TokenCommand;
use crate::output::Out;

/// A token that was made.
#[derive(Serialize)]
struct Made {
    /// Its text; nothing keeps it.
    token: String,
    name: String,
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<Uuid>,
    sha256: String,
    /// What lets it in.
    configuration: String,
}

pub(super) fn run(out: Out, command: TokenCommand) -> Result<(), AppError> {
    let TokenCommand::Create { role, tenant, name } = command;
    let role = Role::parse(&role, tenant)
        .map_err(|problem| AppError::new(Kind::Usage, "bad_usage", problem))?;
    let name = name.unwrap_or_else(|| role.as_str().to_owned());
    let (token, text) = Token::create(name, role)?;
    let made = Made {
        token: text,
        role: role.as_str(),
        tenant_id: match role {
            Role::Tenant(tenant) => Some(tenant.uuid()),
            _ => None,
        },
        sha256: token.hash.to_string(),
        configuration: token.lines(),
        name: token.name,
    };
    out.show(&made, |made| {
        format!(
            "token  {}\n\nIt is not shown again. Add this to the configuration of the server, and start \
             it again or send it SIGHUP:\n\n{}",
            made.token, made.configuration
        )
    })
}
