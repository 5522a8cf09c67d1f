//! When an account may be synced, and what is left when a sync has ended.
//!
//! A sync is paid for, so only one runs at a time, and none too soon after another: a lease and a
//! cooldown, taken together in one write before the call to Mono.

use std::time::Duration;

use super::{Account, Fact, Lease, Link, OrderKey, Registers, SyncAttempt, SyncData, SyncOutcome};
use crate::domain::timestamp::Timestamp;

/// Why an account is not synced at this time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncRefusal {
    /// There is no such account for the caller.
    NotVisible,
    /// The link was ended.
    Unlinked {
        /// The unlinking that a plain read of the account has to confirm first, if one has.
        to_check: Option<OrderKey>,
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

impl Registers {
    /// Whether there is nothing but attempts of ours, which told nothing.
    pub(super) fn tells_nothing(&self) -> bool {
        let told = Self {
            attempt: None,
            last_billable_attempt: None,
            last_billable_balance_attempt: None,
            incomplete: None,
            first_seen: None,
            ..self.clone()
        };
        told == Self::default()
    }
}

impl Account {
    /// The account under this lease, and with the cooldown that follows the sync.
    pub fn begin_sync(&self, lease: Lease, cooldown: Duration) -> Result<Self, SyncRefusal> {
        if self.lease == Some(lease) {
            // Taken already: the answer to the write was lost.
            return Ok(self.clone());
        }
        let now = lease.started_at;
        if let Some(unlinked) = self.unlinking(now) {
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

    /// That the link has ended, or that a plain read has to tell whether it has, before anything is
    /// paid for.
    pub fn unlinking(&self, now: Timestamp) -> Option<SyncRefusal> {
        let link = self.link();
        let check = self.link_check_due().filter(|(_, due)| *due <= now);
        let to_check = check.map(|(ending, _)| ending);
        (link != Link::Linked).then_some(SyncRefusal::Unlinked { to_check })
    }

    /// The account after the sync that this lease was taken for: what it came to is applied, and
    /// the lease released, unless it is another's by now, and with it the mark of the automatic refresh:
    /// what comes next is planned anew. The cooldown goes with it if Mono had nothing to do and nothing
    /// to charge.
    ///
    /// `None` if nothing is to be kept of the account: Mono does not know it, and nothing else tells
    /// of it; or Mono was never asked, and there was no record before.
    pub fn end_sync(&self, lease: Lease, attempt: &SyncAttempt) -> Option<Self> {
        let own = self.lease == Some(lease);
        let nothing_left = match attempt.outcome {
            SyncOutcome::NotFound { .. } => self.nothing_known(),
            _ => !attempt.outcome.reached_mono() && self.registers == Registers::default(),
        };
        if nothing_left {
            // What is not of this sync is another's to remove: its cooldown, for one.
            return (!own && *self != Self::new(self.id.clone())).then(|| self.clone());
        }
        // Where Mono was not asked, there is nothing to tell.
        let mut ended = if attempt.outcome.is_attempt() {
            self.apply(&Fact::Attempt(attempt.clone()))
        } else {
            self.clone()
        };
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
        self.registers.tells_nothing()
    }

    /// What a sync is to refresh, where nobody says so: the transactions, but for a
    /// [balance-only](Self::is_balance_only) account, which is asked for them once a week.
    pub fn data_to_sync(&self, now: Timestamp) -> SyncData {
        const ASKED_AGAIN: Duration = Duration::from_hours(7 * 24);
        let asked = self.registers.last_billable_attempt.as_ref().map(|asked| asked.order.at);
        let asked_lately = asked.is_some_and(|asked| now.since(asked) < ASKED_AGAIN);
        if self.is_balance_only() && asked_lately {
            SyncData::Balance
        } else {
            SyncData::Transactions
        }
    }
}
