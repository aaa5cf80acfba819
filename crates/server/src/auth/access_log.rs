//! The access log: who was refused, who read a tenant's events that is none of its own, who changed what,
//! who came in, and from where. Lines of a target of their own; no secret is in one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use uuid::Uuid;

use super::{Caller, Identity};
use crate::response::RequestId;
use crate::rooms::prefix;

/// The use of a token from an address is logged again after this time.
const TOLD_FOR: Duration = Duration::from_secs(600);
/// For refusals to an address: this many are logged in this time; then their number.
const REFUSALS_WITHIN: Duration = Duration::from_secs(10);
const REFUSALS_MAX: u32 = 20;
/// Most addresses, and tokens with addresses, that are remembered.
const REMEMBERED_MAX: usize = 10_000;

/// What was logged recently, so that neither applications nor attackers fill the log.
#[derive(Default)]
pub(crate) struct AccessLog(Mutex<Lately>);

#[derive(Default)]
struct Lately {
    used: HashMap<Use, Instant>,
    refused: HashMap<IpAddr, Refusals>,
}

/// The name of a token, the address, and, of what an operator appends, the tenant.
type Use = (Arc<str>, IpAddr, Option<Uuid>);

struct Refusals {
    since: Instant,
    told: u32,
    left_out: u32,
}

impl Lately {
    fn is_first(&mut self, name: &Arc<str>, address: IpAddr, appended_to: Option<Uuid>) -> bool {
        let now = Instant::now();
        let key = (Arc::clone(name), prefix(address), appended_to);
        if self.used.get(&key).is_some_and(|at| now.duration_since(*at) < TOLD_FOR) {
            return false;
        }
        if self.used.len() >= REMEMBERED_MAX {
            self.used.retain(|_, at| now.duration_since(*at) < TOLD_FOR);
        }
        if self.used.len() >= REMEMBERED_MAX {
            self.used.clear();
        }
        self.used.insert(key, now);
        true
    }

    /// How many refusals were left out before this one; `None`: it is left out too.
    fn refusal(&mut self, address: IpAddr) -> Option<u32> {
        let now = Instant::now();
        let is_over = |one: &Refusals| now.duration_since(one.since) >= REFUSALS_WITHIN;
        if self.refused.len() >= REMEMBERED_MAX {
            self.refused.retain(|_, one| !is_over(one));
        }
        if self.refused.len() >= REMEMBERED_MAX {
            self.refused.clear();
        }
        let new = Refusals { since: now, told: 0, left_out: 0 };
        let one = self.refused.entry(prefix(address)).or_insert(new);
        let mut left_out = 0;
        if is_over(one) {
            left_out = std::mem::take(&mut one.left_out);
            (one.since, one.told) = (now, 0);
        }
        if one.told >= REFUSALS_MAX {
            one.left_out += 1;
            return None;
        }
        one.told += 1;
        Some(left_out)
    }
}

/// What a request was, for the log.
pub(crate) struct Entry<'a> {
    log: &'a AccessLog,
    request_id: Option<RequestId>,
    method: Method,
    route: Option<MatchedPath>,
    tenant: Option<Uuid>,
    migration: Option<Uuid>,
    address: IpAddr,
    caller: Option<Caller>,
    former: Option<Arc<str>>,
    is_of_events: bool,
    /// The status; none yet, or none at all if the request was dropped.
    status: Option<u16>,
}

impl AccessLog {
    /// An entry of an admitted request. It is logged when dropped.
    pub(crate) fn entry(
        &self,
        request: &Request,
        identity: &Identity,
        address: IpAddr,
        is_of_events: bool,
    ) -> Entry<'_> {
        let path = request.uri().path();
        Entry {
            log: self,
            request_id: request.extensions().get().cloned(),
            method: request.method().clone(),
            // The pattern and not the path: ids of streams are the customer's.
            route: request.extensions().get().cloned(),
            tenant: named(path, "tenants"),
            migration: named(path, "migrations"),
            address,
            caller: identity.caller().filter(|caller| caller.has_token()).cloned(),
            former: identity.former.clone(),
            is_of_events,
            status: None,
        }
    }
}

