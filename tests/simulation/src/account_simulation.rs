//! One account, event by event.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use mono_sync::domain::account::{
    Account, Answer as MonoAnswer, CallError, DataStatus, EventBody, Fact, Lease, LinkCheck,
    LinkState, Priority, ProviderError, RefreshAction, SyncAttempt, SyncData, SyncOutcome, Update,
    Webhook,
};
use mono_sync::domain::spending::{CallKind, Naira, Prices};
use mono_sync::domain::timestamp::Timestamp;

use crate::behaviour::{Answer, Behaviour, Truth};
use crate::report::{Hindrance, Report};
use crate::till::Till;
use crate::world::World;

/// An account in a world.
pub struct AccountSimulation<'a> {
    world: &'a World,
    behaviour: Behaviour,
    bank: &'a [Range<Timestamp>],
    rng: Rng,
    account: Account,
    events: BinaryHeap<Reverse<(Timestamp, u64, Event)>>,
    numbered: u64,
    /// The newest job at Mono.
    job: Option<MonoJob>,
    /// What the customer has to do before the bank gives data.
    customer: Option<Truth>,
    /// When the customer had done so last, and how the account was hindered by it.
    customer_came: Option<(Timestamp, Hindrance)>,
    /// Up to when the age is counted.
    counted_to: Timestamp,
    /// A pull, and for how long the bank has worked since, and did not want the customer.
    worked: (Timestamp, Duration),
    /// What pays for its calls, where money counts.
    till: Option<Rc<RefCell<Till>>>,
    /// How often a day somebody reads it.
    reads: f64,
    /// When its whole history was last listed.
    listed_at: Option<Timestamp>,
}

struct MonoJob {
    id: String,
    /// What it finds out and when, if it ever ends.
    found: Option<(Truth, Timestamp)>,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A message of the planner's arrives.
    Work { planned_at: Timestamp },
    /// Mono has found something out, and tells.
    Found { job_id: String, truth: Truth },
    /// A webhook arrives that tells of a job: the first or the second of the two.
    Echo { job_id: String, truth: Truth, second: bool, said_at: Timestamp },
    /// A webhook arrives that tells what the customer has done.
    Told { told: Told, said_at: Timestamp },
    /// The customer is wanted.
    Wanted(Truth),
    /// The customer has done what was wanted.
    Came,
    /// Somebody reads the account.
    Read,
}

/// What Mono tells where no sync of ours is the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Unlinked,
    Connected,
    Reauthorized,
    Data,
}

