//! Prints the figures of `docs/simulation.md`.

use clap::Parser;
use mono_sync::domain::account::RefreshRule;
use mono_sync::domain::spending::{Budget, Naira};
use simulation::{Case, World, simulate, simulate_stack};

/// Simulates the automatic refresh on a virtual clock, and reports the ages of the data and the costs.
/// A year of 100,000 accounts takes about ten minutes.
#[derive(Parser)]
struct Arguments {
    /// The number of accounts.
    #[arg(long, default_value_t = 100_000)]
    accounts: u64,
    /// The number of days.
    #[arg(long, default_value_t = 365)]
    days: u32,
    /// The parameter RefreshIntervalHours.
    #[arg(long, default_value_t = 24)]
    interval_hours: u32,
    /// Determines all random events.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Simulates far more lost webhooks, errors and crashes.
    #[arg(long)]
    harsh: bool,
    /// Webhooks have no timestamp, as in Mono's v1.
    #[arg(long)]
    untimed: bool,
    /// Prints Mono's charges by rule and budget instead.
    #[arg(long)]
    money: bool,
}

fn main() {
    let Arguments { accounts, days, interval_hours, seed, harsh, untimed, money } =
        Arguments::parse();
    let world = if harsh { World::harsh } else { World::rough };
    let mut world = world(days, interval_hours, seed);
    world.network.timed = !untimed;
    if money {
        print_bills(&world, accounts, days);
    } else {
        println!("{}", simulate(&world, accounts));
    }
}

fn print_bills(world: &World, accounts: u64, days: u32) {
    let bill = |name: &str, rule, budget, read_a_day| {
        let mut world = world.clone();
        world.policy.rule = rule;
        let outcome = simulate_stack(&world, Case { accounts, budget, read_a_day });
        println!("{name}: {outcome}");
        outcome
    };
    let daily = bill("at the interval", RefreshRule::Interval, Budget(None), 0.5);
    let half = Budget(Some(Naira(daily.wallet.total.0 / u64::from(days) / 2)));
    bill("at the interval, half the budget", RefreshRule::Interval, half, 0.5);
    bill("on_read, 10 % read a day", RefreshRule::OnRead, Budget(None), 0.1);
    bill("on_read, 50 % read a day", RefreshRule::OnRead, Budget(None), 0.5);
    bill("weekly", RefreshRule::Weekly, Budget(None), 0.5);
}
