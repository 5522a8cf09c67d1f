use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::account::Fact;
use crate::domain::webhook::event::{self, Interpretation};

const ID: &str = "697926f050b9c321c1451dda";

fn received_at() -> Timestamp {
    Timestamp::parse_rfc3339("2026-01-27T21:00:40Z").unwrap()
}

fn event_of(kind: &str, second: Option<u32>, meta: &Value) -> Event {
    let mut body = json!({
        "event": format!("mono.events.{kind}"),
        "event_id": format!("{kind}-{second:?}"),
        "data": { "account": { "_id": ID, "bvn": "22212345678" }, "meta": meta },
    });
    if let Some(second) = second {
        body["timestamp"] = json!(format!("2026-01-27T21:00:{second:02}.000Z"));
    }
    event::read(&body.to_string(), received_at()).unwrap()
}

fn updated(second: u32) -> Event {
    event_of("account_updated", Some(second), &json!({ "data_status": "AVAILABLE" }))
}

fn fact(event: &Event) -> &Fact {
    match &event.interpretation {
        Interpretation::Fact(_, fact) => fact,
        Interpretation::Nothing(_) => panic!("{event:?}"),
    }
}

/// The account after these events, and the entries of the events.
fn folded(account: &Account, events: &[&Event]) -> (Account, Vec<Option<Entry>>) {
    let facts: Vec<_> = events.iter().map(|event| fact(event)).collect();
    let steps = account.fold(&facts);
    let entries = events.iter().zip(&steps).map(|(event, step)| Entry::of_step(event, step));
    (steps.last().unwrap().after.clone(), entries.collect())
}

fn blank() -> Account {
    Account::new(ID.parse().unwrap())
}

#[test]
fn entry_has_kind_times_effect_and_statuses() {
    let (_, entries) = folded(&blank(), &[&updated(30)]);
    let entry = serde_json::to_value(entries[0].as_ref().unwrap()).unwrap();
    let expected = json!({
        "kind": "account_updated", "event_id": "account_updated-Some(30)".replace(['(', ')'], ""),
        "occurred_at": "2026-01-27T21:00:30.000Z", "received_at": "2026-01-27T21:00:40.000Z",
        "effect": "applied", "status_before": null, "status_after": "healthy",
    });
    assert_eq!(entry, expected);
}

#[test]
fn event_older_than_the_record_has_no_effect() {
    let (account, _) = folded(&blank(), &[&updated(30)]);
    for second in [29, 10] {
        let (after, entries) = folded(&account, &[&updated(second)]);
        assert_eq!(entries[0].as_ref().unwrap().effect, Effect::NoChange);
        assert_ne!(
            after.registers.first_seen, account.registers.first_seen,
            "only the time of the first event changes"
        );
    }
}

#[test]
fn recognised_duplicate_has_no_entry() {
    let event = updated(30);
    let (account, entries) = folded(&blank(), &[&event, &event]);
    assert!(entries[0].is_some() && entries[1].is_none());
    let (account, _) = folded(&account, &[&updated(31)]);
    let unrecognised = folded(&account, &[&event]).1.remove(0).unwrap();
    assert_eq!(unrecognised.effect, Effect::NoChange);
}

#[test]
fn redelivery_never_replaces_the_entry_of_the_applied_delivery() {
    let event = updated(30);
    let (account, first) = folded(&blank(), &[&event]);
    let (account, _) = folded(&account, &[&updated(31)]);
    let redelivered = folded(&account, &[&event]).1;
    let positions = [&first[0], &redelivered[0]].map(|entry| entry.as_ref().unwrap().position);
    assert_ne!(positions[0], positions[1]);
}

#[test]
fn redelivery_after_a_crash_has_the_same_entry() {
    let event = updated(30);
    assert_eq!(folded(&blank(), &[&event]).1, folded(&blank(), &[&event]).1);
}

#[test]
fn ignored_event_does_not_change_the_status() {
    let (account, _) = folded(&blank(), &[&updated(30)]);
    let event = event_of("account_income", None, &json!({}));
    let entry = Entry::of_ignored(&event, &account);
    assert_eq!(entry.effect, Effect::Ignored);
    assert_eq!(
        (entry.status_before, entry.status_after),
        (Some(Status::Healthy), Some(Status::Healthy))
    );
    assert_eq!(entry.occurred_at, received_at());
}

#[test]
fn entry_contains_no_bvn_account_number_or_name() {
    let body = json!({
        "event": "mono.events.account_updated",
        "data": {
            "account": { "_id": ID, "name": "Zebedee Quux", "accountNumber": "9988776655",
                "bvn": "22212345678" },
            "meta": { "data_status": "AVAILABLE" },
        },
    });
    let event = event::read(&body.to_string(), received_at()).unwrap();
    let entry = folded(&blank(), &[&event]).1.remove(0);
    for private in ["Zebedee", "9988776655", "22212345678"] {
        assert!(!format!("{entry:?}").contains(private));
    }
}

#[test]
fn position_text_is_read_back_and_other_text_is_rejected() {
    let text = "001769547640000.77dfb8e2.applied";
    assert_eq!(text.parse::<Position>().unwrap().to_string(), text);
    for invalid in [
        "",
        "1.77dfb8e2.applied",
        "001769547640000.77dfb8e2",
        "001769547640000.7.applied",
        "001769547640000.77dfb8e2.odd",
        "001769547640000.77DFB8E2.applied",
        "001769547640000.77dfb8e2.applied.",
        "x.77dfb8e2.applied",
    ] {
        assert_eq!(invalid.parse::<Position>(), Err(InvalidPosition), "{invalid}");
    }
}

proptest! {
    #[test]
    fn position_texts_sort_by_time_of_receipt(one in any::<u64>(), other in any::<u64>()) {
        let position = |millis| Position {
            received_at: Timestamp::from_millis(millis),
            event: ShortHash::of("event"),
            effect: Effect::Applied,
        };
        let (one, other) = (position(one), position(other));
        prop_assert_eq!(one.cmp(&other), one.to_string().cmp(&other.to_string()));
        let earliest = Position::earliest(one.received_at, Duration::ZERO);
        prop_assert!(earliest < one.to_string());
    }

    #[test]
    fn arbitrary_text_is_read_without_panic(text in "\\PC*") {
        let _ = text.parse::<Position>();
    }
}
