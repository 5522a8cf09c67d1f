use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::account::{
    Account, RefreshPolicy, RefreshRule, SettledStatus, Status, TimeSource,
};

const ID: &str = "697926f050b9c321c1451dda";

fn received() -> Timestamp {
    Timestamp::parse_rfc3339("2026-01-27T21:00:40.000Z").unwrap()
}

fn read_json(body: &Value) -> Result<Event, UnprocessableEvent> {
    read(&body.to_string(), received())
}

#[track_caller]
fn fact(body: &Value) -> (AccountId, Fact) {
    match read_json(body).unwrap().interpretation {
        Interpretation::Fact(account_id, fact) => (account_id, *fact),
        Interpretation::Nothing(_) => panic!("not a fact: {body}"),
    }
}

#[track_caller]
fn account(body: &Value) -> Account {
    let (account_id, fact) = fact(body);
    Account::new(account_id).apply(&fact)
}

#[track_caller]
fn webhook(body: &Value) -> Webhook {
    match fact(body).1 {
        Fact::Webhook(webhook) => webhook,
        fact => panic!("not a webhook: {fact:?}"),
    }
}

fn full_update() -> Value {
    json!({
        "event": "mono.events.account_updated",
        "event_id": "tDZCfxYASzx75YtXe3zbrgNzQtohDd6AE2BwWRvKf4",
        "timestamp": "2026-01-27T21:00:38.856Z",
        "data": {
            "account": {
                "_id": ID, "name": "Ada Example", "accountNumber": "0000000001", "currency": "NGN",
                "balance": 22967, "type": "Tier 3 Savings Account", "bvn": "9422",
                "authMethod": "internet_banking",
                "institution": { "name": "ALAT by WEMA", "bankCode": "035", "type": "PERSONAL_BANKING" },
            },
            "meta": {
                "data_status": "AVAILABLE", "auth_method": "internet_banking", "sync_status": "SUCCESSFUL",
                "job_id": "68c9928e2f51b0693d5fffeb", "has_new_data": true,
                "retrieved_data": ["identity", "balance", "transactions"], "ref": "4055877-T",
                "data_request_id": "ALFI0PBHD2E2",
            },
        },
    })
}

#[test]
fn full_update_fills_the_record() {
    let account = account(&full_update());
    let policy = RefreshPolicy {
        interval: None,
        rule: RefreshRule::Interval,
        cooldown: std::time::Duration::ZERO,
        unlinked_retention: None,
    };
    assert_eq!(
        serde_json::to_value(account.view(received(), policy)).unwrap(),
        json!({
            "account_id": ID, "customer_id": null, "ref": "4055877-T",
            "name": "Ada Example", "account_number": "0000000001", "type": "Tier 3 Savings Account",
            "currency": "NGN", "balance": 22967, "balance_synced_at": "2026-01-27T21:00:38.856Z",
            "institution": { "name": "ALAT by WEMA", "bank_code": "035", "type": "PERSONAL_BANKING" },
            "identity_verified_at": null,
            "status": "healthy", "status_at": "2026-01-27T21:00:38.856Z", "data_status": "AVAILABLE",
            "sync_status": "SUCCESSFUL", "retrieved_data": ["identity", "balance", "transactions"],
            "last_event_at": "2026-01-27T21:00:38.856Z", "last_sync_attempt_at": null,
            "last_synced_at": "2026-01-27T21:00:38.856Z", "reauthorisation_required_at": null,
            "transactions_imported_at": null, "transactions_through": null,
            "refresh": "default", "next_refresh_at": null, "next_sync_allowed_at": null,
        })
    );
    let registers = account.registers;
    let availability = registers.availability.unwrap().value;
    assert_eq!(availability.data_request_id.as_deref(), Some("ALFI0PBHD2E2"));
    assert_eq!(registers.pull.unwrap().value.job_id.as_deref(), Some("68c9928e2f51b0693d5fffeb"));
    assert!(registers.transactions.is_some());
}

#[test]
fn update_in_the_oldest_shape_is_read() {
    let account = account(&json!({
        "event": "mono.events.account_updated",
        "data": {
            "meta": { "data_status": "AVAILABLE" },
            "account": {
                "_id": ID, "institution": { "name": "GTBank", "bankCode": "058" },
                "accountNumber": "0000000001", "name": "TEST CUSTOMER", "type": "SAVINGS_ACCOUNT",
                "currency": "Naira", "bvn": "9422", "balance": 3_033_984, "__v": 0,
                "scope": ["financial_data"], "liveMode": true, "accessType": "PERSISTENT",
            },
        },
    }));
    let account_type = account.registers.account_type.clone().unwrap().value;
    assert_eq!(account_type.currency.as_deref(), Some("NGN"));
    assert_eq!(account.registers.synced_balance.newest().unwrap().value, MinorUnits(3_033_984));
    assert_eq!(account.status_without_sync().status, Status::Healthy);
}

