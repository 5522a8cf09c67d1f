//! Costs at Mono. The sandbox's bill and the costs that the functions log must be equal.

use std::time::Duration;

use sandbox::{Dialect, History, Kind, Link, Plan, Refresh, Transaction, Webhooks};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::eventually;
use super::manual_sync::{BOTH, Case};

/// The ways in which Mono may serve a listing: as documented, with `limit` reduced to 100, with `paginate=false`
/// ignored, and always with 20 rows.
const SERVINGS: [(&str, usize, bool); 4] = [
    ("as documented", usize::MAX, false),
    ("limit reduced to 100", 100, false),
    ("paginate=false ignored", usize::MAX, true),
    ("always 20 rows", 20, true),
];

fn history(transactions: usize, (_, largest_page, always_paged): (&str, usize, bool)) -> History {
    History { transactions, days: 365, largest_page, always_paged, ..History::default() }
}

impl Case {
    /// Mono's charges for this account, in naira.
    pub(super) fn bill(&self) -> u64 {
        self.world.mono.bill(&self.id).naira
    }

    /// The cost of this account in the logs of the functions, in naira.
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

    /// Waits until no import is due and the logged cost equals Mono's bill. Returns the bill in naira.
    pub(super) async fn settled_bill(&self) -> u64 {
        eventually("no import is due", async || {
            let before = self.pages();
            // Longer than the delay between a pull and its import.
            sleep(Duration::from_secs(4)).await;
            self.pages() == before && self.rows().await == self.rows_at_mono()
        })
        .await;
        eventually("the meter agrees with the bill", async || self.metered().await == self.bill())
            .await;
        self.bill()
    }

    /// Adds new rows of today at Mono.
    fn new_rows(&self, count: usize) {
        let row = |_| self.world.mono.draft_transaction(&self.id).unwrap();
        let rows: Vec<Transaction> = (0..count).map(row).collect();
        self.world.mono.add_transactions(&self.id, rows).unwrap();
    }

    /// An account with an imported history, and the cost of that import in naira.
    async fn billed(dialect: Dialect, history: History) -> (Self, u64) {
        let case = Self::imported(dialect, history).await;
        let naira = case.settled_bill().await;
        (case, naira)
    }
}

#[tokio::test]
async fn first_import_of_a_year_costs_one_page_unless_mono_limits_the_page_size() {
    // 57 pages of 20 rows, plus the pages that detect the page size and divide the year.
    for (serving, most) in SERVINGS.into_iter().zip([1, 1, 1, 66]) {
        let (case, charged) = Case::billed(Dialect::V2, history(1_138, serving)).await;
        println!("{serving:?}: {charged} naira");
        assert!(charged <= most * 150, "{serving:?}: {charged}");
        assert_eq!(case.rows().await.len(), 1_138, "{serving:?}");
    }
}

#[tokio::test]
async fn sync_without_new_data_costs_nothing_in_v2_and_one_listing_in_v1() {
    // The webhook of v1 does not say that there is no new data.
    for (dialect, naira) in [(Dialect::V1, 150), (Dialect::V2, 0)] {
        let (case, before) = Case::billed(dialect, history(60, SERVINGS[0])).await;
        case.plan(Plan { outcome: Refresh::NothingNew, ..Plan::default() });
        case.sync().await.expect(200, "SYNC_SUCCESSFUL");
        assert_eq!(case.settled_bill().await - before, naira, "{dialect}");
    }
}

#[tokio::test]
async fn sync_whose_answer_has_the_new_rows_costs_no_listing() {
    for serving in SERVINGS {
        let (case, before) = Case::billed(Dialect::V2, history(12, serving)).await;
        case.new_rows(3);
        // The sync itself brings more new rows.
        case.sync().await.expect(200, "SYNC_SUCCESSFUL");
        assert_eq!(case.settled_bill().await - before, 100, "{serving:?}");
        assert!(case.rows().await.len() >= 16);
    }
}

#[tokio::test]
async fn webhook_of_a_sync_costs_at_most_one_listing_before_the_answer_and_nothing_after() {
    for webhooks in [Webhooks::First, Webhooks::Sent, Webhooks::Lost] {
        let (case, before) = Case::billed(Dialect::V2, history(12, SERVINGS[0])).await;
        case.plan(Plan { webhooks, ..Plan::default() });
        case.sync().await.expect(200, "SYNC_SUCCESSFUL");
        // If the webhook arrives first, its import requests a listing.
        let most = if webhooks == Webhooks::First { 250 } else { 100 };
        let naira = case.settled_bill().await - before;
        assert!((100..=most).contains(&naira), "{webhooks:?}: {naira}");
    }
}

#[tokio::test]
async fn listing_of_120_new_rows_costs_one_page_unless_mono_limits_the_page_size() {
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
async fn changed_total_triggers_a_listing_that_finds_a_backdated_row() {
    let (case, before) = Case::billed(Dialect::V2, history(400, SERVINGS[0])).await;
    let mono = &case.world.mono;
    let mut row = mono.draft_transaction(&case.id).unwrap();
    row.date -= Duration::from_hours(24 * 200);
    mono.add_transactions(&case.id, [row]).unwrap();
    case.sync().await.expect(200, "SYNC_SUCCESSFUL");
    assert_eq!(case.settled_bill().await - before, 250, "one sync and one listing");
}

#[tokio::test]
async fn failed_sync_and_required_reauthorisation_cost_nothing() {
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
async fn relink_after_an_unlinking_that_mono_refutes_costs_one_read_and_one_listing() {
    let (case, before) = Case::billed(Dialect::V2, history(12, SERVINGS[0])).await;
    let mono = &case.world.mono;
    case.receive(Kind::AccountUnlinked);
    case.until_verified().await;
    mono.send(&mono.event(Kind::AccountConnected, &case.id).unwrap());
    case.new_rows(1);
    mono.send(&mono.event(Kind::AccountUpdated, &case.id).unwrap());
    case.until_imported().await;
    assert_eq!(case.settled_bill().await - before, 100 + 150);
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
