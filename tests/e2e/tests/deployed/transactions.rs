//! The transactions of an account in the API.

use e2e::shared_stack::{local, world};
use reqwest::StatusCode;
use sandbox::{Dialect, Direction, History, Link};
use serde_json::{Value, json};

use super::account_id;
use super::manual_sync::Case;

async fn case() -> Case {
    Case::imported(Dialect::V2, History { transactions: 90, days: 20, ..History::default() }).await
}

fn rows(body: &Value) -> Vec<Value> {
    body["transactions"].as_array().unwrap().clone()
}

#[tokio::test]
async fn list_is_newest_first_and_pages_are_complete_without_repeats() {
    let case = case().await;
    let expected = case.rows_at_mono();
    for (limit, most_pages) in [(1, 91), (40, 3), (90, 1), (500, 1)] {
        let (mut all, mut cursor, mut count) = (Vec::new(), String::new(), 0);
        loop {
            let answer = case.transactions(&format!("?limit={limit}{cursor}")).await.expect_ok();
            let part = rows(&answer.body);
            assert!(part.len() <= limit);
            all.extend(part);
            count += 1;
            match answer.body["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(all, expected, "{limit}");
        assert!(count <= most_pages, "{limit}: {count} pages");
    }
    let answer = case.transactions("").await.expect_ok();
    assert_eq!(rows(&answer.body), expected[..25], "the default limit is 25");
}

#[tokio::test]
async fn bounds_are_inclusive_and_a_date_is_a_day_in_lagos() {
    let case = case().await;
    let all = case.rows_at_mono();
    let mono = case.world.mono.transactions(&case.id);
    let (first, last) = (mono[60].business_day(), mono[20].business_day());
    let answer = case.transactions(&format!("?limit=500&from={first}&to={last}")).await.expect_ok();
    let days: Vec<_> = mono.iter().map(|row| (row.id.clone(), row.business_day())).collect();
    let in_window = |row: &&Value| {
        days.iter().any(|(id, day)| row["id"] == id.as_str() && (first..=last).contains(day))
    };
    let expected: Vec<_> = all.iter().filter(in_window).cloned().collect();
    assert!(expected.len() > 40);
    assert_eq!(rows(&answer.body), expected);

    let (from, to) = (all[60]["date"].as_str().unwrap(), all[20]["date"].as_str().unwrap());
    let answer = case.transactions(&format!("?limit=500&from={from}&to={to}")).await.expect_ok();
    let held = rows(&answer.body);
    assert!(held.contains(&all[60]) && held.contains(&all[20]));
    let within = |row: &Value| (from..=to).contains(&row["date"].as_str().unwrap());
    assert!(held.iter().all(within));
    let lagos = to.replace('Z', "%2B00:00");
    let same = case.transactions(&format!("?limit=500&from={from}&to={lagos}")).await.expect_ok();
    assert_eq!(rows(&same.body), held);
    let none = case.transactions("?from=2001-01-01&to=2001-12-31").await.expect_ok();
    assert_eq!(none.body, json!({ "transactions": [], "next_cursor": null }));
}

#[tokio::test]
async fn list_can_be_filtered_by_direction() {
    let case = case().await;
    let all = case.rows_at_mono();
    for direction in [Direction::Debit, Direction::Credit] {
        let word = json!(direction);
        let expected: Vec<_> = all.iter().filter(|row| row["type"] == word).cloned().collect();
        let (mut held, mut cursor) = (Vec::new(), String::new());
        loop {
            let query = format!("?type={}&limit=7{cursor}", word.as_str().unwrap());
            let answer = case.transactions(&query).await.expect_ok();
            held.extend(rows(&answer.body));
            match answer.body["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(held, expected);
    }
}

#[tokio::test]
async fn list_can_be_filtered_by_category_and_amount() {
    let case = case().await;
    let all = case.rows_at_mono();
    let amount = |row: &Value| row["amount"].as_i64().unwrap();
    let mut amounts: Vec<_> = all.iter().map(amount).collect();
    amounts.sort_unstable();
    let (least, most) = (amounts[30], amounts[60]);
    let category = all[0]["category"].as_str().unwrap();
    let within = |row: &&Value| (least..=most).contains(&amount(row));
    let of_category = |row: &&Value| row["category"] == category;
    for (query, expected) in [
        (
            format!("?min_amount={least}&max_amount={most}"),
            all.iter().filter(within).collect::<Vec<_>>(),
        ),
        (format!("?category={category}"), all.iter().filter(of_category).collect()),
        (
            format!("?category={category}&min_amount={least}&max_amount={most}"),
            all.iter().filter(within).filter(of_category).collect(),
        ),
        ("?category=none-such".to_owned(), Vec::new()),
    ] {
        let answer = case.transactions(&format!("{query}&limit=500")).await.expect_ok();
        assert_eq!(rows(&answer.body).iter().collect::<Vec<_>>(), expected, "{query}");
        assert_eq!(answer.body["next_cursor"], Value::Null);
    }
}

/// With `limit=1`, a query reads two items.
#[tokio::test]
async fn page_ends_with_a_cursor_after_five_queries_of_removed_rows() {
    let history = History { transactions: 30, days: 5, ..History::default() };
    let case = Case::imported(Dialect::V2, history).await;
    for row in case.world.mono.transactions(&case.id).iter().take(12) {
        case.world.mono.remove_transaction(&case.id, &row.id).unwrap();
    }
    assert_eq!(case.import(&case.job(), 1).await, json!([]));
    let queries = case.requests()["Query"];
    let page = case.transactions("?limit=1").await.expect_ok().body;
    assert_eq!((&page["transactions"], page["next_cursor"].is_string()), (&json!([]), true));
    assert_eq!(case.requests()["Query"], queries + 5);
    let (mut held, mut cursor) = (Vec::new(), page["next_cursor"].as_str().map(str::to_owned));
    while let Some(after) = cursor {
        let page = case.transactions(&format!("?limit=1&cursor={after}")).await.expect_ok().body;
        held.extend(rows(&page));
        cursor = page["next_cursor"].as_str().map(str::to_owned);
    }
    assert_eq!(held, case.rows_at_mono());
}

#[tokio::test]
async fn list_costs_one_read_and_one_query() {
    let case = case().await;
    let before = local().proxy.calls(&case.id).len();
    case.transactions("?type=debit&limit=5&from=2020-01-01").await.expect_ok();
    let calls = local().proxy.calls(&case.id);
    let spent: Vec<_> = calls[before..].iter().map(|call| call.operation.as_str()).collect();
    assert_eq!(spent, ["GetItem", "Query"]);
}

#[tokio::test]
async fn cursor_outside_the_bounds_continues_at_the_nearest_bound() {
    let case = case().await;
    let all = case.rows_at_mono();
    let cursor = |index: usize| {
        let row: &Value = &all[index];
        format!("{}.{:010}.{}", row["date"].as_str().unwrap(), 1, row["id"].as_str().unwrap())
    };
    let from = all[10]["date"].as_str().unwrap();
    let query = format!("?from={from}&cursor={}", cursor(89));
    let older = case.transactions(&query).await.expect_ok();
    assert_eq!(older.body, json!({ "transactions": [], "next_cursor": null }));
    let to = all[80]["date"].as_str().unwrap();
    let newer = case.transactions(&format!("?to={to}&cursor={}", cursor(0))).await.expect_ok();
    assert_eq!(rows(&newer.body).last(), all.last());
}

#[tokio::test]
async fn invalid_request_is_400_and_the_detail_names_the_parameter() {
    let case = case().await;
    for (query, part) in [
        ("?limit=0", "`limit`"),
        ("?limit=501", "`limit`"),
        ("?limit=many", "`limit`"),
        ("?type=transfer", "`type`"),
        ("?type=DEBIT", "`type`"),
        ("?from=yesterday", "`from`"),
        ("?from=27-01-2026", "`from`"),
        ("?from=2026-02-30", "`from`"),
        ("?from=1969-12-31", "`from`"),
        ("?to=2026-01-27T21:00", "`to`"),
        ("?to=", "`to`"),
        ("?from=2026-01-02&to=2026-01-01", "`from`"),
        ("?category=%20", "`category`"),
        ("?min_amount=1.5", "`min_amount`"),
        ("?max_amount=much", "`max_amount`"),
        ("?min_amount=2&max_amount=1", "`min_amount`"),
        ("?cursor=", "`cursor`"),
        ("?cursor=2026-01-27T21:00:38.856Z", "`cursor`"),
        ("?cursor=what.ever", "`cursor`"),
    ] {
        let answer = case.transactions(query).await.expect(400, "REQUEST_INVALID");
        assert!(answer.body["detail"].as_str().unwrap().starts_with(part), "{query}: {answer:?}");
    }
}

#[tokio::test]
async fn unknown_account_is_404_and_an_account_without_transactions_has_an_empty_list() {
    let case = Case { world: world(Dialect::V2), id: account_id() };
    let answer = case.transactions("").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let id = case.world.mono.link(Link { balance_only: true, ..Link::default() });
    let domiciliary = Case { world: case.world, id };
    domiciliary.status("partial").await;
    let answer = domiciliary.transactions("").await.expect_ok();
    assert_eq!(answer.body, json!({ "transactions": [], "next_cursor": null }));
}
