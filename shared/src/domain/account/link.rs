//! Whether an account is linked, and what of that is in doubt.
//!
//! An unlinking webhook can arrive late, and a leaked secret allows a forged one. So an unlinking takes effect
//! at once, and a plain read of the account at Mono, which Mono may charge, verifies it. Mono's answer holds
//! until a newer fact contradicts it. Mono does not document its answer for an unlinked account, so an answer
//! that shows the account holds only until the next sync.

use super::refresh_schedule::{LONGEST_BACKOFF, SHORTEST_BACKOFF};
use super::{Account, Mark, OrderKey, TimeSource};
use crate::domain::timestamp::Timestamp;

/// How things stand between an account and its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It is linked, as far as known.
    Linked,
    /// A plain read of the account has to tell.
    InDoubt {
        /// Since when it is.
        since: Timestamp,
        /// When the link ended, if it counts as ended meanwhile.
        ended_at: Option<Timestamp>,
    },
    /// It has ended: Mono itself has said so.
    Ended {
        /// When.
        at: Timestamp,
    },
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
    /// Whether the account is linked.
    pub fn link(&self) -> Link {
        let registers = &self.registers;
        // Where no webhook has told of an unlinking, a sync that is answered with 404 has failed.
        let Some(heard) = registers.unlinked.newest().map(|heard| heard.order) else {
            return Link::Linked;
        };
        let (linked, confirmed_linked) =
            (place(registers.linked.as_ref()), place(registers.confirmed_linked.as_ref()));
        let ended = self.ended();
        if let Some(ended) = ended.filter(|ended| Some(*ended) > confirmed_linked) {
            // Where Mono has shown the account after its end, another read would prove nothing: only an event
            // with a time of its own reopens it.
            let reopens = |order: &OrderKey| {
                *order > ended
                    && (confirmed_linked < Some(heard) || order.time_source == TimeSource::Event)
            };
            if !linked.is_some_and(|linked| reopens(&linked)) {
                return match self.sign_of_life().filter(reopens) {
                    Some(sign) => Link::InDoubt { since: sign.at, ended_at: Some(ended.at) },
                    None => Link::Ended { at: ended.at },
                };
            }
        }
        let ending = ended.map_or(heard, |ended| ended.max(heard));
        if confirmed_linked >= Some(ending) {
            return Link::Linked;
        }
        match linked.filter(|linked| *linked > ending) {
            None => Link::InDoubt { since: ending.at, ended_at: Some(ending.at) },
            // A retry can have brought it from before the unlinking.
            Some(linked)
                if linked.time_source == TimeSource::Receipt && !self.is_proven_since(ending) =>
            {
                let is_checked = registers.link_checked >= Some(linked.at);
                let ended_at = is_checked.then_some(ending.at);
                Link::InDoubt { since: linked.at, ended_at }
            }
            Some(_) => Link::Linked,
        }
    }

    /// When Mono itself said that there is no such account. A sync that says so after others that succeeded
    /// has failed, as it has where no unlinking was ever heard of.
    fn ended(&self) -> Option<OrderKey> {
        let registers = &self.registers;
        let heard = registers.unlinked.newest()?.order;
        let is_proven_before = |sync: OrderKey| {
            let mut pulls = self.confirmed_pulls().filter(|pull| *pull > heard && *pull < sync);
            pulls.any(|pull| pull.time_source == TimeSource::Event)
        };
        let not_found = place(registers.not_found.as_ref()).filter(|sync| !is_proven_before(*sync));
        place(registers.gone.as_ref()).max(not_found)
    }

    /// When the link is to be checked, and the unlinking that is in question.
    ///
    /// A link in doubt is checked at once. After an inconclusive check, the next one follows with exponential
    /// back-off from one hour to one week. An ended link is checked after a week, then after twice as long each
    /// time, because the webhooks of a new link may be lost. Mono's price list covers only answers with data, so
    /// a 404 is assumed to be free. If Mono showed the account after the unlinking, its answer proves nothing,
    /// and an ended link is not checked again.
    pub fn link_check_due(&self) -> Option<(OrderKey, Timestamp)> {
        let registers = &self.registers;
        let heard = registers.unlinked.newest()?.order;
        let ending = self.ended().map_or(heard, |ended| ended.max(heard));
        let backed_off = |checked: Timestamp, since| {
            checked + checked.since(since).clamp(SHORTEST_BACKOFF, LONGEST_BACKOFF)
        };
        match self.link() {
            Link::Linked => None,
            Link::InDoubt { since, .. } => {
                let checked = registers.link_checked.filter(|checked| *checked >= since);
                Some((ending, checked.map_or(since, |checked| backed_off(checked, since))))
            }
            Link::Ended { at } => {
                let due = at + at.since(heard.at).max(LONGEST_BACKOFF);
                let checked = registers.link_checked.filter(|checked| *checked >= due);
                let due = checked.map_or(due, |checked| backed_off(checked, due));
                (place(registers.confirmed_linked.as_ref()) < Some(heard)).then_some((ending, due))
            }
        }
    }

    /// Whether the account is shown as unlinked.
    pub fn is_unlinked(&self) -> bool {
        self.link().ended_at().is_some()
    }

    /// Whether a fact in this place is about the present link: none that is older than the last
    /// unlinking is. A weak unlinking that Mono has contradicted never happened.
    pub(super) fn is_of_this_link(&self, order: OrderKey) -> bool {
        Some(order) > self.former_link_ended()
    }

    /// When the present link was made, if it followed another.
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

    /// When a former link ended, if one did.
    pub(super) fn former_link_ended(&self) -> Option<OrderKey> {
        let registers = &self.registers;
        let confirmed_linked =
            registers.confirmed_linked.as_ref().map(|confirmed_linked| confirmed_linked.order);
        let heard = registers.unlinked.newest_that(|order| {
            order.time_source == TimeSource::Event || Some(order) > confirmed_linked
        });
        heard.map(|heard| heard.order).max(self.ended())
    }

    fn is_proven_since(&self, ending: OrderKey) -> bool {
        self.confirmed_pulls().any(|pull| pull.time_source == TimeSource::Event && pull > ending)
    }
}

fn place(register: Option<&Mark>) -> Option<OrderKey> {
    register.map(|held| held.order)
}
