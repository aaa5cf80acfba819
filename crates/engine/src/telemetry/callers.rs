//! The request of an event, for the links of `dual_write.append` spans.
//!
//! The mirror reads stored events and knows no callers. So a process remembers the last contexts
//! of appends, by position. This is a best effort: events of another process, or old ones,
//! have no link.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use rehome_domain::ids::TenantId;

/// Contexts that are remembered.
const REMEMBERED: usize = 8_192;
/// Links of one span.
const LINKS_MAX: usize = 64;

/// The span of a request, as W3C Trace Context names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallerContext {
    /// The trace.
    pub trace: [u8; 16],
    /// The request's span.
    pub span: [u8; 8],
    /// The caller records its trace.
    pub sampled: bool,
}

impl CallerContext {
    /// Parses a `traceparent` header, of version 00 or of a later one by its first four fields.
    /// `None`: it is invalid, and is ignored as the standard requires.
    pub fn parse(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let [version] = hex::<1>(version)?;
        if version == 0xff || version == 0 && parts.next().is_some() {
            return None;
        }
        let (trace, span, [flags]) = (hex::<16>(trace)?, hex::<8>(span)?, hex::<1>(flags)?);
        let valid = trace != [0; 16] && span != [0; 8];
        valid.then_some(Self { trace, span, sampled: flags & 1 == 1 })
    }
}

/// Lower-case hexadecimal, exactly so many bytes.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// The contexts of the last appends in this process that had one.
#[derive(Debug, Default)]
pub struct Callers(Mutex<VecDeque<Remembered>>);

#[derive(Debug)]
struct Remembered {
    tenant: TenantId,
    last_seq: u64,
    context: CallerContext,
}

impl Callers {
    /// An append, whose last event got this position, came with this context.
    pub fn remember(&self, tenant: TenantId, last_seq: u64, context: CallerContext) {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() == REMEMBERED {
            remembered.pop_front();
        }
        remembered.push_back(Remembered { tenant, last_seq, context });
    }

    /// Those of the appends that ended at a position after `after` and not after `upto`.
    pub fn of(&self, tenant: TenantId, after: u64, upto: u64) -> Vec<CallerContext> {
        let remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let within = |one: &&Remembered| {
            one.tenant == tenant && one.last_seq > after && one.last_seq <= upto
        };
        remembered.iter().filter(within).map(|one| one.context).take(LINKS_MAX).collect()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_as_the_standard_says() {
        let context = CallerContext::parse(GOOD).unwrap();
        assert_eq!((context.trace[0], context.span[7], context.sampled), (0x4b, 0xb7, true));
        assert!(!CallerContext::parse(&GOOD.replace("-01", "-00")).unwrap().sampled);
        assert!(CallerContext::parse(&GOOD.replacen("00-", "cc-", 1)).is_some());
        assert!(
            CallerContext::parse(&format!("{}-more", GOOD.replacen("00-", "cc-", 1))).is_some()
        );
        for bad in [
            "",
            "00",
            &GOOD.to_uppercase(),
            &format!("{GOOD}-more"),
            &GOOD.replacen("00-", "ff-", 1),
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &GOOD.replace("00f067aa0ba902b7", "00f067aa0ba902b"),
        ] {
            assert_eq!(CallerContext::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn contexts_are_found_by_position_and_the_oldest_is_forgotten_first() {
        let callers = Callers::default();
        let (tenant, context) =
            (TenantId::new(Uuid::from_u128(1)), CallerContext::parse(GOOD).unwrap());
        callers.remember(tenant, 5, context);
        assert_eq!(callers.of(tenant, 4, 5), [context]);
        assert!(callers.of(tenant, 5, 9).is_empty() && callers.of(tenant, 0, 4).is_empty());
        assert!(callers.of(TenantId::new(Uuid::from_u128(2)), 4, 5).is_empty());
        for seq in 6..6 + REMEMBERED as u64 {
            callers.remember(tenant, seq, context);
        }
        assert!(callers.of(tenant, 4, 5).is_empty());
        assert_eq!(callers.of(tenant, 0, u64::MAX).len(), LINKS_MAX);
    }
}
