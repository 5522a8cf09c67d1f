//! Simulates one account, event by event.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use mono_sync::domain::account::{
    Account, Answer as MonoAnswer, CallError, DataStatus, EventBody, Fact, Lease, Priority,
    ProviderError, Reading, RefreshAction, SyncAttempt, SyncData, SyncOutcome, Update,
    Verification, Webhook,
};
use mono_sync::domain::spending::{CallKind, Naira, Prices};
use mono_sync::domain::timestamp::Timestamp;

use crate::behaviour::{Answer, Behaviour, Truth};
use crate::report::{Hindrance, Report};
use crate::wallet::Wallet;
use crate::world::World;

/// An account in a world.
pub struct AccountSimulation<'a> {
    world: &'a World,
    behaviour: Behaviour,
    bank: &'a [Range<Timestamp>],
    rng: Rng,
    account: Account,
    events: BinaryHeap<Reverse<(Timestamp, u64, Event)>>,
    last_number: u64,
    /// The newest job at Mono.
    job: Option<MonoJob>,
    /// The step that the customer must complete before the bank returns data.
    customer: Option<Truth>,
    /// The time when the customer last completed such a step, and the resulting hindrance.
    customer_done: Option<(Timestamp, Hindrance)>,
    /// The age of the data is counted until this time.
    counted_until: Timestamp,
    /// The last pull, and the time since then in which the bank worked without requiring
    /// re-authorisation.
    worked: (Timestamp, Duration),
    /// The wallet that pays for the calls, if there is a budget.
    wallet: Option<Rc<RefCell<Wallet>>>,
    /// The number of reads per day.
    reads: f64,
    /// The time of the last listing of the complete history.
    listed_at: Option<Timestamp>,
}

struct MonoJob {
    id: String,
    /// The result of the job and its time, if the job ever ends.
    found: Option<(Truth, Timestamp)>,
}

/// The events of an account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A message of the planner arrives.
    /// `None`: a verification that a webhook requires.
    Work { planned_at: Option<Timestamp> },
    /// A job at Mono ends, and Mono sends its webhooks.
    Found { job_id: String, truth: Truth },
    /// A webhook about a job arrives: the first or the second of the two.
    Echo { job_id: String, truth: Truth, second: bool, sent_at: Timestamp },
    /// A webhook about the customer arrives.
    Notice { notice: Notice, sent_at: Timestamp },
    /// The customer must do something, or unlinks the account.
    CustomerRequired(Truth),
    /// The customer has authenticated, or has linked the account again.
    CustomerDone,
    /// The fintech reads the account.
    Read,
}

/// Mono's webhooks that do not result from a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Notice {
    Unlinked,
    Connected,
    Reauthorized,
    Data,
}

impl Notice {
    fn body(self) -> EventBody {
        match self {
            Self::Unlinked => EventBody::Unlinked,
            Self::Connected => EventBody::Connected { customer_id: None, processing: false },
            Self::Reauthorized => EventBody::Reauthorized,
            Self::Data => EventBody::Updated(Box::new(Update {
                data_status: Some(DataStatus::from_word("AVAILABLE")),
                ..Update::default()
            })),
        }
    }
}

const HOUR: u64 = 3_600_000;
const DAY: Duration = Duration::from_hours(24);
/// The time from a webhook to the verification that it requires.
const VERIFICATION_DELAY: Duration = Duration::from_secs(3);
/// The time after which SQS delivers the message of a crashed worker again.
const VISIBILITY_TIMEOUT: Duration = Duration::from_mins(30);

