use super::*;

fn lease(minute: u32, token: u8) -> Lease {
    Lease { started_at: at(minute), until: at(minute + 2), token: [token; 8] }
}

fn begin(account: &Account, minute: u32) -> Result<Account, SyncRefusal> {
    account.begin_sync(lease(minute, 1), POLICY.cooldown)
}

fn end(account: &Account, start: u32, outcome: SyncOutcome) -> Option<Account> {
    let ended = SyncAttempt {
        started_at: at(start),
        ended_at: at(start + 1),
        data: SyncData::Transactions,
        incomplete_allowed: false,
        outcome,
    };
    account.end_sync(lease(start, 1), &ended)
}

#[test]
fn sync_takes_a_lease_and_a_cooldown_together() {
    let begun = begin(&record([strong(1, fresh())]), 10).unwrap();
    assert_eq!(begun.lease, Some(lease(10, 1)));
    assert_eq!(begun.cooldown_until, Some(at(15)));
    let again = begun.begin_sync(lease(11, 2), Duration::ZERO);
    assert_eq!(again, Err(SyncRefusal::Running { job_id: None }), "the second caller is refused");
}

#[test]
fn unknown_account_can_be_synced() {
    assert!(begin(&Account::new(id()), 10).is_ok());
}

#[test]
fn lease_expires_and_its_cooldown_stays() {
    let begun = begin(&record([strong(1, fresh())]), 10).unwrap();
    assert_eq!(begin(&begun, 12), Err(SyncRefusal::CoolingDown { until: at(15) }));
    assert!(begin(&begun, 15).is_ok());
}

#[test]
fn expired_lease_without_a_cooldown_allows_a_sync() {
    let begun = Account::new(id()).begin_sync(lease(10, 1), Duration::ZERO).unwrap();
    assert_eq!(begun.cooldown_until, None);
    assert!(begin(&begun, 12).is_ok());
}

#[test]
fn running_job_blocks_a_sync() {
    let account = record([strong(1, fresh()), strong(10, job("j", "processing"))]);
    assert_eq!(begin(&account, 20), Err(SyncRefusal::Running { job_id: Some("j".to_owned()) }));
    assert!(begin(&account, 40).is_ok(), "a job blocks for at most half an hour");
}

#[test]
fn account_that_requires_reauthorisation_can_be_synced() {
    let account = record([strong(1, fresh()), strong(5, EventBody::ReauthorisationRequired)]);
    assert!(begin(&account, 10).is_ok());
}

#[test]
fn account_is_not_synced_once_mono_has_confirmed_its_unlinking() {
    let unlinked = record([strong(1, fresh()), weak(5, EventBody::Unlinked)]);
    assert!(begin(&unlinked, 10).is_ok(), "the sync itself decides");
    let gone = unlinked.apply(&verification(&unlinked, 9, Reading::Gone));
    assert_eq!(begin(&gone, 10), Err(SyncRefusal::Unlinked));
    let unknown = unlinked.apply(&verification(&unlinked, 9, Reading::Unknown));
    assert!(begin(&unknown, 10).is_ok());
    let linked = unlinked.apply(&verification(&unlinked, 9, there()));
    assert!(begin(&linked, 10).is_ok());
}

#[test]
fn cooldown_is_cleared_only_if_mono_started_nothing() {
    let account = record([strong(1, fresh())]);
    let cooldown =
        |outcome| end(&begin(&account, 10).unwrap(), 10, outcome).unwrap().cooldown_until;
    for outcome in [
        success(),
        failure(),
        timeout(),
        not_found(),
        SyncOutcome::NoResult(CallError::Unavailable),
        SyncOutcome::NoResult(CallError::Unusable(mono_error())),
        SyncOutcome::Processing { job_id: None },
        SyncOutcome::ReauthorisationRequired { job_id: None },
    ] {
        assert_eq!(cooldown(outcome.clone()), Some(at(15)), "{outcome:?}");
    }
    let refused = SyncOutcome::NoResult(CallError::Refused(mono_error()));
    for outcome in [rate_limited(), SyncOutcome::NoResult(CallError::NotConnected), refused] {
        assert_eq!(cooldown(outcome.clone()), None, "{outcome:?}");
    }
}

