//! Bytes that this process copies, added up for the drains that the copies are moves of.

use std::collections::BTreeMap;

use rehome_domain::ids::{DrainId, MigrationId};

use super::follow::Followed;

/// A copy that is of no drain is forgotten after so many looks.
const LOOKS_MAX: u8 = 5;

/// What was copied since the last look.
#[derive(Default)]
pub(super) struct Copies(BTreeMap<MigrationId, Copied>);

#[derive(Clone, Copy, Debug, Default)]
struct Copied {
    bytes: u64,
    /// Looks since that knew of no drain that it is of.
    looks: u8,
}

impl Copies {
    pub(super) fn add(&mut self, id: MigrationId, bytes: u64) {
        let copied = self.0.entry(id).or_default();
        copied.bytes += bytes;
    }

    /// Adds what was copied to the drains.
    pub(super) fn hand_out(&mut self, drains: &mut BTreeMap<DrainId, Followed>) {
        for (id, copied) in &mut self.0 {
            let drain = drains.values_mut().find(|drain| drain.has(*id));
            copied.looks += 1;
            if let Some(drain) = drain {
                drain.bytes += std::mem::take(&mut copied.bytes);
                copied.looks = LOOKS_MAX;
            }
        }
        self.0.retain(|_, copied| copied.looks < LOOKS_MAX);
        drains.values_mut().for_each(Followed::forget_ended);
    }
}
