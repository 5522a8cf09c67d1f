//! The adoption of accounts that are linked at Mono and that this system does not know.

use std::time::Duration;

use super::identity::{is_same_bank, same_words};
use super::{Account, Link, OrderKey, Rank, Reported, ShortHash, TimeSource};
use crate::domain::account_id::AccountId;
use crate::domain::timestamp::Timestamp;

/// A row of Mono's list of accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedAccount {
    pub id: AccountId,
    pub reported: Reported,
}

/// What the adoption of a listed account does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdoptionStep {
    /// No webhook and no answer of Mono has named the account before.
    Create,
    /// The list has a value that the record does not have, or confirms one.
    Complete,
    /// The record already has everything in the list. Or a webhook contests its owner: the list has no `ref`, so a read
    /// must settle this first.
    Nothing,
    /// The record shows that the account is unlinked, or a verification of its link is due. Mono does not document
    /// which accounts its list leaves out, so the list decides nothing.
    Unlinked,
    /// The account was erased, or its erasure has begun.
    Erased,
}

impl Account {
    /// What the adoption of this record does.
    pub fn adoption(&self, listed: &Reported) -> AdoptionStep {
        let identity = &self.registers.identity;
        let knows_all = self.registers.is_proven
            && identity.customer.is_verified_as(listed.customer_id.as_ref(), PartialEq::eq)
            && listed.details.as_ref().is_none_or(|details| {
                let bank = details.institution.as_ref().filter(|bank| bank.is_named());
                let same = |one: &String, other: &String| same_words(one, other);
                identity.name.is_verified_as(details.name.as_ref(), same)
                    && identity.account_number.is_verified_as(details.account_number.as_ref(), same)
                    && identity.institution.is_verified_as(bank, is_same_bank)
            });
        if self.erasure.is_some() {
            AdoptionStep::Erased
        } else if self.is_unknown() {
            AdoptionStep::Create
        } else if self.link() != Link::Linked {
            AdoptionStep::Unlinked
        } else if knows_all || identity.contests_owner(self.proving_exchange()) {
            AdoptionStep::Nothing
        } else {
            AdoptionStep::Complete
        }
    }

    /// The pull that the first import of an adopted account covers. `None` if an import has run, runs, or waits.
    pub fn first_import(&self, now: Timestamp) -> Option<OrderKey> {
        let is_running = self.import.is_some_and(|lease| now < lease.until);
        let is_requested = is_running || self.import_deferred_until.is_some();
        (!is_requested && self.registers.imported.is_none()).then(|| self.next_import())?
    }

    /// The pull that a requested import covers: the one that is due, or else that of the adoption. `None` if it is
    /// imported.
    pub fn next_import(&self) -> Option<OrderKey> {
        self.import_due().or_else(|| self.import_of_adoption())
    }

    /// The pull of an import that no report of Mono has made due. It is the same each time, so a repeated request
    /// imports nothing twice. `None` if it is imported. A part of it ends just before it.
    fn import_of_adoption(&self) -> Option<OrderKey> {
        let pull = OrderKey {
            // A part counts from a millisecond before, which must not be before the first fact.
            at: self.known_since() + Duration::from_millis(1),
            rank: Rank::Connected,
            time_source: TimeSource::Event,
            event: ShortHash::of("adoption"),
        };
        let imported = self.registers.imported.as_ref().map(|imported| imported.order);
        (imported < Some(pull)).then_some(pull)
    }
}
