use super::*;
use crate::domain::business_day::BusinessDay;

fn lease(holder: u8, pull: OrderKey, until: u32) -> ImportLease {
    ImportLease { holder: [holder; 8], pull, until: at(until) }
}

fn pulled(account: &Account) -> OrderKey {
    account.registers.transactions.as_ref().unwrap().order
}

fn imported(account: &Account) -> Fact {
    Fact::Import(done(pulled(account)))
}

fn done(pull: OrderKey) -> Import {
    Import {
        pull,
        state: ImportState {
            through: Some(at(1)),
            gaps: Vec::new(),
            notes: ImportNotes::default(),
        },
    }
}

#[test]
fn import_is_due_if_a_pull_with_transactions_is_newer_than_the_last_import() {
    let account = record([strong(10, fresh())]);
    assert_eq!(account.import_due(), Some(pulled(&account)));
    let done = account.apply(&imported(&account));
    assert_eq!(done.import_due(), None);
    let view = done.view(at(20), POLICY);
    assert_eq!(view.transactions_imported_at, Some(at(10)));
    assert_eq!(view.transactions_through, Some(at(1)));
    let older = done.apply(&strong(9, fresh()));
    assert_eq!(older.import_due(), None, "the late pull is older than the imported pull");
    let newer = done.apply(&strong(11, fresh()));
    assert_eq!(newer.import_due(), Some(pulled(&newer)));
}

#[test]
fn pull_without_new_transactions_keeps_an_unfinished_import_due() {
    let first = record([strong(1, fresh())]);
    let held = first.apply(&imported(&first));
    let facts = [strong(10, fresh()), strong(20, nothing_new())];
    let unfinished = facts.iter().fold(held, |account, fact| account.apply(fact));
    assert_eq!(unfinished.import_due(), Some(pulled(&unfinished)));
    assert_eq!(pulled(&unfinished).at, at(10));
}

#[test]
fn second_import_is_refused_while_the_first_holds_the_lease() {
    let account = record([strong(10, fresh())]);
    let pull = pulled(&account);
    let begun = account.begin_import(lease(1, pull, 13), None, at(11)).unwrap();
    assert_eq!(begun.import, Some(lease(1, pull, 13)));
    let second = |holder, pull, now| begun.begin_import(lease(holder, pull, 99), None, at(now));
    assert_eq!(
        second(2, pull, 12),
        Err(ImportRefusal::Covered),
        "the first import covers the pull"
    );
    let later = pulled(&begun.apply(&strong(12, fresh())));
    assert_eq!(
        second(2, later, 12),
        Err(ImportRefusal::Busy),
        "the first import may have started too early"
    );
    assert_eq!(
        second(1, pull, 12),
        Err(ImportRefusal::Busy),
        "a redelivery is not covered by its own lease"
    );
    assert!(second(2, pull, 13).is_ok(), "the first lease has expired");
}

#[test]
fn import_lease_passes_only_to_the_continuing_message() {
    let account = record([strong(10, fresh())]);
    let pull = pulled(&account);
    let begun = account.begin_import(lease(1, pull, 20), None, at(11)).unwrap();
    let from = Some(begun.import_number);
    assert!(begun.is_continued_by([2; 8], from));
    let next = begun.begin_import(lease(2, pull, 21), from, at(12)).unwrap();
    assert_eq!(next.import, Some(lease(2, pull, 21)));
    assert!(next.import_number > begun.import_number);
    let again = next.begin_import(lease(2, pull, 22), from, at(13));
    assert_eq!(again, Err(ImportRefusal::Busy), "redelivery of the second message");
    let first = next.begin_import(lease(1, pull, 22), None, at(13));
    assert_eq!(first, Err(ImportRefusal::Covered), "redelivery of the first message");
}

#[test]
fn end_of_an_import_does_not_release_the_lease_of_another_message() {
    let account = record([strong(10, fresh())]);
    let pull = pulled(&account);
    let begun = account.begin_import(lease(1, pull, 13), None, at(11)).unwrap();
    let ended =
        begun.end_import([1; 8], &ImportEnd::Done(done(pull)), RowCounts::default(), None).unwrap();
    assert_eq!((ended.import, ended.import_due()), (None, None));
    let given_up =
        begun.end_import([1; 8], &ImportEnd::GivenUp, RowCounts::default(), None).unwrap();
    assert_eq!((given_up.import, given_up.import_due()), (None, Some(pull)));
    let other =
        begun.end_import([2; 8], &ImportEnd::Done(done(pull)), RowCounts::default(), None).unwrap();
    assert_eq!((other.import, other.import_due()), (begun.import, None));
}

