//! Tests of links, unlinkings and erasures.

use super::*;
use crate::domain::caller::Caller;
use crate::domain::link_token::{LinkToken, StartedLink};

/// A link that was started just after midnight.
fn started_link(owner: &str) -> StartedLink {
    started_link_at(0, owner)
}

fn started_link_at(minute: u32, owner: &str) -> StartedLink {
    let token = LinkToken::new([owner.as_bytes()[0]; 17]);
    StartedLink { started_at: at(minute), token, owner: owner.to_owned() }
}

/// A link event at this minute that carries the token of a link.
fn connected_by(minute: u32, link: &StartedLink) -> Fact {
    let reference = Some(link.token.as_str().to_owned());
    let webhook = Webhook::new(Some(at(minute)), at(minute), "link", reference, linked());
    Fact::Webhook(Webhook { link: Some(link.clone()), ..webhook })
}

fn with_reference(minute: u32, reference: &str) -> Fact {
    let reference = Some(reference.to_owned());
    Fact::Webhook(Webhook::new(
        Some(at(minute)),
        at(minute),
        reference.as_deref().unwrap(),
        reference.clone(),
        linked(),
    ))
}

fn read(minute: u32, reference: &str) -> Verification {
    let reported = Reported { reference: Some(reference.to_owned()), ..Reported::default() };
    Verification { at: at(minute), ending: None, found: Reading::Linked(Box::new(reported)) }
}

#[test]
fn token_of_a_link_proves_its_owner_and_needs_no_read() {
    let account = record([connected_by(1, &started_link("ada"))]);
    assert_eq!(account.owner(), Some("ada"));
    assert_eq!(account.registers.identity.proven_at(), Some(at(1)));
    assert_eq!(account.registers.identity.verified_at(), None);
    assert_eq!(account.verification_due(), None);
}

#[test]
fn token_of_a_link_does_not_take_an_account_from_its_owner_without_a_read() {
    let link = started_link("mallory");
    let account = record([with_reference(1, "ada"), connected_by(2, &link)]);
    assert_eq!(account.owner(), Some("ada"));
    assert!(account.verification_due().is_some());
    let refuted = account.end_verification(read(3, "ada")).unwrap();
    assert_eq!(refuted.owner(), Some("ada"));
    let confirmed = account.end_verification(read(3, link.token.as_str())).unwrap();
    assert_eq!(confirmed.owner(), Some("mallory"), "Mono keeps the token as the `ref`");
}

#[test]
fn token_without_a_known_link_names_nobody() {
    let token = started_link("ada").token;
    let account = record([with_reference(1, token.as_str())]);
    assert_eq!(account.owner(), None);
    let read = account.end_verification(read(2, token.as_str())).unwrap();
    assert_eq!(read.owner(), None);
}

#[test]
fn exchange_binds_the_account_and_may_change_its_owner() {
    let exchange = |minute, owner: Option<&str>| {
        Fact::Exchange(Exchange { at: at(minute), owner: owner.map(str::to_owned) })
    };
    let account = record([exchange(1, Some("ada"))]);
    assert_eq!((account.owner(), account.is_payment_only()), (Some("ada"), false));
    let fold = account.fold(&[&exchange(2, Some("bayo"))]);
    assert!(fold[0].changes_the_owner());
    assert_eq!(fold[0].after.owner(), Some("bayo"));
    assert_eq!(account.apply(&exchange(2, None)).owner(), Some("ada"));
}

#[test]
fn owner_of_an_exchange_stays_although_mono_keeps_the_former_ref() {
    let exchange = Exchange { at: at(2), owner: Some("bayo".to_owned()) };
    let account = record([with_reference(1, "ada"), Fact::Exchange(exchange)]);
    let repeated = account.apply(&with_reference(30, "ada"));
    assert_eq!(repeated.verification_due(), None);
    let verified = repeated.end_verification(read(60, "ada")).unwrap();
    assert_eq!(verified.owner(), Some("bayo"));

    // The denial of a sync may be a failure.
    let denied = record([
        with_reference(1, "ada"),
        Fact::Exchange(Exchange { at: at(2), owner: Some("bayo".to_owned()) }),
        attempt(10, not_found()),
        with_reference(30, "ada"),
    ]);
    let verified_again = denied.end_verification(read(60, "ada")).unwrap();
    assert_eq!(verified_again.owner(), Some("bayo"));

    // But it confirms an unlinking.
    let exchange = Exchange { at: at(2), owner: Some("bayo".to_owned()) };
    let facts = [strong(10, EventBody::Unlinked), attempt(11, not_found())];
    let ended = facts
        .into_iter()
        .fold(record([Fact::Exchange(exchange)]), |account, fact| account.apply(&fact));
    assert!(matches!(ended.link(), Link::Ended { .. }));
    let linked_again = ended.apply(&with_reference(30, "chike"));
    assert!(linked_again.verification_due().is_some());
    assert_eq!(linked_again.end_verification(read(31, "chike")).unwrap().owner(), Some("chike"));

    // Mono repeats the token of the first link too.
    let first = started_link("ada");
    let repeated = Fact::Webhook(Webhook {
        link: Some(first.clone()),
        ..Webhook::new(Some(at(30)), at(30), "again", None, fresh())
    });
    let exchange = Fact::Exchange(Exchange { at: at(2), owner: Some("bayo".to_owned()) });
    let linked_by_token = record([connected_by(1, &first), exchange, repeated]);
    assert_eq!(linked_by_token.verification_due(), None);
    let token = read(60, first.token.as_str());
    assert_eq!(linked_by_token.end_verification(token).unwrap().owner(), Some("bayo"));

    let link = started_link_at(65, "chike");
    let by_token = verified.apply(&connected_by(70, &link));
    assert!(by_token.verification_due().is_some());
    let by_token = by_token.end_verification(read(71, link.token.as_str())).unwrap();
    assert_eq!(by_token.owner(), Some("chike"), "the link is newer than the exchange");

    let unlinked = verified.apply(&Fact::Unlinking(at(70)));
    let linked_again = unlinked.apply(&with_reference(80, "dayo"));
    assert!(linked_again.verification_due().is_some());
    let linked_again = linked_again.end_verification(read(81, "dayo")).unwrap();
    assert_eq!(linked_again.owner(), Some("dayo"));
}