#[test]
fn update_under_its_second_name_is_read() {
    let mut body = full_update();
    body["event"] = "mono.accounts.account_updated".into();
    assert!(account(&body).last_synced_at().is_some());
}

#[test]
fn bvn_is_not_read_from_an_event() {
    let mut body = full_update();
    body["data"]["account"]["bvn"] = "22212345678".into();
    let read = format!("{:?}", read_json(&body).unwrap());
    assert!(!read.contains("22212345678") && read.contains("0000000001"));
}

#[test]
fn account_id_is_found_in_every_place_that_mono_uses() {
    let places = [
        ("mono.events.account_connected", json!({ "id": ID })),
        ("mono.events.account_connected", json!({ "_id": ID })),
        ("mono.events.reauthorisation_required", json!({ "account": { "_id": ID } })),
        ("mono.events.account_reauthorized", json!({ "account": { "_id": ID } })),
        ("mono.events.sync_failed", json!({ "account": { "_id": ID } })),
        ("mono.events.account_unlinked", json!({ "account": { "id": ID } })),
        ("mono.events.account_unlinked", json!({ "account": { "_id": ID } })),
        ("mono.events.account_unlinked", json!({ "account": ID })),
        ("mono.events.account_unlinked", json!({ "account_id": ID })),
        ("mono.events.reauthorisation_required", json!(ID)),
        ("mono.accounts.jobs.update", json!({ "account": ID, "id": "job", "status": "finished" })),
        (
            "mono.accounts.jobs.update",
            json!({ "account": { "_id": ID }, "job_id": "job", "status": "RUNNING" }),
        ),
    ];
    for (event, data) in places {
        assert_eq!(fact(&json!({ "event": event, "data": data })).0.as_str(), ID, "{event} {data}");
    }
}

#[test]
fn job_id_is_never_read_as_an_account_id() {
    let body = json!({ "event": "mono.accounts.jobs.update", "data": { "id": "job", "status": "failed" } });
    assert!(matches!(read_json(&body), Err(UnprocessableEvent::NoAccount(_))));
}

#[test]
fn event_without_an_account_id_is_unprocessable() {
    for data in [
        json!({}),
        json!(null),
        json!([]),
        json!({ "account": "" }),
        json!({ "account": { "_id": 7 } }),
    ] {
        let body = json!({ "event": "mono.events.reauthorisation_required", "data": data });
        assert!(matches!(read_json(&body), Err(UnprocessableEvent::NoAccount(_))), "{data}");
    }
}

#[test]
fn invalid_account_id_is_unprocessable_even_if_another_place_has_an_id() {
    let data = json!({ "account": { "_id": "not an id!" }, "id": ID });
    let body = json!({ "event": "mono.events.reauthorisation_required", "data": data });
    let error = read_json(&body).unwrap_err();
    assert!(matches!(error, UnprocessableEvent::UnusableAccount(_)));
    assert!(!error.to_string().contains("not an id"), "the error does not quote the invalid id");
}

#[test]
fn event_of_a_kind_that_changes_no_record_is_ignored() {
    let kinds = [
        "mono.events.account_synced",
        "mono.events.account_income",
        "mono.events.account_credit_worthiness",
        "mono.events.transaction_categorisation",
        "mono.events.webhook_test",
        "direct_debit.payment_successful",
        "events.mandates.created",
        "mono.events.account_reauthorised",
        "",
    ];
    for kind in kinds {
        let body = json!({ "event": kind, "data": { "account": { "_id": ID } } });
        let named = kind.starts_with("mono.").then(|| ID.parse().unwrap());
        assert_eq!(
            read_json(&body).unwrap().interpretation,
            Interpretation::Nothing(named),
            "{kind}"
        );
    }
    for odd in [
        json!({}),
        json!({ "event": 7 }),
        json!({ "event": null, "data": [] }),
        json!({ "data": { "event": "mono.transaction.dispute_initiated", "data": {} } }),
    ] {
        assert_eq!(read_json(&odd).unwrap().interpretation, Interpretation::Nothing(None), "{odd}");
    }
}

#[test]
fn update_without_content_is_nothing_even_without_an_account() {
    for data in [
        json!({}),
        json!(null),
        json!({ "account": {}, "meta": {} }),
        json!({ "meta": "x", "account": 7 }),
    ] {
        let body = json!({ "event": "mono.events.account_updated", "data": data });
        assert_eq!(
            read_json(&body).unwrap().interpretation,
            Interpretation::Nothing(None),
            "{data}"
        );
    }
}

#[test]
fn job_without_a_status_is_ignored() {
    let body =
        json!({ "event": "mono.accounts.jobs.update", "data": { "account": ID, "id": "job" } });
    let named = Some(ID.parse().unwrap());
    assert_eq!(read_json(&body).unwrap().interpretation, Interpretation::Nothing(named));
}

