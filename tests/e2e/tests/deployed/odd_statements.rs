//! Statements as banks have them: pending rows, rows listed twice, totals of something else, many rows of
//! one second.

use std::time::Duration;

use sandbox::{Dialect, History, Kind, Link, PageFault, Transaction};
use serde_json::json;

use super::eventually;
use super::manual_sync::Case;

fn history(transactions: usize) -> History {
    History { transactions, days: 5, ..History::default() }
}

impl Case {
    fn draft(&self) -> Transaction {
        self.world.mono.draft_transaction(&self.id).unwrap()
    }

    async fn ids(&self) -> Vec<String> {
        let rows = self.rows().await;
        rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn pending_row_without_a_date_keeps_no_other_row_from_being_removed() {
    let case = Case::imported(Dialect::V2, history(20)).await;
    let mono = &case.world.mono;
    let mut pending = case.draft();
    mono.add_transactions(&case.id, [pending.clone()]).unwrap();
    case.pull().await;
    assert_eq!(case.rows().await, case.rows_at_mono());
    // The bank takes its date away, posts another row in its place, and takes a third one back.
    mono.remove_transaction(&case.id, &pending.id).unwrap();
    pending.extra.insert("date".to_owned(), json!(null));
    let (posted, gone) = (case.draft(), mono.transactions(&case.id)[3].id.clone());
    mono.remove_transaction(&case.id, &gone).unwrap();
    mono.add_transactions(&case.id, [pending.clone(), posted.clone()]).unwrap();
    case.pull().await;
    let ids = case.ids().await;
    assert!(ids.contains(&posted.id) && !ids.contains(&gone));
    assert!(ids.contains(&pending.id), "its own removal waits");
    mono.remove_transaction(&case.id, &pending.id).unwrap();
    case.pull().await;
    assert_eq!(case.rows().await, case.rows_at_mono());
}

#[tokio::test]
async fn row_that_is_listed_twice_is_one_row_and_keeps_none_from_being_removed() {
    let case = Case::imported(Dialect::V2, history(20)).await;
    let mono = &case.world.mono;
    let rows = mono.transactions(&case.id);
    mono.add_transactions(&case.id, [rows[4].clone()]).unwrap();
    mono.remove_transaction(&case.id, &rows[7].id).unwrap();
    case.pull().await;
    let ids = case.ids().await;
    assert_eq!((ids.len(), ids.contains(&rows[7].id)), (19, false));
    assert_eq!(ids.iter().filter(|id| **id == rows[4].id).count(), 1);
    let pages = case.pages();
    case.pull().await;
    assert_eq!(case.pages(), pages + 1, "nothing has to be looked at again");
}

#[tokio::test]
async fn total_that_does_not_count_the_days_costs_a_few_reads() {
    let case = Case::imported(Dialect::V2, history(12)).await;
    let mono = &case.world.mono;
    let all_time = [1, 2, 3].map(|page| (page, PageFault::OtherTotal(12_000)));
    mono.plan_pages_always(&case.id, all_time).unwrap();
    mono.add_transactions(&case.id, [case.draft()]).unwrap();
    let pages = case.pages();
    case.pull().await;
    assert_eq!(case.rows().await, case.rows_at_mono());
    assert!(case.pages() - pages <= 3, "{} reads for 13 rows", case.pages() - pages);
}

#[tokio::test]
async fn total_that_does_not_count_the_days_is_recognised_where_there_are_more_pages_as_well() {
    let world = e2e::shared_stack::world(Dialect::V2);
    let paged = History { always_paged: true, ..history(250) };
    let id = world.mono.link(Link { silent: true, history: Some(paged), ..Link::default() });
    let case = Case { world, id };
    let all_time = [1, 2, 3, 4].map(|page| (page, PageFault::OtherTotal(12_000)));
    world.mono.plan_pages_always(&case.id, all_time).unwrap();
    world.mono.send(&world.mono.event(Kind::AccountUpdated, &case.id).unwrap());
    case.until_as_at_mono().await;
    assert!(case.pages() <= 12, "{} reads for 250 rows", case.pages());
}

#[tokio::test]
async fn day_with_more_rows_than_a_slice_is_imported_alone() {
    let one_day =
        History { transactions: 5_200, days: 1, always_paged: true, ..History::default() };
    let case = Case::imported(Dialect::V2, one_day).await;
    assert_eq!(case.rows().await.len(), 5_200);
    // And some that find the day, or that the others are empty.
    assert!(case.pages() <= 70, "{} reads for 52 pages", case.pages());
}

#[tokio::test]
async fn empty_answer_removes_nothing_until_a_later_import_says_so_again() {
    let case = Case::imported(Dialect::V2, history(12)).await;
    let mono = &case.world.mono;
    for row in mono.transactions(&case.id) {
        mono.remove_transaction(&case.id, &row.id).unwrap();
    }
    case.pull().await;
    assert_eq!(case.rows().await.len(), 12, "a healthy account does not lose all its rows at once");
    assert_eq!(case.shown().await["status"], "healthy");
    case.pull().await;
    assert_eq!(case.rows().await.len(), 0);
}

#[tokio::test]
async fn removal_whose_second_confirmation_failed_is_made_later() {
    let case = Case::imported(Dialect::V2, history(20)).await;
    let mono = &case.world.mono;
    let gone = mono.transactions(&case.id)[0].id.clone();
    mono.remove_transaction(&case.id, &gone).unwrap();
    // Somebody presses refresh while the import is under way: held up before it asks Mono.
    super::fail("Query", &case.id, &[e2e::proxy::Failure::Hang]);
    let job = case.job();
    let import = async { case.import(&job, 1).await };
    let refresh = async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let pace = sandbox::Pace::NeverEnding;
        case.plan(sandbox::Plan { pace, ..sandbox::Plan::default() });
        case.sync().await.expect(202, "SYNC_PROCESSING");
    };
    let (given_back, ()) = tokio::join!(import, refresh);
    assert_eq!(given_back, json!([]));
    assert!(case.ids().await.contains(&gone), "something is under way");
    case.pull().await;
    eventually("it is gone", async || !case.ids().await.contains(&gone)).await;
}

#[tokio::test]
async fn rows_of_one_second_stand_in_monos_order_at_any_page_size() {
    let case = Case::imported(Dialect::V2, history(5)).await;
    let mono = &case.world.mono;
    // Eight transfers, each with its charge in the same second. Ids ascend from the newest to the oldest.
    let rows = (0..8_u32).flat_map(|pair| {
        let row = |second: u32| {
            let mut row = case.draft();
            row.date -= Duration::from_mins(1_440 - u64::from(pair));
            row.id = format!("{:024x}", 100 - 2 * pair - second);
            row
        };
        [row(0), row(1)]
    });
    mono.add_transactions(&case.id, rows.collect::<Vec<_>>()).unwrap();
    case.pull().await;
    let at_mono = case.rows_at_mono();
    for limit in [1, 2, 3, 5, 100] {
        let (mut rows, mut cursor) = (Vec::new(), String::new());
        loop {
            let part = case.transactions(&format!("?limit={limit}{cursor}")).await.expect_ok();
            rows.extend(part.body["transactions"].as_array().unwrap().clone());
            match part.body["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(rows, at_mono, "{limit} at a time");
        let chains = rows.windows(2).all(|pair| {
            let number = |row: &serde_json::Value, field: &str| row[field].as_i64();
            let (newer, older) = (&pair[0], &pair[1]);
            let (Some(after), Some(before)) = (number(newer, "balance"), number(older, "balance"))
            else {
                return true;
            };
            let amount = number(newer, "amount").unwrap();
            after - before == if newer["type"] == "credit" { amount } else { -amount }
        });
        assert!(chains, "each balance follows from its neighbour's");
    }
}
