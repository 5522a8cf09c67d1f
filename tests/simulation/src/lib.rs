//! Simulates years of the automatic refresh on a virtual clock. The rules of the record are the
//! production code. The simulated Mono loses, duplicates and delays webhooks, its banks fail, and its
//! customers are asked for an OTP.
//!
//! | module | contents |
//! | --- | --- |
//! | [`world`] | the outages of Mono and the banks, and the faults of the network |
//! | [`behaviour`] | the outcome of a sync of an account, and Mono's webhooks about it |
//! | [`account_simulation`] | one account: planner, worker and webhooks, event by event |
//! | [`report`] | the ages of the data, and the costs |
//! | [`stack`] | all accounts of a stack, which share one budget |
//! | [`wallet`] | the budget and the bill |
//!
//! Without a budget, accounts are simulated one after the other, so memory does not depend on their
//! number. The simulation assumes that Mono and the queue have enough capacity. The peak rate in the
//! report shows the required capacity.

pub mod account_simulation;
pub mod behaviour;
pub mod report;
pub mod stack;
pub mod wallet;
pub mod world;

use std::thread;

pub use account_simulation::AccountSimulation;
pub use behaviour::Behaviour;
pub use report::Report;
pub use stack::{Case, Outcome, simulate_stack};
pub use wallet::Wallet;
pub use world::{Accidents, Network, World};

/// Simulates accounts of a world on all processors. The world's seed determines all random events.
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
