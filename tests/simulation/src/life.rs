//! One account, event by event.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;
use mono_sync::account::{
    Account, DataStatus, Fact, JobEnd, JobState, Lease, MonoError, News, SyncAttempt, SyncData,
    SyncOutcome, Trouble, Update, Want, Webhook,
};
use mono_sync::timestamp::Timestamp;

use crate::behaviour::{Answer, Behaviour, Truth};
use crate::report::{Report, Since};
use crate::world::World;

/// An account in a world.
pub struct Life<'a> {
    world: &'a World,
    behaviour: Behaviour,
    bank: &'a [Range<Timestamp>],
    rng: Rng,
    account: Account,
    events: BinaryHeap<Reverse<(Timestamp, u64, Event)>>,
    numbered: u64,
    /// When the bank began to want the customer, while it does.
    wants_customer: Option<Timestamp>,
    /// The last time that the bank wanted the customer, to its end.
    last_want: Range<Timestamp>,
    /// Since when the age is as it is now counted.
    counted_to: Timestamp,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A message of the planner's arrives.
    Work { planned_at: Timestamp },
    /// Mono has found something out, and tells.
    Found { job_id: String, truth: u8 },
    /// A webhook arrives: which of the two, of which job, said when.
    Webhook { job_id: String, truth: u8, second: bool, said_at: Timestamp },
    /// The bank begins to want the customer.
    Demand,
    /// The customer has done what the bank wants.
    Recovery,
    /// Mono tells of it, or of the data after it.
    Recovered { with_data: bool, said_at: Timestamp },
}

const HOUR: u64 = 3_600_000;
const DAY: Duration = Duration::from_hours(24);
const TRUTHS: [Truth; 3] = [Truth::Works, Truth::BankDown, Truth::WantsCustomer];