impl Told {
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
/// How long SQS keeps a message of a worker that died from the next.
const VISIBILITY_TIMEOUT: Duration = Duration::from_mins(30);

impl<'a> AccountSimulation<'a> {
    /// The account of this number, linked before the world begins.
    pub fn new(world: &'a World, number: u64, behaviour: Behaviour) -> Self {
        let mut rng = Rng::with_seed(world.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let id = format!("{:024x}", u128::from(rng.u64(..)) << 32 | u128::from(number));
        // They were all refreshed within the same hours: a burst that has to dissolve.
        let linked_at = world.start - Duration::from_secs(rng.u64(0..4 * 3_600));
        let bank = usize::try_from(rng.u64(..)).unwrap_or(0) % world.banks.len();
        let account = Account::new(id.parse().unwrap_or_else(|_| unreachable!("hexadecimal")));
        let first = if behaviour == Behaviour::PaymentOnly { Told::Connected } else { Told::Data };
        let webhook = Webhook::new(Some(linked_at), linked_at, "link", None, first.body());
        let mut life = Self {
            world,
            behaviour,
            bank: &world.banks[bank],
            rng,
            account: account.apply(&Fact::Webhook(webhook)),
            events: BinaryHeap::new(),
            numbered: 0,
            job: None,
            customer: None,
            customer_came: None,
            counted_to: world.start,
            worked: (world.start, Duration::ZERO),
            till: None,
            reads: 0.0,
            listed_at: None,
        };
        match behaviour {
            Behaviour::Mfa => life.customer = Some(Truth::WantsCustomer),
            _ => life.want_customer_later(world.start),
        }
        life
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
        let end = self.world.end;
        self.count_age(end, report);
        report.ended(self.worked.1);
    }

    /// The next time the planner comes by and may find something. It comes by every hour; before the
    /// record's own bound it finds nothing.
    fn next_plan(&self, now: Timestamp) -> Option<Timestamp> {
        let bound = self.account.nothing_planned_before(self.world.policy)?;
        let hour = now.max(bound).millis() / HOUR;
        (hour..=hour + 1).map(Self::visited_in).find(|visit| *visit > now && *visit >= bound)
    }

    /// When the planner comes by in this hour: some minutes earlier or later than in the one before.
    fn visited_in(hour: u64) -> Timestamp {
        let number = hour.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        Timestamp::from_millis(hour * HOUR + number % (10 * 60_000))
    }

    fn plan(&mut self, now: Timestamp, report: &mut Report) {
        if let Some(want) = self.account.plan(now, self.world.policy) {
            self.queue(now, &want, report);
        }
    }

    /// Queues what a plan of this time wants.
    pub fn queue(&mut self, now: Timestamp, want: &RefreshAction, report: &mut Report) {
        if want.is_marked() {
            self.account.refresh_queued_at = Some(now);
        }
        report.queued(self.account.attention());
        if self.chance(self.world.accidents.planner_dies) {
            return;
        }
        let delay = Duration::from_millis(self.rng.u64(1_000..900_000));
        self.later(now + delay, Event::Work { planned_at: now });
    }

    fn happen(&mut self, now: Timestamp, event: Event, report: &mut Report) {
        self.count_age(now, report);
        match event {
            Event::Work { planned_at } => self.work(now, planned_at, report),
            Event::Found { job_id, truth } => {
                for second in [false, true] {
                    let job_id = job_id.clone();
                    self.tell(now, Event::Echo { job_id, truth, second, said_at: now });
                }
            }
            Event::Echo { job_id, truth, second, said_at } => {
                let [job, update] = self.behaviour.echo(truth, &job_id);
                if second {
                    self.learn(Some(said_at), now, &job_id, update, report);
                } else {
                    // Mono's jobs.update carries no time.
                    self.learn(None, now, &job_id, job, report);
                }
            }
            Event::Told { told, said_at } => {
                // Nor does its account_unlinked.
                let said_at = Some(said_at).filter(|_| told != Told::Unlinked);
                self.learn(said_at, now, &format!("{told:?}"), told.body(), report);
            }
            Event::Wanted(truth) => {
                self.customer = Some(truth);
                if truth == Truth::Unlinked {
                    self.tell(now, Event::Told { told: Told::Unlinked, said_at: now });
                }
            }
            Event::Came => self.customer_comes(now),
            Event::Read => self.read(now),
        }
    }

    /// The same account, whose calls are paid from a till, and which is read so often a day.
    pub fn paid_from(mut self, till: Rc<RefCell<Till>>, reads: f64) -> Self {
        (self.till, self.reads) = (Some(till), reads);
        self.read_later(self.world.start);
        self
    }

    /// When plans are made.
    pub fn plans(world: &World) -> impl Iterator<Item = Timestamp> + use<'a> {
        let (start, end) = (world.start, world.end);
        let hours = start.millis() / HOUR..end.millis() / HOUR;
        hours.map(Self::visited_in).filter(move |at| (start..end).contains(at))
    }

    /// Lives up to a time.
    pub fn advance(&mut self, to: Timestamp, report: &mut Report) {
        while let Some(Reverse((at, ..))) = self.events.peek()
            && *at < to
        {
            if let Some(Reverse((at, _, event))) = self.events.pop() {
                self.happen(at, event, report);
            }
        }
    }

    /// What a plan of this time wants for it.
    pub fn want(&self, now: Timestamp) -> Option<(RefreshAction, Priority)> {
        if self.account.nothing_planned_before(self.world.policy)? > now {
            return None;
        }
        let want = self.account.plan(now, self.world.policy)?;
        let priority = self.account.priority(&want);
        Some((want, priority))
    }

