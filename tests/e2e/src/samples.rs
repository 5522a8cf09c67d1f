//! The sample events of `events/`: the input of each function. The webhook has one for every kind of event that Mono
//! sends, in its old and new wording. The processor has one for each status that an event can lead to.
//!
//! They are created from the sandbox's events, so that Mono's wording is defined in one place.
//! `cargo run -p e2e --bin samples` writes them. A test fails when they are out of date.

use std::collections::BTreeMap;

use mono_sync::domain::account::{Account, OrderKey, Rank, ShortHash, Status, TimeSource};
use mono_sync::domain::import::ImportJob;
use mono_sync::domain::notification::{Change, Notification};
use mono_sync::domain::refresh_job::RefreshJob;
use mono_sync::domain::timestamp::Timestamp;
use mono_sync::domain::webhook::event::{self, Interpretation};
use sandbox::Event;
use serde_json::{Value, json};

use crate::dynamodb_json;

/// The webhook secret of all local stacks.
pub const LOCAL_SECRET: &str = "local-webhook-secret";

/// The secret key of the Mono app of all local stacks.
pub const LOCAL_KEY: &str = "test_sk_local";

const RECEIVED_AT: &str = "2026-01-05T09:00:01.000Z";
const RECEIVED_AT_MILLIS: u64 = 1_767_603_601_000;

/// The events with a sample for the processor.
const PROCESSOR_SAMPLES: [&str; 5] = [
    "account_reauthorized.v2.json",
    "account_unlinked.v2.json",
    "account_updated.v2.json",
    "account_updated_failed.v2.json",
    "reauthorisation_required.v1.json",
];

/// The samples, keyed by their paths below `events/`.
pub fn all() -> BTreeMap<String, Value> {
    let mut samples = BTreeMap::new();
    let events = Event::samples();
    for event in &events {
        let name = format!("{}.{}.json", event.kind(), event.dialect());
        let body = event.body().to_string();
        samples.insert(format!("webhook/{name}"), webhook(LOCAL_SECRET, &body));
        if PROCESSOR_SAMPLES.contains(&name.as_str()) {
            samples.insert(format!("processor/{name}"), batch(&[body]));
        }
    }
    samples.insert("webhook/wrong_secret.json".to_owned(), webhook("wrong", "{}"));
    samples.insert("webhook/not_json.json".to_owned(), webhook(LOCAL_SECRET, "event=account"));
    let without_account = json!({ "event": "mono.events.reauthorisation_required", "data": {} });
    samples.insert("processor/no_account.json".to_owned(), batch(&[without_account.to_string()]));
    let bodies: Vec<_> = events.iter().take(10).map(|event| event.body().to_string()).collect();
    samples.insert("processor/batch_of_ten.json".to_owned(), batch(&bodies));
    let account_id = events.first().map(Event::account_id).unwrap_or_default();
    samples.insert("accounts/get_account.json".to_owned(), get_account(account_id));
    samples.insert("accounts/get_unknown_account.json".to_owned(), get_account("unknown"));
    let accounts = [
        ("list_accounts", list("")),
        ("list_failed_accounts", list("status=failed&limit=10")),
        ("list_wrong_limit", list("limit=1000")),
        ("list_accounts_of_owner", list("ref=customer-4711")),
        ("get_changes", get_changes(account_id)),
        ("get_events", get_events(account_id)),
        ("get_transactions", get_transactions(account_id, "type=debit&limit=10")),
        ("get_transactions_wrong_from", get_transactions(account_id, "from=yesterday")),
    ];
    for (name, request) in accounts {
        samples.insert(format!("accounts/{name}.json"), request);
    }
    let links = [
        ("start_link", start_link("https://app.example/done")),
        ("start_link_wrong_url", start_link("https://elsewhere.example/")),
        ("exchange_invalid_code", exchange("code_of_the_widget")),
        ("reauthorise", reauthorise(SYNCED, Some("https://app.example/done"))),
        ("reauthorise_wrong_url", reauthorise(SYNCED, Some("http://app.example/done"))),
        ("reauthorise_unknown_account", reauthorise("unknown", None)),
        ("set_refresh", on_account("PATCH", SYNCED, Some(&json!({ "refresh": "weekly" })))),
        ("unlink_unknown_account", request_for_account("POST", "unknown", "unlink")),
        ("erase_unknown_account", on_account("DELETE", "unknown", None)),
    ];
    for (name, request) in links {
        samples.insert(format!("links/{name}.json"), request);
    }
    let syncs = [
        ("sync", sync(SYNCED, "")),
        ("sync_balance", sync(BALANCE_ONLY, "data=balance")),
        ("sync_incomplete_statement", sync(INCOMPLETE, "allow_incomplete_statement=true")),
        ("sync_unknown_account", sync("unknown", "")),
        ("sync_wrong_parameter", sync(SYNCED, "data=everything")),
    ];
    for (name, request) in syncs {
        samples.insert(format!("manual-sync/{name}.json"), request);
    }
    let imports = [("import", SYNCED), ("import_unknown_account", "unknown")];
    for (name, account_id) in imports {
        let body = import_job(account_id, RECEIVED_AT).to_body();
        samples.insert(format!("importer/{name}.json"), batch(&[body]));
    }
    samples.insert("importer/not_a_job.json".to_owned(), batch(&["import everything"]));
    samples.insert("refresh-planner/hourly.json".to_owned(), hourly());
    let job = refresh_job(SYNCED, RECEIVED_AT);
    samples.insert("refresh-worker/refresh.json".to_owned(), batch(&[job.to_body()]));
    samples.insert("refresh-worker/not_a_job.json".to_owned(), batch(&["refresh everything"]));
    for notification in notifications() {
        let body = serde_json::to_value(&notification).unwrap_or_default();
        samples.insert(format!("notifications/{}.json", notification.name), body);
    }
    samples.insert("notifier/account_linked.json".to_owned(), new_account());
    samples.insert("notifier/unreadable.json".to_owned(), json!({ "Records": [{ "odd": true }] }));
    let deliveries = [
        ("notification", "NotificationQueue", bus_event(&notifications()[0]).to_string()),
        ("not_a_notification", "NotificationQueue", "{}".to_owned()),
        ("forwarded_event", "ForwardQueue", events[0].body().to_string()),
    ];
    for (name, queue, body) in deliveries {
        let mut batch = batch(&[body]);
        let arn = format!("arn:aws:sqs:eu-west-1:000000000000:mono-sync-{queue}");
        batch["Records"][0]["eventSourceARN"] = json!(arn);
        samples.insert(format!("deliverer/{name}.json"), batch);
    }
    samples
}

