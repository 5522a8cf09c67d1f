//! The state of an account's link: linked, in doubt or ended.
//!
//! A leaked secret allows a forged unlinking, and a webhook can arrive late. So an unlinking takes effect only when a
//! plain read of the account at Mono has confirmed it. Mono's answer is valid until a newer fact contradicts it. Mono
//! does not document its answer for an unlinked account. So an answer that returns the account is valid only until the
//! next sync.

use super::refresh_schedule::{LONGEST_BACKOFF, SHORTEST_BACKOFF};
use super::{Account, Mark, OrderKey, TimeSource};
use crate::domain::timestamp::Timestamp;

/// The state of the link of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// The account is linked, according to the facts.
    Linked,
    /// A plain read of the account at Mono has to verify the link.
    InDoubt {
        /// When the doubt began.
        since: Timestamp,
        /// When the link ended, if Mono confirmed the end before the doubt.
        ended_at: Option<Timestamp>,
    },
    /// The link has ended, and Mono confirmed it.
    Ended { at: Timestamp },
}

impl Link {
    /// When the link ended, if it counts as ended.
    pub fn ended_at(self) -> Option<Timestamp> {
        match self {
            Self::Linked => None,
            Self::InDoubt { ended_at, .. } => ended_at,
            Self::Ended { at } => Some(at),
        }
    }
}

impl Account {
    /// The state of the link.
    pub fn link(&self) -> Link {
        let registers = &self.registers;
        // Without an unlinking webhook, a sync that Mono answers with 404 is only a failed sync.
        let Some(unlinked) = registers.unlinked.newest().map(|unlinked| unlinked.order) else {
            return Link::Linked;
        };
        let (linked, confirmed_linked) =
            (order_key(registers.linked.as_ref()), order_key(registers.confirmed_linked.as_ref()));
        let ended = self.ended();
        if let Some(ended) = ended.filter(|ended| Some(*ended) > confirmed_linked) {
            // If Mono returned the account after its unlinking, another read proves nothing. Then only a strong event
            // reopens the link.
            let reopens = |order: &OrderKey| {
                *order > ended
                    && (confirmed_linked < Some(unlinked) || order.time_source == TimeSource::Event)
            };
            if !linked.is_some_and(|linked| reopens(&linked)) {
                return match self.sign_of_life().filter(reopens) {
                    Some(sign) => Link::InDoubt { since: sign.at, ended_at: Some(ended.at) },
                    None => Link::Ended { at: ended.at },
                };
            }
        }
        let ending = ended.map_or(unlinked, |ended| ended.max(unlinked));
        if confirmed_linked >= Some(ending) || self.successful_attempt() > Some(ending) {
            return Link::Linked;
        }
        match linked.filter(|linked| *linked > ending) {
            None => Link::InDoubt { since: ending.at, ended_at: None },
            // This link event may be a redelivery from before the unlinking.
            Some(linked)
                if linked.time_source == TimeSource::Receipt && !self.is_proven_since(ending) =>
            {
                let ended = ended.filter(|_| registers.link_checked >= Some(linked.at));
                Link::InDoubt { since: linked.at, ended_at: ended.map(|ended| ended.at) }
            }
            Some(_) => Link::Linked,
        }
    }

    /// When Mono confirmed the newest unlinking. A denial from before the unlinking confirms it only if nothing has shown
    /// the account since the denial.
    pub(super) fn ended(&self) -> Option<OrderKey> {
        let registers = &self.registers;
        let unlinked = registers.unlinked.newest()?.order;
        let pulls = self.confirmed_pulls().filter(|pull| pull.time_source == TimeSource::Event);
        let shown = pulls.chain(self.successful_attempt()).max();
        let shown = shown.max(order_key(registers.linked.as_ref()));
        self.denial().filter(|denial| {
            let is_shown_since =
                shown > Some(*denial) || registers.identity.verified_at() > Some(denial.at);
            *denial > unlinked || !is_shown_since
        })
    }

