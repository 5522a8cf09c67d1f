//! The list of all accounts, of the accounts of an owner, and of the accounts of a customer.

use std::collections::BTreeSet;

use e2e::shared_stack::{local, stack};
use mono_sync::domain::timestamp::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use super::manual_sync::Answer;
use super::{account_id, account_with_status, eventually, post};

async fn page(query: &str) -> Value {
    let request = stack().request(Method::GET, &format!("/accounts{query}"));
    let answer = request.header("authorization", "signed").send().await.unwrap();
    Answer::of(answer).await.expect_ok().body
}

/// The ids on all pages.
async fn listed(filter: &str, limit: usize) -> BTreeSet<String> {
    let (mut all, mut cursor) = (BTreeSet::new(), String::new());
    loop {
        let page = page(&format!("?limit={limit}{filter}{cursor}")).await;
        let accounts = page["accounts"].as_array().unwrap();
        assert!(accounts.len() <= limit);
        for account in accounts {
            let id = account["account_id"].as_str().unwrap().to_owned();
            assert!(all.insert(id), "no account is listed twice");
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

/// Links an account with this owner and customer. It is healthy, or needs attention.
async fn link(reference: &str, customer: &str, is_healthy: bool) -> String {
    let id = account_id();
    let data = json!({ "id": id, "customer": customer, "meta": { "ref": reference } });
    let timestamp = "2026-01-27T20:00:00.000Z";
    post(
        &json!({ "event": "mono.events.account_connected", "timestamp": timestamp, "data": data }),
    )
    .await;
    account_with_status(&id, "pending").await;
    let data_status = if is_healthy { "AVAILABLE" } else { "UNAVAILABLE" };
    post(&json!({
        "event": "mono.events.account_updated", "timestamp": Timestamp::now().to_string(),
        // Without transactions, so no import follows.
        "data": {
            "account": { "_id": id },
            "meta": { "data_status": data_status, "retrieved_data": ["identity", "balance"] },
        },
    }))
    .await;
    account_with_status(&id, if is_healthy { "healthy" } else { "bank_unavailable" }).await;
    id
}

#[tokio::test]
async fn accounts_of_an_owner_and_of_a_customer_are_listed_in_every_status() {
    let (reference, other) = (format!("ref/{}", account_id()), account_id());
    let (customer, second) = (account_id(), account_id());
    let healthy = link(&reference, &customer, true).await;
    let waiting = link(&reference, &second, false).await;
    let foreign = link(&other, &customer, true).await;
    let by_ref = format!("&ref={}", reference.replace('/', "%2F"));
    let by_customer = format!("&customer_id={customer}");
    for (filter, expected) in [
        (by_ref.clone(), vec![&healthy, &waiting]),
        (by_customer.clone(), vec![&healthy, &foreign]),
        (format!("{by_ref}{by_customer}"), vec![&healthy]),
        (format!("{by_ref}&status=attention"), vec![&waiting]),
        (format!("{by_ref}&status=failed"), vec![]),
        (format!("&customer_id={second}&status=attention"), vec![&waiting]),
        (format!("{by_customer}&status=attention"), vec![]),
        (format!("&ref={}", account_id()), vec![]),
    ] {
        let expected: BTreeSet<_> = expected.into_iter().cloned().collect();
        for limit in [1, 2, 100] {
            eventually("the accounts are listed", async || {
                listed(&filter, limit).await == expected
            })
            .await;
        }
    }
    let all = listed("", 100).await;
    assert!([&healthy, &waiting, &foreign].into_iter().all(|id| all.contains(id)));
}

#[tokio::test]
async fn page_of_a_list_takes_at_most_two_requests() {
    let (reference, customer) = (account_id(), account_id());
    let id = link(&reference, &customer, true).await;
    for (filter, index, value) in [
        (format!("?ref={reference}"), "RefIndex", &reference),
        (format!("?customer_id={customer}"), "CustomerIndex", &customer),
    ] {
        eventually("the account is listed", async || {
            page(&filter).await["accounts"][0]["account_id"] == id.as_str()
        })
        .await;
        // The requests that contain the `ref` or customer id, and those that contain the account id. `PutEvents` is the
        // notifier's.
        let requests = || {
            [value, &id].map(|text| {
                let calls = local().proxy.calls(text).into_iter();
                calls.filter(|call| call.operation != "PutEvents").collect::<Vec<_>>()
            })
        };
        let before = requests().map(|calls| calls.len());
        page(&filter).await;
        let [queries, reads] = requests();
        let (queries, reads) = (&queries[before[0]..], &reads[before[1]..]);
        assert_eq!((queries.len(), reads.len()), (1, 1), "{filter}");
        assert!(queries[0].operation == "Query" && queries[0].body.contains(index), "{filter}");
        assert_eq!(reads[0].operation, "BatchGetItem", "{filter}");
    }
    // A page of all accounts is one scan.
    let scans = || local().proxy.count("Scan", "\"Limit\":93");
    let before = scans();
    page("?limit=93").await;
    assert_eq!(scans(), before + 1);
}
