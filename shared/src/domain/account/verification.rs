//! When a plain read of an account at Mono is due, and what its answer changes. Such a read has a price.

use std::time::Duration;

use super::link::order_key;
use super::refresh_schedule::SHORTEST_BACKOFF;
use super::{Account, Fact, Link, OrderKey, Reading, Verification, Webhook};
use crate::domain::timestamp::Timestamp;

/// The shortest time between two reads of one account that webhooks cause.
const READ_INTERVAL: Duration = Duration::from_mins(1);
/// The longest back-off after an inconclusive read.
const LONGEST_DOUBT: Duration = Duration::from_hours(6);
/// From this time after the first fact, a second denial removes the record.
const DENIAL_PERIOD: Duration = Duration::from_hours(24);

impl Account {
    /// When a plain read of the account at Mono is due, and the unlinking that it verifies, if any. There are three
    /// reasons for a read:
    ///
    /// - The link is in doubt.
    /// - A claim differs from its held value.
    /// - Only webhooks have named the account, and a call about it was made.
    ///
    /// A read is due immediately, at most once a minute. After an inconclusive read, the next one follows with
    /// exponential back-off from one hour to six. An account that Mono has not answered for is read only for the third
    /// reason once it was tried. Otherwise forged events could cause any number of reads.
    pub fn verification_due(&self) -> Option<(Option<OrderKey>, Timestamp)> {
        let link = self.link_check_due();
        if let Some(due) = self.proof_due() {
            return Some((link.map(|(ending, _)| ending), due));
        }
        let is_ended = matches!(self.link(), Link::Ended { .. });
        let contested =
            self.registers.identity.contested_at(self.proving_exchange()).filter(|_| !is_ended);
        let identity = contested.map(|at| self.read_after(at));
        let due = link.map(|(_, due)| due).into_iter().chain(identity);
        Some((link.map(|(ending, _)| ending), due.min()?))
    }

    /// When a verification is due. `None` if the record `before` already had one due at that time or earlier.
    pub fn earlier_verification(&self, before: &Self) -> Option<Timestamp> {
        let (_, due) = self.verification_due()?;
        let known = before.verification_due();
        known.is_none_or(|(_, known)| due < known).then_some(due)
    }

    /// When a read is due for a doubt that began at this time. The time of an event may be ahead of the present, which
    /// must not postpone the read.
    pub(super) fn read_after(&self, doubt: Timestamp) -> Timestamp {
        match self.registers.link_checked {
            None => doubt - Webhook::CLOCK_SKEW,
            Some(checked) if checked < doubt => checked + READ_INTERVAL,
            Some(_) => self.read_again_after(doubt),
        }
    }

    /// The same time, or after an inconclusive read since then, with exponential back-off.
    fn read_again_after(&self, due: Timestamp) -> Timestamp {
        let checked = self.registers.link_checked.filter(|checked| *checked >= due);
        checked.map_or(due, |checked| {
            checked + checked.since(due).clamp(SHORTEST_BACKOFF, LONGEST_DOUBT)
        })
    }

    /// When a read of an account that only webhooks have named is due. After a sync without an answer, it is due an
    /// hour later. After a denial, reads follow with exponential back-off from one hour to six, because Mono may not
    /// serve a new account at once. A denial a day after the first event removes the record.
    fn proof_due(&self) -> Option<Timestamp> {
        let registers = &self.registers;
        if registers.is_proven || self.is_payment_only() {
            return None;
        }
        let attempted = registers.last_billable_attempt.as_ref().map(|mark| mark.order.at);
        let backed_off = |at: Timestamp| {
            at + at.since(self.known_since()).clamp(SHORTEST_BACKOFF, LONGEST_DOUBT)
        };
        let due = self.denied_at().map(backed_off);
        due.or(attempted.map(|at| at + SHORTEST_BACKOFF)).map(|due| self.read_again_after(due))
    }

    /// When Mono last answered that there is no such account.
    pub(super) fn denied_at(&self) -> Option<Timestamp> {
        let denial = order_key(self.registers.gone.as_ref());
        denial.max(order_key(self.registers.not_found.as_ref())).map(|denial| denial.at)
    }

    /// The record after Mono's answer to a plain read. `None` if the record is to be deleted: only webhooks have named
    /// the account, and Mono has denied it again after a day.
    pub fn end_verification(&self, verification: Verification) -> Option<Self> {
        if self.erasure.is_some() {
            return Some(self.clone());
        }
        let Verification { at, found, .. } = &verification;
        let is_again = self.denied_at().is_some() && self.known_since() + DENIAL_PERIOD <= *at;
        if *found == Reading::Gone && is_again && !self.registers.is_proven {
            return None;
        }
        let at = *at;
        let found = match verification.found {
            Reading::Linked(reported) => Reading::Linked(Box::new(self.completed(*reported, at))),
            other => other,
        };
        let mut verified = self.apply(&Fact::Verification(Verification { found, ..verification }));
        // The import was given up when Mono denied the account.
        if verified.registers.is_proven && self.denied_at().is_some() && !self.registers.is_proven {
            verified.import_deferred_until = verified.import_due().map(|_| at);
        }
        Some(verified)
    }
}
