//! Prints the table and the plot of ARCHITECTURE.md.

use clap::Parser;
use simulation::{World, simulate};

/// Simulates the automatic refresh on a virtual clock: how old the data of accounts gets, and what it
/// costs. A year of a million accounts takes minutes to an hour.
#[derive(Parser)]
struct Arguments {
    /// How many accounts.
    #[arg(long, default_value_t = 1_000_000)]
    accounts: u64,
    /// How many days.
    #[arg(long, default_value_t = 365)]
    days: u32,
    /// RefreshIntervalHours.
    #[arg(long, default_value_t = 24)]
    interval_hours: u32,
    /// Decides every accident.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() {
    let Arguments { accounts, days, interval_hours, seed } = Arguments::parse();
    let world = World::rough(days, interval_hours, seed);
    println!("{}", simulate(&world, accounts));
}