impl<'a> AccountSimulation<'a> {
    /// The account with this number, linked before the world begins.
    pub fn new(world: &'a World, number: u64, behaviour: Behaviour) -> Self {
        let mut rng = Rng::with_seed(world.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let id = format!("{:024x}", u128::from(rng.u64(..)) << 32 | u128::from(number));
        // All accounts were refreshed within the same hours: a burst that must dissolve.
        let linked_at = world.start - Duration::from_secs(rng.u64(0..4 * 3_600));
        let bank = usize::try_from(rng.u64(..)).unwrap_or(0) % world.banks.len();
        let account = Account::new(id.parse().unwrap_or_else(|_| unreachable!("hexadecimal")));
        let first =
            if behaviour == Behaviour::PaymentOnly { Notice::Connected } else { Notice::Data };
        let webhook = Webhook::new(Some(linked_at), linked_at, "link", None, first.body());
        let mut simulation = Self {
            world,
            behaviour,
            bank: &world.banks[bank],
            rng,
            account: account.apply(&Fact::Webhook(webhook)),
            events: BinaryHeap::new(),
            last_number: 0,
            job: None,
            customer: None,
            customer_done: None,
            counted_until: world.start,
            worked: (world.start, Duration::ZERO),
            wallet: None,
            reads: 0.0,
            listed_at: None,
        };
        // Imports are not simulated. The import of the link has shown that Mono knows the account.
        simulation.account.registers.is_proven = behaviour != Behaviour::PaymentOnly;
        match behaviour {
            Behaviour::Mfa => simulation.customer = Some(Truth::WantsCustomer),
            _ => simulation.schedule_customer_event(world.start),
        }
        simulation
    }

    /// Simulates the account until the end of the world.
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
                    self.handle(now, event, report);
                }
            } else {
                self.plan(now, report);
            }
        }
        let end = self.world.end;
        self.count_age(end, report);
        report.ended(self.worked.1);
    }

    /// The next plan that may find the account due. The planner runs every hour. Before the bound of the
    /// record, it finds nothing.
    fn next_plan(&self, now: Timestamp) -> Option<Timestamp> {
        let bound = self.account.nothing_planned_before(self.world.policy)?;
        let hour = now.max(bound).millis() / HOUR;
        (hour..=hour + 1).map(Self::plan_in).find(|plan| *plan > now && *plan >= bound)
    }

    /// The time of the plan in this hour. It varies by some minutes between hours.
    fn plan_in(hour: u64) -> Timestamp {
        let number = hour.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        Timestamp::from_millis(hour * HOUR + number % (10 * 60_000))
    }

    fn plan(&mut self, now: Timestamp, report: &mut Report) {
        if let Some(action) = self.account.plan(now, self.world.policy) {
            self.queue(now, &action, report);
        }
    }

    /// Queues an action of a plan at this time.
    pub fn queue(&mut self, now: Timestamp, action: &RefreshAction, report: &mut Report) {
        if action.is_marked() {
            self.account.refresh_queued_at = Some(now);
        }
        report.queued(self.account.attention());
        if self.chance(self.world.accidents.planner_dies) {
            return;
        }
        let delay = Duration::from_millis(self.rng.u64(1_000..900_000));
        self.schedule(now + delay, Event::Work { planned_at: Some(now) });
    }

    fn handle(&mut self, now: Timestamp, event: Event, report: &mut Report) {
        self.count_age(now, report);
        match event {
            Event::Work { planned_at } => self.work(now, planned_at, report),
            Event::Found { job_id, truth } => {
                for second in [false, true] {
                    let job_id = job_id.clone();
                    self.send(now, Event::Echo { job_id, truth, second, sent_at: now });
                }
            }
            Event::Echo { job_id, truth, second, sent_at } => {
                let [job, update] = self.behaviour.echo(truth, &job_id);
                if second {
                    self.receive(Some(sent_at), now, &job_id, update, report);
                } else {
                    // Mono's jobs.update has no timestamp.
                    self.receive(None, now, &job_id, job, report);
                }
            }
            Event::Notice { notice, sent_at } => {
                // Mono's account_unlinked has no timestamp either.
                let sent_at = Some(sent_at).filter(|_| notice != Notice::Unlinked);
                self.receive(sent_at, now, &format!("{notice:?}"), notice.body(), report);
            }
            Event::CustomerRequired(truth) => {
                self.customer = Some(truth);
                if truth == Truth::Unlinked {
                    self.send(now, Event::Notice { notice: Notice::Unlinked, sent_at: now });
                }
            }
            Event::CustomerDone => self.complete_customer_step(now),
            Event::Read => self.read(now),
        }
    }

    /// Pays the calls of the account from a wallet, and sets its number of reads per day.
    pub fn paid_from(mut self, wallet: Rc<RefCell<Wallet>>, reads: f64) -> Self {
        (self.wallet, self.reads) = (Some(wallet), reads);
        self.schedule_read(self.world.start);
        self
    }

    /// The times of the plans.
    pub fn plans(world: &World) -> impl Iterator<Item = Timestamp> + use<'a> {
        let (start, end) = (world.start, world.end);
        let hours = start.millis() / HOUR..end.millis() / HOUR;
        hours.map(Self::plan_in).filter(move |at| (start..end).contains(at))
    }

    /// Simulates the account up to a time.
    pub fn advance(&mut self, to: Timestamp, report: &mut Report) {
        while let Some(Reverse((at, ..))) = self.events.peek()
            && *at < to
        {
            if let Some(Reverse((at, _, event))) = self.events.pop() {
                self.handle(at, event, report);
            }
        }
    }

    /// The action of a plan at this time for the account, with its priority.
    pub fn action(&self, now: Timestamp) -> Option<(RefreshAction, Priority)> {
        if self.account.nothing_planned_before(self.world.policy)? > now {
            return None;
        }
        let action = self.account.plan(now, self.world.policy)?;
        let priority = self.account.priority(&action);
        Some((action, priority))
    }

    fn schedule_read(&mut self, now: Timestamp) {
        if self.reads > 0.0 {
            let days = -(1.0 - self.rng.f64()).ln() / self.reads;
            self.schedule(now + DAY.mul_f64(days), Event::Read);
        }
    }

    fn read(&mut self, now: Timestamp) {
        let never = matches!(self.behaviour, Behaviour::FailingBank | Behaviour::PaymentOnly);
        let age = now.since(self.last_synced()).as_secs() / 3_600;
        if let Some(wallet) = self.wallet.as_ref().filter(|_| !never && self.customer.is_none()) {
            wallet.borrow_mut().read(age);
        }
        if self.account.is_read_noted(now, self.world.policy) {
            self.account.read_at = Some(now);
        }
        self.schedule_read(now);
    }

    /// Pays a call. Returns whether the budget allows it.
    fn pay(&self, price: impl FnOnce(&Prices) -> Naira, now: Timestamp) -> bool {
        self.wallet.as_ref().is_none_or(|wallet| {
            let mut wallet = wallet.borrow_mut();
            let price = price(&wallet.prices);
            wallet.pay(price, now)
        })
    }

    /// Settles the costs of a sync. Without new data it costs nothing. With new data, one sync in twenty has
    /// more rows than its own answer shows, and a complete listing is due once a week.
    fn settle(&mut self, attempt: &SyncAttempt) {
        let Some(wallet) = self.wallet.clone() else { return };
        let prices = wallet.borrow().prices;
        wallet.borrow_mut().syncs += 1;
        let now = attempt.ended_at;
        match &attempt.outcome {
            SyncOutcome::Successful { has_new_data: true, .. } => {
                let is_listed = self.listed_at.is_some_and(|at| now.since(at) < 7 * DAY);
                let page = prices.of(CallKind::TransactionsPage);
                if (!is_listed || self.rng.u32(..20) == 0) && wallet.borrow_mut().pay(page, now) {
                    self.listed_at = Some(now);
                    wallet.borrow_mut().pages += 1;
                }
            }
            SyncOutcome::Processing { .. }
            | SyncOutcome::NoResult(CallError::TimedOut | CallError::Unavailable) => {}
            _ => wallet.borrow_mut().release(prices.of(CallKind::Realtime)),
        }
    }

    fn complete_customer_step(&mut self, now: Timestamp) {
        let (notice, if_lost) = match self.customer.take() {
            Some(Truth::Unlinked) => (Notice::Connected, Hindrance::LinkWebhooksLost),
            _ => (Notice::Reauthorized, Hindrance::WebhooksLost),
        };
        let is_delivered = self.send(now, Event::Notice { notice, sent_at: now });
        let data_at = now + Duration::from_secs(self.rng.u64(5..300));
        let data = Event::Notice { notice: Notice::Data, sent_at: data_at };
        let is_data_delivered = self.send(data_at, data);
        let hindrance = if is_delivered || is_data_delivered { Hindrance::Over } else { if_lost };
        let before = self.customer_done.filter(|(at, _)| *at > self.last_synced());
        let worst = before.map_or(hindrance, |(_, before)| before.max(hindrance));
        self.customer_done = Some((now, worst));
        self.schedule_customer_event(now);
    }

    fn work(&mut self, now: Timestamp, planned_at: Option<Timestamp>, report: &mut Report) {
        match self.account.remaining_action(planned_at, now, self.world.policy) {
            Some(RefreshAction::Sync(reason)) => {
                if !self.pay(|prices| prices.of(CallKind::Realtime), now) {
                    self.account.refresh_queued_at = None;
                    return;
                }
                let mut token = [0; 8];
                self.rng.fill(&mut token);
                let lease = Lease { started_at: now, until: now + Duration::from_mins(3), token };
                let Ok(begun) = self.account.begin_sync(lease, self.world.policy.cooldown) else {
                    return;
                };
                self.record(begun, report);
                let dies = self.chance(self.world.accidents.worker_dies);
                if dies {
                    self.schedule(now + VISIBILITY_TIMEOUT, Event::Work { planned_at });
                }
                if dies && self.rng.bool() {
                    return;
                }
                let attempt = self.sync(now);
                self.settle(&attempt);
                if attempt.outcome.reached_mono() {
                    report.paid(reason, now);
                }
                if dies {
                    return;
                }
                if let Some(ended) = self.account.end_sync(lease, &attempt) {
                    self.record(ended, report);
                }
            }
            Some(RefreshAction::Job { id }) => {
                report.followed += 1;
                self.follow(now, &id, report);
            }
            Some(RefreshAction::Verify { ending }) => {
                let at = now;
                let begun = Verification { at, ending, found: Reading::Unknown };
                self.record(self.account.apply(&Fact::Verification(begun)), report);
                if !self.pay(|prices| prices.of(CallKind::Details), now) {
                    return;
                }
                report.checked += 1;
                let found = match (self.world.outage(now), self.customer) {
                    (Some(_), _) => return,
                    (None, Some(Truth::Unlinked)) => Reading::Gone,
                    (None, _) => Reading::Linked(Box::default()),
                };
                let verification = Verification { at, ending, found };
                if let Some(verified) = self.account.end_verification(verification) {
                    self.record(verified, report);
                }
            }
            // Imports are not simulated.
            Some(RefreshAction::Import(_)) | None => report.up_to_date += 1,
        }
    }

    fn sync(&mut self, now: Timestamp) -> SyncAttempt {
        let job_id = format!("{:08x}", self.rng.u32(..));
        let truth = self.truth(now);
        let answer = if self.world.outage(now).is_some() {
            let error = match self.rng.u32(..10) {
                0..5 => CallError::Unavailable,
                5..8 => CallError::TimedOut,
                _ => CallError::NotConnected,
            };
            let took = Duration::from_secs(2);
            Answer { outcome: SyncOutcome::NoResult(error), took, found: None }
        } else {
            self.behaviour.answer(truth, &job_id, self.world.accidents, &mut self.rng)
        };
        let found = answer.found.map(|(truth, after)| (truth, now + after));
        if let Some((truth, at)) = found {
            self.schedule(at, Event::Found { job_id: job_id.clone(), truth });
        }
        self.job = Some(MonoJob { id: job_id, found });
        SyncAttempt {
            started_at: now,
            ended_at: now + answer.took,
            data: self.account.data_to_sync(now),
            incomplete_allowed: false,
            outcome: answer.outcome,
        }
    }

    /// Polls a job at Mono.
    fn follow(&mut self, now: Timestamp, job_id: &str, report: &mut Report) {
        let job = self.job.as_ref().filter(|job| job.id == job_id);
        let found = job.and_then(|job| job.found).filter(|(_, at)| *at <= now);
        let Some((truth, _)) = found.filter(|_| self.world.outage(now).is_none()) else {
            return;
        };
        let job_id = Some(job_id.to_owned());
        let outcome = match truth {
            Truth::Works => SyncOutcome::Successful {
                has_new_data: true,
                data: SyncData::Transactions,
                balance: None,
                job_id,
            },
            Truth::WantsCustomer => SyncOutcome::ReauthorisationRequired { job_id },
            Truth::BankDown | Truth::Unlinked => {
                let error = ProviderError { code: "JOB_FAILED".to_owned(), message: None };
                SyncOutcome::Failed { error, job_id }
            }
        };
        let at = self.account.followed_since().unwrap_or(now);
        self.record(self.account.apply(&Fact::Answer(MonoAnswer { at, outcome })), report);
    }

    fn truth(&self, now: Timestamp) -> Truth {
        match (self.behaviour, self.customer) {
            (Behaviour::FailingBank | Behaviour::PaymentOnly, _) => Truth::BankDown,
            (_, Some(step)) => step,
            _ if self.bank.iter().any(|down| down.contains(&now)) => Truth::BankDown,
            _ => Truth::Works,
        }
    }

    /// Schedules the next event of the customer, if the behaviour has any.
    fn schedule_customer_event(&mut self, now: Timestamp) {
        let (truth, longest) = match self.behaviour {
            Behaviour::AsksForOtp => (Truth::WantsCustomer, 10 * DAY),
            Behaviour::LinksAnew => (Truth::Unlinked, Duration::from_hours(1)),
            _ => return,
        };
        let required_at = now + Duration::from_secs(self.rng.u64(10 * 86_400..60 * 86_400));
        let done_at = required_at + Duration::from_secs(self.rng.u64(600..longest.as_secs()));
        self.schedule(required_at, Event::CustomerRequired(truth));
        self.schedule(done_at, Event::CustomerDone);
    }

    fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && self.rng.f64() < share
    }

    /// Sends a webhook through the network. Returns whether it ever arrives.
    fn send(&mut self, now: Timestamp, event: Event) -> bool {
        let network = self.world.network;
        let now = self.world.outage(now).unwrap_or(now);
        if self.chance(network.lose) {
            return false;
        }
        if self.chance(network.duplicate) {
            let again = now + Duration::from_secs(self.rng.u64(30..7_200));
            self.schedule(again, event.clone());
        }
        if self.chance(network.retry) {
            let again = now + Duration::from_secs(self.rng.u64(4 * 3_600..48 * 3_600));
            self.schedule(again, event.clone());
        }
        let wait = if self.chance(network.delay) {
            Duration::from_secs(self.rng.u64(30..4 * 3_600))
        } else {
            Duration::from_millis(self.rng.u64(200..20_000))
        };
        self.schedule(now + wait, event);
        true
    }

    fn schedule(&mut self, at: Timestamp, event: Event) {
        self.last_number += 1;
        self.events.push(Reverse((at, self.last_number, event)));
    }

    fn receive(
        &mut self,
        sent_at: Option<Timestamp>,
        now: Timestamp,
        key: &str,
        body: EventBody,
        report: &mut Report,
    ) {
        report.webhooks += 1;
        let sent_at = sent_at.filter(|_| self.world.network.timed);
        let webhook = Webhook::new(sent_at, now, key, None, body);
        let after = self.account.apply(&Fact::Webhook(webhook));
        if let Some(due) = after.earlier_verification(&self.account) {
            self.schedule(due.max(now) + VERIFICATION_DELAY, Event::Work { planned_at: None });
        }
        self.record(after, report);
    }

    /// Writes the record if it has changed.
    fn record(&mut self, account: Account, report: &mut Report) {
        if account != self.account {
            report.written(self.account.attention(), account.attention());
            self.account = account;
        }
    }

    fn last_synced(&self) -> Timestamp {
        self.account.last_synced_at().unwrap_or(self.world.start)
    }

    /// The reason why there has been no new data since the last pull.
    fn hindrance(&self, now: Timestamp) -> Hindrance {
        let synced = self.last_synced();
        if let Some((_, hindrance)) = self.customer_done.filter(|(at, _)| *at > synced) {
            return hindrance;
        }
        let mut down = self.bank.iter().chain(&self.world.outages);
        let hindered = down.any(|down| down.start < now && synced < down.end);
        if hindered { Hindrance::Over } else { Hindrance::None }
    }

    /// Counts the age since the last count, except the time in which the bank was down or the customer had
    /// a step to complete.
    fn count_age(&mut self, now: Timestamp, report: &mut Report) {
        let mut from = self.counted_until;
        self.counted_until = now.max(from);
        let never = matches!(self.behaviour, Behaviour::FailingBank | Behaviour::PaymentOnly);
        if never || self.customer.is_some() {
            return;
        }
        for down in self.bank.iter().filter(|down| down.start < now) {
            self.count_span(from..down.start, report);
            from = from.max(down.end);
        }
        self.count_span(from..now, report);
    }

    fn count_span(&mut self, span: Range<Timestamp>, report: &mut Report) {
        if span.start >= span.end {
            return;
        }
        let synced = self.last_synced();
        if self.worked.0 != synced {
            self.worked = (synced, Duration::ZERO);
        }
        self.worked.1 += span.end.since(span.start.max(synced));
        let from = span.start.since(synced);
        let worst = (self.hindrance(span.end), self.worked.1);
        report.aged(from, span.end.since(synced), worst);
    }
}
