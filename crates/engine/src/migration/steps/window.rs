//! The rollback window: the old source is kept up to date as a replica of the new authority, so that
//! the tenant can return.

use std::sync::Arc;

use rehome_domain::ledger::Role;
use rehome_domain::migration::{Fact, OldSource, State};

use super::clean_up::retire;
use super::prepare::is_prefix;
use super::{Context, StepError};
use rehome_ports::ControlError;

use crate::mirror::{Ended, Mirror};
use crate::replica::Replica;
use crate::signal::Way;

/// The mirror back to the old source.
pub(crate) struct Window {
    mirror: Mirror,
}

impl Window {
    /// Makes the old source a replica of the target and starts mirroring into it.
    pub(crate) async fn start(context: &Context) -> Result<Option<Self>, StepError> {
        let State::Migrated { old_source: OldSource::Window { m }, .. } = context.migration.state
        else {
            return Ok(None);
        };
        let (tenant, old, authority) = (context.tenant(), &context.source, &context.target);
        let ledger = old.ledger(tenant).await?;
        if !(ledger.role == Role::Replica && ledger.epoch == m) {
            if !is_prefix(ledger.head, &**authority, tenant).await? {
                return Err(StepError::Violated(
                    "the old source is not a prefix of the target".to_owned(),
                ));
            }
            old.adopt(tenant, m, ledger.head).await?;
        }
        crate::failpoint::hit("window.adopted");
        let replica = Replica::open(Arc::clone(old), tenant, m).await?;
        let mirror = Mirror::start(
            &context.engine,
            &context.migration,
            Way::Back,
            Arc::clone(authority),
            replica,
            0,
        );
        Ok(Some(Self { mirror }))
    }

    /// Whether the mirror still runs, or why it cannot.
    pub(crate) fn check(&self) -> Result<bool, StepError> {
        match self.mirror.status().ended {
            None => Ok(true),
            Some(Ended::Refused(_)) => Ok(false),
            Some(Ended::Fatal(why)) => Err(StepError::Violated(why)),
        }
    }

    /// Why the old source is not up to date at the moment, if it is not.
    pub(crate) fn failing(&self) -> Option<String> {
        self.mirror.status().failing
    }

    /// Resolves when the mirror fails, or has ended.
    pub(crate) async fn in_trouble(&self) {
        self.mirror.in_trouble().await;
    }

    pub(crate) async fn stop(self) {
        self.mirror.stop().await;
    }
}

impl Context {
    /// The time to return is over.
    pub(crate) async fn close_window(&self) -> Result<(), StepError> {
        let route = self.route().await?;
        if route.window && route.migration.is_some_and(|(id, _)| id == self.migration.id) {
            self.record(route.rev, Fact::WindowClosed).await?;
            crate::failpoint::hit("window.closed");
        }
        Ok(())
    }

    /// After the window was closed: the old source accepts nothing more, at the window's epoch, so
    /// that no sleeper can adopt it again.
    pub(crate) async fn drop_old_replica(&self) -> Result<(), StepError> {
        let State::Migrated { old_source: OldSource::Closing { m }, .. } = self.migration.state
        else {
            return Ok(());
        };
        retire(&*self.source, &*self.target, self.tenant(), m).await?;
        crate::failpoint::hit("window.dropped");
        match self.note(Fact::ReplicaDropped).await {
            // An operator and a driver may do this at once: one of them finds it done.
            Err(ControlError::Refused(_)) | Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