#[test]
fn unknown_account_is_deleted_after_not_found_or_if_mono_started_nothing() {
    let begun = begin(&Account::new(id()), 10).unwrap();
    for outcome in [not_found(), rate_limited(), SyncOutcome::NoResult(CallError::NotConnected)] {
        assert_eq!(end(&begun, 10, outcome), None);
    }
    let kept = end(&begun, 10, timeout()).unwrap();
    assert_eq!(kept.cooldown_until, Some(at(15)), "Mono may have charged for the sync");
}

#[test]
fn not_found_for_a_known_account_is_failed() {
    let account = record([strong(1, fresh())]);
    let ended = end(&begin(&account, 10).unwrap(), 10, not_found()).unwrap();
    assert_eq!(ended.status_since(at(12)), StatusSince { status: Status::Failed, at: at(11) });
    let pull = ended.registers.pull.unwrap().value;
    assert_eq!(pull.error, Some(mono_error()));
}

#[test]
fn not_found_deletes_a_record_that_holds_only_sync_attempts() {
    let attempted = end(&begin(&Account::new(id()), 10).unwrap(), 10, timeout()).unwrap();
    let begun = begin(&attempted, 20).unwrap();
    assert_eq!(end(&begun, 20, not_found()), None, "a mistyped id leaves no trace");
    let limited = end(&begun, 20, rate_limited()).unwrap();
    assert_eq!(
        limited.registers.last_billable_attempt, attempted.registers.last_billable_attempt,
        "the earlier attempt is kept"
    );
}

#[test]
fn end_of_a_sync_does_not_release_the_lease_of_another_caller() {
    for account in [Account::new(id()), record([strong(1, fresh())])] {
        let held = account.begin_sync(lease(10, 2), POLICY.cooldown).unwrap();
        for outcome in [not_found(), rate_limited(), success(), timeout()] {
            let ended = end(&held, 10, outcome.clone()).unwrap();
            assert_eq!(ended.lease, held.lease, "{outcome:?}");
            assert_eq!(ended.cooldown_until, held.cooldown_until, "{outcome:?}");
        }
    }
}

#[test]
fn repeated_begin_with_the_same_lease_succeeds_after_an_event() {
    let begun = begin(&Account::new(id()), 10).unwrap();
    let meanwhile = begun.apply(&strong(10, connected()));
    assert_eq!(begin(&meanwhile, 10), Ok(meanwhile));
}

