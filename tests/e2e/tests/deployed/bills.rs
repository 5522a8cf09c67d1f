//! What things cost at Mono: the stand-in's bill, and the functions' own account of it, which must be the same.

use std::time::Duration;

use sandbox::{Dialect, History, Kind, Link, Plan, Refresh, Transaction, Webhooks};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::eventually;
use super::manual_sync::{BOTH, Case};

/// How Mono may serve a listing: what it documents, `limit` cut to 100, `paginate=false` ignored, and 20 rows whatever
/// is asked.
const SERVINGS: [(&str, usize, bool); 4] = [
    ("as asked", usize::MAX, false),
    ("limit cut to 100", 100, false),
    ("paginate=false ignored", usize::MAX, true),
    ("always 20 rows", 20, true),
];

fn history(transactions: usize, (_, largest_page, always_paged): (&str, usize, bool)) -> History {
    History { transactions, days: 365, largest_page, always_paged, ..History::default() }
}

impl Case {
    /// What Mono charges for this account, in naira.
    pub(super) fn bill(&self) -> u64 {
        self.world.mono.bill(&self.id).naira
    }

    /// What the functions say that they have spent on it.
    pub(super) async fn metered(&self) -> u64 {
        let mut naira = 0;
        for function in ["manual-sync", "refresh-worker", "importer"] {
            let lines = self.world.stack.log(function).await.unwrap();
            let lines = lines.iter().filter(|line| line.contains(&self.id));
            let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
            naira += lines.filter_map(|line| line["naira"].as_u64()).sum::<u64>();
        }
        naira
    }

    /// Waits until nothing more follows, and answers with what Mono charged: more by the meter it cannot be, nor
    /// less.
    pub(super) async fn settled_bill(&self) -> u64 {
        eventually("no import is due", async || {
            let before = self.pages();
            // Longer than an import waits after its pull.
            sleep(Duration::from_secs(4)).await;
            self.pages() == before && self.rows().await == self.rows_at_mono()
        })
        .await;
        eventually("the meter agrees with the bill", async || self.metered().await == self.bill())
            .await;
        self.bill()
    }

    /// Has these new rows at Mono, of today.
    fn new_rows(&self, count: usize) {
        let row = |_| self.world.mono.draft_transaction(&self.id).unwrap();
        let rows: Vec<Transaction> = (0..count).map(row).collect();
        self.world.mono.add_transactions(&self.id, rows).unwrap();
    }

    /// Linked, with its history imported, and what that cost.
    async fn billed(dialect: Dialect, history: History) -> (Self, u64) {
        let case = Self::imported(dialect, history).await;
        let naira = case.settled_bill().await;
        (case, naira)
    }
}

#[tokio::test]
async fn first_import_of_a_year_costs_one_page_unless_mono_insists_on_small_ones() {
    // 57 pages of 20 rows, and those that find it out and divide the year.
    for (serving, most) in SERVINGS.into_iter().zip([1, 1, 1, 66]) {
        let (case, charged) = Case::billed(Dialect::V2, history(1_138, serving)).await;
        println!("{serving:?}: {charged} naira");
        assert!(charged <= most * 150, "{serving:?}: {charged}");
        assert_eq!(case.rows().await.len(), 1_138, "{serving:?}");
    }
}

#[tokio::test]
async fn sync_without_new_data_costs_nothing_but_for_a_listing_in_v1_whose_webhook_does_not_say_so()
{
    for (dialect, naira) in [(Dialect::V1, 150), (Dialect::V2, 0)] {
        let (case, before) = Case::billed(dialect, history(60, SERVINGS[0])).await;
        case.plan(Plan { outcome: Refresh::NothingNew, ..Plan::default() });
        case.sync().await.expect(200, "SYNC_SUCCESSFUL");
        assert_eq!(case.settled_bill().await - before, naira, "{dialect}");
    }
}

