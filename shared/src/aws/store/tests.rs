use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use proptest::prelude::*;

use super::item::{CorruptItem, Item, Stored};
use super::*;
use crate::domain::account::ImportNotes;
use crate::domain::account::tests::{POLICY, facts, record};
use crate::domain::account::{
    CallError, Import, ImportLease, ImportState, Lease, OrderKey, Rank, RowCounts, ShortHash,
    SyncAttempt, SyncData, SyncOutcome, TimeSource,
};
use crate::domain::business_day::BusinessDay;
use crate::domain::timestamp::Timestamp;
use crate::domain::webhook::event::{self, Interpretation};

fn written(account: &Account, seen: Option<&Stored>) -> Item {
    Stored::next(account.clone(), seen).to_item(POLICY)
}

proptest! {
    #[test]
    fn written_record_is_read_back_unchanged(facts in facts(), numbers: [u32; 5]) {
        let [added, modified, removed, interrupted, import_number] = numbers;
        let written_rows = RowCounts { added, modified, removed, interrupted };
        let account = Account { written_rows, import_number, ..record(facts) };
        let stored = Stored::from_item(written(&account, None)).unwrap();
        prop_assert_eq!(stored.account, account);
    }

    #[test]
    fn item_that_lacks_one_attribute_is_read_or_rejected_without_panic(
        facts in facts(),
        index in any::<prop::sample::Index>(),
    ) {
        let mut item = written(&record(facts), None);
        let mut names: Vec<_> = item.keys().cloned().collect();
        names.sort();
        item.remove(index.get(&names));
        let _ = Stored::from_item(item);
    }
}

#[test]
fn leases_and_cooldown_are_read_back_unchanged() {
    let mut account = Account::new("a".parse().unwrap());
    let at = Timestamp::from_millis;
    account.lease = Some(Lease { started_at: at(1), until: at(2), token: [1; 8] });
    account.cooldown_until = Some(at(3));
    account.import = Some(import_lease(at(4)));
    assert_eq!(Stored::from_item(written(&account, None)).unwrap().account, account);
}

#[test]
fn lease_of_wrong_length_is_read_as_none() {
    let mut account = Account::new("a".parse().unwrap());
    let at = Timestamp::from_millis;
    account.lease = Some(Lease { started_at: at(1), until: at(2), token: [1; 8] });
    account.import = Some(import_lease(at(4)));
    for length in [0, 5, 19, 21, 24, 26] {
        let mut item = written(&account, None);
        for name in ["lease", "import_lease"] {
            let bytes = AttributeValue::B(Blob::new(vec![0xff; length]));
            item.insert(name.to_owned(), bytes);
        }
        let read = Stored::from_item(item).unwrap().account;
        assert_eq!((read.lease, read.import), (None, None), "{length}");
    }
}

fn import_lease(until: Timestamp) -> ImportLease {
    let (rank, time_source) = (Rank::Updated, TimeSource::Event);
    let pull = OrderKey { at: until, rank, time_source, event: ShortHash::of("pull") };
    ImportLease { holder: [2; 8], pull, until }
}

#[test]
fn unknown_attributes_of_a_later_version_are_written_back() {
    let account = Account::new("a".parse().unwrap());
    let later = AttributeValue::S("of a later version".to_owned());
    let mut item = written(&account, None);
    item.insert("invented_later".to_owned(), later.clone());
    let order_of_a_later_register = [&[200_u8][..], &[7; 11]].concat();
    let order = AttributeValue::B(Blob::new(order_of_a_later_register));
    item.insert("order".to_owned(), order.clone());

    let seen = Stored::from_item(item).unwrap();
    let next = written(&seen.account, Some(&seen));
    assert_eq!(next["invented_later"], later);
    assert_eq!(next["order"], order);
}

#[test]
fn only_accounts_that_need_attention_have_index_keys() {
    let keys = |account: &Account| {
        let mut keys: Vec<_> = written(account, None).into_keys().collect();
        keys.retain(|key| key.starts_with("attention"));
        keys.sort();
        keys
    };
    let healthy = fullest();
    assert!(keys(&healthy).is_empty());
    let at = Timestamp::parse_rfc3339("2026-01-27T21:20:00Z").unwrap();
    let outcome = SyncOutcome::ReauthorisationRequired { job_id: None };
    let data = SyncData::Transactions;
    let attempt =
        SyncAttempt { started_at: at, ended_at: at, data, incomplete_allowed: false, outcome };
    let waiting = healthy.apply(&Fact::Attempt(attempt));
    let all = ["attention", "attention_owner", "attention_place"];
    assert_eq!(keys(&waiting), all);
    let seen = Stored::from_item(written(&waiting, None)).unwrap();
    assert_eq!(
        written(&healthy, Some(&seen)).keys().filter(|key| all.contains(&key.as_str())).count(),
        0
    );
}

#[test]
fn owner_key_has_fixed_length_for_a_reference_of_any_length() {
    let key = item::attention_owner(&"x".repeat(5_000));
    assert_eq!(key.as_b().unwrap().as_ref().len(), 16);
    assert_ne!(key, item::attention_owner("x"));
}

#[test]
fn corrupt_item_error_names_the_attribute() {
    let account = record([]);
    let invalid = [
        ("order", AttributeValue::S("x".to_owned())),
        ("version", AttributeValue::N("7".to_owned())),
        ("account_id", AttributeValue::S("not an id".to_owned())),
        ("last_event_at", AttributeValue::N("-1".to_owned())),
    ];
    for (name, value) in invalid {
        let mut item = written(&account, None);
        item.insert(name.to_owned(), value);
        let CorruptItem(attribute) = Stored::from_item(item).unwrap_err();
        assert_eq!(attribute, name);
    }
}

