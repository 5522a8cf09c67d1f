use e2e::proxy::Failure;
use mono_sync::aws::store::{Entry, Ledger};
use mono_sync::domain::business_day::BusinessDay;
use mono_sync::domain::spending::{Budget, BudgetKind, Budgets, CallKind, CallReason, Naira};
use tokio::task::JoinSet;

use crate::records::{client, create_table};
use crate::{fail, proxy, unique};

fn day() -> BusinessDay {
    BusinessDay::parse("2026-01-27").unwrap()
}

fn entry(reason: CallReason) -> Entry {
    Entry { day: day(), kind: CallKind::Realtime, reason, price: Naira(100) }
}

/// A ledger in a new table, and the name of the table.
async fn ledger(automatic: u64, manual: u64) -> (Ledger, String) {
    let table = unique("ledger");
    create_table(&table).await;
    let budgets = Budgets { automatic: Budget::new(automatic), manual: Budget::new(manual) };
    (Ledger::new(client(), &table, budgets), table)
}

async fn spent(ledger: &Ledger) -> [u64; 2] {
    let automatic = ledger.spent(day(), BudgetKind::Automatic).await.unwrap();
    [automatic.0, ledger.spent(day(), BudgetKind::Manual).await.unwrap().0]
}

#[tokio::test]
async fn fifty_concurrent_callers_reserve_no_more_than_the_budget() {
    let (ledger, table) = ledger(1_050, 0).await;
    let mut callers = JoinSet::new();
    for _ in 0..50 {
        let ledger = ledger.clone();
        callers.spawn(async move { ledger.reserve(entry(CallReason::Scheduled)).await.unwrap() });
    }
    let reserved = callers.join_all().await.into_iter().flatten().count();
    assert_eq!(proxy().count("UpdateItem", &table), 50, "one write for each caller");
    assert_eq!((reserved, spent(&ledger).await), (10, [1_000, 0]));
}

#[tokio::test]
async fn verifications_leave_half_of_the_budget_to_other_calls() {
    let (ledger, _) = ledger(1_050, 0).await;
    let reserved = async |reason, callers: usize| {
        let mut count = 0;
        for _ in 0..callers {
            count += usize::from(ledger.reserve(entry(reason)).await.unwrap().is_some());
        }
        count
    };
    assert_eq!(reserved(CallReason::Verification, 8).await, 5);
    assert_eq!(reserved(CallReason::Scheduled, 8).await, 5);
    assert_eq!(spent(&ledger).await, [1_000, 0]);
}

#[tokio::test]
async fn released_reservation_can_be_reserved_again() {
    let (ledger, _) = ledger(100, 0).await;
    let scheduled = entry(CallReason::Scheduled);
    assert_eq!(ledger.reserve(scheduled).await.unwrap(), Some(Naira(100)));
    assert_eq!(ledger.reserve(scheduled).await.unwrap(), None);
    ledger.release(scheduled).await.unwrap();
    assert_eq!(ledger.reserve(scheduled).await.unwrap(), Some(Naira(100)));
}

#[tokio::test]
async fn budgets_are_separate_by_kind_and_day() {
    let (ledger, _) = ledger(100, 100).await;
    let tomorrow = Entry { day: day() + 1, ..entry(CallReason::Manual) };
    for entry in [entry(CallReason::Scheduled), entry(CallReason::Manual), tomorrow] {
        assert_eq!(ledger.reserve(entry).await.unwrap(), Some(Naira(100)));
        assert_eq!(ledger.reserve(entry).await.unwrap(), None);
    }
    assert_eq!(spent(&ledger).await, [100, 100]);
}

#[tokio::test]
async fn reservation_counts_twice_if_its_answer_is_lost() {
    let (ledger, table) = ledger(0, 0).await;
    fail("UpdateItem", &table, &[Failure::AnswerLost]);
    ledger.reserve(entry(CallReason::Scheduled)).await.unwrap();
    assert_eq!(spent(&ledger).await, [200, 0]);
}

#[tokio::test]
async fn release_happens_once_even_if_its_answer_is_lost() {
    let (ledger, table) = ledger(0, 0).await;
    for _ in 0..3 {
        ledger.reserve(entry(CallReason::Scheduled)).await.unwrap();
    }
    fail("UpdateItem", &table, &[Failure::AnswerLost]);
    assert!(ledger.release(entry(CallReason::Scheduled)).await.is_err());
    assert_eq!(spent(&ledger).await, [200, 0]);
}