#[test]
fn token_in_an_answer_of_mono_names_the_owner_although_no_event_carried_it() {
    let link = started_link("ada");
    let Reading::Linked(reported) = read(2, link.token.as_str()).found else { unreachable!() };
    let blank = Account::new("aaaaaaaaaaaaaaaaaaaaaaaa".parse().unwrap());
    assert_eq!(blank.new_token(&reported), Some(link.token.clone()));
    let reported = Reported { link: Some(link), ..*reported };
    let reading = Reading::Linked(Box::new(reported.clone()));
    let read = Verification { at: at(2), ending: None, found: reading };
    let account = blank.end_verification(read).unwrap();
    assert_eq!((account.owner(), account.new_token(&reported)), (Some("ada"), None));
}

#[test]
fn unlinking_at_mono_ends_the_link_until_a_newer_link() {
    let account = record([strong(1, linked()), strong(2, fresh()), Fact::Unlinking(at(5))]);
    assert_eq!(account.link(), Link::Ended { at: at(5) });
    let reported = account.apply(&strong(6, EventBody::Unlinked));
    assert!(reported.is_unlinked(), "Mono's own webhook changes nothing");
    assert_eq!(reported.apply(&strong(9, linked())).link(), Link::Linked);
}

#[test]
fn erasure_leaves_only_the_owner_and_no_fact_changes_it() {
    let account = record([connected_by(1, &started_link("ada")), strong(2, fresh())]);
    let erasing = account.begin_erasure(at(10));
    let erasure = Erasure::new(at(10));
    assert_eq!(erasing.erasure, Some(erasure.clone()));
    let identity = &erasing.registers.identity;
    assert_eq!((identity.customer.value(), identity.name.value()), (None, None));
    assert!(Caller::Owner("ada".to_owned()).is_responsible_for(&erasing));
    assert!(!Caller::Trusted.may_see(&erasing));
    assert_eq!(erasing.begin_erasure(at(11)), erasing);
    for fact in [strong(20, linked()), strong(20, fresh()), Fact::Unlinking(at(20))] {
        assert_eq!(erasing.apply(&fact), erasing);
    }
    let linked = erasure.relinked(at(15)).unwrap();
    assert_eq!(linked.relinked(at(16)), None, "the first new link counts");
    let exchange = |minute| Exchange { at: at(minute), owner: Some("bayo".to_owned()) };
    let exchanged = linked.exchanged(&exchange(17)).unwrap();
    assert_eq!((exchanged.is_unlinked, exchanged.voids_until()), (true, at(17)));
    assert_eq!(exchanged.exchanged(&exchange(16)), None);
    assert_eq!((erasure.relinked(at(10)), erasure.exchanged(&exchange(10))), (None, None));
    let owner = |name: &str| Caller::Owner(name.to_owned());
    assert!(
        owner("bayo").may_erase_again(&exchanged) && Caller::Trusted.may_erase_again(&exchanged)
    );
    assert!(!owner("ada").may_erase_again(&exchanged) && owner("ada").may_erase_again(&linked));
    let linked_again = Account { erasure: Some(exchanged), ..erasing.clone() };
    let again = Some(Erasure::new(at(20)));
    assert_eq!(linked_again.begin_erasure(at(20)).erasure, again, "the new link ends too");
    assert_eq!(erasing.plan(at(9999), POLICY), None);
    assert_eq!(erasing.next_planned_at(POLICY), Some(at(10)), "the hourly plan finds it");
}

#[test]
fn unlinked_account_is_erased_after_the_retention_period_unless_it_is_linked_again() {
    let policy = RefreshPolicy { unlinked_retention: Some(30 * DAY), ..POLICY };
    let exchange = Fact::Exchange(Exchange { at: at(1), owner: None });
    let account = record([exchange, strong(2, linked()), Fact::Unlinking(at(5))]);
    assert_eq!(account.erasure_due(policy), Some(at(5) + 30 * DAY));
    assert_eq!(account.erasure_due(POLICY), None);
    let denied = Verification { at: at(9000), ending: None, found: Reading::Gone };
    let confirmed = account.end_verification(denied).unwrap();
    let due = confirmed.erasure_due(policy);
    assert_eq!(due, Some(at(5) + 30 * DAY), "a later read does not extend the period");
    assert!(account.begin_erasure(at(9)).erasure.unwrap().is_unlinked);
    let linked_again = account.apply(&strong(6, linked()));
    assert_eq!(linked_again.erasure_due(policy), None);
}