#[test]
fn item_of_the_fullest_events_costs_one_write_unit() {
    assert_costs_one_write_unit(&fullest());
}

#[test]
fn item_of_the_fullest_events_with_all_sync_registers_costs_one_write_unit() {
    let at = Timestamp::parse_rfc3339("2026-01-27T21:20:00Z").unwrap();
    let outcomes = [
        SyncOutcome::ReauthorisationRequired { job_id: None },
        SyncOutcome::NoResult(CallError::TimedOut),
    ];
    let mut account = outcomes.into_iter().fold(fullest(), |account, outcome| {
        let data = SyncData::Transactions;
        let attempt =
            SyncAttempt { started_at: at, ended_at: at, data, incomplete_allowed: false, outcome };
        account.apply(&Fact::Attempt(attempt))
    });
    account.lease = Some(Lease { started_at: at, until: at, token: [1; 8] });
    account.cooldown_until = Some(at);
    account.registers.is_proven = true;
    account.registers.link_checked = Some(at);
    account.registers.identity.read_at = Some(at);
    account.written_rows = RowCounts { added: 1_138, ..RowCounts::default() };
    account.import_number = 1_769_547_600;
    assert_costs_one_write_unit(&account);
}

fn assert_costs_one_write_unit(account: &Account) {
    let size = size_of_item(&written(account, None));
    assert!(size <= 1_024, "{size} bytes");
}

/// An account after every event in Mono's documentation, each with all documented fields.
fn fullest() -> Account {
    let connected = serde_json::json!({
        "event": "mono.events.account_connected",
        "event_id": "jU4ixom09P6eX2arBA3AmeiPyYalMk4WPdCaQ",
        "timestamp": "2026-01-27T21:00:39.588Z",
        "data": {
            "id": "697926f050b9c321c1451dda", "customer": "6961439d7716b67eba2d068a",
            "meta": { "data_status": "PROCESSING", "ref": "4055877-T" },
        },
    });
    let updated = serde_json::json!({
        "event": "mono.events.account_updated",
        "event_id": "tDZCfxYASzx75YtXe3zbrgNzQtohDd6AE2BwWRvKf4",
        "timestamp": "2026-01-27T21:10:38.856Z",
        "data": {
            "account": {
                "_id": "697926f050b9c321c1451dda", "name": "Samuel Example",
                "accountNumber": "0000000001", "currency": "NGN", "balance": 22967,
                "type": "Tier 3 Savings Account", "bvn": "9422",
                "institution": { "name": "ALAT by WEMA", "bankCode": "035", "type": "PERSONAL_BANKING" },
            },
            "meta": {
                "data_status": "AVAILABLE", "sync_status": "SUCCESSFUL", "has_new_data": true,
                "job_id": "68c9928e2f51b0693d5fffeb", "data_request_id": "ALFI0PBHD2E2",
                "retrieved_data": ["identity", "balance", "transactions"], "ref": "1804008877TEST",
            },
        },
    });
    let reauthorized = serde_json::json!({
        "event": "mono.events.account_reauthorized",
        "event_id": "klB7u33NMmWqAcfZ0V424IgXpN1FcRJFhF62r8Y6oY",
        "timestamp": "2026-01-27T21:00:38.850Z",
        "data": { "account": { "_id": "697926f050b9c321c1451dda" } },
    });
    let job = serde_json::json!({
        "event": "mono.accounts.jobs.update",
        "data": {
            "account": "697926f050b9c321c1451dda", "id": "68c9928e2f51b0693d5fffeb",
            "name": "jobs.accounts.sync_statement", "status": "finished",
        },
    });
    let received_at = Timestamp::parse_rfc3339("2026-01-27T21:10:39Z").unwrap();
    let events = [connected, updated, reauthorized, job];
    let account = events.iter().fold(
        Account::new("697926f050b9c321c1451dda".parse().unwrap()),
        |account, body| match event::read(&body.to_string(), received_at).unwrap().interpretation {
            Interpretation::Fact(_, fact) => account.apply(&fact),
            Interpretation::Nothing(_) => panic!("a sample event has no fact"),
        },
    );
    let pull = account.import_due().unwrap();
    let notes = ImportNotes {
        total: Some(12_345),
        looked_back_on: Some(BusinessDay::of(received_at)),
        is_paged: true,
        unexplained: -3,
        job: account.job_of_pull(pull),
    };
    let state = ImportState { through: Some(received_at), gaps: Vec::new(), notes };
    account.apply(&Fact::Import(Import { pull, state }))
}

/// The size as DynamoDB counts it: names and values. A number of n digits takes 1 + n/2 bytes. A list or map takes
/// three bytes, and one byte for each element.
pub(super) fn size_of_item(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + size_of_value(value)).sum()
}

fn size_of_value(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::N(digits) => digits.len().div_ceil(2) + 1,
        AttributeValue::L(values) => 3 + values.iter().map(|v| 1 + size_of_value(v)).sum::<usize>(),
        AttributeValue::M(item) => 3 + item.len() + size_of_item(item),
        AttributeValue::Bool(_) => 1,
        other => panic!("unexpected attribute type: {other:?}"),
    }
}