    fn read_later(&mut self, now: Timestamp) {
        if self.reads > 0.0 {
            let days = -(1.0 - self.rng.f64()).ln() / self.reads;
            self.later(now + DAY.mul_f64(days), Event::Read);
        }
    }

    fn read(&mut self, now: Timestamp) {
        let never = matches!(self.behaviour, Behaviour::FailingBank | Behaviour::PaymentOnly);
        let age = now.since(self.last_synced()).as_secs() / 3_600;
        if let Some(till) = self.till.as_ref().filter(|_| !never && self.customer.is_none()) {
            till.borrow_mut().read(age);
        }
        if self.account.is_read_noted(now, self.world.policy) {
            self.account.read_at = Some(now);
        }
        self.read_later(now);
    }

    /// Whether a call of this price may be made.
    fn pay(&self, price: impl FnOnce(&Prices) -> Naira, now: Timestamp) -> bool {
        self.till.as_ref().is_none_or(|till| {
            let mut till = till.borrow_mut();
            let price = price(&till.prices);
            till.pay(price, now)
        })
    }

    /// What a sync costs in the end: nothing without new data; with it, one sync in twenty brings more rows than its
    /// own answer shows, and once a week all is listed.
    fn settle(&mut self, attempt: &SyncAttempt) {
        let Some(till) = self.till.clone() else { return };
        let prices = till.borrow().prices;
        till.borrow_mut().syncs += 1;
        let now = attempt.ended_at;
        match &attempt.outcome {
            SyncOutcome::Successful { has_new_data: true, .. } => {
                let is_listed = self.listed_at.is_some_and(|at| now.since(at) < 7 * DAY);
                let page = prices.of(CallKind::TransactionsPage);
                if (!is_listed || self.rng.u32(..20) == 0) && till.borrow_mut().pay(page, now) {
                    self.listed_at = Some(now);
                    till.borrow_mut().pages += 1;
                }
            }
            SyncOutcome::Processing { .. }
            | SyncOutcome::NoResult(CallError::TimedOut | CallError::Unavailable) => {}
            _ => till.borrow_mut().give_back(prices.of(CallKind::Realtime)),
        }
    }

    fn customer_comes(&mut self, now: Timestamp) {
        let (told, untold) = match self.customer.take() {
            Some(Truth::Unlinked) => (Told::Connected, Hindrance::UntoldLink),
            _ => (Told::Reauthorized, Hindrance::Untold),
        };
        let is_told = self.tell(now, Event::Told { told, said_at: now });
        let data_at = now + Duration::from_secs(self.rng.u64(5..300));
        let data = Event::Told { told: Told::Data, said_at: data_at };
        let has_data_told = self.tell(data_at, data);
        let hindrance = if is_told || has_data_told { Hindrance::Over } else { untold };
        let before = self.customer_came.filter(|(at, _)| *at > self.last_synced());
        let worst = before.map_or(hindrance, |(_, before)| before.max(hindrance));
        self.customer_came = Some((now, worst));
        self.want_customer_later(now);
    }

    fn work(&mut self, now: Timestamp, planned_at: Timestamp, report: &mut Report) {
        match self.account.still_wanted(planned_at, now, self.world.policy) {
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
                    self.later(now + VISIBILITY_TIMEOUT, Event::Work { planned_at });
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
            Some(RefreshAction::Link { ending }) => {
                if !self.pay(|prices| prices.of(CallKind::Details), now) {
                    return;
                }
                report.checked += 1;
                let found = match (self.world.outage(now), self.customer) {
                    (Some(_), _) => LinkState::Unknown,
                    (None, Some(Truth::Unlinked)) => LinkState::Gone,
                    (None, _) => LinkState::Linked,
                };
                let check = Fact::LinkCheck(LinkCheck { at: now, ending, found });
                self.record(self.account.apply(&check), report);
            }
            // Imports are not simulated.
            Some(RefreshAction::Import(_)) | None => report.unwanted += 1,
        }
    }

