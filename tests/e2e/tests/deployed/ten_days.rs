//! What accounts cost a day under the automatic refresh. Mono's bill and the meter must be equal. The tests have a
//! stack of their own and run one after the other, because a plan covers all accounts of a table.

use std::sync::OnceLock;
use std::time::Duration;

use e2e::past;
use e2e::shared_stack::{World, aside};
use reqwest::Method;
use sandbox::{Kind, Plan, Refresh};
use serde_json::json;
use tokio::sync::{Mutex, MutexGuard};

use super::account_id;
use super::budget::{deploy, until_idle};
use super::manual_sync::Case;

const DAY: Duration = Duration::from_hours(24);

async fn daily() -> (&'static World, MutexGuard<'static, ()>) {
    static WORLD: OnceLock<World> = OnceLock::new();
    static TURN: Mutex<()> = Mutex::const_new(());
    let turn = TURN.lock().await;
    let world = WORLD.get_or_init(|| aside(deploy("ten-days", &[("MonoDailyBudget", "0")])));
    (world, turn)
}

impl Case {
    /// A linked account whose first import has cost 150 naira. Every later sync has this outcome.
    async fn always(world: &'static World, outcome: Refresh) -> Self {
        let case = Self::silent(world, 12);
        world.mono.send(&world.mono.event(Kind::AccountUpdated, &case.id).unwrap());
        case.until_imported().await;
        world.mono.plan_always(&case.id, Plan { outcome, ..Plan::default() }).unwrap();
        case
    }

    /// An account that is known only from the event of a payment.
    async fn known_from_a_payment(world: &'static World) -> Self {
        let case = Self { world, id: account_id() };
        let connected =
            json!({ "event": "mono.events.account_connected", "data": { "id": case.id } });
        let request = world.stack.request(Method::POST, "/webhooks/mono");
        let posted = request.header("mono-webhook-secret", e2e::samples::LOCAL_SECRET);
        assert_eq!(posted.json(&connected).send().await.unwrap().status(), 200);
        case.status("pending").await;
        case
    }
}

/// In naira.
async fn bills(cases: &[&Case]) -> Vec<u64> {
    let mut bills = Vec::new();
    for case in cases {
        let bill = case.bill();
        assert_eq!(case.metered().await, bill, "the logged cost is equal to Mono's bill");
        bills.push(bill);
    }
    bills
}

#[tokio::test]
async fn ten_daily_plans_charge_only_the_account_with_new_data() {
    let (world, _turn) = daily().await;
    let failing = Case::always(world, Refresh::Failed).await;
    let reauth_required = Case::always(world, Refresh::ReauthorisationRequired).await;
    let payment = Case::known_from_a_payment(world).await;
    let idle = Case::always(world, Refresh::NothingNew).await;
    let lively = Case::always(world, Refresh::NewData).await;
    let cases = [&failing, &reauth_required, &payment, &idle, &lively];
    until_idle(world).await;
    assert_eq!(bills(&cases).await, [150, 150, 0, 150, 150]);
    for day in 1..=10 {
        for case in cases {
            past::let_time_pass(&world.stack, &case.id, DAY).await;
        }
        let plan = world.stack.plan_refresh().await.unwrap();
        until_idle(world).await;
        let bills = bills(&cases).await;
        println!("day {day}: {plan} {bills:?}");
        assert_eq!(bills[..4], [150, 150, 0, 150], "day {day}");
        let lively = bills[4] - 150;
        assert!((100 * day..=250 * day).contains(&lively), "day {day}: {lively}");
    }
    let syncs = cases.map(|case| world.mono.begun_syncs(&case.id));
    println!("{syncs:?}");
    assert!((3..=5).contains(&syncs[0]), "failed syncs back off: {syncs:?}");
    assert!((1..=2).contains(&syncs[1]), "no sync until the customer re-authorises: {syncs:?}");
    assert_eq!(syncs[2..], [0, 10, 10]);
}

#[tokio::test]
async fn relink_after_an_unlinking_that_mono_refutes_costs_one_read_and_one_listing() {
    let (world, _turn) = daily().await;
    let case = Case::always(world, Refresh::NothingNew).await;
    until_idle(world).await;
    past::let_time_pass(&world.stack, &case.id, DAY / 12).await;
    world.mono.send(&world.mono.event(Kind::AccountUnlinked, &case.id).unwrap());
    case.until_verified().await;
    case.status("healthy").await;
    until_idle(world).await;
    assert_eq!(bills(&[&case]).await, [150 + 100]);
    world.mono.send(&world.mono.event(Kind::AccountConnected, &case.id).unwrap());
    world.mono.send(&world.mono.event(Kind::AccountUpdated, &case.id).unwrap());
    case.until_imported().await;
    until_idle(world).await;
    assert_eq!(bills(&[&case]).await, [150 + 100 + 150]);
}
