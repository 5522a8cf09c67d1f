//! All accounts of a stack together, since they share one budget.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use mono_sync::domain::account::{Candidate, Left, Shortlist};
use mono_sync::domain::spending::Budget;

use crate::account_simulation::AccountSimulation;
use crate::behaviour::Behaviour;
use crate::report::Report;
use crate::wallet::Wallet;
use crate::world::World;

/// The parameters of a simulation.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The number of accounts.
    pub accounts: u64,
    /// The daily budget.
    pub budget: Budget,
    /// The share of the accounts that are read on a day.
    pub read_a_day: f64,
}

/// The result of a simulation.
#[derive(Debug)]
pub struct Outcome {
    pub wallet: Wallet,
    case: Case,
    days: f64,
}

impl Outcome {
    /// The costs of one account in a month of 30 days, in naira.
    #[expect(clippy::cast_precision_loss, reason = "of counts")]
    pub fn naira_a_month(&self) -> f64 {
        self.wallet.total.0 as f64 / self.case.accounts as f64 / self.days * 30.0
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let age = |share| self.wallet.age_at_read(share);
        write!(
            f,
            "{:.0} naira per account and month; age at read: {} h (p50), {} h (p99); at most {} naira a day",
            self.naira_a_month(),
            age(0.5),
            age(0.99),
            self.wallet.most,
        )
    }
}

/// Simulates the world's time, plan by plan.
pub fn simulate_stack(world: &World, case: Case) -> Outcome {
    let wallet = Rc::new(RefCell::new(Wallet::new(case.budget)));
    let mut report = Report::new(world);
    let mut simulations: Vec<_> = (0..case.accounts)
        .map(|number| {
            let simulation = AccountSimulation::new(world, number, Behaviour::of(number));
            simulation.paid_from(Rc::clone(&wallet), case.read_a_day)
        })
        .collect();
    for plan_at in AccountSimulation::plans(world) {
        let mut due = Shortlist::new(simulations.len());
        for (number, simulation) in simulations.iter_mut().enumerate() {
            simulation.advance(plan_at, &mut report);
            if let Some((action, priority)) = simulation.action(plan_at) {
                due.extend([Candidate { priority, action, account: number }]);
            }
        }
        let (rest, prices) = {
            let mut wallet = wallet.borrow_mut();
            (wallet.rest(plan_at), wallet.prices)
        };
        let chosen = due.choose(Left { all: rest, verifications: None }, &prices).chosen;
        for Candidate { action, account, .. } in chosen {
            simulations[account].queue(plan_at, &action, &mut report);
        }
    }
    drop(simulations);
    let wallet =
        Rc::into_inner(wallet).map(RefCell::into_inner).unwrap_or(Wallet::new(case.budget));
    let days = world.end.since(world.start).as_secs_f64() / 86_400.0;
    Outcome { wallet, case, days }
}