/// A notification of each type.
pub fn notifications() -> Vec<Notification> {
    let changes = [
        Change::Linked {},
        Change::StatusChanged { from: Status::Healthy, to: Status::ReauthorisationRequired },
        Change::BalanceChanged {},
        Change::TransactionsImported { added: 12, modified: 1, removed: 0, history_complete: true },
        Change::OwnerChanged { previous_ref: "customer-4710".to_owned() },
        Change::Unlinked {},
        Change::Erased {},
    ];
    let notification = |(number, change): (usize, Change)| Notification {
        id: format!("{:032x}", 0x6d6f_6e6f + number),
        name: change.name(),
        occurred_at: Timestamp::from_millis(1_767_603_601_000),
        account_id: SYNCED.parse().expect("an account id"),
        reference: Some("customer-4711".to_owned()),
        change,
    };
    changes.into_iter().enumerate().map(notification).collect()
}

/// A notification as a rule of the bus passes it to a queue or to a function.
pub fn bus_event(notification: &Notification) -> Value {
    json!({
        "version": "0",
        "id": "00000000-0000-4000-8000-000000000000",
        "detail-type": notification.name,
        "source": "mono-sync",
        "account": "000000000000",
        "time": "2026-01-05T09:00:01Z",
        "region": "eu-west-1",
        "resources": [],
        "detail": notification,
    })
}