    fn sync(&mut self, now: Timestamp) -> SyncAttempt {
        let job_id = format!("{:08x}", self.rng.u32(..));
        let truth = self.truth(now);
        let answer = if self.world.outage(now).is_some() {
            let trouble = match self.rng.u32(..10) {
                0..5 => CallError::Unavailable,
                5..8 => CallError::TimedOut,
                _ => CallError::NotConnected,
            };
            let took = Duration::from_secs(2);
            Answer { outcome: SyncOutcome::NoResult(trouble), took, found: None }
        } else {
            self.behaviour.answer(truth, &job_id, self.world.accidents, &mut self.rng)
        };
        let found = answer.found.map(|(truth, after)| (truth, now + after));
        if let Some((truth, at)) = found {
            self.later(at, Event::Found { job_id: job_id.clone(), truth });
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

    /// Asks Mono for the end of a job.
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
            (_, Some(wanted)) => wanted,
            _ if self.bank.iter().any(|down| down.contains(&now)) => Truth::BankDown,
            _ => Truth::Works,
        }
    }

    /// Of the customers of whom anything is ever wanted.
    fn want_customer_later(&mut self, now: Timestamp) {
        let (truth, longest) = match self.behaviour {
            Behaviour::AsksForOtp => (Truth::WantsCustomer, 10 * DAY),
            Behaviour::LinksAnew => (Truth::Unlinked, Duration::from_hours(1)),
            _ => return,
        };
        let wanted = now + Duration::from_secs(self.rng.u64(10 * 86_400..60 * 86_400));
        let came = wanted + Duration::from_secs(self.rng.u64(600..longest.as_secs()));
        self.later(wanted, Event::Wanted(truth));
        self.later(came, Event::Came);
    }

    fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && self.rng.f64() < share
    }

    /// Sends a webhook through the network. Whether it ever arrives.
    fn tell(&mut self, now: Timestamp, event: Event) -> bool {
        let network = self.world.network;
        let now = self.world.outage(now).unwrap_or(now);
        if self.chance(network.lose) {
            return false;
        }
        if self.chance(network.duplicate) {
            let again = now + Duration::from_secs(self.rng.u64(30..7_200));
            self.later(again, event.clone());
        }
        if self.chance(network.retry) {
            let again = now + Duration::from_secs(self.rng.u64(4 * 3_600..48 * 3_600));
            self.later(again, event.clone());
        }
        let wait = if self.chance(network.delay) {
            Duration::from_secs(self.rng.u64(30..4 * 3_600))
        } else {
            Duration::from_millis(self.rng.u64(200..20_000))
        };
        self.later(now + wait, event);
        true
    }

    fn later(&mut self, at: Timestamp, event: Event) {
        self.numbered += 1;
        self.events.push(Reverse((at, self.numbered, event)));
    }

    fn learn(
        &mut self,
        said_at: Option<Timestamp>,
        now: Timestamp,
        key: &str,
        body: EventBody,
        report: &mut Report,
    ) {
        report.webhooks += 1;
        let said_at = said_at.filter(|_| self.world.network.timed);
        let webhook = Webhook::new(said_at, now, key, None, body);
        self.record(self.account.apply(&Fact::Webhook(webhook)), report);
    }

    /// Writes the record, if it has changed.
    fn record(&mut self, account: Account, report: &mut Report) {
        if account != self.account {
            report.written(self.account.attention(), account.attention());
            self.account = account;
        }
    }

    fn last_synced(&self) -> Timestamp {
        self.account.last_synced_at().unwrap_or(self.world.start)
    }

    /// What has stood in the way of fresh data since the last pull.
    fn hindrance(&self, now: Timestamp) -> Hindrance {
        let synced = self.last_synced();
        if let Some((_, hindrance)) = self.customer_came.filter(|(at, _)| *at > synced) {
            return hindrance;
        }
        let mut down = self.bank.iter().chain(&self.world.outages);
        let hindered = down.any(|down| down.start < now && synced < down.end);
        if hindered { Hindrance::Over } else { Hindrance::None }
    }

    /// Counts the time since it was last counted, but not when the bank was down or the customer was
    /// wanted.
    fn count_age(&mut self, now: Timestamp, report: &mut Report) {
        let mut from = self.counted_to;
        self.counted_to = now.max(from);
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
