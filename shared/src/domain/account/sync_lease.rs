//! The rules for starting a sync of an account and for ending it.
//!
//! Mono charges for a sync. So only one sync of an account runs at a time, and the next one waits for the cooldown.
//! The lease and the cooldown are written together, before the call to Mono.

use std::time::Duration;

use super::{Account, Fact, Lease, Link, Registers, SyncAttempt, SyncData, SyncOutcome};
use crate::domain::timestamp::Timestamp;

/// Why an account is not synced at this time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncRefusal {
    /// For this caller, the account does not exist.
    NotVisible,
    /// The account is unlinked, and Mono confirmed it.
    Unlinked,
    /// A pull is running.
    Running {
        /// Mono's job, if known.
        job_id: Option<String>,
    },
    /// The last sync is too recent.
    CoolingDown {
        /// When the next sync may start.
        until: Timestamp,
    },
}

impl Registers {
    /// Whether the registers hold only sync attempts of this system that gave no information.
    pub(super) fn hold_only_attempts(&self) -> bool {
        let informative = Self {
            attempt: None,
            last_billable_attempt: None,
            last_billable_balance_attempt: None,
            incomplete: None,
            first_seen: None,
            ..self.clone()
        };
        informative == Self::default()
    }
}

impl Account {
    /// Takes the lease for a sync and starts its cooldown.
    pub fn begin_sync(&self, lease: Lease, cooldown: Duration) -> Result<Self, SyncRefusal> {
        if self.lease == Some(lease) {
            // The lease is already taken: the answer to the write was lost.
            return Ok(self.clone());
        }
        let now = lease.started_at;
        if matches!(self.link(), Link::Ended { .. }) {
            return Err(SyncRefusal::Unlinked);
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

    /// Ends the sync of this lease and applies its outcome. If the account still holds this lease, the lease is
    /// released. The queued mark is also cleared, so that the next refresh can be planned. If Mono started nothing
    /// and charged nothing, the cooldown is cleared too.
    ///
    /// `None` if the record is to be deleted. There are two such cases. Either Mono does not know the account and no
    /// other fact mentions it. Or Mono started nothing and there was no record before.
    pub fn end_sync(&self, lease: Lease, attempt: &SyncAttempt) -> Option<Self> {
        if self.erasure.is_some() {
            return Some(self.clone());
        }
        let is_holder = self.lease == Some(lease);
        let is_empty = match attempt.outcome {
            SyncOutcome::NotFound { .. } => self.registers.hold_only_attempts(),
            _ => !attempt.outcome.reached_mono() && self.registers == Registers::default(),
        };
        if is_empty {
            // Another caller owns the rest of the record, such as the lease and the cooldown.
            return (!is_holder && *self != Self::new(self.id.clone())).then(|| self.clone());
        }
        // If Mono was not called, there is no fact to apply.
        let mut ended = if attempt.outcome.is_attempt() {
            self.apply(&Fact::Attempt(attempt.clone()))
        } else {
            self.clone()
        };
        if is_holder {
            ended.lease = None;
            ended.refresh_queued_at = None;
            if !attempt.outcome.reached_mono() {
                ended.cooldown_until = None;
            }
        }
        Some(ended)
    }

    /// The data that a sync refreshes by default: the transactions. A sync of a
    /// [balance-only](Self::is_balance_only) account refreshes the balance, and the transactions once a week.
    pub fn data_to_sync(&self, now: Timestamp) -> SyncData {
        const REQUEST_INTERVAL: Duration = Duration::from_hours(7 * 24);
        let requested =
            self.registers.last_billable_attempt.as_ref().map(|requested| requested.order.at);
        let is_recent = requested.is_some_and(|requested| now.since(requested) < REQUEST_INTERVAL);
        if self.is_balance_only() && is_recent { SyncData::Balance } else { SyncData::Transactions }
    }
}
