//! The identity of an account: its owner, its holder, its number and its bank.
//!
//! The webhook secret is one static value, so webhooks can be forged. Mono's answers to this system cannot: they come
//! over TLS for this system's own key. So the first value that a webhook names is held. A different value is only a
//! claim until a plain read of the account has confirmed it.

use std::cmp::Reverse;
use std::fmt;
use std::time::Duration;

use super::{Account, Details, Institution, Reported, ShortHash};
use crate::domain::link_token::{LinkToken, StartedLink};
use crate::domain::timestamp::Timestamp;

/// One value of the identity.
///
/// Both parts are maxima, so they do not depend on the order of arrival or on repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted<T> {
    /// The value that counts, in the API and for access.
    pub held: Option<Held<T>>,
    /// The newest value that a webhook named.
    pub claim: Option<Claim<T>>,
}

/// The value that counts, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held<T> {
    pub proof: Proof,
    pub value: T,
}

/// Why a value is held. The greater proof wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proof {
    /// The first webhook that named a value was received at this time. The earliest receipt wins.
    FirstUse(Reverse<Timestamp>),
    /// Mono answered with the value at this time. The newest answer wins.
    Verified(Timestamp),
}

/// A value that a webhook named, and the time of the event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim<T> {
    pub at: Timestamp,
    pub value: T,
}

/// The values whose change Mono must confirm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The fintech's own reference, which names the owner.
    pub reference: Trusted<String>,
    /// Mono's id of the customer.
    pub customer: Trusted<String>,
    /// The holder's name.
    pub name: Trusted<String>,
    pub account_number: Trusted<String>,
    pub institution: Trusted<Institution>,
    /// The newest plain read that Mono answered with the details of the account, or with a denial of the account.
    pub read_at: Option<Timestamp>,
    /// The newest claims that a plain read has refuted, and the time of the read.
    pub refuted: Option<(Timestamp, ShortHash)>,
    /// The newest link that this system has started, of those whose token Mono has named for the account.
    pub link: Option<StartedLink>,
    /// The newest code exchange that named an owner.
    pub exchanged_at: Option<Timestamp>,
}

/// How long a refuted claim may be repeated without another read. Mono's webhooks and answers may differ for good.
const REFUTED_FOR: Duration = Duration::from_hours(7 * 24);

impl<T> Default for Trusted<T> {
    fn default() -> Self {
        Self { held: None, claim: None }
    }
}

impl<T: Ord + Clone> Trusted<T> {
    /// The held value.
    pub fn value(&self) -> Option<&T> {
        self.held.as_ref().map(|held| &held.value)
    }

    pub(super) fn claim(&mut self, received_at: Timestamp, at: Timestamp, value: &T) {
        self.hold(Proof::FirstUse(Reverse(received_at)), value);
        self.claim = self.claim.take().max(Some(Claim { at, value: value.clone() }));
    }

    fn hold(&mut self, proof: Proof, value: &T) {
        self.held = self.held.take().max(Some(Held { proof, value: value.clone() }));
    }

    /// The claim, if it differs from the held value.
    fn contested(&self, is_same: impl Fn(&T, &T) -> bool) -> Option<&Claim<T>> {
        let (held, claim) = (self.held.as_ref()?, self.claim.as_ref()?);
        let differs = held.value != claim.value && !is_same(&held.value, &claim.value);
        differs.then_some(claim)
    }

    /// Whether Mono has confirmed the held value, and it is this value. A missing value needs no confirmation.
    pub(super) fn is_verified_as(
        &self,
        value: Option<&T>,
        is_same: impl Fn(&T, &T) -> bool,
    ) -> bool {
        value.is_none_or(|value| {
            let is_held = |held: &Held<T>| held.value == *value || is_same(&held.value, value);
            self.verified_at().is_some() && self.held.as_ref().is_some_and(is_held)
        })
    }

    fn verified_at(&self) -> Option<Timestamp> {
        match self.held.as_ref()?.proof {
            Proof::Verified(at) => Some(at),
            Proof::FirstUse(_) => None,
        }
    }
}

impl Identity {
    /// A webhook carried the token of a link, so it names the owner for whom this system started the link.
    pub(super) fn claim_link(&mut self, received_at: Timestamp, at: Timestamp, link: &StartedLink) {
        self.reference.claim(received_at, at, &link.owner);
        self.link = self.link.take().max(Some(link.clone()));
    }

    pub(super) fn claim_details(
        &mut self,
        received_at: Timestamp,
        at: Timestamp,
        details: &Details,
    ) {
        if let Some(name) = &details.name {
            self.name.claim(received_at, at, name);
        }
        if let Some(number) = &details.account_number {
            self.account_number.claim(received_at, at, number);
        }
        if let Some(institution) = details.institution.as_ref().filter(|bank| bank.is_named()) {
            self.institution.claim(received_at, at, institution);
        }
    }

