//! The rules of the protocol, each of which can be left out, to show that the checker misses it.
//!
//! A model that finds nothing may be a model that sees nothing. So every rule is left out once, and
//! the checker must then find a schedule that breaks a property. The domain itself is not touched:
//! what a rule's absence does is written where the model calls the domain.

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A rule of the protocol. The text describes what happens without it.
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
    // Rules of a store.
    /// An append is stored whatever its epoch and the ledger's role are.
    AppendIsFenced,
    /// An append's ids are not checked: a retry is a new event.
    RetryIsRecognised,
    /// An append's expected version is checked before its ids are.
    RetryBeforeVersion,
    /// An append that was checked before a fence commits after it.
    FenceDrains,
    /// A fence accepts whatever epoch the store is active at, and may lower it.
    FenceNamesItsEpoch,
    /// An extend is stored wherever the history ends.
    ExtendAtHead,
    /// An activation refuses a source that was never fenced.
    ActivateTheNeverFenced,
    /// An activation does not check the length of the history.
    ActivateWithBase,
    /// An activation treats an absent history as a new one.
    ActivateKnowsCreation,
    /// An activation is accepted whatever its epoch is.
    ActivateOnlyLater,
    /// An adoption that was applied is refused when it is retried, without a check.
    AdoptIsRetriable,
    /// An adoption is accepted from a sleeper of an earlier migration, or after the drop.
    AdoptOnlyLater,
    /// A drop ends any replica.
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
    /// The switch is recorded on any row in `cutover_paused`.
    SwitchOnItsRow,
    /// The intent draws no epoch.
    IntentDrawsEpoch,
    /// The roll back draws no epoch.
    RollBackDrawsEpoch,
    /// A migration uses the epoch of the last one.
    StartDrawsEpoch,
    /// A migration starts while another is unfinished.
    StartAlone,
    /// A cutover begins that was withdrawn.
    BeginOnlyIfWanted,
    /// A migration is aborted in the pause.
    NoAbortInPause,
    /// A migration is paused by an operator in the pause of its cutover.
    NoPauseInPause,
    /// A migration fails in the pause.
    NoFailInPause,
    /// A repair is requested in the pause.
    NoRepairInPause,
    /// A migration continues after a repair under the epoch that it had before.
    RepairDrawsEpoch,

    /// A removal draws no epoch.
    RemovalDrawsEpoch,
    /// A removal begins on whatever row there is.
    RemovalBeginsOnItsRow,
    /// A removal ends on whatever row there is.
    RemovalEndsOnItsRow,
    /// A removal begins in a migration.
    NoRemovalInMigration,
    /// A migration starts in a removal.
    NoStartInRemoval,
    /// A removed tenant is created again under its old epoch.
    RebirthDrawsEpoch,

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

    // Obligations of operators.
    /// A purge does not read the route.
    PurgeLooksAtRoute,
    /// A purge reads the route first, and then the ledger.
    PurgeLooksAtLedgerFirst,

    /// A removal ends without a fence.
    RemovalFences,
    /// A removal ends without a purge.
    RemovalPurges,
    /// A removal purges a history that has grown since it was requested.
    RemovalSparesWhatGrew,
    /// A removal is given up although another process may have decided to purge.
    RemovalCancelsOnlyWhatGrew,
    /// A removal begins before the last migration is cleaned up.
    RemovalAfterCleanUp,
    /// A removal leaves a copy in another store.
    RemovalNeedsNoCopy,

    // Obligations of the router.
    /// No process activates a ledger that is behind its route.
    Help,
    /// Who meets a pause activates the source.
    NoHelpInPause,
    /// Only the coordinator rolls a cutover back.
    RollBackIsAnybodys,
    /// A read is accepted from any store at once.
    ReadFromActive,
    /// A read is accepted at once from a source that is fenced under the cached row.
    ReadConfirmsPause,
    /// An absent history is an empty answer.
    AbsentIsNotEmpty,
}
