//! Transactions: pages, windows, changes and faults.

use std::time::Instant;

use reqwest::{Method, StatusCode};
use sandbox::history::{midnight, today};
use sandbox::{
    Answer, Dialect, Direction, Fault, History, Link, PageFault, Plan, Refresh, Refusal, Sandbox,
    Transaction,
};
use serde_json::{Value, json};
use time::macros::format_description;
use time::{Date, Duration};

use crate::caller::{Caller, Reply, read};
use crate::receiver::fast;

struct World {
    sandbox: Sandbox,
    caller: Caller,
    account_id: String,
}

/// A world with one account that has this number of rows.
async fn world(transactions: usize) -> World {
    let history = History { transactions, ..History::default() };
    world_with(Link { history: Some(history), ..Link::default() }).await
}

async fn world_with(link: Link) -> World {
    let sandbox = Sandbox::start(fast()).await.expect("a sandbox");
    let caller = Caller::of(&sandbox);
    let account_id = sandbox.link(link);
    World { sandbox, caller, account_id }
}

impl World {
    fn path(&self, version: &str) -> String {
        format!("{version}/accounts/{}/transactions", self.account_id)
    }

    async fn v2(&self, query: &str) -> Reply {
        self.caller.get(&format!("{}?{query}", self.path("/v2"))).await
    }

    async fn v1(&self, query: &str) -> Reply {
        self.caller.get(&format!("{}?{query}", self.path(""))).await
    }

    async fn page(&self, number: usize) -> Value {
        self.v2(&format!("page={number}")).await.body
    }

    async fn total(&self, query: &str) -> Value {
        self.v2(query).await.body["meta"]["total"].clone()
    }

    /// The ids on this page, in v2.
    async fn ids(&self, number: usize) -> Vec<String> {
        ids(&self.page(number).await)
    }

    fn rows(&self) -> Vec<Transaction> {
        self.sandbox.transactions(&self.account_id)
    }

    fn balance(&self) -> i64 {
        self.sandbox.account(&self.account_id).expect("an account").balance
    }

    fn plan_pages(&self, pages: impl IntoIterator<Item = (usize, PageFault)>) {
        self.sandbox.plan_pages(&self.account_id, pages).expect("an account");
    }

    fn change(&self, row: &Transaction, change: impl FnOnce(&mut Transaction)) {
        self.sandbox.change_transaction(&self.account_id, &row.id, change).expect("a row");
    }

    fn add(&self, change: impl FnOnce(&mut Transaction)) -> Transaction {
        let mut row = self.sandbox.draft_transaction(&self.account_id).expect("a link");
        change(&mut row);
        self.sandbox.add_transactions(&self.account_id, [row.clone()]).expect("a link");
        row
    }
}

fn ids(body: &Value) -> Vec<String> {
    let rows = body["data"].as_array().expect("a list").iter();
    rows.filter_map(|row| row["id"].as_str()).map(str::to_owned).collect()
}

fn ids_of(rows: &[Transaction]) -> Vec<String> {
    rows.iter().map(|row| row.id.clone()).collect()
}

fn formatted(day: Date) -> String {
    day.format(format_description!("[day]-[month]-[year]")).expect("a date")
}

/// Reads all pages up to the last one.
async fn walk(world: &World) -> Vec<Value> {
    let mut rows = Vec::new();
    for number in 1.. {
        let page = world.page(number).await;
        assert_eq!(page["meta"]["page"], number);
        assert_eq!(page["meta"]["total"], world.rows().len());
        rows.extend(page["data"].as_array().expect("a list").clone());
        if page["meta"]["next"].is_null() {
            break;
        }
    }
    rows
}

#[tokio::test]
async fn pages_of_v2_are_the_complete_history_newest_first() {
    let world = world(120).await;
    assert_eq!(json!(walk(&world).await), json!(world.rows()));
    assert!(world.rows().is_sorted_by(|newer, older| newer.date >= older.date));
    assert_eq!(world.rows().len(), 120);
}