    /// A code exchange at this time proved the owner.
    pub(super) fn exchange(&mut self, at: Timestamp, owner: &String) {
        self.reference.hold(Proof::Verified(at), owner);
        self.exchanged_at = self.exchanged_at.max(Some(at));
    }

    /// Applies Mono's answer to a plain read at this time.
    pub(super) fn verify(&mut self, at: Timestamp, reported: &Reported) {
        let proof = Proof::Verified(at);
        self.link = self.link.take().max(reported.link.clone());
        if let Some(reference) = own_reference(reported.reference.as_ref()) {
            self.reference.hold(proof, reference);
        }
        if let Some(customer) = &reported.customer_id {
            self.customer.hold(proof, customer);
        }
        let Some(details) = &reported.details else {
            return;
        };
        self.read_at = self.read_at.max(Some(at));
        self.refuted = self.refuted.max(reported.refuted.map(|claims| (at, claims)));
        if let Some(name) = &details.name {
            self.name.hold(proof, name);
        }
        if let Some(number) = &details.account_number {
            self.account_number.hold(proof, number);
        }
        if let Some(institution) = details.institution.as_ref().filter(|bank| bank.is_named()) {
            self.institution.hold(proof, institution);
        }
    }

    /// When the identity was last proven: by an answer of Mono, or by the token of a link that this system has started
    /// for the owner. `None`: only webhooks have named it.
    pub fn proven_at(&self) -> Option<Timestamp> {
        let is_of_owner =
            |held: &&Held<String>| self.link.as_ref().is_some_and(|link| link.owner == held.value);
        let by_token =
            self.reference.held.as_ref().filter(is_of_owner).map(|held| match held.proof {
                Proof::FirstUse(Reverse(at)) | Proof::Verified(at) => at,
            });
        self.verified_at().max(by_token)
    }

    /// When Mono last confirmed the identity. `None`: only webhooks have named it.
    pub fn verified_at(&self) -> Option<Timestamp> {
        [self.reference.verified_at(), self.name.verified_at(), self.account_number.verified_at()]
            .into_iter()
            .max()
            .flatten()
    }

    /// The time of the newest claim that differs from its held value, if no read has settled it since. `exchange` is
    /// [the exchange that proves the owner](Account::proving_exchange).
    pub(super) fn contested_at(&self, exchange: Option<Timestamp>) -> Option<Timestamp> {
        let (newest, claims) = self.contested(exchange)?;
        let is_refuted = self
            .refuted
            .is_some_and(|(at, refuted)| refuted == claims && newest <= at + REFUTED_FOR);
        (Some(newest) > self.read_at && !is_refuted).then_some(newest)
    }

    /// The newest link that this system has started, if it was started after the exchange. Mono repeats a token for
    /// good, so the time of an event with the token says nothing.
    fn link_since(&self, exchange: Option<Timestamp>) -> Option<&StartedLink> {
        self.link.as_ref().filter(|link| Some(link.started_at) > exchange)
    }

    /// The claim that another owner has the account, if no read has settled it since.
    pub(super) fn contests_owner(&self, exchange: Option<Timestamp>) -> bool {
        self.contested_owner(exchange).is_some() && self.contested_at(exchange).is_some()
    }

    fn contested_owner(&self, exchange: Option<Timestamp>) -> Option<&Claim<String>> {
        self.reference.contested(PartialEq::eq).filter(|claim| {
            let is_of = |link: &&StartedLink| link.owner == claim.value;
            exchange.is_none() || self.link_since(exchange).is_some_and(|link| is_of(&link))
        })
    }

    /// Identifies the claims that differ from their held values.
    fn contested_claims(&self, exchange: Option<Timestamp>) -> Option<ShortHash> {
        self.contested(exchange).map(|(_, claims)| claims)
    }

    fn contested(&self, exchange: Option<Timestamp>) -> Option<(Timestamp, ShortHash)> {
        fn of<T: fmt::Debug>(claim: Option<&Claim<T>>) -> Option<(Timestamp, String)> {
            claim.map(|claim| (claim.at, format!("{:?}", claim.value)))
        }
        let fields = [
            of(self.contested_owner(exchange)),
            of(self.customer.contested(PartialEq::eq)),
            of(self.name.contested(|one, other| same_words(one, other))),
            of(self.account_number.contested(|one, other| same_words(one, other))),
            of(self.institution.contested(is_same_bank)),
        ];
        let newest = fields.iter().flatten().map(|(at, _)| *at).max()?;
        let values = fields.each_ref().map(|field| field.as_ref().map(|(_, value)| value));
        Some((newest, ShortHash::of(&format!("{values:?}"))))
    }
}

/// A `ref` that names an owner. The token of a link names an owner only through its [`StartedLink`].
pub(super) fn own_reference(reference: Option<&String>) -> Option<&String> {
    reference.filter(|reference| LinkToken::parse(reference).is_none())
}

pub(super) fn same_words(one: &str, other: &str) -> bool {
    words(one) == words(other)
}

