use super::*;

#[test]
fn late_event_does_not_overwrite_a_newer_event() {
    let account = record([strong(9, balance_of(900)), strong(5, balance_of(500))]);
    assert_eq!(account.view(at(10), POLICY).balance, Some(MinorUnits(900)));
}

#[test]
fn event_without_a_balance_keeps_the_last_balance() {
    let account = record([strong(5, balance_of(500)), strong(9, fresh())]);
    assert_eq!(account.view(at(10), POLICY).balance, Some(MinorUnits(500)));
}

#[test]
fn first_seen_is_the_earliest_fact_and_last_event_the_latest_webhook() {
    let account = record([
        strong(5, fresh()),
        attempt(3, success()),
        strong(2, connected()),
        attempt(9, success()),
    ]);
    assert_eq!(account.registers.first_seen, Some(at(2)));
    assert_eq!(account.registers.last_event, Some(at(5)));
}

#[test]
fn oldest_fact_sets_first_seen() {
    let account = record([strong(5, balance_of(5)), strong(2, balance_of(2))]);
    assert_eq!(account.registers.first_seen, Some(at(2)));
}

#[test]
fn update_without_content_writes_nothing() {
    assert!(!strong(1, EventBody::Updated(Box::default())).writes_a_register());
    assert!(strong(1, balance_of(0)).writes_a_register());
}

#[test]
fn newest_attempt_and_newest_billable_attempt_are_separate() {
    let account = record([attempt(1, success()), attempt(9, rate_limited())]);
    assert_eq!(account.registers.attempt.unwrap().value.outcome, "rate_limited");
    assert_eq!(account.registers.last_billable_attempt.unwrap().order.at, at(1));
}

#[test]
fn attempt_has_the_start_time_and_outcome_has_the_end_time() {
    let account = record([attempt(5, success())]);
    assert_eq!(account.view(at(9), POLICY).last_sync_attempt_at, Some(at(5)));
    assert_eq!(account.last_synced_at(), Some(at(6)));
}

#[test]
fn failed_sync_keeps_monos_error_code() {
    let pull = record([attempt(5, failure())]).registers.pull.unwrap().value;
    assert_eq!(pull.error.unwrap().code, "SYNC_ERROR");
}

#[test]
fn processing_sync_is_stored_as_a_job() {
    let processing = SyncOutcome::Processing { job_id: Some("j".to_owned()) };
    let account = record([attempt(5, processing)]);
    assert_eq!(account.status_since(at(7)).status, Status::Syncing);
    assert_eq!(account.registers.pull, None);
}

#[test]
fn new_transactions_need_retrieved_data_and_has_new_data() {
    let pulled = |retrieved: Option<&[&str]>, sync_status: Option<&str>, has_new_data| {
        let update = Update {
            data_status: Some(DataStatus::from_word("AVAILABLE")),
            sync_status: sync_status.map(SyncStatus::from_word),
            retrieved_data: retrieved
                .map(|parts| parts.iter().map(|part| (*part).to_owned()).collect()),
            has_new_data,
            ..Update::default()
        };
        record([strong(1, EventBody::Updated(Box::new(update)))]).registers.transactions.is_some()
    };
    assert!(pulled(None, None, None), "an event that no sync caused may bring new transactions");
    assert!(pulled(Some(&["balance", "transactions"]), None, None));
    assert!(!pulled(Some(&["balance"]), None, None));
    assert!(pulled(Some(&["transactions"]), Some("SUCCESSFUL"), Some(true)));
    assert!(!pulled(Some(&["transactions"]), Some("SUCCESSFUL"), None), "absent means no new data");
    assert!(!pulled(Some(&["transactions"]), None, Some(false)));
    assert!(
        pulled(Some(&["transactions"]), Some("FAILED"), Some(true)),
        "the failed sync retrieved transactions"
    );
    assert!(!pulled(None, Some("FAILED"), Some(true)), "the update does not say which data is new");
}

#[test]
fn timestamp_far_ahead_of_the_receipt_is_ignored() {
    let event = |ahead: Duration| {
        let order = Webhook::new(Some(at(10) + ahead), at(10), "e", None, connected()).order;
        (order.at, order.time_source)
    };
    let allowed = Duration::from_secs(30);
    assert_eq!(event(allowed), (at(10) + allowed, TimeSource::Event));
    assert_eq!(event(allowed + Duration::from_millis(1)), (at(10), TimeSource::Receipt));
}

#[test]
fn event_without_a_timestamp_is_timed_by_its_receipt() {
    let order = Webhook::new(None, at(10), "e", None, connected()).order;
    assert_eq!((order.at, order.time_source), (at(10), TimeSource::Receipt));
}

#[test]
fn unknown_values_are_detected() {
    assert!(strong(1, updated("NEW_WORD", None)).has_unknown_value());
    assert!(strong(1, updated("AVAILABLE", Some("NEW_WORD"))).has_unknown_value());
    assert!(strong(1, job("j", "paused")).has_unknown_value());
    assert!(!strong(1, updated("AVAILABLE", Some("SUCCESS"))).has_unknown_value());
    assert!(!attempt(1, failure()).has_unknown_value());
}

#[test]
fn balance_and_transactions_have_the_time_of_the_newest_pull_that_covers_each() {
    let account = record([
        strong(1, retrieved("AVAILABLE", &["identity", "balance", "transactions"])),
        strong(5, retrieved("AVAILABLE", &["identity", "balance"])),
    ]);
    let view = account.view(at(10), POLICY);
    assert_eq!((view.last_synced_at, view.balance_synced_at), (Some(at(1)), Some(at(5))));
    assert_eq!(account.status_since(at(10)), StatusSince { status: Status::Healthy, at: at(5) });
    let transactions = account.apply(&attempt(7, success()));
    let view = transactions.view(at(10), POLICY);
    assert_eq!((view.last_synced_at, view.balance_synced_at), (Some(at(8)), Some(at(5))));
}

#[test]
fn missing_or_unreadable_balance_does_not_count_as_synced() {
    let before = record([strong(1, retrieved("AVAILABLE", &["balance", "transactions"]))]);
    for balance in [SentBalance::Missing, SentBalance::Unreadable] {
        let EventBody::Updated(mut update) = fresh() else { unreachable!() };
        update.balance = balance;
        let fact = strong(5, EventBody::Updated(update));
        assert_eq!(fact.has_unreadable_balance(), balance == SentBalance::Unreadable);
        let account = before.apply(&fact);
        let view = account.view(at(10), POLICY);
        assert_eq!((view.balance, view.balance_synced_at), (Some(MinorUnits(1)), Some(at(1))));
        assert_eq!(view.last_synced_at, Some(at(5)));
    }
}

#[test]
fn two_newest_weak_values_of_different_events_are_kept() {
    let balance = |minute, amount| weak(minute, balance_of(amount));
    let held = |facts: Vec<Fact>| {
        let balance = record(facts).registers.cached_balance;
        let amount = |held: Option<Register<MinorUnits>>| held.map(|held| held.value.0);
        (amount(balance.strong), amount(balance.weak), amount(balance.weak_before))
    };
    let retried = vec![balance(1, 100), balance(5, 50), balance(40, 100), balance(41, 100)];
    assert_eq!(held(retried), (None, Some(100), Some(50)));
    let with_a_strong_value = vec![balance(1, 7), strong(3, balance_of(8)), balance(2, 9)];
    assert_eq!(held(with_a_strong_value), (Some(8), Some(9), Some(7)));
}
