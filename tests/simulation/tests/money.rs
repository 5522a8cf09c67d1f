//! Tests the costs of refreshes at Mono, for each rule and for budgets.

use std::time::Duration;

use mono_sync::domain::account::{
    Account, Candidate, Choice, DataStatus, EventBody, Fact, Left, RefreshPolicy, RefreshRule,
    Shortlist, Update, Webhook,
};
use mono_sync::domain::spending::{Budget, Naira};
use mono_sync::domain::timestamp::Timestamp;
use simulation::{Case, Outcome, Wallet, World, simulate_stack};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const ACCOUNTS: u64 = 300;

/// Ninety days of a rough world.
fn simulated(rule: RefreshRule, budget: Budget, read_a_day: f64) -> Outcome {
    let mut world = World::rough(90, 24, 7);
    world.policy.rule = rule;
    simulate_stack(&world, Case { accounts: ACCOUNTS, budget, read_a_day })
}

#[test]
fn on_read_and_weekly_cost_less_than_daily() {
    let daily = simulated(RefreshRule::Interval, Budget(None), 0.5);
    let half_read = simulated(RefreshRule::OnRead, Budget(None), 0.5);
    let tenth_read = simulated(RefreshRule::OnRead, Budget(None), 0.1);
    let weekly = simulated(RefreshRule::Weekly, Budget(None), 0.5);
    let costs = [&daily, &half_read, &tenth_read, &weekly].map(Outcome::naira_a_month);
    assert!(costs[0] < 3_000.0, "{daily}");
    assert!(costs[1] < 0.7 * costs[0] && costs[2] < 0.3 * costs[0], "{half_read}\n{tenth_read}");
    assert!(costs[3] < 0.3 * costs[0], "{weekly}");
    assert!(daily.wallet.age_at_read(0.99) <= 48, "{daily}");
    assert!((150..=200).contains(&weekly.wallet.age_at_read(0.99)), "{weekly}");
}

#[test]
fn budget_holds_on_every_day_and_skipped_accounts_are_refreshed_later() {
    let daily = simulated(RefreshRule::Interval, Budget(None), 0.5);
    let half = Naira(daily.wallet.total.0 / 90 / 2);
    let limited = simulated(RefreshRule::Interval, Budget(Some(half)), 0.5);
    assert!(limited.wallet.most <= half, "{limited}");
    assert!(
        limited.wallet.total.0 > daily.wallet.total.0 * 2 / 5,
        "most of the budget is spent: {limited}"
    );
    assert!(limited.wallet.age_at_read(0.99) <= 6 * 24, "no account is forgotten: {limited}");
}

/// One day of the planner with 100,000 overdue records.
#[test]
fn budget_for_a_thousand_refreshes_the_oldest_thousand_of_100_000_due_accounts() {
    let midnight = Timestamp::parse_rfc3339("2026-01-26T23:00:00Z").expect("a time");
    let policy = RefreshPolicy {
        interval: Some(DAY),
        rule: RefreshRule::Interval,
        cooldown: Duration::from_mins(5),
        unlinked_retention: None,
    };
    let record = |number: u32| {
        let id = format!("{number:024x}").parse().expect("an id");
        // The ages do not follow the order of the ids.
        let age = (number * 7_919) % 100_000;
        let at = midnight - 2 * DAY - age * Duration::from_secs(1);
        let data_status = Some(DataStatus::from_word("AVAILABLE"));
        let body = EventBody::Updated(Box::new(Update { data_status, ..Update::default() }));
        let update = Webhook::new(Some(at), at, "update", None, body);
        let mut account = Account::new(id).apply(&Fact::Webhook(update));
        account.registers.is_proven = true;
        (age, account)
    };
    let mut accounts: Vec<_> = (0..100_000).map(record).collect();
    let mut wallet = Wallet::new(Budget::new(100_000));
    let prices = wallet.prices;
    let mut refreshed = Vec::new();
    for hour in 0..24 {
        let now = midnight + hour * HOUR + HOUR / 2;
        // The maximum that the planner queues in a run. It is less than the number of due accounts.
        let mut due = Shortlist::new(36_000);
        due.extend(accounts.iter().enumerate().filter_map(|(number, (_, account))| {
            let action = account.plan(now, policy)?;
            let priority = account.priority(&action);
            Some(Candidate { priority, action, account: number })
        }));
        assert!(due.seen() >= 99_000);
        let Choice { chosen, is_short, .. } =
            due.choose(Left { all: wallet.rest(now), verifications: None }, &prices);
        assert!(is_short);
        for Candidate { account: number, .. } in chosen {
            assert!(wallet.pay(prices.realtime, now), "a planned refresh can be paid");
            let (age, account) = &mut accounts[number];
            refreshed.push(*age);
            let data_status = Some(DataStatus::from_word("AVAILABLE"));
            let body = EventBody::Updated(Box::new(Update { data_status, ..Update::default() }));
            let update = Webhook::new(Some(now), now, "refreshed", None, body);
            *account = account.apply(&Fact::Webhook(update));
        }
    }
    assert!(wallet.most <= Naira(100_000));
    // The last naira are too few for a sync and its listing.
    assert!((998..=1_000).contains(&refreshed.len()), "{}", refreshed.len());
    let oldest: Vec<_> = (0..100_000).rev().take(refreshed.len()).collect();
    assert_eq!(refreshed, oldest, "the oldest accounts are refreshed first");
}