/// Several callers begin syncs and end them or crash, in any order, while events arrive. Mono never gets two
/// concurrent syncs or a sync within a cooldown. Without a cooldown, only the lease blocks a sync.
#[test]
fn concurrent_callers_never_run_two_syncs_or_a_sync_within_the_cooldown() {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Act {
        Begin(u8),
        End(u8, SyncOutcome),
        Crash(u8),
        Event,
    }
    let outcome = proptest::sample::select(vec![
        success(),
        not_found(),
        timeout(),
        rate_limited(),
        SyncOutcome::Processing { job_id: None },
    ]);
    let act = prop_oneof![
        3 => (0..4_u8).prop_map(Act::Begin),
        3 => (0..4_u8, outcome).prop_map(|(caller, outcome)| Act::End(caller, outcome)),
        1 => (0..4_u8).prop_map(Act::Crash),
        1 => Just(Act::Event),
    ];
    let cooldown = proptest::sample::select(vec![Duration::ZERO, POLICY.cooldown]);
    let config = ProptestConfig::with_cases(10_000);
    proptest!(config, |(acts in vec(act, 0..60), seen in any::<bool>(), cooldown in cooldown)| {
        let mut account = seen.then(|| record([strong(0, fresh())]));
        // The callers whose sync runs at Mono, and the time before which no other sync may start.
        let mut running: BTreeMap<u8, Lease> = BTreeMap::new();
        let mut blocked_until = at(0);
        for (minute, act) in (1_u32..).zip(acts) {
            let stored = account.clone().unwrap_or_else(|| Account::new(id()));
            match act {
                Act::Begin(caller) if !running.contains_key(&caller) => {
                    let lease = lease(minute, caller);
                    if let Ok(begun) = stored.begin_sync(lease, cooldown) {
                        let concurrent = running.values().filter(|other| at(minute) < other.until);
                        prop_assert_eq!(concurrent.count(), 0, "two concurrent syncs");
                        prop_assert!(at(minute) >= blocked_until, "sync within the cooldown");
                        blocked_until = at(minute) + cooldown;
                        running.insert(caller, lease);
                        account = Some(begun);
                    }
                }
                Act::End(caller, outcome) => {
                    if let Some(lease) = running.remove(&caller) {
                        let (started_at, ended_at) = (lease.started_at, at(minute));
                        let newest = stored.lease == Some(lease);
                        let is_deleted = outcome == not_found() && stored.registers.hold_only_attempts();
                        // Mono started nothing, or the record is deleted. So there was nothing to charge.
                        if newest && (!outcome.reached_mono() || is_deleted) {
                            blocked_until = at(minute);
                        }
                        let data = SyncData::Transactions;
                        let incomplete_allowed = false;
                        let attempt =
                            SyncAttempt { started_at, ended_at, data, incomplete_allowed, outcome };
                        account = stored.end_sync(lease, &attempt);
                    }
                }
                // After a crash, the lease stays until it expires.
                Act::Crash(caller) => {
                    let lease = running.remove(&caller).filter(|lease| stored.lease == Some(*lease));
                    blocked_until = lease.map_or(blocked_until, |lease| blocked_until.max(lease.until));
                }
                Act::Event => account = Some(stored.apply(&strong(minute, fresh()))),
                Act::Begin(_) => {}
            }
        }
    });
}

#[test]
fn not_found_keeps_a_record_that_an_event_wrote_during_the_call() {
    let begun = begin(&Account::new(id()), 10).unwrap().apply(&strong(10, connected()));
    assert!(end(&begun, 10, not_found()).is_some());
}

#[test]
fn record_of_a_first_sync_is_pending_since_its_lease() {
    let begun = begin(&Account::new(id()), 10).unwrap();
    let pending = StatusSince { status: Status::Pending, at: at(10) };
    assert_eq!(
        begun.status_since(at(12)),
        pending,
        "the lease of a crashed sync still counts after its expiry"
    );
    assert_eq!(begun.next_refresh_at(POLICY), Some(at(15)));
}

const DAY_MINUTES: u32 = 24 * 60;

#[test]
fn balance_only_account_syncs_its_balance_and_once_a_week_its_transactions() {
    let without = |minutes| strong(minutes, retrieved("PARTIAL", &["identity", "balance"]));
    let linked = record([without(0)]);
    assert!(!linked.is_balance_only(), "the bank may have had a problem");
    assert_eq!(linked.data_to_sync(at(DAY_MINUTES)), SyncData::Transactions);
    let failed = SyncOutcome::Failed { error: mono_error(), job_id: None };
    let synced = linked.apply(&attempt(DAY_MINUTES, failed)).apply(&without(DAY_MINUTES + 2));
    assert!(synced.is_balance_only(), "the two reports are a day apart");
    let requested = |days: u32| synced.data_to_sync(at(days * DAY_MINUTES));
    assert_eq!(
        [2, 7, 8].map(requested),
        [SyncData::Balance, SyncData::Balance, SyncData::Transactions]
    );
    let never_synced = record([without(0), without(DAY_MINUTES)]);
    assert_eq!(never_synced.data_to_sync(at(2 * DAY_MINUTES)), SyncData::Transactions);
    let soon = record([without(0), without(60)]);
    assert!(!soon.is_balance_only());
}