#[test]
fn ignored_event_takes_its_account_id_only_from_the_account_field() {
    for (data, named) in [
        (json!({ "account": ID, "income": 1 }), Some(ID)),
        (json!({ "account": { "id": ID } }), Some(ID)),
        (json!({ "account": "not an id" }), None),
        (json!({ "id": ID }), None),
        (json!(ID), None),
    ] {
        let event = read_json(&json!({ "event": "mono.events.account_income", "data": data }));
        assert_eq!(event.unwrap().account_id().map(AccountId::as_str), named, "{data}");
    }
}

#[test]
fn event_identity_contains_only_loggable_characters() {
    let body =
        json!({ "event": format!("mono.events.a\n\"b\" {}", "x".repeat(99)), "event_id": "e1" });
    let identity = read_json(&body).unwrap().identity;
    assert_eq!(identity.kind, format!("ab{}", "x".repeat(62)));
    assert_eq!(identity.event_id.as_deref(), Some("e1"));
}

#[test]
fn connected_event_sets_customer_reference_and_syncing_status() {
    let account = account(&json!({
        "event": "mono.events.account_connected",
        "event_id": "jU4ixom09P6eX2arBA3AmeiPyYalMk4WPdCaQ",
        "timestamp": "2026-01-27T21:00:39.588Z",
        "data": {
            "id": ID, "customer": "6961439d7716b67eba2d068a", "app": "a", "business": "b",
            "meta": { "data_status": "PROCESSING", "auth_method": "internet_banking", "ref": "4055877-T" },
        },
    }));
    assert_eq!(account.status_since(received()).status, Status::Syncing);
    let registers = account.registers;
    assert_eq!(registers.identity.customer.value().unwrap(), "6961439d7716b67eba2d068a");
    assert_eq!(registers.identity.reference.value().unwrap(), "4055877-T");
}

#[test]
fn job_that_requires_reauthorisation_sets_the_status() {
    let body = json!({ "event": "mono.accounts.jobs.update",
        "data": { "account": ID, "id": "job", "status": "REAUTHORISATION_REQUIRED" } });
    assert_eq!(account(&body).status_without_sync().status, Status::ReauthorisationRequired);
}

#[test]
fn unknown_data_status_is_kept_unchanged() {
    let mut body = full_update();
    body["data"]["meta"]["data_status"] = "Processing_Failed".into();
    let availability = account(&body).registers.availability.unwrap().value;
    assert_eq!(availability.data_status, SettledStatus::Other("Processing_Failed".to_owned()));
}

#[test]
fn balance_is_read_from_an_integer_a_whole_float_or_a_text() {
    for balance in [json!(22967), json!(22967.0), json!("22967")] {
        let mut body = full_update();
        body["data"]["account"]["balance"] = balance;
        let held = account(&body).registers.synced_balance;
        assert_eq!(held.newest().unwrap().value, MinorUnits(22_967));
    }
}

#[test]
fn balance_that_is_not_whole_is_unreadable_and_null_balance_is_missing() {
    for (balance, is_unreadable) in
        [(json!(null), false), (json!("NGN 5"), true), (json!(229.67), true), (json!({}), true)]
    {
        let mut body = full_update();
        body["data"]["account"]["balance"] = balance;
        let registers = account(&body).registers;
        assert!(registers.cached_balance.newest().is_none());
        assert!(registers.synced_balance.newest().is_none());
        let event = read_json(&body).unwrap();
        let Interpretation::Fact(_, fact) = event.interpretation else { panic!("no fact") };
        assert_eq!(fact.has_unreadable_balance(), is_unreadable);
    }
}

#[test]
fn numeric_reference_is_read_as_text() {
    let mut body = full_update();
    body["data"]["meta"]["ref"] = json!(4_055_877);
    body["event_id"] = json!(7);
    let event = read_json(&body).unwrap();
    assert_eq!(event.identity.event_id.as_deref(), Some("7"));
    assert_eq!(account(&body).owner().unwrap(), "4055877");
}

#[test]
fn long_texts_are_truncated_and_their_lengths_are_reported() {
    let mut body = full_update();
    body["data"]["meta"]["ref"] = json!("r".repeat(1_024));
    body["data"]["account"]["name"] = json!("n".repeat(256));
    assert_eq!(read_json(&body).unwrap().cut, [0; 0]);
    body["data"]["meta"]["ref"] = json!("r".repeat(1_025));
    body["data"]["account"]["name"] = json!("é".repeat(200));
    let mut cut = read_json(&body).unwrap().cut;
    cut.sort_unstable();
    assert_eq!(cut, [400, 1_025]);
    let registers = account(&body).registers;
    assert_eq!(registers.identity.reference.value().unwrap().len(), 1_024);
    assert_eq!(registers.identity.name.value().unwrap().len(), 256);
}

