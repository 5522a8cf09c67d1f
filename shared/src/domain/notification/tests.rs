use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

use super::*;
use crate::domain::account::tests::{facts, record};
use crate::domain::account::{Fact, Import, ImportEnd, ImportLease, ImportState, OrderKey};
use crate::domain::webhook::event::{self, Interpretation};

fn fact(event: &Value) -> Fact {
    let event = event::read(&event.to_string(), time("2026-01-27T21:00:00Z")).unwrap();
    match event.interpretation {
        Interpretation::Fact(_, fact) => *fact,
        Interpretation::Nothing(_) => panic!("the event is no fact"),
    }
}

fn time(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn sent(name: &str, timestamp: &str, data: &Value) -> Fact {
    fact(&json!({ "event": format!("mono.events.{name}"), "timestamp": timestamp, "data": data }))
}

const ACCOUNT: &str = "697926f050b9c321c1451dda";

fn linked() -> Fact {
    let data =
        json!({ "id": ACCOUNT, "customer": "6961439d7716b67eba2d068a", "meta": { "ref": "4711" } });
    sent("account_connected", "2026-01-27T20:00:00Z", &data)
}

fn updated(timestamp: &str, status: &str, balance: i64) -> Fact {
    let account = json!({ "_id": ACCOUNT, "name": "Ada Example", "balance": balance });
    sent(
        "account_updated",
        timestamp,
        &json!({ "account": account, "meta": { "data_status": status } }),
    )
}

fn needs_reauth(timestamp: &str) -> Fact {
    sent("reauthorisation_required", timestamp, &json!({ "account": { "_id": ACCOUNT } }))
}

fn names(before: Option<&Account>, after: Option<&Account>) -> Vec<&'static str> {
    changes(before, after).iter().map(Change::name).collect()
}

fn healthy() -> Account {
    record([linked(), updated("2026-01-27T20:01:00Z", "AVAILABLE", 500)])
}

#[test]
fn new_account_is_linked_and_begins_as_pending() {
    let account = record([linked()]);
    assert_eq!(changes(None, Some(&account)), [Change::Linked {}]);
    let change = Change::StatusChanged { from: Status::Pending, to: Status::Healthy };
    assert_eq!(changes(Some(&account), Some(&healthy())), [change, Change::BalanceChanged {}]);
    assert_eq!(
        names(None, Some(&healthy())),
        ["account.linked", "account.status_changed", "account.balance_changed"]
    );
}

#[test]
fn account_of_a_payment_is_notified_once_it_is_a_data_link() {
    let bare = sent("account_connected", "2026-01-27T20:00:00Z", &json!({ "id": ACCOUNT }));
    let payment = record([bare]);
    assert_eq!(names(None, Some(&payment)), [""; 0]);
    assert_eq!(names(Some(&payment), None), [""; 0]);
    let data = payment.apply(&needs_reauth("2026-01-27T20:05:00Z"));
    assert_eq!(names(Some(&payment), Some(&data)), ["account.linked", "account.status_changed"]);
}

#[test]
fn equal_records_give_no_notification() {
    let account = healthy();
    let read = Account { read_at: Some(time("2026-01-27T20:30:00Z")), ..account.clone() };
    assert_eq!(names(Some(&account), Some(&read)), [""; 0]);
}

#[test]
fn only_the_end_of_an_erasure_is_notified() {
    let erasing = healthy().begin_erasure(Timestamp::from_millis(9));
    assert_eq!(changes(Some(&healthy()), Some(&erasing)), []);
    assert_eq!(changes(Some(&erasing), Some(&erasing)), []);
    assert_eq!(changes(Some(&erasing), None), [Change::Erased {}]);
    let linked_again = names(Some(&erasing), Some(&healthy()));
    assert_eq!(linked_again[..2], ["account.erased", "account.linked"]);
}

#[test]
fn deleted_record_is_erased() {
    assert_eq!(changes(Some(&healthy()), None), [Change::Erased {}]);
}

#[test]
fn changed_status_names_both_statuses() {
    let before = healthy();
    let after = before.apply(&needs_reauth("2026-01-27T20:05:00Z"));
    let change =
        Change::StatusChanged { from: Status::Healthy, to: Status::ReauthorisationRequired };
    assert_eq!(changes(Some(&before), Some(&after)), [change]);
}