#[test]
fn account_that_ever_had_transactions_is_not_balance_only() {
    let without = |minutes| strong(minutes, retrieved("PARTIAL", &["identity", "balance"]));
    let account = record([without(0), without(2 * DAY_MINUTES)]);
    assert!(account.is_balance_only());
    for shown in [
        strong(5, retrieved("AVAILABLE", &["balance", "transactions"])),
        strong(5, updated("AVAILABLE", None)),
    ] {
        assert!(!account.apply(&shown).is_balance_only());
    }
    let successful = account.apply(&attempt(3 * DAY_MINUTES, success()));
    assert!(
        successful.is_balance_only(),
        "a confirmed sync alone does not prove that Mono holds transactions"
    );
    let pull = successful.import_due().unwrap();
    let state =
        ImportState { through: Some(at(1)), gaps: Vec::new(), notes: ImportNotes::default() };
    let rows = successful.apply(&Fact::Import(Import { pull, state }));
    assert!(!rows.is_balance_only(), "an imported row proves that Mono holds transactions");
}

#[test]
fn balance_sync_does_not_report_new_transactions() {
    let brought = |data| {
        let outcome =
            SyncOutcome::Successful { has_new_data: true, data, balance: None, job_id: None };
        record([attempt(1, outcome)]).registers.transactions
    };
    assert!(brought(SyncData::Transactions).is_some());
    assert_eq!(brought(SyncData::Balance), None);
}

#[test]
fn name_of_the_holder_is_removed_from_monos_message() {
    let redacted = |name: &str, message: &str| {
        let details = Details { name: Some(name.to_owned()), ..Details::default() };
        let update = Update { details: Some(details), ..Update::default() };
        let account = record([strong(1, EventBody::Updated(Box::new(update)))]);
        let message = Some(message.to_owned());
        let error = ProviderError { code: "SYNC_ERROR".to_owned(), message };
        let outcome = SyncOutcome::Failed { error, job_id: None }.without_name_of(&account);
        outcome.error().unwrap().message.clone().unwrap()
    };
    let message = "Ms. ada Example's bank, Examples Bank, is down";
    assert_eq!(redacted("Ada EXAMPLE", message), "Ms. … …'s bank, Examples Bank, is down");
    assert_eq!(redacted("OKAFOR, ADA", "Login of OKAFOR, Ada refused"), "Login of …, … refused");
    assert_eq!(redacted("O'BRIEN ADE-BELLO", "o'Brien (Ade-Bello)"), "o'… (…-…)");
    assert_eq!(redacted("Ńgọ́zi", "of Ńgọ́zi."), "of ….");
}

#[test]
fn attention_holds_the_time_of_the_last_sync() {
    let attention = |facts: Vec<Fact>| record(facts).attention();
    assert_eq!(attention(vec![strong(1, fresh())]), None);
    assert_eq!(attention(vec![strong(1, connected())]), None);
    assert_eq!(attention(vec![strong(1, EventBody::Unlinked)]), None);
    for (body, status) in [
        (EventBody::ReauthorisationRequired, Status::ReauthorisationRequired),
        (EventBody::Reauthorized, Status::ReauthorisationPending),
        (EventBody::SyncFailed, Status::Failed),
        (updated("UNAVAILABLE", None), Status::BankUnavailable),
    ] {
        let expected = Some(Attention { status, since: at(1) });
        assert_eq!(attention(vec![strong(1, fresh()), strong(5, body.clone())]), expected);
        let never = Some(Attention { status, since: Timestamp::from_millis(0) });
        assert_eq!(attention(vec![strong(5, body)]), never);
    }
    let syncing = [strong(1, EventBody::SyncFailed), strong(5, job("j", "processing"))];
    assert_eq!(
        attention(syncing.into()).unwrap().status,
        Status::Failed,
        "a running sync does not hide the failure"
    );
}