#[tokio::test]
async fn pages_of_v1_are_the_same_with_other_names_and_a_currency() {
    let world = world(120).await;
    let mut rows = Vec::new();
    for number in 1..=6 {
        let page = world.v1(&format!("page={number}")).await.body;
        assert_eq!(page["paging"]["page"], number);
        assert_eq!(page["paging"]["total"], 120);
        assert_eq!(page["paging"]["next"].is_null(), number == 6);
        rows.extend(page["data"].as_array().expect("a list").clone());
    }
    let expected: Vec<_> = world
        .rows()
        .iter()
        .map(|row| {
            let mut row = json!(row);
            let id = row.as_object_mut().expect("an object").remove("id");
            row["_id"] = json!(id);
            row["currency"] = json!("NGN");
            row
        })
        .collect();
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn default_history_is_forty_rows_that_lead_to_the_balance() {
    let world = world_with(Link { balance: Some(77_000), ..Link::default() }).await;
    let page = world.v2("limit=50").await.body;
    assert_eq!(page["meta"], json!({ "total": 40, "page": 1, "previous": null, "next": null }));
    let newest = world.rows().into_iter().find(|row| row.balance.is_some()).expect("a balance");
    let since: i64 = world
        .rows()
        .iter()
        .take_while(|row| row.id != newest.id)
        .map(|row| if row.direction == Direction::Debit { -row.amount } else { row.amount })
        .sum();
    assert_eq!(newest.balance.map(|balance| balance + since), Some(77_000));
}

#[tokio::test]
async fn same_seed_gives_the_same_history() {
    let [one, other] = [world(120).await, world(120).await];
    assert_eq!(one.rows(), other.rows());
}

#[tokio::test]
async fn links_to_other_pages_follow_the_api_version() {
    let world = world(120).await;
    let url = world.sandbox.url();
    let v2 = |number: usize| format!("{url}/v2/{}/transactions?page={number}", world.account_id);
    let v1 = |number: usize| format!("{url}{}?page={number}", world.path(""));
    let meta = world.v2("page=2&limit=50").await.body["meta"].clone();
    assert_eq!((&meta["previous"], &meta["next"]), (&json!(v2(1)), &json!(v2(3))));
    let paging = world.v1("page=2&limit=50").await.body["paging"].clone();
    assert_eq!((&paging["previous"], &paging["next"]), (&json!(v1(1)), &json!(v1(3))));

    let followed = world.caller.get(&v2(3).replace(&url, "")).await;
    assert_eq!(followed.status, StatusCode::NOT_FOUND, "the path in Mono's sample does not exist");
    let followed = world.caller.get(&v1(3).replace(&url, "")).await;
    assert_eq!(followed.body["data"].as_array().map(Vec::len), Some(20));
}

#[tokio::test]
async fn page_beyond_the_end_is_empty_and_has_the_same_total() {
    let world = world(120).await;
    let page = world.page(7).await;
    assert_eq!(page["data"], json!([]));
    assert_eq!(page["meta"]["total"], 120);
    assert_eq!(page["meta"]["next"], Value::Null);
}

#[tokio::test]
async fn limit_above_the_largest_page_is_reduced_without_notice() {
    let history = History { transactions: 120, largest_page: 30, ..History::default() };
    let small = world_with(Link { history: Some(history), ..Link::default() }).await;
    let usual = world(120).await;
    let expected = [
        (&usual, "", 20),
        (&usual, "limit=7", 7),
        (&usual, "limit=100", 100),
        (&usual, "limit=500", 100),
        (&usual, "limit=7&paginate=false", 120),
        (&usual, "paginate=true", 20),
        (&small, "limit=500", 30),
        (&small, "", 20),
    ];
    for (world, query, rows) in expected {
        let page = world.v2(query).await;
        assert_eq!(page.status, StatusCode::OK);
        assert_eq!(page.body["data"].as_array().map(Vec::len), Some(rows), "{query}");
        assert_eq!(page.body["meta"]["total"], 120);
    }
}

#[tokio::test]
async fn window_begins_and_ends_at_midnight_in_lagos() {
    let world = world(0).await;
    let day = today() - Duration::days(3);
    let moment = Duration::MILLISECOND;
    let dates = [
        midnight(day) - moment,
        midnight(day),
        midnight(day + Duration::DAY) - moment,
        midnight(day + Duration::DAY),
    ];
    let [_, first, last, _] = dates.map(|date| world.add(|row| row.date = date).id);
    let window = format!("start={0}&end={0}", formatted(day));
    assert_eq!(ids(&world.v2(&window).await.body), [last.clone(), first.clone()]);
    let v1 = world.v1(&window).await.body;
    assert_eq!(v1["data"][0]["_id"], last);
    assert_eq!(v1["data"][1]["date"].as_str().map(|date| &date[10..]), Some("T23:00:00.000Z"));
    assert_eq!(world.total(&format!("start={}", formatted(day))).await, 3);
    assert_eq!(world.total(&format!("end={}", formatted(day))).await, 3);
    assert_eq!(world.total("").await, 4);
}

#[tokio::test]
async fn rows_can_be_selected_by_type_and_narration() {
    let world = world(120).await;
    let added = world.add(|row| {
        row.narration = "Rent & more".to_owned();
        row.direction = Direction::Debit;
    });
    let [debits, credits] = [world.v2("type=debit").await, world.v2("type=credit").await];
    let total = |reply: &Reply| reply.body["meta"]["total"].as_u64().expect("a number");
    assert_eq!(total(&debits) + total(&credits), 121);
    assert_eq!(credits.body["data"][0]["type"], "credit");
    assert_eq!(ids(&world.v2("narration=rent%20%26").await.body), [added.id]);
    assert_eq!(world.total("narration=rent&type=credit").await, 0);
}

#[tokio::test]
async fn invalid_query_is_refused_in_monos_error_body() {
    let world = world(1).await;
    let wrong = [
        "start=2026-01-31",
        "start=31/01/2026",
        "start=31-02-2026",
        "end=1-1-2026",
        "end=",
        "start=02-01-2026&end=01-01-2026",
        "type=Debit",
        "paginate=no",
        "limit=0",
        "limit=many",
        "page=0",
        "page=-1",
    ];
    for query in wrong {
        for reply in [world.v2(query).await, world.v1(query).await] {
            assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{query}");
            assert_eq!(reply.body["status"], "failed");
            assert!(reply.body["message"].is_string());
            assert_eq!(reply.body["data"], Value::Null);
        }
    }
    let path = format!("{}?limit=0", world.path("/v2"));
    assert_eq!(read(world.caller.real_time(&path)).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(world.sandbox.begun_syncs(&world.account_id), 0);
}

#[tokio::test]
async fn page_requests_are_logged_with_their_query_and_are_no_syncs() {
    let world = world(1).await;
    world.v2("page=1&limit=20").await;
    let [call] = &world.sandbox.calls()[..] else { panic!("one call was made") };
    assert_eq!(call.path, world.path("/v2"));
    assert_eq!(call.query.as_deref(), Some("page=1&limit=20"));
    assert!(!call.sync && !call.begun);
}

#[tokio::test]
async fn history_is_empty_if_mono_has_no_transactions() {
    let domiciliary = world_with(Link { balance_only: true, ..Link::default() }).await;
    let unavailable = world(120).await;
    let partial = world(120).await;
    let lost = [(&unavailable, Refresh::BankUnavailable), (&partial, Refresh::Partial)];
    for (world, outcome) in lost {
        world.sandbox.refresh(&world.account_id, outcome).expect("a link");
    }
    for world in [&domiciliary, &unavailable, &partial] {
        for query in ["", "page=2", "paginate=false"] {
            assert_eq!(world.v2(query).await.body["data"], json!([]));
            assert_eq!(world.v1(query).await.body["data"], json!([]));
            assert_eq!(world.total(query).await, 0);
        }
    }
    partial.sandbox.refresh(&partial.account_id, Refresh::NothingNew).expect("a link");
    assert_eq!(partial.total("").await, 120);
}

#[tokio::test]
async fn new_data_adds_rows_of_today_and_changes_the_balance() {
    let world = world(40).await;
    let before = world.rows();
    world.sandbox.refresh(&world.account_id, Refresh::NewData).expect("a link");
    let refreshed = world.rows();
    let path = format!("{}?limit=1", world.path("/v2"));
    let reply = read(world.caller.real_time(&path)).await;
    let synced = world.rows();
    for (before, after) in [(&before, &refreshed), (&refreshed, &synced)] {
        let new = after.len() - before.len();
        assert!((1..=3).contains(&new));
        assert_eq!(ids_of(&after[new..]), ids_of(before));
        assert!(after[..new].iter().all(|row| row.business_day() == today()));
    }
    assert_eq!(world.balance(), 1_000_000 + 2 * 12_345);
    assert_eq!(reply.body["meta"]["total"], synced.len());
    assert_eq!(ids(&reply.body), ids_of(&synced[..1]));
}

#[tokio::test]
async fn refresh_without_new_data_keeps_the_history() {
    let world = world(40).await;
    let before = world.rows();
    for outcome in [Refresh::NothingNew, Refresh::Failed, Refresh::ReauthorisationRequired] {
        world.sandbox.refresh(&world.account_id, outcome).expect("a link");
        assert_eq!(world.rows(), before);
        assert_eq!(world.balance(), 1_000_000);
    }
}

#[tokio::test]
async fn allowed_incomplete_statement_has_fewer_rows() {
    let history = History { transactions: 120, ..History::default() };
    let link = Link { history: Some(history), dialect: Some(Dialect::V1), ..Link::default() };
    let world = world_with(link).await;
    let before = ids_of(&world.rows());
    let partial = Plan { outcome: Refresh::Partial, ..Plan::default() };
    world.sandbox.plan(&world.account_id, [partial.clone(), partial]).expect("an account");

    world.caller.sync(&world.account_id).await;
    assert_eq!(world.v1("").await.body["paging"]["total"], 120);

    let path = format!("/accounts/{}/sync?allow_incomplete_statement=true", world.account_id);
    assert_eq!(world.caller.post(&path).await.body["code"], "SYNC_SUCCESSFUL");
    let rows = world.rows();
    assert_eq!(rows.len(), 60);
    assert_eq!(world.v1("").await.body["paging"]["total"], 60);
    let new = rows.iter().position(|row| row.id == before[0]).expect("the newest earlier row");
    assert_eq!(ids_of(&rows[new..]), before[..60 - new]);

    world.caller.sync(&world.account_id).await;
    assert!(ids_of(&world.rows()).ends_with(&before));
}

#[tokio::test]
async fn rows_can_be_added_changed_moved_and_removed() {
    let world = world(10).await;
    let added = world.add(|row| {
        row.amount = 500;
        row.direction = Direction::Credit;
        row.balance = Some(0);
    });
    assert_eq!(world.rows()[0].id, added.id);
    assert_eq!(world.rows()[0].balance, Some(1_000_500));
    assert_eq!(world.balance(), 1_000_500);

    world.change(&added, |row| {
        row.amount = 700;
        row.narration = "Corrected".to_owned();
    });
    assert_eq!(world.page(1).await["data"][0]["narration"], "Corrected");
    assert_eq!(world.page(1).await["data"][0]["balance"], 1_000_700);
    world.change(&added, |row| row.balance = None);
    assert_eq!(world.page(1).await["data"][0]["balance"], Value::Null);

    world.change(&added, |row| row.date = midnight(today() - Duration::days(400)));
    assert_eq!(world.rows()[10].id, added.id);
    assert_eq!(
        world.total(&format!("start={}", formatted(today() - Duration::days(60)))).await,
        10
    );

    world.sandbox.remove_transaction(&world.account_id, &added.id).expect("a row");
    assert_eq!(world.total("").await, 10);
    assert_eq!(world.balance(), 1_000_000);
}

#[tokio::test]
async fn edit_of_an_unknown_row_or_account_is_refused() {
    let world = world(1).await;
    let (sandbox, account_id) = (&world.sandbox, &world.account_id);
    let no_row = Err(Refusal::UnknownTransaction("none".to_owned()));
    assert_eq!(sandbox.change_transaction(account_id, "none", |_| ()), no_row);
    assert_eq!(sandbox.remove_transaction(account_id, "none"), no_row);
    let nobody = Err(Refusal::UnknownAccount("nobody".to_owned()));
    assert_eq!(sandbox.add_transactions("nobody", []), nobody);
    assert_eq!(sandbox.plan_pages("nobody", []), nobody);
    assert_eq!(sandbox.plan_pages_always("nobody", []), nobody);
    assert!(sandbox.draft_transaction("nobody").is_err());
    assert!(sandbox.transactions("nobody").is_empty());
}

#[tokio::test]
async fn planned_page_faults_happen_once_each() {
    let world = world(120).await;
    world.plan_pages([
        (2, Fault::Status(503).into()),
        (2, Fault::RateLimited { retry_after: Some(7) }.into()),
    ]);
    assert_eq!(world.v2("page=1").await.status, StatusCode::OK);
    assert_eq!(world.v2("page=2").await.status, StatusCode::SERVICE_UNAVAILABLE);
    let limited = world.v1("page=2").await;
    assert_eq!(limited.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(limited.header("retry-after"), Some("7"));
    assert_eq!(world.v2("page=2").await.status, StatusCode::OK);
    let answers: Vec<_> = world.sandbox.calls().into_iter().map(|call| call.answer).collect();
    let expected = [
        Answer::Status(200),
        Answer::Fault(Fault::Status(503)),
        Answer::Fault(Fault::RateLimited { retry_after: Some(7) }),
        Answer::Status(200),
    ];
    assert_eq!(answers, expected);
}

#[tokio::test]
async fn page_fault_waits_for_a_plain_read_without_another_fault() {
    let world = world(120).await;
    world.plan_pages([(1, Fault::Status(500).into())]);
    world.sandbox.plan_free(&world.account_id, [Fault::Status(503)]).expect("an account");
    let synced = read(world.caller.real_time(&world.path("/v2"))).await;
    assert_eq!(synced.status, StatusCode::OK);
    assert_eq!(world.v2("").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.v2("").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(world.v2("").await.status, StatusCode::OK);
}

#[tokio::test]
async fn permanent_page_fault_follows_the_planned_ones() {
    let world = world(120).await;
    let pages = [(2, PageFault::WrongTotal(5))];
    world.sandbox.plan_pages_always(&world.account_id, pages).expect("an account");
    world.plan_pages([(2, PageFault::WrongTotal(-120))]);
    for total in [0, 125, 125] {
        assert_eq!(world.total("page=2").await, total);
    }
    assert_eq!(world.total("page=1").await, 120);
}

#[tokio::test]
async fn wrong_total_changes_only_the_total() {
    let world = world(120).await;
    let right = world.page(2).await;
    world.plan_pages([(2, PageFault::WrongTotal(1))]);
    let wrong = world.page(2).await;
    assert_eq!(wrong["meta"]["total"], 121);
    assert_eq!(wrong["meta"]["next"], right["meta"]["next"]);
    assert_eq!(wrong["data"], right["data"]);
}

#[tokio::test]
async fn repeated_page_has_the_rows_of_the_previous_page() {
    let world = world(120).await;
    let first = world.ids(1).await;
    world.plan_pages([(2, PageFault::Repeated), (1, PageFault::Repeated)]);
    let repeated = world.page(2).await;
    assert_eq!(ids(&repeated), first);
    assert_eq!(repeated["meta"]["page"], 2);
    assert!(!repeated["meta"]["next"].is_null());
    assert_eq!(world.ids(1).await, first);
    assert_ne!(world.ids(2).await, first);
}

#[tokio::test]
async fn missing_rows_are_included_in_the_total() {
    let world = world(120).await;
    let whole = world.ids(2).await;
    world.plan_pages([(2, PageFault::Missing(3)), (3, PageFault::Missing(99))]);
    let page = world.page(2).await;
    assert_eq!(ids(&page), whole[..17]);
    assert_eq!(page["meta"]["total"], 120);
    assert!(world.ids(3).await.is_empty());
    assert_eq!(world.ids(2).await, whole);
}

#[tokio::test]
async fn row_that_arrives_between_two_pages_shifts_all_others() {
    let world = world(120).await;
    let (first, second) = (world.ids(1).await, world.ids(2).await);
    world.plan_pages([(1, PageFault::Changing)]);
    let page = world.page(1).await;
    assert_eq!((ids(&page), &page["meta"]["total"]), (first.clone(), &json!(120)));
    let page = world.page(2).await;
    assert_eq!(ids(&page), [&first[19..], &second[..19]].concat());
    assert_eq!(page["meta"]["total"], 121);
    assert_eq!(world.rows()[0].business_day(), today());
}

#[tokio::test]
async fn rows_also_shift_in_a_window_of_the_past() {
    let world = world(3000).await;
    let window = format!("end={}", formatted(today() - Duration::WEEK));
    let first = ids(&world.v2(&window).await.body);
    world.plan_pages([(1, PageFault::Changing)]);
    world.v2(&window).await;
    let second = ids(&world.v2(&format!("{window}&page=2")).await.body);
    assert_eq!(first[19], second[0]);
}

#[tokio::test]
async fn hundred_thousand_rows_are_linked_and_read_in_ten_seconds() {
    let start = Instant::now();
    let world = world(100_000).await;
    let rows = world.rows();
    for (number, expected) in [(1, &rows[..100]), (1000, &rows[99_900..])] {
        let page = world.v2(&format!("limit=100&page={number}")).await.body;
        assert_eq!(page["meta"]["total"], 100_000);
        assert_eq!(page["meta"]["next"].is_null(), number == 1000);
        assert_eq!(page["data"], json!(expected));
    }
    world.sandbox.refresh(&world.account_id, Refresh::NewData).expect("a link");
    assert!(world.rows().len() > 100_000);
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}

#[tokio::test]
async fn edit_of_an_unlinked_accounts_history_is_refused() {
    let world = world(1).await;
    world.sandbox.unlink(&world.account_id).expect("a link");
    let refusal = Err(Refusal::Unlinked(world.account_id.clone()));
    assert_eq!(world.sandbox.add_transactions(&world.account_id, []), refusal);
    let reply = read(world.caller.request(Method::GET, &world.path("/v2"))).await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
}