#[test]
fn lease_of_a_failed_write_is_held_until_the_write_is_over() {
    let account = record([strong(10, fresh())]);
    let pull = pulled(&account);
    let begun = account.begin_import(lease(1, pull, 20), None, at(11)).unwrap();
    let unsettled = |until| {
        let end =
            begun.end_import([1; 8], &ImportEnd::GivenUp, RowCounts::default(), Some(at(until)));
        end.unwrap()
    };
    let again =
        |account: &Account, minute| account.begin_import(lease(1, pull, 99), None, at(minute));
    assert_eq!(again(&unsettled(13), 12), Err(ImportRefusal::Busy));
    let other = unsettled(13).begin_import(lease(2, pull, 99), None, at(12));
    assert_eq!(other, Err(ImportRefusal::Busy), "an ended import covers no other request");
    let begun_again = again(&unsettled(13), 13).unwrap();
    assert_eq!(
        begun_again.written_rows.interrupted, 1,
        "the rows became visible after the end of the import"
    );
    assert!(again(&unsettled(30), 20).is_ok(), "the lease gets no longer");
}

#[test]
fn redelivered_continuation_of_an_ended_import_continues_nothing() {
    let account = record([strong(10, fresh())]);
    let pull = pulled(&account);
    let begun = account.begin_import(lease(1, pull, 20), None, at(11)).unwrap();
    let from = Some(begun.import_number);
    let next = begun.begin_import(lease(2, pull, 21), from, at(12)).unwrap();
    let end =
        |end, settled_at| next.end_import([2; 8], &end, RowCounts::default(), settled_at).unwrap();
    let finished = end(ImportEnd::Done(done(pull)), None);
    let again = finished.begin_import(lease(2, pull, 29), from, at(22));
    assert_eq!(again, Err(ImportRefusal::UpToDate));
    for failed in [end(ImportEnd::GivenUp, None), end(ImportEnd::GivenUp, Some(at(13)))] {
        assert!(!failed.is_continued_by([2; 8], from), "its counts are in the record");
        assert!(failed.begin_import(lease(2, pull, 29), from, at(22)).is_ok(), "the rows are due");
    }
}

#[test]
fn redelivered_continuation_after_a_crash_continues_the_import() {
    let account = record([strong(10, fresh())]);
    let pull = pulled(&account);
    let begun = account.begin_import(lease(1, pull, 20), None, at(11)).unwrap();
    let from = Some(begun.import_number);
    let crashed = begun.begin_import(lease(2, pull, 21), from, at(12)).unwrap();
    assert!(crashed.is_continued_by([2; 8], from));
    let again = crashed.begin_import(lease(2, pull, 30), from, at(22)).unwrap();
    assert_eq!(again.written_rows, RowCounts::INTERRUPTED);
    let first_again = crashed.begin_import(lease(1, pull, 30), None, at(22)).unwrap();
    let late = first_again.begin_import(lease(2, pull, 31), from, at(23));
    assert_eq!(late, Err(ImportRefusal::Covered), "the lease that it should take over is gone");
}

#[test]
fn import_number_increases_also_after_the_record_was_deleted() {
    let number = |account: &Account, minute| {
        let lease = lease(1, pulled(account), minute + 1);
        account.begin_import(lease, None, at(minute)).unwrap().import_number
    };
    let account = record([strong(10, fresh())]);
    let first = number(&account, 11);
    assert!(number(&account, 12) > first, "a new record has a new number");
    let ahead = Account { import_number: u32::MAX - 1, ..account };
    assert_eq!(number(&ahead, 12), u32::MAX, "a clock that runs behind counts up");
}

#[test]
fn import_does_not_create_a_record() {
    let account = record([strong(10, fresh())]);
    let (pull, unknown) = (pulled(&account), Account::new(id()));
    let begun = unknown.begin_import(lease(1, pull, 13), None, at(11));
    assert_eq!(begun, Err(ImportRefusal::Unknown));
    assert_eq!(
        unknown.end_import([1; 8], &ImportEnd::Done(done(pull)), RowCounts::default(), None),
        None
    );
}

#[test]
fn imported_pull_is_not_imported_again() {
    let account = record([strong(10, fresh())]);
    let done = account.apply(&imported(&account));
    let begun = done.begin_import(lease(1, pulled(&account), 13), None, at(11));
    assert_eq!(begun, Err(ImportRefusal::UpToDate));
}

#[test]
fn statement_is_whole_only_if_the_last_sync_confirmed_it() {
    let whole = |facts: Vec<Fact>| record(facts).has_whole_statement(at(100));
    let all = ["identity", "balance", "transactions"];
    assert!(whole(vec![strong(1, fresh())]));
    assert!(whole(vec![strong(1, retrieved("AVAILABLE", &all))]));
    assert!(whole(vec![strong(1, retrieved("PARTIAL", &["transactions"]))]));
    let imported = Fact::Import(done(pulled(&record([attempt(1, success())]))));
    assert!(whole(vec![attempt(1, success()), imported]), "the import stored rows");
    assert!(whole(vec![strong(1, updated("FAILED", None)), strong(2, fresh())]));

    assert!(!whole(vec![]));
    assert!(!whole(vec![attempt(1, success())]), "no import ever stored a row");
    assert!(!whole(vec![strong(1, connected())]));
    assert!(!whole(vec![strong(1, retrieved("PARTIAL", &["balance"]))]));
    assert!(!whole(vec![strong(1, retrieved("AVAILABLE", &["balance"]))]));
    assert!(!whole(vec![strong(1, updated("PARTIAL", None))]));
    assert!(!whole(vec![strong(1, fresh()), strong(2, updated("AVAILABLE", Some("FAILED")))]));
    assert!(!whole(vec![strong(1, fresh()), strong(2, updated("UNAVAILABLE", None))]));
    assert!(!whole(vec![strong(1, fresh()), strong(2, EventBody::ReauthorisationRequired)]));
    assert!(!whole(vec![strong(1, fresh()), strong(2, EventBody::Reauthorized)]));
    assert!(!whole(vec![strong(1, fresh()), strong(2, EventBody::Unlinked)]));
    assert!(
        !whole(vec![strong(1, fresh()), strong(99, updated("PROCESSING", None))]),
        "Mono is still fetching data"
    );
    assert!(!whole(vec![strong(1, updated("FAILED", None)), attempt(2, success())]));
}

