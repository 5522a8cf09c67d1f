//! When an account may be synced, and what is left when a sync has ended.
//!
//! A sync is paid for, so only one runs at a time, and none too soon after another: a lease and a
//! cooldown, taken together in one write before the call to Mono.

use std::time::Duration;

use super::{Account, Fact, Lease, Registers, SyncAttempt, SyncData, SyncOutcome};
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
    /// What was planned is not wanted any more, or something else is.
    Unwanted,
    /// The last sync is too recent.
    CoolingDown {
        /// When the next one may be.
        until: Timestamp,
    },
}

impl Account {
    /// The account under this lease, and with the cooldown that follows the sync.
    ///
    /// # Errors
    ///
    /// [`SyncRefusal`].
    pub fn begin_sync(&self, lease: Lease, cooldown: Duration) -> Result<Self, SyncRefusal> {
        if self.lease == Some(lease) {
            // Taken already: the answer to the write was lost.
            return Ok(self.clone());
        }
        let now = lease.started_at;
        if let Some(unlinked) = self.unlinking() {
            return Err(unlinked);
        }
        let job = self.running_job(now);
        if job.is_some() || self.held_lease(now).is_some() {
            return Err(SyncRefusal::Running { job_id: job.and_then(|job| job.value.id.clone()) });
        }
        if let Some(until) = self.cooldown_until.filter(|until| now < *until) {
            return Err(SyncRefusal::CoolingDown { until });
        }
        Ok(Self {
            lease: Some(lease),
            cooldown_until: (!cooldown.is_zero()).then(|| now + cooldown),
            ..self.clone()
        })
    }

    /// That the link was ended, if it was.
    #[must_use]
    pub fn unlinking(&self) -> Option<SyncRefusal> {
        let in_doubt = self.unlinking_in_doubt().is_some();
        self.is_unlinked().then_some(SyncRefusal::Unlinked { in_doubt })
    }

    /// The account after the sync that this lease was taken for: what it came to is applied, and
    /// the lease released, unless it is another's by now, and with it the mark of the automatic refresh:
    /// what comes next is planned anew. The cooldown goes with it if Mono had nothing to do and nothing
    /// to charge.
    ///
    /// `None` if nothing is to be kept of the account: Mono does not know it, and nothing else tells
    /// of it; or Mono was never asked, and there was no record before.
    #[must_use]
    pub fn end_sync(&self, lease: Lease, attempt: &SyncAttempt) -> Option<Self> {
        let own = self.lease == Some(lease);
        let nothing_left = match attempt.outcome {
            SyncOutcome::NotFound { .. } => self.nothing_known(),
            _ => !attempt.outcome.reached_mono() && self.registers == Registers::default(),
        };
        if nothing_left {
            return (!own && self.lease.is_some()).then(|| self.clone());
        }
        let mut ended = self.apply(&Fact::Attempt(attempt.clone()));
        if own {
            ended.lease = None;
            ended.refresh_queued_at = None;
            if !attempt.outcome.reached_mono() {
                ended.cooldown_until = None;
            }
        }
        Some(ended)
    }

    /// Whether there is nothing but attempts of ours, which told nothing.
    pub(super) fn nothing_known(&self) -> bool {
        let told = Registers {
            attempt: None,
            reached: None,
            incomplete: None,
            first_seen: None,
            ..self.registers.clone()
        };
        told == Registers::default()
    }

    /// What a sync is to refresh, where nobody says so: the transactions, unless the account has
    /// shown a balance and never any transactions.
    #[must_use]
    pub fn data_to_sync(&self) -> SyncData {
        let registers = &self.registers;
        let retrieved = registers.availability.as_ref().map(|held| &held.value.retrieved_data);
        let told = matches!(retrieved, Some(Some(_)));
        if told && registers.balance.is_some() && !registers.has_transactions {
            SyncData::Balance
        } else {
            SyncData::Transactions
        }
    }
}