/// The words of a text, without case, punctuation and order.
fn words(text: &str) -> Vec<String> {
    let text = text.to_lowercase();
    let words = text.split(|character: char| !character.is_alphanumeric());
    let mut words: Vec<_> = words.filter(|word| !word.is_empty()).map(str::to_owned).collect();
    words.sort();
    words
}

impl Institution {
    pub(super) fn is_named(&self) -> bool {
        self.name.is_some() || self.bank_code.is_some()
    }
}

/// Mono names one bank in several ways, so the bank code decides if both have one.
pub(super) fn is_same_bank(one: &Institution, other: &Institution) -> bool {
    if let (Some(one), Some(other)) = (&one.bank_code, &other.bank_code) {
        return one == other;
    }
    match (&one.name, &other.name) {
        (Some(one), Some(other)) => words(one) == words(other),
        _ => true,
    }
}

impl Account {
    /// The reference of the account's owner.
    pub fn owner(&self) -> Option<&str> {
        self.registers.identity.reference.value().map(String::as_str)
    }

    /// The id of the customer at Mono.
    pub fn customer(&self) -> Option<&str> {
        self.registers.identity.customer.value().map(String::as_str)
    }

    /// Mono's answer to a plain read at this time, completed by the owner if Mono names none, and by the claims that it
    /// refutes.
    pub fn completed(&self, reported: Reported, at: Timestamp) -> Reported {
        let exchange = self.proving_exchange();
        let link = reported.link.clone().filter(|link| Some(link.started_at) > exchange);
        let reported = Reported { link, ..reported };
        let reference = self.owner_named_by(&reported).or_else(|| self.owner_of_new_link());
        let reported = Reported { reference, ..reported };
        let mut identity = self.registers.identity.clone();
        identity.verify(at, &reported);
        Reported { refuted: identity.contested_claims(exchange), ..reported }
    }

    /// The exchange that still proves the owner. Mono keeps the `ref` of the first link, so after an exchange only the
    /// token of a later link names another owner. `None` if Mono has shown since that it does not know the account. The
    /// denial of a sync alone is not enough, because it may be a failure. It counts if it confirms an unlinking.
    pub(super) fn proving_exchange(&self) -> Option<Timestamp> {
        let exchange = self.registers.identity.exchanged_at;
        let gone = self.registers.gone.as_ref().map(|gone| gone.order);
        let ended_at = gone.max(self.ended()).map(|ended| ended.at);
        exchange.filter(|exchange| ended_at < Some(*exchange))
    }

    /// The owner whom the `ref` of Mono's answer names. Mono keeps the token of a link for good.
    fn owner_named_by(&self, reported: &Reported) -> Option<String> {
        let (reference, exchange) = (reported.reference.as_ref()?, self.proving_exchange());
        let Some(token) = LinkToken::parse(reference) else {
            return exchange.is_none().then(|| reference.clone());
        };
        let known = self.registers.identity.link_since(exchange);
        let mut links = known.into_iter().chain(&reported.link);
        links.find(|link| link.token == token).map(|link| link.owner.clone())
    }

    /// The token in a `ref` of Mono's answer, if no event of the account has carried it.
    pub fn new_token(&self, reported: &Reported) -> Option<LinkToken> {
        let token = LinkToken::parse(reported.reference.as_deref()?)?;
        let known = self.registers.identity.link.as_ref().map(|link| &link.token);
        (known != Some(&token)).then_some(token)
    }

    /// The owner whom a claim names after an unlinking that Mono has confirmed. `None` if Mono has shown the account
    /// since the unlinking: then the held owner stays.
    fn owner_of_new_link(&self) -> Option<String> {
        let Identity { reference, .. } = &self.registers.identity;
        let ended = self.ended()?.at;
        let Held { proof: Proof::FirstUse(Reverse(held)) | Proof::Verified(held), .. } =
            reference.held.as_ref()?;
        let is_former = *held < ended
            && self.registers.identity.verified_at() <= Some(ended)
            && self.successful_attempt().is_none_or(|synced| synced.at <= ended);
        let claim = reference.claim.as_ref().filter(|claim| is_former && claim.at > ended)?;
        Some(claim.value.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_in_case_spacing_or_order_are_the_same() {
        assert_eq!(words("Samuel  OLAMIDE, Nomo"), words("nomo samuel olamide"));
        assert_ne!(words("Samuel Olamide"), words("Samuel"));
    }

    #[test]
    fn bank_code_decides_before_the_name() {
        let bank = |name: &str, code: Option<&str>| Institution {
            name: Some(name.to_owned()),
            bank_code: code.map(str::to_owned),
            kind: None,
        };
        let gtbank = bank("GTBank", Some("058"));
        assert!(is_same_bank(&gtbank, &bank("Guaranty Trust Bank", Some("058"))));
        assert!(!is_same_bank(&gtbank, &bank("GTBank", Some("011"))));
        assert!(is_same_bank(&gtbank, &bank("gtbank", None)));
        assert!(!is_same_bank(&gtbank, &bank("Access Bank", None)));
        assert!(is_same_bank(&gtbank, &Institution::default()));
    }
}