#[test]
fn known_currency_is_read_as_its_iso_4217_code() {
    for (word, code) in [("Naira", "NGN"), ("ngn", "NGN"), ("USD", "USD"), ("Cedi", "Cedi")] {
        assert_eq!(currency(word), code);
    }
}

#[test]
fn event_without_a_usable_timestamp_has_the_time_of_receipt() {
    assert_eq!(webhook(&full_update()).order.time_source, TimeSource::Event);
    for timestamp in
        [json!(null), json!("yesterday"), json!(1_769_547_638), json!("2026-01-27T21:05:40.001Z")]
    {
        let mut body = full_update();
        body["timestamp"] = timestamp;
        let order = webhook(&body).order;
        assert_eq!((order.at, order.time_source), (received(), TimeSource::Receipt));
    }
}

#[test]
fn retry_of_an_event_with_a_timestamp_changes_nothing() {
    let body = full_update().to_string();
    let later = received() + std::time::Duration::from_hours(48);
    let (first, retry) = (read(&body, received()).unwrap(), read(&body, later).unwrap());
    assert_eq!((first.order(), first.key), (retry.order(), retry.key));
    let Interpretation::Fact(id, fact) = first.interpretation else { panic!() };
    let Interpretation::Fact(_, retried) = retry.interpretation else { panic!() };
    let account = Account::new(id).apply(&fact);
    assert_eq!(account.apply(&retried), account);
}

#[test]
fn event_without_an_id_is_identified_by_its_body() {
    let body = |id: &str| json!({ "event": "mono.events.sync_failed", "data": { "account": { "_id": ID } }, "x": id });
    assert_eq!(webhook(&body("1")), webhook(&body("1")));
    assert_ne!(webhook(&body("1")).order, webhook(&body("2")).order);
}

#[test]
fn event_that_is_not_a_json_object_is_unprocessable() {
    for body in ["", "{", "nonsense", "{\"event\":}", "\u{feff}{}"] {
        assert!(
            matches!(read(body, received()), Err(UnprocessableEvent::NotJson { .. })),
            "{body}"
        );
    }
    for body in ["null", "[]", "7", "\"text\""] {
        assert_eq!(read(body, received()), Err(UnprocessableEvent::NotAnObject), "{body}");
    }
}

#[test]
fn event_nested_ten_thousand_deep_is_rejected_without_panic() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let inner = if open == "[" { String::new() } else { "1".to_owned() };
        let deep = format!("{}{inner}{}", open.repeat(10_000), close.repeat(10_000));
        let body = format!("{{\"event\":\"mono.events.account_updated\",\"data\":{deep}}}");
        assert!(matches!(read(&body, received()), Err(UnprocessableEvent::NotJson { .. })));
    }
}

#[test]
fn lone_surrogate_or_out_of_range_number_is_rejected() {
    for value in ["\"\\ud83d\"", "1e999"] {
        let body = format!("{{\"event\":\"mono.events.account_updated\",\"data\":{value}}}");
        assert!(
            matches!(read(&body, received()), Err(UnprocessableEvent::NotJson { .. })),
            "{value}"
        );
    }
}

#[test]
fn event_of_256_kib_is_read() {
    let mut body = full_update();
    body["padding"] = "x".repeat(256 * 1024 - body.to_string().len() - 13).into();
    assert_eq!(body.to_string().len(), 256 * 1024);
    assert!(account(&body).last_synced_at().is_some());
}

/// JSON of any shape. It contains some words that the reader looks for.
fn any_json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        proptest::sample::select(vec![
            "event",
            "data",
            "account",
            "_id",
            "id",
            "meta",
            "data_status",
            "sync_status",
            "balance",
            "timestamp",
            "mono.events.account_updated",
            "mono.events.account_connected",
            "mono.accounts.jobs.update",
            "status",
            "AVAILABLE",
            "institution",
            "retrieved_data",
            ID,
        ])
        .prop_map(str::to_owned),
        ".{0,8}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map(word.clone(), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn arbitrary_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = read(&String::from_utf8_lossy(&bytes), received());
    }

    #[test]
    fn arbitrary_json_is_read_without_panic(data in any_json(), kind in any_json()) {
        let _ = read_json(&json!({ "event": kind, "data": data.clone() }));
        let _ = read_json(&json!({ "event": "mono.events.account_updated", "data": data }));
    }

    #[test]
    fn damaged_event_is_read_without_panic(at in 0..900_usize, byte in any::<u8>()) {
        let mut body = full_update().to_string().into_bytes();
        let at = at % body.len();
        body[at] = byte;
        let _ = read(&String::from_utf8_lossy(&body), received());
        body.truncate(at);
        let _ = read(&String::from_utf8_lossy(&body), received());
    }
}
