//! The erasure of an account, step by step. Its record stays until everything else is gone.

use std::time::Duration;

use super::{Account, Exchange, Identity, Link, RefreshPolicy, Registers, Trusted};
use crate::domain::timestamp::Timestamp;

/// An account whose erasure has begun. Its record has lost everything but the owner, who may ask again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    pub since: Timestamp,
    /// Whether the account is unlinked at Mono, so that nothing is left to do there.
    pub is_unlinked: bool,
    /// When the account was linked again, as a webhook or an exchange has reported since. The erasure ends first.
    pub relinked_at: Option<Timestamp>,
    /// The exchange that proved the new link. Without one, a read at Mono must confirm the link.
    pub exchange: Option<Exchange>,
}

impl Erasure {
    /// Every invocation that has read the record before the erasure has ended by then. It is longer than the timeout
    /// of each function that writes rows, events or records.
    const WRITERS_END: Duration = Duration::from_mins(5);
    /// For how long Mono may deny a new link. Mono may not serve a new account at once, and a link event may be forged.
    const DENIAL_PERIOD: Duration = Duration::from_hours(24);
    /// For how long a new link waits for an answer of Mono.
    const ANSWER_PERIOD: Duration = Duration::from_hours(7 * 24);

    pub const fn new(since: Timestamp) -> Self {
        Self { since, is_unlinked: false, relinked_at: None, exchange: None }
    }

    /// The time from which the rows and the history are deleted. A row or an entry that was written later would stay.
    pub fn deletes_from(&self) -> Timestamp {
        self.since + Self::WRITERS_END
    }

    /// The erasure after a webhook reported a new link. `None`: a new link is already noted. So repeated and forged
    /// events do not extend the wait for its confirmation.
    pub fn relinked(&self, at: Timestamp) -> Option<Self> {
        let is_new = self.relinked_at.is_none() && self.since < at;
        is_new.then(|| Self { relinked_at: Some(at), ..self.clone() })
    }

    /// The erasure after a code exchange. What is linked at Mono now is the new link, so nothing is left to unlink.
    /// `None`: a later exchange is already noted, or the erasure is newer.
    pub fn exchanged(&self, exchange: &Exchange) -> Option<Self> {
        let held = self.exchange.as_ref().map(|held| held.at);
        (held < Some(exchange.at) && self.since < exchange.at).then(|| Self {
            is_unlinked: true,
            relinked_at: self.relinked_at.max(Some(exchange.at)),
            exchange: Some(exchange.clone()),
            ..self.clone()
        })
    }

    /// Whether Mono has had enough time to confirm the new link.
    pub fn gives_up(&self, is_denied: bool, now: Timestamp) -> bool {
        let period = if is_denied { Self::DENIAL_PERIOD } else { Self::ANSWER_PERIOD };
        self.relinked_at.is_none_or(|relinked_at| relinked_at + period <= now)
    }

    /// The time up to which all link events are void.
    pub fn voids_until(&self) -> Timestamp {
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
        if let Some(erasure) = &self.erasure {
            // A request after a new link ends that link too.
            let again = |_| Erasure::new(now);
            let erasure = erasure.relinked_at.map_or_else(|| erasure.clone(), again);
            return Self { erasure: Some(erasure), ..self.clone() };
        }
        let is_unlinked = matches!(self.link(), Link::Ended { .. });
        let held = self.registers.identity.reference.held.clone();
        let reference = Trusted { held, claim: None };
        let identity = Identity { reference, ..Identity::default() };
        Self {
            registers: Registers { identity, ..Registers::default() },
            erasure: Some(Erasure { is_unlinked, ..Erasure::new(now) }),
            import_number: self.import_number,
            ..Self::new(self.id.clone())
        }
    }

    /// When the account is to be erased, or when its erasure began. An unlinked account is erased after the retention
    /// period, if the policy has one.
    pub fn erasure_due(&self, policy: RefreshPolicy) -> Option<Timestamp> {
        if let Some(erasure) = &self.erasure {
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