#[tokio::test]
async fn sync_whose_own_answer_has_the_new_rows_costs_no_listing() {
    for serving in SERVINGS {
        let (case, before) = Case::billed(Dialect::V2, history(12, serving)).await;
        case.new_rows(3);
        // And those that the sync itself brings.
        case.sync().await.expect(200, "SYNC_SUCCESSFUL");
        assert_eq!(case.settled_bill().await - before, 100, "{serving:?}");
        assert!(case.rows().await.len() >= 16);
    }
}

#[tokio::test]
async fn webhook_of_a_sync_costs_nothing_whether_it_comes_before_or_after_the_answer() {
    for webhooks in [Webhooks::First, Webhooks::Sent, Webhooks::Lost] {
        let (case, before) = Case::billed(Dialect::V2, history(12, SERVINGS[0])).await;
        case.plan(Plan { webhooks, ..Plan::default() });
        case.sync().await.expect(200, "SYNC_SUCCESSFUL");
        // If the webhook is faster, its import asks for a listing.
        let most = if webhooks == Webhooks::First { 250 } else { 100 };
        let naira = case.settled_bill().await - before;
        assert!((100..=most).contains(&naira), "{webhooks:?}: {naira}");
    }
}

#[tokio::test]
async fn hundred_and_twenty_new_rows_cost_one_listing_unless_mono_insists_on_small_pages() {
    for (serving, naira) in SERVINGS.into_iter().zip([250, 250, 250, 100 + 7 * 150]) {
        let (case, before) = Case::billed(Dialect::V2, history(60, serving)).await;
        case.new_rows(120);
        case.sync().await.expect(200, "SYNC_SUCCESSFUL");
        let charged = case.settled_bill().await - before;
        assert!(charged <= naira, "{serving:?}: {charged}");
        assert_eq!(case.rows().await, case.rows_at_mono());
    }
}

#[tokio::test]
async fn row_that_is_dated_back_beyond_the_page_is_found_by_the_total() {
    let (case, before) = Case::billed(Dialect::V2, history(400, SERVINGS[0])).await;
    let mono = &case.world.mono;
    let mut row = mono.draft_transaction(&case.id).unwrap();
    row.date -= Duration::from_hours(24 * 200);
    mono.add_transactions(&case.id, [row]).unwrap();
    case.sync().await.expect(200, "SYNC_SUCCESSFUL");
    assert_eq!(case.settled_bill().await - before, 250, "the sync, and one listing");
}

#[tokio::test]
async fn failures_and_a_bank_that_requires_reauthorisation_cost_nothing() {
    for outcome in [Refresh::Failed, Refresh::BankUnavailable, Refresh::ReauthorisationRequired] {
        for dialect in BOTH {
            let (case, before) = Case::billed(dialect, history(12, SERVINGS[0])).await;
            case.plan(Plan { outcome, ..Plan::default() });
            assert!(case.sync().await.status.as_u16() >= 400);
            assert_eq!(case.settled_bill().await - before, 0, "{dialect} {outcome:?}");
        }
    }
}

#[tokio::test]
async fn unlinking_and_a_new_link_cost_one_listing() {
    let (case, before) = Case::billed(Dialect::V2, history(12, SERVINGS[0])).await;
    let mono = &case.world.mono;
    let unlinked = mono.event(Kind::AccountUnlinked, &case.id).unwrap();
    mono.send(&unlinked);
    case.status("unlinked").await;
    mono.send(&mono.event(Kind::AccountConnected, &case.id).unwrap());
    case.new_rows(1);
    mono.send(&mono.event(Kind::AccountUpdated, &case.id).unwrap());
    case.until_as_at_mono().await;
    assert_eq!(case.settled_bill().await - before, 150);
}

#[tokio::test]
async fn link_without_transactions_costs_nothing() {
    let (_, charged) = Case::billed(Dialect::V2, history(0, SERVINGS[0])).await;
    assert_eq!(charged, 0, "an empty page is not charged");
    let link = Link { balance_only: true, ..Link::default() };
    let case = Case::unseen(Dialect::V2, link);
    let mono = &case.world.mono;
    mono.send(&mono.event(Kind::AccountUpdated, &case.id).unwrap());
    case.when("the event is applied", |account| account["last_event_at"].is_string()).await;
    assert_eq!(json!(case.settled_bill().await), json!(0));
}