#[test]
fn new_balance_is_notified_and_an_equal_one_is_not() {
    let before = healthy();
    let equal = before.apply(&updated("2026-01-27T20:10:00Z", "AVAILABLE", 500));
    assert_eq!(names(Some(&before), Some(&equal)), [""; 0]);
    let other = before.apply(&updated("2026-01-27T20:10:00Z", "AVAILABLE", 501));
    assert_eq!(names(Some(&before), Some(&other)), ["account.balance_changed"]);
}

#[test]
fn new_owner_is_notified_with_the_previous_owner() {
    use crate::domain::account::{Reading, Reported, Verification};
    let before = healthy();
    let reported = Reported { reference: Some("4712".to_owned()), ..Reported::default() };
    let found = Reading::Linked(Box::new(reported));
    let at = time("2026-01-27T20:30:00Z");
    let after = before.apply(&Fact::Verification(Verification { at, ending: None, found }));
    let change = Change::OwnerChanged { previous_ref: "4711".to_owned() };
    assert_eq!(changes(Some(&before), Some(&after)), [change]);
    let write = Write { id: "w".to_owned(), at, before: Some(before), after: Some(after) };
    assert_eq!(write.notifications()[0].reference.as_deref(), Some("4712"));
}

#[test]
fn confirmed_unlinking_and_new_link_are_notified() {
    use crate::domain::account::{Reading, Verification};
    let before = healthy();
    let unlinking =
        sent("account_unlinked", "2026-01-27T20:40:00Z", &json!({ "account": ACCOUNT }));
    let in_doubt = before.apply(&unlinking);
    assert_eq!(names(Some(&before), Some(&in_doubt)), [""; 0]);
    let (at, found) = (time("2026-01-27T20:41:00Z"), Reading::Gone);
    let gone = in_doubt.apply(&Fact::Verification(Verification { at, ending: None, found }));
    let unlinked = ["account.unlinked", "account.status_changed"];
    assert_eq!(names(Some(&in_doubt), Some(&gone)), unlinked);
    let data = json!({ "id": ACCOUNT, "customer": "6961439d7716b67eba2d068a" });
    let again = gone.apply(&sent("account_connected", "2026-01-27T20:50:00Z", &data));
    assert_eq!(names(Some(&gone), Some(&again)), ["account.linked", "account.status_changed"]);
}

fn lease(account: &Account, holder: u8) -> ImportLease {
    ImportLease {
        holder: [holder; 8],
        pull: account.import_due().unwrap(),
        until: time("2026-01-27T21:02:00Z"),
    }
}

fn begun(account: &Account, holder: u8) -> Account {
    let now = time("2026-01-27T21:05:00Z");
    account.begin_import(lease(account, holder), None, now).unwrap()
}

fn done(pull: OrderKey) -> ImportEnd {
    ImportEnd::Done(Import { pull, state: ImportState::default() })
}

const ROWS: RowCounts = RowCounts { added: 3, modified: 1, removed: 2, interrupted: 0 };

fn imported_rows(rows: RowCounts, history_complete: bool) -> Change {
    let RowCounts { added, modified, removed, .. } = rows;
    Change::TransactionsImported { added, modified, removed, history_complete }
}

#[test]
fn import_is_notified_once_with_its_counts() {
    let account = healthy();
    let importing = begun(&account, 1);
    assert_eq!(names(Some(&account), Some(&importing)), [""; 0]);
    let pull = lease(&account, 1).pull;
    let ended = importing.end_import([1; 8], &done(pull), ROWS, None).unwrap();
    assert_eq!(changes(Some(&importing), Some(&ended)), [imported_rows(ROWS, true)]);
}

#[test]
fn import_without_changes_is_notified_only_if_it_completes_the_history() {
    let account = healthy();
    let pull = lease(&account, 1).pull;
    let nothing = RowCounts::default();
    let first = begun(&account, 1).end_import([1; 8], &done(pull), nothing, None).unwrap();
    assert_eq!(changes(Some(&account), Some(&first)), [imported_rows(nothing, true)]);
    let later = first.apply(&updated("2026-01-28T20:00:00Z", "AVAILABLE", 500));
    let pull = lease(&later, 2).pull;
    let second = begun(&later, 2).end_import([2; 8], &done(pull), nothing, None).unwrap();
    assert_eq!(changes(Some(&later), Some(&second)), []);
}

#[test]
fn failed_import_is_notified_with_the_rows_that_it_wrote() {
    let account = healthy();
    let importing = begun(&account, 1);
    let ended = importing.end_import([1; 8], &ImportEnd::GivenUp, ROWS, None).unwrap();
    assert_eq!(changes(Some(&importing), Some(&ended)), [imported_rows(ROWS, false)]);
    let ended =
        importing.end_import([1; 8], &ImportEnd::GivenUp, RowCounts::INTERRUPTED, None).unwrap();
    let unknown = imported_rows(RowCounts::default(), false);
    assert_eq!(changes(Some(&importing), Some(&ended)), [unknown]);
}

