use super::*;

fn with_reference(minutes: u32, reference: &str, body: EventBody) -> Fact {
    let reference = Some(reference.to_owned());
    let key = format!("{reference:?}");
    Fact::Webhook(Webhook::new(Some(at(minutes)), at(minutes), &key, reference, body))
}

fn details(name: &str, number: &str) -> Details {
    let (name, account_number) = (Some(name.to_owned()), Some(number.to_owned()));
    Details { name, account_number, ..Details::default() }
}

fn with_details(minutes: u32, name: &str, number: &str) -> Fact {
    let details = Some(details(name, number));
    strong(minutes, EventBody::Updated(Box::new(Update { details, ..Update::default() })))
}

/// Mono's answer to a plain read, with the whole identity.
fn answer(reference: Option<&str>, name: &str) -> Reading {
    Reading::Linked(Box::new(Reported {
        reference: reference.map(str::to_owned),
        details: Some(details(name, "0131883461")),
        balance: Some(MinorUnits(700)),
        ..Reported::default()
    }))
}

/// The record after a verification at this minute.
fn verified(account: &Account, minutes: u32, found: Reading) -> Account {
    let (ending, _) = account.verification_due().expect("no verification is due");
    account.end_verification(Verification { at: at(minutes), ending, found }).unwrap()
}

fn due(account: &Account) -> Option<Timestamp> {
    account.verification_due().map(|(_, due)| due)
}

/// When a read for a doubt of this minute is due: at once, although the event may be ahead of the present.
fn at_once(minutes: u32) -> Option<Timestamp> {
    Some(at(minutes) - Webhook::CLOCK_SKEW)
}

fn linked_for_ada() -> Account {
    record([with_reference(1, "ada", connected()), with_details(2, "Ada Example", "0131883461")])
}

#[test]
fn first_identity_is_believed_and_needs_no_verification() {
    let account = linked_for_ada();
    let view = account.view(at(3), POLICY);
    assert_eq!((view.reference, view.name), (Some("ada"), Some("Ada Example")));
    assert_eq!((view.identity_verified_at, due(&account)), (None, None));
}

#[test]
fn identity_that_differs_in_case_spacing_or_order_needs_no_verification() {
    let account = linked_for_ada().apply(&with_details(9, "EXAMPLE,  Ada", "0131883461"));
    assert_eq!(due(&account), None);
    assert_eq!(account.view(at(10), POLICY).name, Some("Ada Example"));
}

#[test]
fn different_owner_waits_for_mono() {
    let account = linked_for_ada().apply(&with_reference(9, "mallory", connected()));
    assert_eq!((account.owner(), due(&account)), (Some("ada"), at_once(9)));
    let refuted = verified(&account, 10, answer(Some("ada"), "Ada Example"));
    assert_eq!((refuted.owner(), due(&refuted)), (Some("ada"), None));
    let confirmed = verified(&account, 10, answer(Some("mallory"), "Ada Example"));
    assert_eq!((confirmed.owner(), due(&confirmed)), (Some("mallory"), None));
    assert_eq!(confirmed.view(at(11), POLICY).identity_verified_at, Some(at(10)));
}

#[test]
fn verified_owner_stays_whatever_webhooks_say_before_or_after() {
    let account = linked_for_ada().apply(&with_reference(9, "mallory", connected()));
    let verified = verified(&account, 10, answer(Some("ada"), "Ada Example"));
    let earlier = verified.apply(&with_reference(0, "mallory", connected()));
    assert_eq!((earlier.owner(), due(&earlier)), (Some("ada"), None));
    let later = verified.apply(&with_reference(20, "eve", connected()));
    assert_eq!((later.owner(), due(&later)), (Some("ada"), Some(at(11))));
}

#[test]
fn different_name_or_number_waits_for_mono_which_also_repairs_the_balance() {
    for forged in
        [with_details(9, "Mallory", "0131883461"), with_details(9, "Ada Example", "9999999999")]
    {
        let account = linked_for_ada().apply(&forged).apply(&strong(9, balance_of(999_999)));
        assert_eq!(account.view(at(10), POLICY).name, Some("Ada Example"));
        let verified = verified(&account, 10, answer(None, "Ada Example"));
        let view = verified.view(at(10), POLICY);
        assert_eq!(
            (view.account_number, view.balance),
            (Some("0131883461"), Some(MinorUnits(700)))
        );
        assert_eq!(due(&verified), None);
    }
}

#[test]
fn owner_that_mono_does_not_name_stays_unless_mono_confirmed_an_unlinking() {
    let account = linked_for_ada().apply(&with_reference(9, "bola", connected()));
    assert_eq!(verified(&account, 10, answer(None, "Ada Example")).owner(), Some("ada"));
    let unlinked = proven(linked_for_ada()).apply(&strong(5, EventBody::Unlinked));
    let gone = verified(&unlinked, 6, Reading::Gone);
    let relinked = gone.apply(&with_reference(9, "bola", connected()));
    assert_eq!((relinked.owner(), due(&relinked)), (Some("ada"), Some(at(7))));
    assert_eq!(verified(&relinked, 10, answer(None, "Ada Example")).owner(), Some("bola"));
}

#[test]
fn account_is_read_at_most_once_a_minute() {
    let forged = |account: &Account, second: u64, name: &str| {
        let time = at(9) + Duration::from_secs(second);
        let name = Some(name.to_owned());
        account.apply(&Fact::Webhook(Webhook::new(Some(time), time, "k", name, connected())))
    };
    let doubted = forged(&linked_for_ada(), 0, "mallory");
    let read =
        Fact::Verification(Verification { at: at(9), ending: None, found: Reading::Unknown });
    let reading = doubted.apply(&read);
    let again = forged(&reading, 10, "eve");
    assert_eq!(due(&again), Some(at(10)));
    assert_eq!(again.earlier_verification(&reading), Some(at(10)));
    let third = forged(&again, 20, "trudy");
    assert_eq!((due(&third), third.earlier_verification(&again)), (Some(at(10)), None));
}