#[test]
fn incomplete_statement_is_not_whole_until_a_complete_sync_succeeds() {
    let incomplete = |outcome| {
        let Fact::Attempt(attempt) = attempt(2, outcome) else { unreachable!() };
        Fact::Attempt(SyncAttempt { incomplete_allowed: true, ..attempt })
    };
    let unavailable = SyncOutcome::NoResult(CallError::Unavailable);
    for outcome in [success(), timeout(), unavailable, SyncOutcome::Processing { job_id: None }] {
        let account = record([strong(1, fresh()), incomplete(outcome), strong(4, fresh())]);
        assert!(account.import_due().is_some());
        assert!(!account.has_whole_statement(at(100)));
        for unsuccessful in [rate_limited(), timeout(), failure()] {
            let late = [attempt(10, unsuccessful), strong(20, fresh())];
            let late = late.iter().fold(account.clone(), |account, fact| account.apply(fact));
            assert!(
                !late.has_whole_statement(at(100)),
                "the webhook may belong to the incomplete sync"
            );
        }
        assert!(account.apply(&attempt(10, success())).has_whole_statement(at(100)));
    }
}

fn nothing_new() -> EventBody {
    EventBody::Updated(Box::new(Update {
        data_status: Some(DataStatus::from_word("AVAILABLE")),
        sync_status: Some(SyncStatus::Successful),
        ..Update::default()
    }))
}

#[test]
fn first_confirmed_pull_makes_an_import_due_even_without_new_data() {
    let successful = |data| {
        let (has_new_data, balance, job_id) = (false, None, None);
        SyncOutcome::Successful { has_new_data, data, balance, job_id }
    };
    let by_webhook = record([strong(10, nothing_new())]);
    let by_sync = record([attempt(10, successful(SyncData::Transactions))]);
    for account in [by_webhook, by_sync] {
        let due = account.import_due().expect("an import is due, because Mono may hold a history");
        let done = account.apply(&Fact::Import(done(due)));
        let next = done.apply(&strong(20, nothing_new()));
        assert_eq!(next.import_due(), None, "a later pull reports new data explicitly");
    }
    let balance_only = record([balance_attempt(10, successful(SyncData::Balance))]);
    assert_eq!(balance_only.import_due(), None);
    let without = record([strong(10, retrieved("PARTIAL", &["identity", "balance"]))]);
    assert_eq!(without.import_due(), None);
}

#[test]
fn failed_sync_with_new_transactions_makes_an_import_due_and_stays_failed() {
    let failed = |has_new_data, parts: &[&str]| {
        EventBody::Updated(Box::new(Update {
            data_status: Some(DataStatus::from_word("AVAILABLE")),
            sync_status: Some(SyncStatus::Failed),
            retrieved_data: Some(parts.iter().map(|part| (*part).to_owned()).collect()),
            has_new_data,
            ..Update::default()
        }))
    };
    let first = record([strong(1, fresh())]);
    let held = first.apply(&imported(&first));
    let parts = ["balance", "transactions"];
    let account = held.apply(&strong(10, failed(Some(true), &parts)));
    assert_eq!(account.import_due().map(|due| due.at), Some(at(10)));
    assert_eq!(account.status_since(at(11)).status, Status::Failed);
    assert!(
        !account.has_whole_statement(at(11)),
        "rows that are missing in an answer are not deleted"
    );
    for nothing in
        [failed(None, &parts), failed(Some(false), &parts), failed(Some(true), &["balance"])]
    {
        assert_eq!(held.apply(&strong(10, nothing)).import_due(), None);
    }
}

#[test]
fn due_gap_makes_an_import_due_at_the_next_pull() {
    let first = record([strong(0, fresh())]);
    let day = BusinessDay::of(at(0));
    let gap =
        Gap { first: day, last: day, since: at(0), tried: at(60), reason: GapReason::NotWhole };
    let state =
        ImportState { through: Some(at(0)), gaps: vec![gap], notes: ImportNotes::default() };
    let held = first.apply(&Fact::Import(Import { pull: pulled(&first), state }));
    assert_eq!(held.import_due(), None, "no import is due without a new pull");
    assert_eq!(held.apply(&strong(119, nothing_new())).import_due(), None);
    assert!(held.apply(&strong(120, nothing_new())).import_due().is_some());
}