/// The record of the stream for a new account.
fn new_account() -> Value {
    let linked = json!({
        "event": "mono.events.account_connected",
        "timestamp": RECEIVED_AT,
        "data": { "id": SYNCED, "customer": "6961439d7716b67eba2d068a", "meta": { "ref": "customer-4711" } },
    });
    let received_at = Timestamp::parse_rfc3339(RECEIVED_AT).expect("a time");
    let event = event::read(&linked.to_string(), received_at).expect("an event");
    let account = match event.interpretation {
        Interpretation::Fact(id, fact) => Account::new(id).apply(&fact),
        Interpretation::Nothing(_) => panic!("a new link is a fact"),
    };
    json!({ "Records": [{
        "eventID": "00000000000000000000000000000000",
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-west-1",
        "dynamodb": {
            "ApproximateCreationDateTime": RECEIVED_AT_MILLIS / 1000,
            "Keys": { "account_id": { "S": SYNCED } },
            "NewImage": dynamodb_json::image(&account),
            "SequenceNumber": "100000000000000000001",
            "SizeBytes": 200,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
        "eventSourceARN": "arn:aws:dynamodb:eu-west-1:000000000000:table/mono-sync-AccountsTable/stream/2026-01-05T09:00:00.000",
    }] })
}

/// A refresh job for an account that was due at `planned_at`.
///
/// # Panics
///
/// If the time or the id is invalid.
pub fn refresh_job(account_id: &str, planned_at: &str) -> RefreshJob {
    let planned_at = Timestamp::parse_rfc3339(planned_at).expect("a time");
    RefreshJob::planned(account_id.parse().expect("an account id"), planned_at)
}

/// The event of the hourly schedule.
fn hourly() -> Value {
    json!({
        "version": "0",
        "id": "00000000-0000-4000-8000-000000000000",
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "000000000000",
        "time": "2026-01-05T09:00:00Z",
        "region": "eu-west-1",
        "resources": ["arn:aws:events:eu-west-1:000000000000:rule/mono-sync-hourly"],
        "detail": {},
    })
}

/// A job that imports the transactions of a pull at `pulled_at`.
///
/// # Panics
///
/// If the time or the id is invalid.
pub fn import_job(account_id: &str, pulled_at: &str) -> ImportJob {
    let pull = OrderKey {
        at: Timestamp::parse_rfc3339(pulled_at).expect("a time"),
        rank: Rank::Updated,
        time_source: TimeSource::Event,
        event: ShortHash::of("sample"),
    };
    ImportJob::new(account_id.parse().expect("an account id"), pull)
}

/// An account whose sync succeeds.
pub const SYNCED: &str = "5f171a530295e231abca1152";
/// An account that has a balance and no transactions.
pub const BALANCE_ONLY: &str = "5f171a530295e231abca1153";
/// An account whose bank returns fewer transactions than before.
pub const INCOMPLETE: &str = "5f171a530295e231abca1154";

/// The accounts that the sandbox must link for the samples of `manual-sync`.
pub fn accounts_to_sync() -> [Value; 3] {
    [
        json!({ "account_id": SYNCED, "silent": true }),
        json!({ "account_id": BALANCE_ONLY, "balance_only": true, "silent": true }),
        json!({ "account_id": INCOMPLETE, "silent": true }),
    ]
}

/// The account of the samples.
pub fn account_id() -> String {
    Event::samples().first().map(|event| event.account_id().to_owned()).unwrap_or_default()
}

/// A webhook request of Mono, as an HTTP API passes it to a function (payload format 2.0).
pub fn webhook(secret: &str, body: &str) -> Value {
    let mut request = request("POST", "POST /webhooks/mono", "/webhooks/mono");
    request["headers"]["content-type"] = json!("application/json");
    request["headers"]["mono-webhook-secret"] = json!(secret);
    request["body"] = json!(body);
    request
}

/// A request for one account.
pub fn get_account(account_id: &str) -> Value {
    let path = format!("/accounts/{account_id}");
    let mut request = request("GET", "GET /accounts/{account_id}", &path);
    request["pathParameters"] = json!({ "account_id": account_id });
    request
}

/// A request for a list of accounts, with this query.
pub fn list(query: &str) -> Value {
    with_query(request("GET", "GET /accounts", "/accounts"), query)
}

/// A request for the history of one account.
pub fn get_events(account_id: &str) -> Value {
    request_for_account("GET", account_id, "events")
}

/// A request for an account's transactions, with this query.
pub fn get_transactions(account_id: &str, query: &str) -> Value {
    with_query(request_for_account("GET", account_id, "transactions"), query)
}

/// A request for the changes of an account's transactions.
pub fn get_changes(account_id: &str) -> Value {
    request_for_account("GET", account_id, "transactions/changes")
}

/// A request for a re-authorisation link that returns to this address.
pub fn reauthorise(account_id: &str, redirect_url: Option<&str>) -> Value {
    let request = request_for_account("POST", account_id, "reauthorise");
    match redirect_url {
        Some(redirect_url) => with_body(request, &json!({ "redirect_url": redirect_url })),
        None => request,
    }
}

fn start_link(redirect_url: &str) -> Value {
    let body = json!({
        "ref": "customer-4711",
        "customer": { "name": "Ada Fictional", "email": "ada@example.com" },
        "redirect_url": redirect_url,
    });
    with_body(request("POST", "POST /links", "/links"), &body)
}

fn exchange(code: &str) -> Value {
    let request = request("POST", "POST /links/exchange", "/links/exchange");
    with_body(request, &json!({ "code": code, "ref": "customer-4711" }))
}

fn on_account(method: &str, account_id: &str, body: Option<&Value>) -> Value {
    let route = format!("{method} /accounts/{{account_id}}");
    let mut request = request(method, &route, &format!("/accounts/{account_id}"));
    request["pathParameters"] = json!({ "account_id": account_id });
    match body {
        Some(body) => with_body(request, body),
        None => request,
    }
}

fn with_body(mut request: Value, body: &Value) -> Value {
    request["headers"]["content-type"] = json!("application/json");
    request["body"] = json!(body.to_string());
    request
}

/// A request for a sync of one account, with this query.
pub fn sync(account_id: &str, query: &str) -> Value {
    with_query(request_for_account("POST", account_id, "sync"), query)
}

fn request_for_account(method: &str, account_id: &str, what: &str) -> Value {
    let route = format!("{method} /accounts/{{account_id}}/{what}");
    let mut request = request(method, &route, &format!("/accounts/{account_id}/{what}"));
    request["pathParameters"] = json!({ "account_id": account_id });
    request
}

fn with_query(mut request: Value, query: &str) -> Value {
    request["rawQueryString"] = json!(query);
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let parameters: BTreeMap<_, _> = pairs.collect();
    if !parameters.is_empty() {
        request["queryStringParameters"] = json!(parameters);
    }
    request
}

/// Messages of the webhook queue, as SQS passes them to a function.
pub fn batch(bodies: &[impl AsRef<str>]) -> Value {
    batch_received_at(bodies, RECEIVED_AT)
}

/// Messages of webhooks that were received at this time.
pub fn batch_received_at(bodies: &[impl AsRef<str>], received_at: &str) -> Value {
    let records = bodies.iter().enumerate().map(|(number, body)| {
        json!({
            "messageId": format!("00000000-0000-4000-8000-{number:012}"),
            "receiptHandle": "receipt",
            "body": body.as_ref(),
            "attributes": {
                "ApproximateReceiveCount": "1",
                "SentTimestamp": RECEIVED_AT_MILLIS.to_string(),
                "SenderId": "local",
                "ApproximateFirstReceiveTimestamp": RECEIVED_AT_MILLIS.to_string(),
            },
            "messageAttributes": {
                "received_at": {
                    "stringValue": received_at,
                    "stringListValues": [],
                    "binaryListValues": [],
                    "dataType": "String",
                },
            },
            "md5OfBody": "",
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:eu-west-1:000000000000:mono-sync-WebhookQueue",
            "awsRegion": "eu-west-1",
        })
    });
    json!({ "Records": records.collect::<Vec<_>>() })
}

fn request(method: &str, route: &str, path: &str) -> Value {
    json!({
        "version": "2.0",
        "routeKey": route,
        "rawPath": path,
        "rawQueryString": "",
        "headers": { "host": "local.execute-api.eu-west-1.amazonaws.com" },
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "local",
            "domainName": "local.execute-api.eu-west-1.amazonaws.com",
            "domainPrefix": "local",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "sample",
            },
            "requestId": "sample",
            "routeKey": route,
            "stage": "$default",
            "time": "05/Jan/2026:09:00:01 +0000",
            "timeEpoch": RECEIVED_AT_MILLIS,
        },
        "isBase64Encoded": false,
    })
}
