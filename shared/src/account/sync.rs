//! When an account may be synced, and what is left when a sync has ended.
//!
//! A sync is paid for, so only one runs at a time, and none too soon after another: a lease and a
//! cooldown, taken together in one write before the call to Mono.

use std::time::Duration;

use super::{Account, Fact, Lease, Registers, SyncAttempt, SyncData, SyncOutcome, Trouble};
use crate::timestamp::Timestamp;

/// Why an account is not synced at this time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncRefusal {
    /// The link was ended.
    Unlinked {
        /// Whether that wants checking first, by a plain read of the account, which is free.
        in_doubt: bool,
    },
    /// A pull is under way.
    Running {
        /// Mono's job, where known.
        job_id: Option<String>,
    },
    /// The last sync is too recent.
    CoolingDown {
        /// When the next one may be.
        until: Timestamp,
    },
}

impl Account {
    /// The account under a lease that ends at `lease_until` at the latest, and with the cooldown
    /// that follows the sync.
    ///
    /// # Errors
    ///
    /// [`SyncRefusal`].
    pub fn begin_sync(
        &self,
        now: Timestamp,
        lease_until: Timestamp,
        cooldown: Duration,
    ) -> Result<Self, SyncRefusal> {
        if self.is_unlinked() {
            return Err(SyncRefusal::Unlinked { in_doubt: self.unlinking_in_doubt().is_some() });
        }
        let job = self.running_job(now);
        if job.is_some() || self.held_lease(now).is_some() {
            return Err(SyncRefusal::Running { job_id: job.and_then(|job| job.value.id.clone()) });
        }
        if let Some(until) = self.cooldown_until.filter(|until| now < *until) {
            return Err(SyncRefusal::CoolingDown { until });
        }
        let lease = Lease { started_at: now, until: lease_until };
        Ok(Self {
            lease: Some(lease),
            cooldown_until: (!cooldown.is_zero()).then(|| now + cooldown),
            ..self.clone()
        })
    }

    /// The account after a sync of ours; `None` if nothing is to be kept of it. That is so where
    /// Mono does not know an account of which nothing but the lease is stored, or was never asked.
    #[must_use]
    pub fn end_sync(&self, attempt: &SyncAttempt) -> Option<Self> {
        let nothing_known = self.registers == Registers::default();
        let nothing_learnt = matches!(
            attempt.outcome,
            SyncOutcome::NotFound { .. }
                | SyncOutcome::Trouble(Trouble::RateLimited { .. } | Trouble::NotConnected)
        );
        (!(nothing_known && nothing_learnt)).then(|| self.apply(&Fact::Attempt(attempt.clone())))
    }

    /// What a sync is to refresh, where nobody says so: the transactions, unless the account has
    /// shown a balance and never any transactions.
    #[must_use]
    pub fn data_to_sync(&self) -> SyncData {
        let registers = &self.registers;
        let retrieved = registers.availability.as_ref();
        let retrieved = retrieved.and_then(|held| held.value.retrieved_data.as_ref());
        let without_transactions =
            retrieved.is_some_and(|parts| parts.iter().all(|part| part != "transactions"));
        let never = registers.transactions.is_none() && without_transactions;
        if never && registers.balance.is_some() {
            SyncData::Balance
        } else {
            SyncData::Transactions
        }
    }

    /// What the end of a sync does besides what its fact says: the lease is over, and so is the
    /// cooldown if Mono had nothing to do and nothing to charge.
    pub(super) fn release(&mut self, attempt: &SyncAttempt) {
        if self.lease.is_some_and(|lease| lease.started_at == attempt.started_at) {
            self.lease = None;
            if !attempt.outcome.reached_mono() {
                self.cooldown_until = None;
            }
        }
    }
}