/// The id behind that word in a path.
fn named(path: &str, word: &str) -> Option<Uuid> {
    let mut parts = path.split('/').skip_while(|part| *part != word);
    parts.nth(1).and_then(|id| id.parse().ok())
}

impl Entry<'_> {
    /// It was answered; in the case of a login, to `entered`.
    pub(crate) fn answered(mut self, status: u16, entered: Option<Caller>) {
        self.status = Some(status);
        self.caller = self.caller.take().or(entered);
    }

    /// The message to log; `None`: nothing.
    fn what(&self, lately: &mut Lately) -> Option<(&'static str, u32)> {
        let route = self.route.as_ref().map(MatchedPath::as_str);
        if matches!(self.status, Some(401 | 403)) {
            return Some(("Access refused", lately.refusal(self.address)?));
        }
        let caller = self.caller.as_ref()?;
        let looks = matches!(self.method, Method::GET | Method::HEAD);
        let is_read = looks || route.is_some_and(|route| route.ends_with("/read"));
        let what = match route {
            Some("/console/login") if !looks => "Session begun",
            Some("/console/logout") => "Session ended",
            _ if caller.is_operator() && self.is_of_events && is_read => {
                "Events read by an operator"
            }
            _ if caller.is_operator() && self.is_of_events => {
                // An application may do it, and often.
                let is_first = lately.is_first(&caller.name, self.address, self.tenant);
                is_first.then_some("Events changed by an operator")?
            }
            _ if caller.is_operator() && !looks => "Change requested",
            _ if lately.is_first(&caller.name, self.address, None) => "Token used",
            _ => return None,
        };
        Some((what, 0))
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let what = {
            let mut lately = self.log.0.lock().unwrap_or_else(PoisonError::into_inner);
            self.what(&mut lately)
        };
        let Some((what, left_out)) = what else { return };
        let caller = self.caller.as_ref();
        let name = caller.map(Caller::name).or(self.former.as_deref());
        tracing::info!(
            target: "rehome::access",
            caller = name,
            role = caller.map(Caller::role),
            tenant_id = self.tenant.map(tracing::field::display),
            migration_id = self.migration.map(tracing::field::display),
            address = %self.address,
            request_id = self.request_id.as_ref().map(RequestId::as_str),
            method = %self.method,
            route = self.route.as_ref().map_or("none", MatchedPath::as_str),
            status = self.status,
            left_out = (left_out > 0).then_some(left_out),
            "{what}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_up_to_a_number_and_a_use_once() {
        let mut lately = Lately::default();
        let (one, two) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        for _ in 0..REFUSALS_MAX {
            assert_eq!(lately.refusal(one), Some(0));
        }
        assert_eq!((lately.refusal(one), lately.refusal(two)), (None, Some(0)));
        lately.refused.get_mut(&one).unwrap().since -= REFUSALS_WITHIN;
        assert_eq!((lately.refusal(one), lately.refusal(one)), (Some(1), Some(0)));

        let name: Arc<str> = "ops".into();
        assert!(lately.is_first(&name, one, None) && lately.is_first(&name, two, None));
        assert!(!lately.is_first(&name, one, None));
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let mut lately = Lately::default();
        let name: Arc<str> = "ops".into();
        for n in 0..u32::try_from(REMEMBERED_MAX).unwrap() + 10 {
            let address = std::net::Ipv4Addr::from(n).into();
            lately.is_first(&name, address, None);
            lately.refusal(address);
        }
        assert!(lately.used.len() <= REMEMBERED_MAX && lately.refused.len() <= REMEMBERED_MAX);
    }

    #[test]
    fn ids_are_read_from_paths_and_nothing_else() {
        let id = Uuid::from_u128(7);
        assert_eq!(named(&format!("/v1/tenants/{id}/events"), "tenants"), Some(id));
        assert_eq!(named(&format!("/migrations/{id}"), "migrations"), Some(id));
        assert_eq!(named("/v1/tenants/x\u{1b}[31m/events", "tenants"), None);
        assert_eq!(named("/v1/migrations", "migrations"), None);
    }
}