#[test]
fn import_after_a_crash_notifies_rows_that_may_have_been_written() {
    let crashed = begun(&healthy(), 1);
    let again = begun(&crashed, 2);
    let unknown = imported_rows(RowCounts::default(), false);
    assert_eq!(changes(Some(&crashed), Some(&again)), [unknown]);
}

/// A failed write may arrive after the notification of the import's end.
#[test]
fn import_after_a_failed_write_notifies_rows_that_may_have_become_visible() {
    let importing = begun(&healthy(), 1);
    let settled_at = Some(time("2026-01-27T21:00:10Z"));
    let failed = RowCounts::INTERRUPTED;
    let ended = importing.end_import([1; 8], &ImportEnd::GivenUp, failed, settled_at).unwrap();
    let unknown = imported_rows(RowCounts::default(), false);
    assert_eq!(changes(Some(&importing), Some(&ended)), std::slice::from_ref(&unknown));
    assert_eq!(changes(Some(&ended), Some(&begun(&ended, 2))), [unknown]);
}

#[test]
fn continuation_takes_the_lease_over_without_a_notification() {
    let account = begun(&healthy(), 1);
    let continued = ImportLease { holder: [2; 8], ..account.import.unwrap() };
    let now = time("2026-01-27T21:05:00Z");
    let after = account.begin_import(continued, Some(account.import_number), now).unwrap();
    assert_eq!(changes(Some(&account), Some(&after)), []);
}

#[test]
fn counts_that_overflow_keep_an_exact_difference() {
    let most = RowCounts { added: u32::MAX, ..RowCounts::default() };
    let mut more = most;
    more += ROWS;
    assert_eq!(more.since(most), ROWS);
}

#[test]
fn same_write_has_the_same_notifications_and_another_has_other_ids() {
    let write = |id: &str| Write {
        id: id.to_owned(),
        at: time("2026-01-27T20:00:00Z"),
        before: None,
        after: Some(healthy()),
    };
    let ids = |id: &str| -> Vec<String> {
        write(id).notifications().into_iter().map(|notification| notification.id).collect()
    };
    assert_eq!(write("one").notifications(), write("one").notifications());
    let mut all = [ids("one"), ids("other")].concat();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 6);
    assert!(all.iter().all(|id| id.len() == 32));
}

#[test]
fn notification_is_one_flat_object() {
    let before = Some(healthy());
    let after = Some(healthy().apply(&needs_reauth("2026-01-27T20:05:00Z")));
    let write = Write { id: "w".to_owned(), at: time("2026-01-27T20:05:01Z"), before, after };
    let notifications = write.notifications();
    let sent = serde_json::to_value(&notifications[0]).unwrap();
    assert_eq!(
        sent,
        json!({
            "id": notifications[0].id,
            "type": "account.status_changed",
            "occurred_at": "2026-01-27T20:05:01.000Z",
            "account_id": ACCOUNT,
            "ref": "4711",
            "from": "healthy",
            "to": "reauthorisation_required",
        })
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn notified_statuses_lead_from_the_first_to_the_last(
        facts in facts(),
        ends in proptest::collection::vec(any::<Index>(), 0..4),
    ) {
        // The facts are written in any batches.
        let mut ends: Vec<_> = ends.iter().map(|end| end.index(facts.len())).collect();
        ends.extend([0, facts.len()]);
        ends.sort_unstable();
        let mut before: Option<Account> = None;
        let mut status = Status::Pending;
        for batch in ends.windows(2) {
            let mut after = before.clone().unwrap_or_else(|| record([]));
            for fact in &facts[batch[0]..batch[1]] {
                after = after.apply(fact);
            }
            let notified = changes(before.as_ref(), Some(&after));
            if before.as_ref() == Some(&after) {
                prop_assert_eq!(&notified, &[]);
            }
            for change in notified {
                if let Change::StatusChanged { from, to } = change {
                    prop_assert_eq!(from, status);
                    prop_assert_ne!(from, to);
                    status = to;
                }
            }
            before = Some(after);
        }
        let last = before.unwrap();
        if last.is_data_link() {
            prop_assert_eq!(status, last.status_without_sync().status);
        } else {
            prop_assert_eq!(status, Status::Pending);
        }
    }
}