    /// When Mono itself answered that there is no such account. Such an answer to a sync is only a failure in two
    /// cases: an earlier sync succeeded after the unlinking, or no webhook reported an unlinking.
    fn denial(&self) -> Option<OrderKey> {
        let registers = &self.registers;
        let unlinked = registers.unlinked.newest()?.order;
        let is_proven_before = |sync: OrderKey| {
            let mut pulls = self.confirmed_pulls().filter(|pull| *pull > unlinked && *pull < sync);
            pulls.any(|pull| pull.time_source == TimeSource::Event)
        };
        let not_found =
            order_key(registers.not_found.as_ref()).filter(|sync| !is_proven_before(*sync));
        order_key(registers.gone.as_ref()).max(not_found)
    }

    /// The unlinking to verify, and when a plain read must verify it.
    ///
    /// An ended link is verified after a week, then after twice as long each time, because the webhooks of a new link
    /// may be lost. Mono's price list covers only answers with data, so a 404 is assumed to be free. If Mono returned
    /// the account after the unlinking, its answer proves nothing. Then an ended link is not verified again.
    pub(super) fn link_check_due(&self) -> Option<(OrderKey, Timestamp)> {
        let registers = &self.registers;
        let unlinked = registers.unlinked.newest()?.order;
        let ending = self.ended().map_or(unlinked, |ended| ended.max(unlinked));
        match self.link() {
            Link::Linked => None,
            Link::InDoubt { since, .. } => Some((ending, self.read_after(since))),
            Link::Ended { at } => {
                let due = at + at.since(unlinked.at).max(LONGEST_BACKOFF);
                let checked = registers.link_checked.filter(|checked| *checked >= due);
                let due = checked.map_or(due, |checked| {
                    checked + checked.since(due).clamp(SHORTEST_BACKOFF, LONGEST_BACKOFF)
                });
                (order_key(registers.confirmed_linked.as_ref()) < Some(unlinked))
                    .then_some((ending, due))
            }
        }
    }

    /// Whether the account counts as unlinked.
    pub fn is_unlinked(&self) -> bool {
        self.link().ended_at().is_some()
    }

    /// Whether the fact with this order key is about the current link. A fact that is older than the last unlinking
    /// is about a former link. A weak unlinking that Mono contradicted does not count.
    pub(super) fn is_of_this_link(&self, order: OrderKey) -> bool {
        Some(order) > self.former_link_ended()
    }

    /// When the current link was made, if there was a former link.
    pub(super) fn relinked_at(&self) -> Option<Timestamp> {
        let ended = self.former_link_ended()?;
        let linked = self.registers.linked.as_ref().map(|linked| linked.order);
        Some(linked.map_or(ended, |linked| linked.max(ended)).at)
    }

    /// The newest confirmed pull or re-authorisation.
    pub(super) fn sign_of_life(&self) -> Option<OrderKey> {
        let reauthorised = self.registers.reauthorised.as_ref().map(|mark| mark.order);
        self.confirmed_pulls().chain(reauthorised).max()
    }

    /// When the former link ended, if there was one. An unlinking that Mono has not confirmed counts once a new link
    /// follows.
    pub(super) fn former_link_ended(&self) -> Option<OrderKey> {
        let registers = &self.registers;
        let confirmed_linked =
            registers.confirmed_linked.as_ref().map(|confirmed_linked| confirmed_linked.order);
        let linked = order_key(registers.linked.as_ref());
        let unlinked = registers.unlinked.newest_that(|order| {
            order.time_source == TimeSource::Event || Some(order) > confirmed_linked
        });
        let unlinked = unlinked.map(|unlinked| unlinked.order);
        unlinked.filter(|unlinked| linked > Some(*unlinked)).max(self.denial())
    }

    /// This system's newest sync, if Mono has answered it with success.
    pub(super) fn successful_attempt(&self) -> Option<OrderKey> {
        let attempt = self.registers.attempt.as_ref();
        attempt.filter(|attempt| attempt.value.outcome == "successful").map(|attempt| attempt.order)
    }

    fn is_proven_since(&self, ending: OrderKey) -> bool {
        self.confirmed_pulls().any(|pull| pull.time_source == TimeSource::Event && pull > ending)
    }
}

pub(super) fn order_key(register: Option<&Mark>) -> Option<OrderKey> {
    register.map(|held| held.order)
}
