//! Tests of the adoption of accounts.

use super::*;

fn listed(name: &str) -> Reported {
    let details = Details { name: Some(name.to_owned()), ..Details::default() };
    let customer_id = Some("customer".to_owned());
    Reported { details: Some(details), customer_id, ..Reported::default() }
}

fn adopted(account: &Account, minute: u32) -> Account {
    let found = Reading::Linked(Box::new(account.completed(listed("Ada Example"), at(minute))));
    account.apply(&Fact::Verification(Verification { at: at(minute), ending: None, found }))
}

#[test]
fn list_creates_and_completes_records_and_then_changes_nothing() {
    let (list, blank) = (listed("Ada Example"), Account::new("a".parse().unwrap()));
    assert_eq!(blank.adoption(&list), AdoptionStep::Create);
    let heard = record([strong(1, connected()), strong(2, fresh())]);
    assert_eq!(heard.adoption(&list), AdoptionStep::Complete);
    for account in [&blank, &heard] {
        let adopted = adopted(account, 5);
        assert_eq!(adopted.adoption(&list), AdoptionStep::Nothing);
        assert_eq!(adopted.adoption(&listed("EXAMPLE,  Ada")), AdoptionStep::Nothing);
        assert_eq!(adopted.adoption(&listed("Bola Example")), AdoptionStep::Complete);
        assert_eq!(adopted.adoption(&Reported::default()), AdoptionStep::Nothing);
        assert!(!adopted.is_payment_only());
    }
    assert_eq!(adopted(&blank, 5).last_synced_at(), None, "a list is not fresh data");
}

#[test]
fn account_with_a_contested_owner_waits_for_a_read() {
    let owned_by = |minute, reference: &str| {
        let reference = Some(reference.to_owned());
        let time = at(minute);
        Fact::Webhook(Webhook::new(Some(time), time, "event", reference, connected()))
    };
    let known = record([owned_by(1, "ada"), strong(2, fresh())]);
    assert_eq!(known.adoption(&listed("Ada Example")), AdoptionStep::Complete);
    let contested = known.apply(&owned_by(3, "bayo"));
    assert!(contested.verification_due().is_some());
    assert_eq!(contested.adoption(&listed("Ada Example")), AdoptionStep::Nothing);
}

#[test]
fn unlinked_and_erased_accounts_stay_as_they_are() {
    let linked = record([strong(1, connected()), strong(2, fresh())]);
    let in_doubt = linked.apply(&strong(3, EventBody::Unlinked));
    let unlinked = linked.apply(&Fact::Unlinking(at(3)));
    for account in [in_doubt, unlinked] {
        assert_eq!(account.adoption(&listed("Ada Example")), AdoptionStep::Unlinked);
    }
    let erasing = linked.begin_erasure(at(4));
    assert_eq!(erasing.adoption(&listed("Ada Example")), AdoptionStep::Erased);
}

#[test]
fn first_import_is_requested_once_and_a_deferred_one_is_planned() {
    let exchange = Fact::Exchange(Exchange { at: at(1), owner: None });
    let account = record([exchange]);
    let pull = account.first_import(at(2)).unwrap();
    assert_eq!(adopted(&account, 5).first_import(at(9)), Some(pull), "always the same pull");
    let lease = ImportLease { holder: [1; 8], pull, until: at(4) };
    let running = account.begin_import(lease, None, at(2)).unwrap();
    assert_eq!(running.first_import(at(3)), None);
    assert_eq!(running.first_import(at(4)), Some(pull), "the import has crashed");

    let deferred = ImportEnd::Deferred { until: at(60), part: None };
    let deferred = running.end_import([1; 8], &deferred, RowCounts::default(), None).unwrap();
    assert_eq!(deferred.first_import(at(5)), None);
    assert_eq!(deferred.deferred_import(at(60)), Some(RefreshAction::Import(pull)));
    let state = ImportState::default();
    let just_before = OrderKey { at: pull.at - Duration::from_millis(1), ..pull };
    let part = Some(Import { pull: just_before, state: state.clone() });
    let part = ImportEnd::Deferred { until: at(60), part };
    let part = running.end_import([1; 8], &part, RowCounts::default(), None).unwrap();
    assert_eq!(part.deferred_import(at(60)), Some(RefreshAction::Import(pull)), "the rest");
    let imported = deferred.apply(&Fact::Import(Import { pull, state }));
    assert_eq!((imported.first_import(at(61)), imported.deferred_import(at(61))), (None, None));
}
