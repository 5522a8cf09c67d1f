//! Years of the automatic refresh, on a virtual clock: the record's own rules, with a made-up Mono
//! whose network loses, repeats and delays, whose banks fail and whose customers are asked for an OTP.
//!
//! | module | what it knows |
//! | --- | --- |
//! | [`world`] | when Mono and the banks are down, and what happens to a webhook |
//! | [`behaviour`] | what a sync of an account comes to, and what Mono tells of it |
//! | [`life`] | one account: planner, worker and webhooks, event by event |
//! | [`report`] | how old the data was, and what it cost |
//! | [`stack`] | all accounts side by side, which one budget pays for |
//! | [`till`] | the budget and the bill |
//!
//! Without a budget accounts are simulated one by one: the memory does not depend on how many there are. That
//! Mono and the queue have room for all of them is assumed; the peak rate says how much that is.

pub mod account_simulation;
pub mod behaviour;
pub mod report;
pub mod stack;
pub mod till;
pub mod world;

use std::thread;

pub use account_simulation::AccountSimulation;
pub use behaviour::Behaviour;
pub use report::Report;
pub use stack::{Case, Outcome, simulate_stack};
pub use till::Till;
pub use world::{Accidents, Network, World};

/// Simulates so many accounts of a world, each as the world's chance has it, on all processors.
pub fn simulate(world: &World, accounts: u64) -> Report {
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|part| {
                scope.spawn(move || {
                    let mut report = Report::new(world);
                    for number in (part..accounts).step_by(usize::try_from(threads).unwrap_or(1)) {
                        AccountSimulation::new(world, number, Behaviour::of(number))
                            .live(&mut report);
                    }
                    report
                })
            })
            .collect();
        let parts = parts.into_iter().filter_map(|part| part.join().ok());
        parts.fold(Report::new(world), Report::plus)
    })
}
