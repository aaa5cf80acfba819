//! `rehome token ...`

use rehome_api::{Token as Document, Tokens};
use rehome_app::token_registry::{self, NewToken};
use rehome_app::tokens::{Grant, PREFIX, Role, Token, TokenHash, secret};
use rehome_app::{AppError, Kind};
use serde::Serialize;
use uuid::Uuid;

use crate::args::{CreateToken, TokenCommand};
use crate::operate::Reach;
use crate::output::{Out, table};

/// A token that was made for the configuration.
#[derive(Serialize)]
struct Made {
    /// The secret; it is not stored.
    token: String,
    name: String,
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<Uuid>,
    sha256: String,
    /// The lines for the configuration.
    configuration: String,
}

/// A stored token, and its secret.
#[derive(Serialize)]
struct Kept {
    /// The secret; it is not stored.
    token: String,
    #[serde(flatten)]
    document: Document,
}

pub(super) async fn run(out: Out, reach: &Reach, command: TokenCommand) -> Result<(), AppError> {
    match command {
        TokenCommand::Create(wanted) => create(out, reach, &wanted).await,
        TokenCommand::List => {
            let deployment = reach.open(out).await?;
            let tokens = deployment.tokens().await?;
            deployment.close().await;
            out.show(&tokens, words)
        }
        TokenCommand::Rotate { name, keep_old_for, expires, yes, why } => {
            if keep_old_for.is_none() {
                let what = format!(
                    "The old token \"{name}\" is refused at once; --keep-old-for leaves it valid for a while."
                );
                out.confirm(yes, &what)?;
            }
            let deployment = reach.open(out).await?;
            let token = secret(PREFIX)?;
            let hash = TokenHash::of(&token);
            let document =
                deployment.rotate_token(&name, hash, (keep_old_for, expires), why.why()).await?;
            deployment.close().await;
            show(out, &Kept { token, document })
        }
        TokenCommand::Revoke { name, yes, why } => {
            out.confirm(
                yes,
                &format!(
                    "This revokes every token \"{name}\": its clients are refused within a second."
                ),
            )?;
            let deployment = reach.open(out).await?;
            let revoked = deployment.revoke_token(&name, why.why()).await?;
            deployment.close().await;
            out.show(&revoked, |_| format!("the token \"{name}\" is revoked"))
        }
        TokenCommand::Open { reason, yes } => {
            out.confirm(yes, "Every client can then read and move every tenant without a token.")?;
            let deployment = crate::operate::open(reach.stores("token open", OPENS)?).await?;
            let operator = deployment.because(Some(&reason))?;
            let tokens = token_registry::set_gate(&operator, false).await?;
            deployment.close().await;
            out.show(&tokens, |tokens| {
                let state = if tokens.closed { CLOSED } else { OPEN };
                state.to_owned()
            })
        }
    }
}

const OPENS: &str = "it needs direct access to the control plane";
const OPEN: &str =
    "open: every client of a server without tokens in its configuration can do everything";
const CLOSED: &str = "closed: every client needs a token";

fn grant(wanted: &CreateToken) -> Result<Grant, AppError> {
    let (tenants, stores) = (wanted.tenants.clone(), wanted.stores.clone());
    Role::parse(&wanted.role)
        .and_then(|role| Grant::new(role, tenants, stores))
        .map_err(|problem| AppError::new(Kind::Usage, "bad_usage", problem))
}

fn name(wanted: &CreateToken, grant: &Grant) -> String {
    wanted.name.clone().unwrap_or_else(|| grant.role().as_str().to_owned())
}

/// Creates a token without storing it.
pub(super) fn for_configuration(out: Out, wanted: &CreateToken) -> Result<(), AppError> {
    let grant = grant(wanted)?;
    let (token, text) = Token::create(name(wanted, &grant), grant.clone())?;
    let token = token.expiring_in(wanted.expires);
    let made = Made {
        token: text,
        role: grant.role().as_str(),
        tenant_id: match grant.tenants() {
            [tenant] => Some(tenant.uuid()),
            _ => None,
        },
        sha256: token.hash.to_string(),
        configuration: token.lines(),
        name: token.name,
    };
    let about = format!(
        "token  {}\n\nIt is not shown again. Add this to the configuration of the server, and restart it or send \
         it SIGHUP:\n\n",
        made.token
    );
    out.show_file(&made, &about, |made| &made.configuration)
}

async fn create(out: Out, reach: &Reach, wanted: &CreateToken) -> Result<(), AppError> {
    let grant = grant(wanted)?;
    let token = secret(PREFIX)?;
    let new = NewToken {
        name: name(wanted, &grant),
        grant,
        hash: TokenHash::of(&token),
        expires_in: wanted.expires,
    };
    let deployment = reach.make(out).await?;
    let document = deployment.create_token(&new, wanted.why.why()).await?;
    deployment.close().await;
    show(out, &Kept { token, document })
}

fn show(out: Out, kept: &Kept) -> Result<(), AppError> {
    out.show(kept, |kept| {
        let Document { name, role, expires_at, .. } = &kept.document;
        let end = expires_at.map_or(String::new(), |end| format!(" until {end}"));
        let token = &kept.token;
        format!(
            "token  {token}\n\nIt is not shown again. It is \"{name}\", {role}{end}, valid at every server of the \
             deployment."
        )
    })
}

fn words(tokens: &Tokens) -> String {
    let time = |at: Option<rehome_api::Time>| at.map_or_else(String::new, |at| at.to_string());
    let rows = tokens.tokens.iter().map(|token| {
        let tenants = token.tenants.iter().map(Uuid::to_string);
        let bounds: Vec<_> = tenants.chain(token.stores.iter().cloned()).collect();
        let used = match &*token.kept_in {
            "configuration" => "(configuration)".to_owned(),
            _ => time(token.last_used_at),
        };
        [
            token.name.clone(),
            token.role.clone(),
            token.state.clone(),
            bounds.join(" "),
            time(token.created_at),
            time(token.expires_at),
            used,
        ]
    });
    let head = ["NAME", "ROLE", "STATE", "BOUND TO", "MADE", "EXPIRES", "LAST USED"];
    let state = if tokens.closed { CLOSED } else { OPEN };
    format!("{}\n\n{state}", table(head, &[], rows))
}
