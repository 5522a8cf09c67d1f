//! The erasure of an account, step by step. Its record stays until everything else is gone.

use std::time::Duration;

use super::{Account, Identity, Link, RefreshPolicy, Registers, Trusted};
use crate::domain::timestamp::Timestamp;

/// An account whose erasure has begun. Its record has lost everything but the owner, who may ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erasure {
    pub since: Timestamp,
    /// Whether the account is unlinked at Mono, so that nothing is left to do there.
    pub is_unlinked: bool,
    /// When the account was linked again, as a webhook or a code exchange has reported since. A read at Mono confirms
    /// it before the account is known again.
    pub relinked_at: Option<Timestamp>,
}

impl Erasure {
    /// Every invocation that has read the record before the erasure has ended by then. It is longer than the timeout
    /// of each function that writes rows, events or records.
    const WRITERS_END: Duration = Duration::from_mins(5);
    /// For how long a new link may stay unconfirmed. Mono may not serve a new account at once. A link event may be
    /// forged.
    const CONFIRMATION_PERIOD: Duration = Duration::from_hours(24);

    /// The time from which the rows and the history are deleted. A row or an entry that was written later would stay.
    pub fn deletes_from(self) -> Timestamp {
        self.since + Self::WRITERS_END
    }

    /// The time until which a new link counts as possible. `None`: no new link is reported.
    pub fn confirms_until(self) -> Option<Timestamp> {
        self.relinked_at.map(|relinked_at| relinked_at + Self::CONFIRMATION_PERIOD)
    }

    /// The time up to which all link events are void.
    pub fn voids_until(self) -> Timestamp {
        self.relinked_at.map_or(self.since, |relinked_at| relinked_at.max(self.since))
    }
}

/// How long a tombstone keeps late messages from creating an erased account again. It is longer than DynamoDB's
/// point-in-time recovery reaches back, so that an account that is restored can be erased again.
pub const TOMBSTONE_PERIOD: Duration = Duration::from_hours(35 * 24);

impl Account {
    /// The record at the beginning of an erasure. An erasure that has begun continues, unless a new link was noted.
    #[must_use]
    pub fn begin_erasure(&self, now: Timestamp) -> Self {
        if let Some(erasure) = self.erasure {
            // A request after a new link ends that link too.
            let again = Erasure { since: now, is_unlinked: false, relinked_at: None };
            let erasure = erasure.relinked_at.map_or(erasure, |_| again);
            return Self { erasure: Some(erasure), ..self.clone() };
        }
        let is_unlinked = matches!(self.link(), Link::Ended { .. });
        let held = self.registers.identity.reference.held.clone();
        let reference = Trusted { held, claim: None };
        let identity = Identity { reference, ..Identity::default() };
        Self {
            registers: Registers { identity, ..Registers::default() },
            erasure: Some(Erasure { since: now, is_unlinked, relinked_at: None }),
            import_number: self.import_number,
            ..Self::new(self.id.clone())
        }
    }

    /// When the account is to be erased, or when its erasure began. An unlinked account is erased after the retention
    /// period, if the policy has one.
    pub fn erasure_due(&self, policy: RefreshPolicy) -> Option<Timestamp> {
        if let Some(erasure) = self.erasure {
            return Some(erasure.since);
        }
        if !matches!(self.link(), Link::Ended { .. }) {
            return None;
        }
        // Later reads confirm the end again and again. So the unlinking itself counts.
        let unlinked = self.registers.unlinked.newest()?.order.at;
        policy.unlinked_retention.map(|retention| unlinked + retention)
    }

    /// The earliest time at which a plan has something to do with the account. It is stored for the scan.
    pub fn next_planned_at(&self, policy: RefreshPolicy) -> Option<Timestamp> {
        self.next_refresh_at(policy).into_iter().chain(self.erasure_due(policy)).min()
    }
}