#[test]
fn account_that_only_webhooks_have_named_gets_one_attempt() {
    let account = record([strong(0, fresh())]);
    assert!(account.next_sync_at(POLICY).is_some());
    let denied = account.apply(&attempt(10, not_found()));
    assert_eq!(denied.next_sync_at(POLICY), None);
    assert_eq!(due(&denied), Some(at(11) + HOUR));
    let unanswered = account.apply(&attempt(10, timeout()));
    assert_eq!((unanswered.next_sync_at(POLICY), due(&unanswered)), (None, Some(at(10) + HOUR)));
    let answered = account.apply(&attempt(10, failure()));
    assert!(answered.registers.is_proven && due(&answered).is_none());
}

#[test]
fn denial_after_a_day_removes_only_an_account_that_mono_never_knew() {
    let denied = record([strong(0, fresh()), attempt(10, not_found())]);
    let read = |account: &Account, at| {
        account.end_verification(Verification { at, ending: None, found: Reading::Gone })
    };
    let again = read(&denied, at(71)).unwrap();
    assert_eq!(due(&again), Some(at(71 + 71)), "exponential back-off");
    assert_eq!(read(&again, at(0) + DAY), None);
    let known = record([strong(0, fresh()), attempt(5, success()), attempt(10, not_found())]);
    assert!(read(&known, at(11) + DAY).is_some());
}

#[test]
fn import_of_a_denied_account_is_not_repeated() {
    let account = record([strong(0, fresh()), attempt(10, not_found()), strong(20, fresh())]);
    let lease = ImportLease { holder: [1; 8], pull: account.import_due().unwrap(), until: at(30) };
    assert_eq!(account.begin_import(lease, None, at(21)), Err(ImportRefusal::UpToDate));
    assert!(proven(account).begin_import(lease, None, at(21)).is_ok());
}

#[test]
fn successful_sync_after_an_unlinking_settles_the_doubt() {
    let doubted = record([strong(0, fresh()), strong(5, EventBody::Unlinked)]);
    assert_eq!(due(&doubted), at_once(5));
    let synced = doubted.apply(&attempt(10, success()));
    assert_eq!((synced.link(), due(&synced)), (Link::Linked, None));
    assert_eq!(due(&doubted.apply(&attempt(2, success()))), at_once(5), "the sync was earlier");
}

#[test]
fn import_is_planned_when_mono_knows_an_account_that_it_denied_before() {
    let denied = record([strong(0, fresh())]);
    let gone = Verification { at: at(1), ending: None, found: Reading::Gone };
    let denied = denied.end_verification(gone).unwrap();
    let found = Verification { at: at(61), ending: None, found: answer(None, "Ada Example") };
    let known = denied.end_verification(found).unwrap();
    let pull = known.import_due().unwrap();
    assert_eq!(known.plan(at(62), POLICY), Some(RefreshAction::Import(pull)));
}

#[test]
fn events_ahead_of_the_present_do_not_postpone_the_read() {
    let ahead = |account: &Account, seconds: u64| {
        let received = at(9) + Duration::from_secs(seconds);
        let time = Some(received + Webhook::CLOCK_SKEW);
        let owner = Some(format!("mallory-{seconds}"));
        account.apply(&Fact::Webhook(Webhook::new(time, received, "k", owner, connected())))
    };
    let first = ahead(&linked_for_ada(), 0);
    let second = ahead(&first, 25);
    for doubted in [&first, &second] {
        assert!(due(doubted) <= Some(at(9) + Duration::from_secs(25)));
    }
}

#[test]
fn refuted_claim_is_read_again_only_after_a_week() {
    let repeated = |account: &Account, minutes| {
        account.apply(&with_reference(minutes, "mallory", connected()))
    };
    let doubted = repeated(&linked_for_ada(), 9);
    let refuted = verified(&doubted, 10, answer(Some("ada"), "Ada Example"));
    assert_eq!(due(&repeated(&refuted, 11)), None);
    assert!(due(&repeated(&refuted, 11 + 7 * 24 * 60)).is_some());
    let other = repeated(&refuted, 11).apply(&with_reference(12, "eve", connected()));
    assert!(due(&other).is_some(), "another claim");
}

#[test]
fn denial_before_the_account_worked_again_confirms_no_later_unlinking() {
    let worked = record([strong(0, fresh()), attempt(5, not_found()), strong(20, fresh())]);
    let forged = worked.apply(&strong(30, EventBody::Unlinked));
    assert!(!forged.is_unlinked());
    assert_eq!(forged.status_without_sync(), worked.status_without_sync());
}

#[test]
fn early_denial_does_not_open_the_owner_to_claims() {
    let early = Fact::Verification(Verification { at: at(2), ending: None, found: Reading::Gone });
    let account = proven(linked_for_ada().apply(&early));
    let forged = account
        .apply(&strong(20, EventBody::Unlinked))
        .apply(&strong(21, fresh()))
        .apply(&with_reference(22, "mallory", connected()));
    assert_eq!(verified(&forged, 23, answer(None, "Ada Example")).owner(), Some("ada"));
}

#[test]
fn invented_account_is_not_read_again_for_another_claim() {
    let invented = record([with_reference(1, "victim", fresh())]);
    let gone = Verification { at: at(2), ending: None, found: Reading::Gone };
    let denied = invented.end_verification(gone).unwrap();
    let again = denied.apply(&with_reference(5, "other", fresh()));
    assert_eq!(due(&again), due(&denied));
}