impl<'a> Life<'a> {
    /// The account of this number, linked before the world begins.
    #[must_use]
    pub fn new(world: &'a World, number: u64, behaviour: Behaviour) -> Self {
        let mut rng = Rng::with_seed(world.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let id = format!("{:024x}", u128::from(rng.u64(..)) << 32 | u128::from(number));
        // They were all refreshed within the same hours: a burst that has to dissolve.
        let linked_at = world.start - Duration::from_secs(rng.u64(0..4 * 3_600));
        let bank = usize::try_from(rng.u64(..)).unwrap_or(0) % world.banks.len();
        let mut life = Self {
            world,
            behaviour,
            bank: &world.banks[bank],
            rng,
            account: Account::new(id.parse().unwrap_or_else(|_| unreachable!("hexadecimal"))),
            events: BinaryHeap::new(),
            numbered: 0,
            wants_customer: None,
            last_want: world.start..world.start,
            counted_to: world.start,
        };
        life.link(linked_at);
        life
    }

    fn link(&mut self, at: Timestamp) {
        let news = match self.behaviour {
            Behaviour::PaymentOnly => News::Connected { customer_id: None, processing: false },
            _ => News::Updated(Box::new(Update {
                data_status: Some(DataStatus::from_word("AVAILABLE")),
                ..Update::default()
            })),
        };
        self.learn(at, at, "link", news);
        match self.behaviour {
            Behaviour::AsksForOtp => self.demand_later(self.world.start),
            Behaviour::Mfa => self.wants_customer = Some(self.world.start),
            _ => {}
        }
    }

    /// Lives to the end of the world.
    pub fn live(mut self, report: &mut Report) {
        report.accounts += 1;
        let mut now = self.world.start;
        loop {
            let plan_at = self.next_plan(now);
            let next = self.events.peek().map(|Reverse((at, ..))| *at);
            let Some(at) = next.into_iter().chain(plan_at).min() else {
                break;
            };
            if at >= self.world.end {
                break;
            }
            now = at;
            if next == Some(at) {
                if let Some(Reverse((_, _, event))) = self.events.pop() {
                    self.happen(now, event, report);
                }
            } else {
                self.plan(now, report);
            }
        }
        self.count_age(self.world.end, report);
        report.ended(self.since(self.world.end), self.age(self.world.end));
    }

    /// The next full hour at which the planner may find something. It looks at every hour; at the
    /// others it would not.
    fn next_plan(&self, now: Timestamp) -> Option<Timestamp> {
        let next_hour = (now.millis() / HOUR + 1) * HOUR;
        let job = self.account.registers.job.as_ref();
        let open = |state: &JobState| matches!(state, JobState::Running | JobState::Finished);
        if job.is_some_and(|job| {
            open(&job.value.state) && now.since(job.order.at) < Duration::from_hours(3)
        }) {
            return Some(Timestamp::from_millis(next_hour));
        }
        let due = self.account.next_refresh_at(self.world.policy)?;
        let queued = self.account.refresh_queued_at.filter(|queued| *queued >= due);
        let due = queued.map_or(due, |queued| queued + self.world.policy.interval.unwrap_or(DAY));
        Some(Timestamp::from_millis(next_hour.max(due.millis().div_ceil(HOUR) * HOUR)))
    }

    fn plan(&mut self, now: Timestamp, report: &mut Report) {
        let Some(want) = self.account.plan(now, self.world.policy) else {
            return;
        };
        if !matches!(want, Want::Job { .. }) {
            self.account.refresh_queued_at = Some(now);
        }
        report.queued += 1;
        let delay = Duration::from_millis(self.rng.u64(1_000..900_000));
        self.later(now + delay, Event::Work { planned_at: now });
    }

    fn happen(&mut self, now: Timestamp, event: Event, report: &mut Report) {
        match event {
            Event::Work { planned_at } => self.work(now, planned_at, report),
            Event::Found { job_id, truth } => {
                for second in [false, true] {
                    let job_id = job_id.clone();
                    self.tell(now, Event::Webhook { job_id, truth, second, said_at: now });
                }
            }
            Event::Webhook { job_id, truth, second, said_at } => {
                report.webhooks += 1;
                let echo = self.behaviour.echo(TRUTHS[usize::from(truth)], &job_id);
                let [job, update] = echo;
                self.count_age(now, report);
                if second {
                    self.learn(said_at, now, &job_id, update);
                } else {
                    // Mono's jobs.update carries no time.
                    self.learn_weakly(now, &job_id, job);
                }
            }
            Event::Demand => self.wants_customer = Some(now),
            Event::Recovery => {
                self.last_want = self.wants_customer.take().unwrap_or(now)..now;
                self.tell(now, Event::Recovered { with_data: false, said_at: now });
                let data_at = now + Duration::from_secs(self.rng.u64(5..300));
                self.tell(data_at, Event::Recovered { with_data: true, said_at: data_at });
                self.demand_later(now);
            }
            Event::Recovered { with_data, said_at } => {
                report.webhooks += 1;
                self.count_age(now, report);
                let fresh = Update {
                    data_status: Some(DataStatus::from_word("AVAILABLE")),
                    ..Update::default()
                };
                let news =
                    if with_data { News::Updated(Box::new(fresh)) } else { News::Reauthorized };
                self.learn(said_at, now, "recovery", news);
            }
        }
    }

    fn work(&mut self, now: Timestamp, planned_at: Timestamp, report: &mut Report) {
        match self.account.still_wanted(planned_at, now, self.world.policy) {
            Some(Want::Sync(reason)) => {
                let mut token = [0; 8];
                self.rng.fill(&mut token);
                let lease = Lease { started_at: now, until: now + Duration::from_mins(3), token };
                let Ok(begun) = self.account.begin_sync(lease, self.world.policy.cooldown) else {
                    return;
                };
                self.account = begun;
                let outcome = self.sync(now, lease, report);
                if outcome.reached_mono() {
                    report.paid(reason, now);
                }
            }
            Some(Want::Job { id }) => {
                report.followed += 1;
                self.follow(now, &id, report);
            }
            Some(Want::Link) | None => report.unwanted += 1,
        }
    }

    fn sync(&mut self, now: Timestamp, lease: Lease, report: &mut Report) -> SyncOutcome {
        let job_id = format!("{:08x}", self.rng.u32(..));
        let truth = self.truth(now);
        let answer = if self.world.outage(now).is_some() {
            let trouble = match self.rng.u32(..10) {
                0..5 => Trouble::Unavailable,
                5..8 => Trouble::TimedOut,
                _ => Trouble::NotConnected,
            };
            let took = Duration::from_secs(2);
            Answer { outcome: SyncOutcome::Trouble(trouble), took, found: None }
        } else {
            self.behaviour.answer(truth, &job_id, &mut self.rng)
        };
        let ended_at = now + answer.took;
        if let Some((truth, after)) = answer.found {
            let truth = TRUTHS.iter().position(|known| *known == truth).unwrap_or_default();
            let truth = u8::try_from(truth).unwrap_or_default();
            self.later(now + after, Event::Found { job_id, truth });
        }
        let attempt = SyncAttempt {
            started_at: now,
            ended_at,
            incomplete_allowed: false,
            outcome: answer.outcome.clone(),
        };
        self.count_age(now, report);
        if let Some(ended) = self.account.end_sync(lease, &attempt) {
            self.account = ended;
        }
        answer.outcome
    }

    /// Mono knows the end of a job by the time it is asked for.
    fn follow(&mut self, now: Timestamp, job_id: &str, report: &mut Report) {
        if self.world.outage(now).is_some() {
            return;
        }
        let job_id = Some(job_id.to_owned());
        let outcome = match self.truth(now) {
            Truth::Works => SyncOutcome::Successful {
                has_new_data: true,
                data: SyncData::Transactions,
                balance: None,
                job_id,
            },
            Truth::BankDown => {
                let error = MonoError { code: "JOB_FAILED".to_owned(), message: None };
                SyncOutcome::Failed { error, job_id }
            }
            Truth::WantsCustomer => SyncOutcome::ReauthorisationRequired { job_id },
        };
        self.count_age(now, report);
        let at = self.account.job_over_by().map_or(now, |over| over.min(now));
        self.account = self.account.apply(&Fact::JobEnd(JobEnd { at, outcome }));
    }

    fn truth(&self, now: Timestamp) -> Truth {
        match self.behaviour {
            Behaviour::FailingBank | Behaviour::PaymentOnly => Truth::BankDown,
            _ if self.wants_customer.is_some() => Truth::WantsCustomer,
            _ if self.bank.iter().any(|down| down.contains(&now)) => Truth::BankDown,
            _ => Truth::Works,
        }
    }

    fn demand_later(&mut self, now: Timestamp) {
        let demand = now + Duration::from_secs(self.rng.u64(10 * 86_400..60 * 86_400));
        let recovery = demand + Duration::from_secs(self.rng.u64(3_600..10 * 86_400));
        self.later(demand, Event::Demand);
        self.later(recovery, Event::Recovery);
    }

    /// Sends a webhook through the network.
    fn tell(&mut self, now: Timestamp, event: Event) {
        let network = self.world.network;
        let now = self.world.outage(now).unwrap_or(now);
        let soon = |rng: &mut Rng| Duration::from_millis(rng.u64(200..20_000));
        if self.rng.f64() < network.lose {
            return;
        }
        if self.rng.f64() < network.duplicate {
            let again = now + Duration::from_secs(self.rng.u64(30..7_200));
            self.later(again, event.clone());
        }
        let wait = if self.rng.f64() < network.delay {
            Duration::from_secs(self.rng.u64(30..4 * 3_600))
        } else {
            soon(&mut self.rng)
        };
        self.later(now + wait, event);
    }

    fn later(&mut self, at: Timestamp, event: Event) {
        self.numbered += 1;
        self.events.push(Reverse((at, self.numbered, event)));
    }

    fn learn(&mut self, said_at: Timestamp, now: Timestamp, key: &str, news: News) {
        let webhook = Webhook::new(Some(said_at), now, key, None, news);
        self.account = self.account.apply(&Fact::Webhook(webhook));
    }

    fn learn_weakly(&mut self, now: Timestamp, key: &str, news: News) {
        let webhook = Webhook::new(None, now, key, None, news);
        self.account = self.account.apply(&Fact::Webhook(webhook));
    }

    fn last_synced(&self) -> Timestamp {
        let synced = self.account.registers.synced.as_ref();
        synced.map_or(self.world.start, |synced| synced.order.at)
    }

    fn age(&self, now: Timestamp) -> Duration {
        now.since(self.last_synced())
    }

    /// What stood in the way of fresh data since the last pull, if anything did.
    fn since(&self, now: Timestamp) -> Since {
        let synced = self.last_synced();
        let overlaps = |down: &Range<Timestamp>| down.start < now && synced < down.end;
        let wanted = self.wants_customer.is_some() || overlaps(&self.last_want);
        let never = matches!(self.behaviour, Behaviour::FailingBank | Behaviour::PaymentOnly);
        if never || wanted || self.bank.iter().any(overlaps) {
            Since::BankFailed
        } else if self.world.outages.iter().any(overlaps) {
            Since::MonoFailed
        } else {
            Since::AllWell
        }
    }

    fn count_age(&mut self, now: Timestamp, report: &mut Report) {
        let from = self.counted_to.since(self.last_synced());
        report.aged(self.since(now), from, self.age(now));
        self.counted_to = self.counted_to.max(now);
    }
}
