//! The rules of the protocol, each of which can be left out, to show that the checker misses it.
//!
//! A model that finds nothing may be a model that sees nothing. So every rule is left out once, and
//! the checker must then find a schedule that breaks a property. The domain itself is not touched:
//! what a rule's absence does is written where the model calls the domain.

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A rule of the protocol. The words say what happens without it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Rule {
            $($(#[$doc])* $name,)*
        }

        impl Rule {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

rules! {
    // What a store enforces.
    /// An append is taken whatever its epoch and the ledger's role are.
    AppendIsFenced,
    /// An append's ids are not looked for: a retry is a new event.
    RetryIsRecognised,
    /// An append's expected version is looked at before its ids are.
    RetryBeforeVersion,
    /// An append that was checked before a fence commits after it.
    FenceDrains,
    /// A fence takes whatever epoch the store is active at, and may lower it.
    FenceNamesItsEpoch,
    /// An extend is taken wherever the history ends.
    ExtendAtHead,
    /// An activation refuses a source that was never fenced.
    ActivateTheNeverFenced,
    /// An activation does not look at how long the history is.
    ActivateWithBase,
    /// An activation takes an absent history for a new one.
    ActivateKnowsCreation,
    /// An activation is taken whatever its epoch is.
    ActivateOnlyLater,
    /// An adoption that was applied is refused when it is tried again, and nobody looks first.
    AdoptIsRetriable,
    /// An adoption is taken from a sleeper of an earlier migration, or after the drop.
    AdoptOnlyLater,
    /// A drop takes down whatever is there.
    DropIsKeyed,
    /// A purge removes whatever is there.
    PurgeIsKeyed,
    /// A purge leaves no tombstone.
    PurgeLeavesTombstone,
    /// A cut back removes the tail of whatever is there.
    CutBackIsKeyed,

    // What the control plane enforces.
    /// The intent is recorded on whatever row there is.
    IntentOnItsRow,
    /// The switch is recorded on whatever row says `cutover_paused`.
    SwitchOnItsRow,
    /// The intent draws no epoch.
    IntentDrawsEpoch,
    /// The roll back draws no epoch.
    RollBackDrawsEpoch,
    /// A migration takes the epoch that the last one had.
    StartDrawsEpoch,
    /// A migration starts while another is unfinished.
    StartAlone,
    /// A migration is aborted in the pause.
    NoAbortInPause,
    /// A migration is paused by an operator in the pause of its cutover.
    NoPauseInPause,
    /// A migration fails in the pause.
    NoFailInPause,
    /// A repair is requested in the pause.
    NoRepairInPause,
    /// A migration goes on after a repair under the epoch that it had before.
    RepairDrawsEpoch,

    // What the coordinator owes.
    /// The target is adopted without its head being found in the source.
    AdoptWhatIsProven,
    /// The cutover begins without activating the source.
    StepOne,
    /// The cutover compares and switches without a fence.
    StepThree,
    /// The cutover switches without catching up and comparing.
    StepFive,
    /// The target is dropped and purged before the abort is recorded.
    AbortBeforeCleanUp,

    // What operators owe.
    /// A purge does not look at the route.
    PurgeLooksAtRoute,
    /// A purge looks at the route first, and at the ledger then.
    PurgeLooksAtLedgerFirst,

    // What the router owes.
    /// Nobody helps a ledger that is behind its route.
    Help,
    /// Who meets a pause activates the source.
    NoHelpInPause,
    /// Nobody but the coordinator rolls a cutover back.
    RollBackIsAnybodys,
    /// A read is taken from any store at once.
    ReadFromActive,
    /// A read is taken at once from a source that is fenced under the cached row.
    ReadConfirmsPause,
    /// An absent history is an empty answer.
    AbsentIsNotEmpty,
}
