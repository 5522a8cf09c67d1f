//! Irregular statements of banks: pending rows, duplicate rows, totals of other periods, and many rows of one second.

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
async fn pending_row_without_a_date_does_not_block_other_removals() {
    let case = Case::imported(Dialect::V2, history(20)).await;
    let mono = &case.world.mono;
    let mut pending = case.draft();
    mono.add_transactions(&case.id, [pending.clone()]).unwrap();
    case.pull().await;
    assert_eq!(case.rows().await, case.rows_at_mono());
    // The bank removes the date of the pending row, posts a new row and removes a third row.
    mono.remove_transaction(&case.id, &pending.id).unwrap();
    pending.extra.insert("date".to_owned(), json!(null));
    let (posted, gone) = (case.draft(), mono.transactions(&case.id)[3].id.clone());
    mono.remove_transaction(&case.id, &gone).unwrap();
    mono.add_transactions(&case.id, [pending.clone(), posted.clone()]).unwrap();
    case.pull().await;
    let ids = case.ids().await;
    assert!(ids.contains(&posted.id) && !ids.contains(&gone));
    assert!(ids.contains(&pending.id), "the pending row is not removed yet");
    mono.remove_transaction(&case.id, &pending.id).unwrap();
    case.pull().await;
    assert_eq!(case.rows().await, case.rows_at_mono());
}

#[tokio::test]
async fn duplicate_row_is_stored_once_and_does_not_block_removals() {
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
    assert_eq!(case.pages(), pages + 1, "no row needs another check");
}

#[tokio::test]
async fn wrong_total_costs_at_most_three_page_reads() {
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
async fn total_of_another_period_is_recognised_over_several_pages() {
    let world = e2e::shared_stack::world(Dialect::V2);
    let paged = History { always_paged: true, ..history(250) };
    let id = world.mono.link(Link { silent: true, history: Some(paged), ..Link::default() });
    let case = Case { world, id };
    let all_time = [1, 2, 3, 4].map(|page| (page, PageFault::OtherTotal(12_000)));
    world.mono.plan_pages_always(&case.id, all_time).unwrap();
    world.mono.send(&world.mono.event(Kind::AccountUpdated, &case.id).unwrap());
    case.until_imported().await;
    assert!(case.pages() <= 12, "{} reads for 250 rows", case.pages());
}

#[tokio::test]
async fn day_with_more_rows_than_a_slice_is_imported_alone() {
    let one_day =
        History { transactions: 5_200, days: 1, always_paged: true, ..History::default() };
    let case = Case::imported(Dialect::V2, one_day).await;
    assert_eq!(case.rows().await.len(), 5_200);
    // The other reads find the day, and find that the other days are empty.
    assert!(case.pages() <= 70, "{} reads for 52 pages", case.pages());
}

#[tokio::test]
async fn empty_answer_removes_rows_only_after_a_second_empty_answer() {
    let case = Case::imported(Dialect::V2, history(12)).await;
    let mono = &case.world.mono;
    for row in mono.transactions(&case.id) {
        mono.remove_transaction(&case.id, &row.id).unwrap();
    }
    case.pull().await;
    assert_eq!(case.rows().await.len(), 12, "one empty answer removes no row of a healthy account");
    assert_eq!(case.shown().await["status"], "healthy");
    case.pull().await;
    assert_eq!(case.rows().await.len(), 0);
}

#[tokio::test]
async fn unconfirmed_removal_is_made_by_a_later_import() {
    let case = Case::imported(Dialect::V2, history(20)).await;
    let mono = &case.world.mono;
    let gone = mono.transactions(&case.id)[0].id.clone();
    mono.remove_transaction(&case.id, &gone).unwrap();
    // A manual sync starts while the import hangs before its call to Mono.
    super::fail("Query", &case.id, &[e2e::proxy::Failure::Hang]);
    let job = case.job();
    let import = async { case.import(&job, 1).await };
    let refresh = async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let pace = sandbox::Pace::NeverEnding;
        case.plan(sandbox::Plan { pace, ..sandbox::Plan::default() });
        case.sync().await.expect(202, "SYNC_PROCESSING");
    };
    let (failures, ()) = tokio::join!(import, refresh);
    assert_eq!(failures, json!([]));
    assert!(case.ids().await.contains(&gone), "a running sync delays the removal");
    case.pull().await;
    eventually("the row is removed", async || !case.ids().await.contains(&gone)).await;
}

#[tokio::test]
async fn rows_of_one_second_keep_monos_order_at_any_page_size() {
    let case = Case::imported(Dialect::V2, history(5)).await;
    let mono = &case.world.mono;
    // Eight transfers, each with a charge in the same second. The ids ascend from the newest row to the oldest.
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
        assert_eq!(rows, at_mono, "limit {limit}");
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
        assert!(chains, "each balance follows from the balance of the next older row");
    }
}
