//! The list of accounts that need attention, in the API.

use e2e::shared_stack::{local, stack, world};
use reqwest::Method;
use sandbox::{Dialect, Kind, Link, Refresh};
use serde_json::{Value, json};

use super::manual_sync::{Answer, Case};
use super::{account_id, account_with_status, balance_update, eventually, post};

async fn list(query: &str) -> Answer {
    let request = stack().request(Method::GET, &format!("/accounts{query}"));
    Answer::of(request.header("authorization", "signed").send().await.unwrap()).await
}

/// Every account of a list, page by page.
async fn list_all(status: Option<&str>, limit: usize) -> Vec<Value> {
    let filter = format!("&status={}", status.unwrap_or("attention"));
    let (mut accounts, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer = list(&format!("?limit={limit}{filter}{cursor}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let part = answer.body["accounts"].as_array().unwrap().clone();
        assert!(part.len() <= limit);
        accounts.extend(part);
        match answer.body["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return accounts,
        }
    }
}

fn ids(accounts: &[Value]) -> Vec<&str> {
    accounts.iter().map(|account| account["account_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn list_holds_accounts_that_need_attention_and_no_recovered_account() {
    let mono = &world(Dialect::V2).mono;
    let outcomes = [
        (Refresh::ReauthorisationRequired, "reauthorisation_required"),
        (Refresh::Failed, "failed"),
        (Refresh::BankUnavailable, "bank_unavailable"),
    ];
    for (outcome, status) in outcomes {
        let id = mono.link(Link::default());
        account_with_status(&id, "healthy").await;
        mono.refresh(&id, outcome).unwrap();
        account_with_status(&id, status).await;
        for filter in [None, Some(status)] {
            eventually("the account is listed", async || {
                ids(&list_all(filter, 100).await).contains(&id.as_str())
            })
            .await;
        }
        let others = outcomes.iter().map(|(_, other)| *other).filter(|other| *other != status);
        for other in others {
            assert!(!ids(&list_all(Some(other), 100).await).contains(&id.as_str()));
        }
        mono.reauthorise(&id).unwrap();
        account_with_status(&id, "healthy").await;
        eventually("the account is no longer listed", async || {
            !ids(&list_all(None, 100).await).contains(&id.as_str())
        })
        .await;
    }
}

#[tokio::test]
async fn listed_account_is_equal_to_the_single_account_response() {
    let case = Case::linked(Dialect::V2).await;
    case.world.mono.refresh(&case.id, Refresh::ReauthorisationRequired).unwrap();
    let waiting = case.status("reauthorisation_required").await;
    eventually("the account is listed as in its own response", async || {
        list_all(Some("reauthorisation_required"), 100).await.contains(&waiting)
    })
    .await;
}

#[tokio::test]
async fn list_starts_with_the_stalest_account_and_pages_are_complete_without_repeats() {
    let mut own = Vec::new();
    for second in [30, 10, 50, 20, 40] {
        let id = world(Dialect::V2).mono.link(Link { silent: true, ..Link::default() });
        let mut update = balance_update(&id, second, 1);
        update["data"]["meta"]["retrieved_data"] = json!(["balance", "transactions"]);
        post(&update).await;
        account_with_status(&id, "healthy").await;
        post(&json!({
            "event": "mono.events.account_updated", "event_id": format!("{id}-failed"),
            "timestamp": "2026-02-01T00:00:00.000Z",
            "data": { "account": { "_id": id }, "meta": { "data_status": "UNAVAILABLE" } },
        }))
        .await;
        account_with_status(&id, "bank_unavailable").await;
        own.push((second, id));
    }
    let never = account_id();
    post(&json!({
        "event": "mono.events.account_updated", "timestamp": "2026-02-01T00:00:00.000Z",
        "data": { "account": { "_id": never }, "meta": { "data_status": "UNAVAILABLE" } },
    }))
    .await;
    account_with_status(&never, "bank_unavailable").await;
    own.push((0, never));
    own.sort();
    let expected: Vec<_> = own.iter().map(|(_, id)| id.as_str()).collect();
    for limit in [1, 2, 100] {
        for filter in [None, Some("bank_unavailable")] {
            eventually("all accounts are listed in their order", async || {
                let accounts = list_all(filter, limit).await;
                let listed = ids(&accounts);
                let mine: Vec<_> = listed.into_iter().filter(|id| expected.contains(id)).collect();
                mine == expected
            })
            .await;
        }
    }
}

#[tokio::test]
async fn list_of_one_status_takes_four_queries_and_healthy_accounts_have_no_index_key() {
    let id = account_id();
    for second in 1..5 {
        post(&balance_update(&id, second, second.into())).await;
        account_with_status(&id, "healthy").await;
    }
    let writes = local().proxy.calls(&id);
    let writes: Vec<_> = writes.iter().filter(|call| call.operation == "PutItem").collect();
    assert!(!writes.is_empty());
    assert!(writes.iter().all(|write| !write.body.contains("attention")), "no index key");

    let before = queries();
    list(&format!("?status=reauthorisation_pending&limit={UNUSUAL_LIMIT}")).await.expect_ok();
    assert_eq!(queries(), before + 4, "one query for each shard");
}

/// A limit that no other test uses.
const UNUSUAL_LIMIT: usize = 97;

/// The number of queries for lists of [`UNUSUAL_LIMIT`] accounts so far. Each query reads one account more, to find
/// out whether there is a next page.
fn queries() -> usize {
    let table = stack().output("AccountsTableName");
    let limit = format!("\"Limit\":{}", UNUSUAL_LIMIT + 1);
    let calls = local().proxy.calls("reauthorisation_pending");
    let queries = calls.iter().filter(|call| {
        call.operation == "Query" && call.body.contains(table) && call.body.contains(&limit)
    });
    queries.count()
}

#[tokio::test]
async fn reauthorised_account_without_new_data_is_listed() {
    let case = Case::linked(Dialect::V2).await;
    case.world.mono.send(&case.world.mono.event(Kind::AccountReauthorized, &case.id).unwrap());
    case.status("reauthorisation_pending").await;
    eventually("the account is listed", async || {
        ids(&list_all(None, 100).await).contains(&case.id.as_str())
    })
    .await;
}

#[tokio::test]
async fn invalid_list_request_is_400_and_the_detail_names_the_parameter() {
    for (query, part) in [
        ("?limit=0", "`limit`"),
        ("?limit=101", "`limit`"),
        ("?limit=-1", "`limit`"),
        ("?limit=%2B5", "`limit`"),
        ("?limit=007", "`limit`"),
        ("?limit=many", "`limit`"),
        ("?limit=", "`limit`"),
        ("?status=healthy", "`status`"),
        ("?status=FAILED", "`status`"),
        ("?cursor=", "`cursor`"),
        ("?status=attention&cursor=what", "`cursor`"),
        ("?cursor=a%20b", "`cursor`"),
        ("?status=attention&cursor=1.a%20b", "`cursor`"),
        ("?cursor=1769547638856.nobody", "`cursor`"),
        ("?status=attention&cursor=nobody", "`cursor`"),
        ("?ref=", "`ref`"),
        ("?ref=%20", "`ref`"),
        ("?customer_id=", "`customer_id`"),
        ("?status=attention&cursor=99999999999999999999.a", "`cursor`"),
    ] {
        let answer = list(query).await.expect(400, "REQUEST_INVALID");
        assert!(answer.body["detail"].as_str().unwrap().starts_with(part), "{query}: {answer:?}");
    }
    list("?unknown=1&limit=1").await.expect_ok();
    list("?status=attention&limit=1&cursor=1769547638856.nobody").await.expect_ok();
}
