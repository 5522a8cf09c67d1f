//! All accounts of a stack side by side, since one budget pays for all.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use mono_sync::domain::account::{Candidate, Shortlist};
use mono_sync::domain::spending::Budget;

use crate::account_simulation::AccountSimulation;
use crate::behaviour::Behaviour;
use crate::report::Report;
use crate::till::Till;
use crate::world::World;

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// How many accounts.
    pub accounts: u64,
    /// What may be spent in a day.
    pub budget: Budget,
    /// The share of the accounts that somebody reads on a day.
    pub read_a_day: f64,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// The bill.
    pub till: Till,
    case: Case,
    days: f64,
}

impl Outcome {
    /// Naira an account and month of 30 days.
    #[expect(clippy::cast_precision_loss, reason = "of counts")]
    pub fn naira_a_month(&self) -> f64 {
        self.till.total.0 as f64 / self.case.accounts as f64 / self.days * 30.0
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let age = |share| self.till.age_at_read(share);
        write!(
            f,
            "{:.0} naira an account and month; {} h (p50), {} h (p99) old when read; {} naira on the dearest day",
            self.naira_a_month(),
            age(0.5),
            age(0.99),
            self.till.most,
        )
    }
}

/// Lives through the world's time, plan by plan.
///
/// # Panics
///
/// Never: the till is not borrowed twice.
pub fn simulate_stack(world: &World, case: Case) -> Outcome {
    let till = Rc::new(RefCell::new(Till::new(case.budget)));
    let mut report = Report::new(world);
    let mut lives: Vec<_> = (0..case.accounts)
        .map(|number| {
            let life = AccountSimulation::new(world, number, Behaviour::of(number));
            life.paid_from(Rc::clone(&till), case.read_a_day)
        })
        .collect();
    for plan_at in AccountSimulation::plans(world) {
        let mut due = Shortlist::new(lives.len());
        for (number, life) in lives.iter_mut().enumerate() {
            life.advance(plan_at, &mut report);
            if let Some((want, priority)) = life.want(plan_at) {
                due.extend([Candidate { priority, want, account: number }]);
            }
        }
        let (rest, prices) = {
            let mut till = till.borrow_mut();
            (till.rest(plan_at), till.prices)
        };
        let (chosen, _) = due.choose(rest, &prices);
        for Candidate { want, account, .. } in chosen {
            lives[account].queue(plan_at, &want, &mut report);
        }
    }
    drop(lives);
    let till = Rc::into_inner(till).map(RefCell::into_inner).unwrap_or(Till::new(case.budget));
    let days = world.end.since(world.start).as_secs_f64() / 86_400.0;
    Outcome { till, case, days }
}
