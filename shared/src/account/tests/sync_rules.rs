use super::*;

fn begin(account: &Account, minute: u32) -> Result<Account, SyncRefusal> {
    account.begin_sync(at(minute), at(minute + 2), POLICY.cooldown)
}

fn end(account: &Account, start: u32, outcome: SyncOutcome) -> Option<Account> {
    account.end_sync(&SyncAttempt { started_at: at(start), ended_at: at(start + 1), outcome })
}

fn not_found() -> SyncOutcome {
    SyncOutcome::NotFound { error: mono_error() }
}

fn retrieved(parts: &[&str]) -> News {
    let parts = parts.iter().map(|part| (*part).to_owned()).collect();
    News::Updated(Box::new(Update {
        data_status: Some(DataStatus::from_word("PARTIAL")),
        retrieved_data: Some(parts),
        balance: Some(MinorUnits(1)),
        ..Update::default()
    }))
}

#[test]
fn a_sync_takes_a_lease_and_a_cooldown_together() {
    let begun = begin(&record([strong(1, fresh())]), 10).unwrap();
    assert_eq!(begun.lease, Some(Lease { started_at: at(10), until: at(12) }));
    assert_eq!(begun.cooldown_until, Some(at(15)));
    let again = begun.begin_sync(at(11), at(13), Duration::ZERO);
    assert_eq!(again, Err(SyncRefusal::Running { job_id: None }), "whoever comes second waits");
}

#[test]
fn an_account_never_seen_can_be_synced() {
    assert!(begin(&Account::new(id()), 10).is_ok());
}

#[test]
fn a_lease_ends_by_itself_and_its_cooldown_stays() {
    let begun = begin(&record([strong(1, fresh())]), 10).unwrap();
    assert_eq!(begin(&begun, 12), Err(SyncRefusal::CoolingDown { until: at(15) }));
    assert!(begin(&begun, 15).is_ok());
}

#[test]
fn without_a_cooldown_only_the_lease_stands_in_the_way() {
    let begun = Account::new(id()).begin_sync(at(10), at(12), Duration::ZERO).unwrap();
    assert_eq!(begun.cooldown_until, None);
    assert!(begin(&begun, 12).is_ok());
}

#[test]
fn a_job_at_mono_that_is_running_is_waited_for() {
    let account = record([strong(1, fresh()), strong(10, job("j", "processing"))]);
    assert_eq!(begin(&account, 20), Err(SyncRefusal::Running { job_id: Some("j".to_owned()) }));
    assert!(begin(&account, 40).is_ok(), "for half an hour at most");
}

#[test]
fn an_account_that_waits_for_its_customer_can_be_synced() {
    let account = record([strong(1, fresh()), strong(5, News::ReauthorisationRequired)]);
    assert!(begin(&account, 10).is_ok());
}

#[test]
fn an_unlinked_account_is_not_synced_and_a_weak_unlinking_is_in_doubt() {
    let unlinked = record([strong(1, fresh()), strong(5, News::Unlinked)]);
    assert_eq!(begin(&unlinked, 10), Err(SyncRefusal::Unlinked { in_doubt: false }));
    let weakly = record([strong(1, fresh()), weak(5, News::Unlinked)]);
    assert_eq!(begin(&weakly, 10), Err(SyncRefusal::Unlinked { in_doubt: true }));
}

#[test]
fn a_check_of_the_link_settles_an_unlinking_in_doubt() {
    let weakly = record([strong(1, fresh()), weak(5, News::Unlinked)]);
    let checked = |linked| weakly.apply(&Fact::LinkCheck(LinkCheck { at: at(9), linked }));
    assert!(begin(&checked(true), 10).is_ok());
    assert_eq!(begin(&checked(false), 10), Err(SyncRefusal::Unlinked { in_doubt: false }));
    let registers =
        |account: Account| Registers { linked: None, unlinked: None, ..account.registers };
    assert_eq!(registers(checked(true)), registers(weakly.clone()), "and writes nothing else");
}

#[test]
fn the_cooldown_holds_unless_mono_was_never_asked_to_begin() {
    let account = record([strong(1, fresh())]);
    let cooldown =
        |outcome| end(&begin(&account, 10).unwrap(), 10, outcome).unwrap().cooldown_until;
    for outcome in [
        success(),
        failure(),
        timeout(),
        not_found(),
        SyncOutcome::Trouble(Trouble::Unavailable),
        SyncOutcome::Trouble(Trouble::Unusable(mono_error())),
        SyncOutcome::Processing { job_id: None },
        SyncOutcome::ReauthorisationRequired { job_id: None },
    ] {
        assert_eq!(cooldown(outcome.clone()), Some(at(15)), "{outcome:?}");
    }
    for outcome in [rate_limited(), SyncOutcome::Trouble(Trouble::NotConnected)] {
        assert_eq!(cooldown(outcome.clone()), None, "{outcome:?}");
    }
}

#[test]
fn of_an_account_that_nobody_knows_nothing_is_kept() {
    let begun = begin(&Account::new(id()), 10).unwrap();
    for outcome in [not_found(), rate_limited(), SyncOutcome::Trouble(Trouble::NotConnected)] {
        assert_eq!(end(&begun, 10, outcome), None);
    }
    let kept = end(&begun, 10, timeout()).unwrap();
    assert_eq!(kept.cooldown_until, Some(at(15)), "Mono may have charged for it");
}

#[test]
fn a_known_account_that_mono_does_not_know_has_failed() {
    let account = record([strong(1, fresh())]);
    let ended = end(&begin(&account, 10).unwrap(), 10, not_found()).unwrap();
    assert_eq!(ended.standing(at(12)), Standing { status: Status::Failed, at: at(11) });
    let pull = ended.registers.pull.unwrap().value;
    assert_eq!(pull.error, Some(mono_error()));
}

#[test]
fn an_event_that_came_during_the_call_keeps_the_record() {
    let begun = begin(&Account::new(id()), 10).unwrap().apply(&strong(10, connected()));
    assert!(end(&begun, 10, not_found()).is_some());
}

#[test]
fn the_record_of_a_first_sync_is_pending_since_its_lease() {
    let begun = begin(&Account::new(id()), 10).unwrap();
    let pending = Standing { status: Status::Pending, at: at(10) };
    assert_eq!(begun.standing(at(12)), pending, "when the lease is over, whatever crashed");
    assert_eq!(begun.next_refresh_at(POLICY), Some(at(15)));
}

#[test]
fn the_balance_alone_is_synced_where_no_transactions_were_ever_seen() {
    let balance_only = record([strong(1, retrieved(&["identity", "balance"]))]);
    assert_eq!(balance_only.data_to_sync(), SyncData::Balance);
    let both = strong(2, retrieved(&["balance", "transactions"]));
    for account in [
        Account::new(id()),
        record([strong(1, fresh())]),
        balance_only.apply(&both),
        record([both, strong(3, retrieved(&["balance"]))]),
    ] {
        assert_eq!(account.data_to_sync(), SyncData::Transactions, "{account:?}");
    }
}

#[test]
fn a_sync_of_the_balance_alone_brings_no_transactions_to_import() {
    let brought = |data| {
        let outcome =
            SyncOutcome::Successful { has_new_data: true, data, balance: None, job_id: None };
        record([attempt(1, outcome)]).registers.transactions
    };
    assert!(brought(SyncData::Transactions).is_some());
    assert_eq!(brought(SyncData::Balance), None);
}
