//! Calls hooks before a cutover begins. Nothing has changed yet, and the mirror runs.

use rehome_domain::migration::{CutoverPolicy, Fact, Phase, State, Undone, Working};

use super::{Context, StepError};
use crate::hooks::{Occasion, On, Veto};

impl Context {
    /// A hook's veto. Not called after the cutover began: then writers wait for its end.
    pub(crate) async fn ask_before_cutover(&self) -> Option<Veto> {
        let hooks = self.engine.hooks.as_ref()?;
        let migration = &self.migration;
        if migration.state.phase() != Phase::DualWrite {
            return None;
        }
        let occasion = Occasion {
            on: On::BeforeCutover,
            tenant: migration.tenant,
            from: migration.source.clone(),
            to: migration.target.clone(),
            migration: migration.id,
            epoch: migration.m,
            entry: 0,
            at: self.engine.clock.now(),
            actor: self.actor.clone(),
            why: None,
        };
        hooks.ask(&occasion).await.err()
    }

    /// Records the veto: always for a cutover that an operator requested, who must request it again, and otherwise
    /// once for each reason. Returns what the migration waits for, if the cutover is retried automatically.
    pub(crate) async fn vetoed(&self, veto: &Veto) -> Result<Option<String>, StepError> {
        let migration = &self.migration;
        let requested =
            migration.state == State::Working(Working::DualWrite { cutover_requested: true });
        let known = migration.undone() == Some(Undone::Vetoed)
            && migration.error.as_deref().is_some_and(|error| error.ends_with(&veto.to_string()));
        if requested || !known {
            let (hook, why) = (veto.hook.as_str().into(), veto.why.as_str().into());
            self.note(Fact::CutoverVetoed { hook, why }).await?;
        }
        let by_itself = migration.options.cutover != CutoverPolicy::Manual;
        Ok(by_itself.then(|| format!("the cutover was {veto}; it is retried")))
    }
}
