//! What a drain runs with. All but the sources can be tuned while it runs.

use super::Window;
use crate::ids::StoreId;
use crate::migration::{InvalidOption, Options};

/// Which tenants come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Those with the fewest events.
    #[default]
    Smallest,
    /// Those with the most events.
    Largest,
    /// Those whose last event is the oldest.
    Idle,
}

impl Order {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Smallest, Self::Largest, Self::Idle];

    /// The name in commands, requests and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Smallest => "smallest",
            Self::Largest => "largest",
            Self::Idle => "idle",
        }
    }

    /// The order of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|order| order.as_str() == text)
    }
}

/// What decides between targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// Their weights: of two targets with weights 1 and 3 the second gets three quarters of the events.
    #[default]
    Weights,
    /// The most free space, where they report it; else the weights.
    FreeSpace,
    /// The fewest tenants.
    LeastLoaded,
}

impl Placement {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Weights, Self::FreeSpace, Self::LeastLoaded];

    /// The name in commands, requests and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::FreeSpace => "free_space",
            Self::LeastLoaded => "least_loaded",
        }
    }

    /// The placement of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|placement| placement.as_str() == text)
    }
}

/// A target store of the drain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The store.
    pub store: StoreId,
    /// Its share among the targets, from 1 on.
    pub weight: u32,
}

/// How much may be done at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Migrations at once. One that has made no progress for a while gives its place to another, so that
    /// up to twice as many exist where moves hang.
    pub at_once: u32,
    /// The same from one source; 0: as many as in all.
    pub per_source: u32,
    /// The same to one target; 0: as many as in all.
    pub per_target: u32,
    /// Maximum number of cutovers that start in one minute; 0: no limit.
    pub cutovers_per_minute: u32,
    /// Events copied per second by all moves together; 0: as fast as it goes.
    pub copy_rate_max: u32,
    /// Bytes copied per second by all moves together; 0: as fast as it goes.
    pub copy_bytes_rate_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            at_once: 4,
            per_source: 0,
            per_target: 0,
            cutovers_per_minute: 0,
            copy_rate_max: 0,
            copy_bytes_rate_max: 0,
        }
    }
}

impl Limits {
    /// Most moves from one source at once.
    pub const fn from_one(&self) -> u32 {
        if self.per_source == 0 { self.at_once } else { self.per_source }
    }

    /// Most moves to one target at once.
    pub const fn to_one(&self) -> u32 {
        if self.per_target == 0 { self.at_once } else { self.per_target }
    }
}

/// What a drain runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The stores to empty.
    pub sources: Vec<StoreId>,
    /// Where the tenants go.
    pub targets: Vec<Target>,
    /// Which come first.
    pub order: Order,
    /// What decides between the targets.
    pub placement: Placement,
    /// How much at once.
    pub limits: Limits,
    /// When cutovers may begin; `None`: at any time.
    pub window: Option<Window>,
    /// How often a tenant is tried.
    pub tries_max: u32,
    /// How long a tenant that was set aside waits for its next try, in milliseconds.
    pub retry_after_ms: u64,
    /// After so many failures the drain pauses; 0: never.
    pub failures_max: u32,
    /// A move without progress for this long is aborted, in milliseconds.
    pub patience_ms: u64,
    /// A move whose cutover was rolled back this many times is aborted.
    pub cutovers_max: u32,
    /// What each migration runs with. Its copy rates are shares of the limits', and its cutover waits for
    /// the drain where the drain bounds cutovers.
    pub options: Options,
}

impl Settings {
    /// Settings with the defaults.
    pub fn new(sources: Vec<StoreId>, targets: Vec<Target>) -> Self {
        Self {
            sources,
            targets,
            order: Order::default(),
            placement: Placement::default(),
            limits: Limits::default(),
            window: None,
            tries_max: 3,
            retry_after_ms: 30_000,
            failures_max: 20,
            patience_ms: 300_000,
            cutovers_max: 5,
            options: Options::default(),
        }
    }

    /// Whether the drain decides when a cutover starts.
    pub const fn bounds_cutovers(&self) -> bool {
        self.window.is_some() || self.limits.cutovers_per_minute > 0
    }

    /// Refuses settings under which a drain cannot work.
    pub fn check(self) -> Result<Self, InvalidSettings> {
        if self.sources.is_empty() {
            return Err(InvalidSettings::NoSource);
        }
        if self.targets.is_empty() {
            return Err(InvalidSettings::NoTarget);
        }
        for (at, target) in self.targets.iter().enumerate() {
            if self.sources.contains(&target.store) {
                return Err(InvalidSettings::SourceIsTarget(target.store.clone()));
            }
            if self.targets[..at].iter().any(|other| other.store == target.store) {
                return Err(InvalidSettings::TargetTwice(target.store.clone()));
            }
        }
        let bound = |key, value: u32, range, allowed: std::ops::RangeInclusive<u32>| {
            if allowed.contains(&value) {
                Ok(())
            } else {
                Err(InvalidOption { key, range, value: value.into() })
            }
        };
        for target in &self.targets {
            bound("weight", target.weight, "1 to 1000000", 1..=1_000_000)?;
        }
        bound("at_once", self.limits.at_once, "1 to 256", 1..=256)?;
        bound("tries_max", self.tries_max, "1 to 100", 1..=100)?;
        bound("cutovers_max", self.cutovers_max, "1 to 1000", 1..=1_000)?;
        let patience = u32::try_from(self.patience_ms).unwrap_or(u32::MAX);
        bound("patience_ms", patience, "1000 to 604800000 (a week)", 1_000..=604_800_000)?;
        let options = self.options.check()?;
        Ok(Self { options, ..self })
    }
}

/// Settings under which a drain cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSettings {
    /// Nothing to empty.
    #[error("a drain needs at least one store to empty; name it with --from")]
    NoSource,
    /// Nowhere to go.
    #[error("a drain needs at least one target store; name it with --to")]
    NoTarget,
    /// A store that is to be emptied and filled.
    #[error("store {0} is a source of the drain and cannot be its target")]
    SourceIsTarget(StoreId),
    /// A target that was named twice.
    #[error("store {0} is named as a target twice; name it once, with its weight")]
    TargetTwice(StoreId),
    /// A number out of range.
    #[error(transparent)]
    Option(#[from] InvalidOption),
}
