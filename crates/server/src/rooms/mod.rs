//! Admission: callers, and the server's resources for them.
//!
//! ```text
//! connection ─▶ head ─▶ who asks ─▶ a place ─▶ role, tenant ─▶ room for the body ─▶ work
//!                                                                       │
//!                                            room for the answer ◀──────┘
//! ```
//!
//! Everything that a request holds while it is in flight is counted in a [`Room`]: a slot, the bytes
//! of its body, the bytes of its response, a follower's slot. Each room has a size, a maximum share of one
//! caller, and a reserve for operators. As soon as two callers hold something, neither gets
//! more than what is left free, so that the next caller always finds room.
//!
//! Room is reserved after the caller is authenticated and authorised, and by the actual amount: a
//! body counts with the bytes received.

mod admit;
mod room;
mod who;

use std::sync::Arc;
use std::time::Duration;

use rehome_app::config::ServerLimits;
use rehome_engine::metrics::RoomCount;

pub(crate) use admit::{Counted, admit};
pub(crate) use room::{Held, Room};
pub(crate) use who::{Holder, Proxies, Requester, Who, prefix};

/// Maximum size of the line of one event, in bytes: data and metadata at their limits, and the rest.
pub(crate) const LINE_BYTES_MAX: u64 = (2 << 20) + (64 << 10);
/// How long a piece of an answer waits for room before it is refused.
pub(crate) const ANSWER_WAIT: Duration = Duration::from_secs(2);
/// One of this many slots is reserved for operators.
const RESERVED_OF: u64 = 16;
/// A caller's share, unless another is configured: one of so many.
const SHARE_OF: u64 = 4;

/// All rooms of the server.
pub(crate) struct Rooms {
    /// Requests under way.
    pub(crate) requests: Arc<Room>,
    /// Bytes of bodies.
    pub(crate) bodies: Arc<Room>,
    /// Bytes of answers that are made and not sent.
    pub(crate) answers: Arc<Room>,
    /// Followers.
    pub(crate) followers: Arc<Room>,
}

impl Rooms {
    pub(crate) fn new(limits: &ServerLimits) -> Self {
        let share = |size: u64, configured: Option<u32>, least: u64| {
            configured.map_or((size / SHARE_OF).max(least), u64::from).min(size)
        };
        let (requests, followers) = (limits.connections_max.into(), limits.followers_max.into());
        let (bodies, answers) = (limits.bodies_bytes_max.into(), limits.answers_bytes_max.into());
        let of = limits.per_caller;
        Self {
            requests: Room::new(
                room::REQUESTS,
                requests,
                share(requests, of.connections_max, 1),
                requests / RESERVED_OF,
            ),
            bodies: Room::new(
                room::BODIES,
                bodies,
                // One whole body fits, whatever the share.
                share(bodies, of.bodies_bytes_max, limits.body_bytes_max.into()),
                (bodies / RESERVED_OF).min(bodies.saturating_sub(limits.body_bytes_max.into())),
            ),
            answers: Room::new(
                room::ANSWERS,
                answers,
                share(answers, of.answers_bytes_max, LINE_BYTES_MAX),
                answers / RESERVED_OF,
            ),
            followers: Room::new(
                room::FOLLOWERS,
                followers,
                share(followers, of.followers_max, 1),
                followers / RESERVED_OF,
            ),
        }
    }

    /// What a scrape reports.
    pub(crate) fn counts(&self) -> Vec<RoomCount> {
        [&self.requests, &self.bodies, &self.answers, &self.followers].map(|r| r.count()).into()
    }
}
