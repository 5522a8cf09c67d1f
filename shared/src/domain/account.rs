//! The account record: what is known of one linked bank account, and how a fact changes it.
//!
//! A record is made of *registers*. Each is replaced whole or left alone, keeps the value with the
//! greatest [`OrderKey`] it has seen, and is never cleared. So any order and any number of repeats
//! of the same facts end in the same record, and what changes nothing on an old version of it
//! changes nothing on any later one: a stale read is harmless.

mod fact;
mod import_lease;
mod link;
mod order;
mod priority;
mod recent;
mod refresh_plan;
mod refresh_schedule;
mod status;
mod sync_attempt;
mod sync_lease;
#[cfg(test)]
pub(crate) mod tests;
mod view;

pub use fact::{
    Answer, DataStatus, Details, EventBody, Fact, Import, Institution, Job, JobState, LinkCheck,
    LinkState, SentBalance, SettledStatus, SyncStatus, Update, Webhook,
};
pub use import_lease::{
    Gap, GapReason, ImportEnd, ImportLease, ImportNotes, ImportRefusal, ImportState, MOST_GAPS,
};
pub use link::Link;
pub use order::{OrderKey, Rank, ShortHash, TimeSource};
pub use priority::{Candidate, Priority, Shortlist};
pub use recent::Recent;
pub use refresh_plan::RefreshAction;
pub use refresh_schedule::{RefreshPolicy, RefreshRule};
pub use status::{Attention, Status, StatusSince};
pub use sync_attempt::{CallError, ProviderError, SyncAttempt, SyncData, SyncOutcome};
pub use sync_lease::SyncRefusal;
pub use view::AccountView;

use crate::domain::account_id::AccountId;
use crate::domain::money::MinorUnits;
use crate::domain::timestamp::Timestamp;

/// One linked bank account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Mono's id of it.
    pub id: AccountId,
    /// What the facts say.
    pub registers: Registers,
    /// Set while a sync of ours runs. A lock: no fact writes it.
    pub lease: Option<Lease>,
    /// No sync of ours before this time. Written with the lease.
    pub cooldown_until: Option<Timestamp>,
    /// Set while an import of transactions runs. A lock as well.
    pub import: Option<ImportLease>,
    /// When the automatic refresh has queued the account, until a sync begins.
    pub refresh_queued_at: Option<Timestamp>,
    /// Its own rule of refreshing, if it has one. Set by its owner; no fact writes it.
    pub refresh: Option<RefreshRule>,
    /// When somebody has read it, as far as that is noted.
    pub read_at: Option<Timestamp>,
    /// Set while an import that is due waits: for the next day's budget, or until Mono takes the key and the payment
    /// again.
    pub import_deferred_until: Option<Timestamp>,
}

/// The record before one fact and after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Before.
    pub before: Account,
    /// After.
    pub after: Account,
}

impl Step {
    /// Whether the fact brought anything new. The times of the first and the last event are not.
    pub fn changed(&self) -> bool {
        let facts = |account: &Account| {
            let registers = account.registers.clone();
            Registers { first_seen: None, last_event: None, ..registers }
        };
        facts(&self.before) != facts(&self.after)
    }
}

/// The right to sync an account, held by one caller for a limited time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// When it was taken: the time of the attempt.
    pub started_at: Timestamp,
    /// When it ends by itself.
    pub until: Timestamp,
    /// Tells it from every other lease, so that nobody ends another's.
    pub token: [u8; 8],
}

/// What the facts say of an account. The order of any two registers can be compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// The account was linked.
    pub linked: Option<Mark>,
    /// The account was unlinked, as a webhook said.
    pub unlinked: Recent<()>,
    /// A plain read was answered: there is no such account.
    pub gone: Option<Mark>,
    /// A sync was answered so.
    pub not_found: Option<Mark>,
    /// The newest unlinking that a plain read at Mono has contradicted: the place of that unlinking.
    pub confirmed_linked: Option<Mark>,
    /// When the link was last checked, whatever came of it.
    pub link_checked: Option<Timestamp>,
    /// Mono's id of the customer.
    pub customer: Option<Register<String>>,
    /// The fintech's own reference, which names the owner. The one that came with a connected wins
    /// over any other, and among others the earliest: a re-authorisation never changes it.
    pub reference: Option<Register<String>>,
    /// The bank wants the customer.
    pub reauth_required: Option<Mark>,
    /// The customer has re-authorised.
    pub reauthorised: Option<Mark>,
    /// A confirmed pull (Mono had fresh data from the bank) that covered the transactions.
    pub synced_transactions: Recent<()>,
    /// The balance that a confirmed pull brought, in minor units of the currency of `details`.
    pub synced_balance: Recent<MinorUnits>,
    /// A confirmed pull that did not cover the transactions.
    pub synced_others: Recent<()>,
    /// A pull of which Mono said that it brought new transactions, even if it failed otherwise.
    pub transactions: Option<Mark>,
    /// The newest pull whose transactions are in the table.
    pub imported: Option<Register<ImportState>>,
    /// Whether the account has ever shown transactions. Once so, always so.
    pub has_transactions: bool,
    /// The first and the last time that Mono held the balance and no transactions.
    pub without_transactions: Option<(Timestamp, Timestamp)>,
    /// What Mono holds of the account.
    pub availability: Option<Register<Availability>>,
    /// What the newest pull came to.
    pub pull: Option<Register<Pull>>,
    /// Whose account it is and where.
    pub details: Option<Register<Details>>,
    /// The balance that came with anything but a confirmed pull of it: Mono's cache, as far as known.
    pub cached_balance: Recent<MinorUnits>,
    /// The newest job at Mono.
    pub job: Option<Register<Job>>,
    /// The newest sync of ours, at the time of its start.
    pub attempt: Option<Register<Attempted>>,
    /// The newest sync of ours that asked for transactions and [may have an
    /// outcome](SyncOutcome::may_be_reported).
    pub last_billable_attempt: Option<Mark>,
    /// The newest such sync that asked for the balance alone.
    pub last_billable_balance_attempt: Option<Mark>,
    /// The newest sync of ours that may have brought an incomplete statement.
    pub incomplete: Option<Mark>,
    /// The time of the earliest fact.
    pub first_seen: Option<Timestamp>,
    /// The time of the latest webhook.
    pub last_event: Option<Timestamp>,
}

/// A value and the place of the fact that it came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Register<T> {
    /// The place of the fact.
    pub order: OrderKey,
    /// The value; it settles what the order leaves open.
    pub value: T,
}

/// A register of which only the place counts.
pub type Mark = Register<()>;

/// A sync of ours, in few words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempted {
    /// The [word](SyncOutcome::as_str) for what it came to.
    pub outcome: String,
    /// Mono's job, where Mono was still at it.
    pub job_id: Option<String>,
}

/// The last result that Mono gave of what it holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Availability {
    /// `data_status`.
    pub data_status: SettledStatus,
    /// `retrieved_data`: some of `identity`, `balance`, `transactions`.
    pub retrieved_data: Option<Vec<String>>,
    /// The reference that Mono's support asks for.
    pub data_request_id: Option<String>,
}

/// What a pull of data from the bank came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pull {
    /// Absent when nothing was said of a sync.
    pub sync_status: Option<SyncStatus>,
    /// Why it failed, where a sync of ours was told.
    pub error: Option<ProviderError>,
    /// Mono's job, where named.
    pub job_id: Option<String>,
}

impl Account {
    /// An account of which nothing is known yet.
    pub fn new(id: AccountId) -> Self {
        Self {
            id,
            registers: Registers::default(),
            lease: None,
            cooldown_until: None,
            import: None,
            refresh_queued_at: None,
            refresh: None,
            read_at: None,
            import_deferred_until: None,
        }
    }

    /// What each of these facts does, one after the other.
    pub fn fold(&self, facts: &[&Fact]) -> Vec<Step> {
        let mut before = self.clone();
        let step = |fact: &&Fact| {
            let after = before.apply(fact);
            Step { before: std::mem::replace(&mut before, after.clone()), after }
        };
        facts.iter().map(step).collect()
    }

    /// The record after one more fact. Reads no clock and does no I/O; never fails.
    pub fn apply(&self, fact: &Fact) -> Self {
        Self { registers: self.registers.apply(fact), ..self.clone() }
    }
}

impl Registers {
    /// Whether any of them has its value from the fact of this place. An import stands in the place
    /// of its pull, and is left out.
    pub fn hold(&self, order: OrderKey) -> bool {
        fn place<T>(register: Option<&Register<T>>) -> Option<OrderKey> {
            register.map(|register| register.order)
        }
        fn places<T>(recent: &Recent<T>) -> impl Iterator<Item = OrderKey> {
            recent.held().map(|held| held.order)
        }
        let recent = places(&self.unlinked)
            .chain(places(&self.synced_transactions))
            .chain(places(&self.synced_balance))
            .chain(places(&self.synced_others))
            .chain(places(&self.cached_balance));
        let single = [
            place(self.linked.as_ref()),
            place(self.not_found.as_ref()),
            place(self.customer.as_ref()),
            place(self.reference.as_ref()),
            place(self.reauth_required.as_ref()),
            place(self.reauthorised.as_ref()),
            place(self.transactions.as_ref()),
            place(self.availability.as_ref()),
            place(self.pull.as_ref()),
            place(self.details.as_ref()),
            place(self.job.as_ref()),
            place(self.attempt.as_ref()),
            place(self.last_billable_attempt.as_ref()),
            place(self.last_billable_balance_attempt.as_ref()),
            place(self.incomplete.as_ref()),
        ];
        single.contains(&Some(order)) || recent.into_iter().any(|held| held == order)
    }
}

impl Fact {
    /// Whether the fact says anything that a record holds. One that does creates the record of an
    /// account never seen before; any other is acknowledged and forgotten.
    pub fn writes_a_register(&self) -> bool {
        let blank = Registers::default();
        blank.apply(self) != blank
    }
}

impl Registers {
    fn apply(&self, fact: &Fact) -> Self {
        let mut writer = Writer { registers: self.clone(), wrote: false };
        let (at, is_webhook) = match fact {
            Fact::Webhook(webhook) => {
                writer.webhook(webhook);
                (webhook.order.at, true)
            }
            Fact::Attempt(attempt) => {
                writer.attempt(attempt);
                (attempt.started_at, false)
            }
            Fact::LinkCheck(check) => {
                writer.link_check(*check);
                (check.at, false)
            }
            Fact::Answer(answer) => {
                writer.outcome(answer.order(), &answer.outcome);
                (answer.at, false)
            }
            Fact::Import(Import { pull, state }) => {
                writer.registers.has_transactions |= state.through.is_some();
                writer.put(|r| &mut r.imported, *pull, state.clone());
                (pull.at, false)
            }
        };
        let Writer { mut registers, wrote } = writer;
        if wrote {
            registers.first_seen = Some(registers.first_seen.map_or(at, |first| first.min(at)));
        }
        if wrote && is_webhook {
            registers.last_event = registers.last_event.max(Some(at));
        }
        registers
    }
}

/// Applies one fact, and notes whether it spoke to any register: that must not depend on whether it
/// won there, or the order of arrival would show.
struct Writer {
    registers: Registers,
    wrote: bool,
}

impl Writer {
    fn put<T: Ord>(
        &mut self,
        slot: impl FnOnce(&mut Registers) -> &mut Option<Register<T>>,
        order: OrderKey,
        value: T,
    ) {
        self.wrote = true;
        let held = slot(&mut self.registers);
        let candidate = Register { order, value };
        if held.as_ref().is_none_or(|held| candidate > *held) {
            *held = Some(candidate);
        }
    }

    fn mark(&mut self, slot: impl FnOnce(&mut Registers) -> &mut Option<Mark>, order: OrderKey) {
        self.put(slot, order, ());
    }

    fn recent<T: Clone + Ord>(
        &mut self,
        slot: impl FnOnce(&mut Registers) -> &mut Recent<T>,
        order: OrderKey,
        value: T,
    ) {
        self.wrote = true;
        slot(&mut self.registers).put(Register { order, value });
    }

    /// Of these, the newest.
    fn time(&mut self, slot: impl FnOnce(&mut Registers) -> &mut Option<Timestamp>, at: Timestamp) {
        self.wrote = true;
        let held = slot(&mut self.registers);
        *held = Some(at).max(*held);
    }

    fn link_check(&mut self, check: LinkCheck) {
        self.time(|r| &mut r.link_checked, check.at);
        match check.found {
            LinkState::Linked => self.mark(|r| &mut r.confirmed_linked, check.ending),
            LinkState::Gone => self.mark(|r| &mut r.gone, check.order()),
            LinkState::Unknown => {}
        }
    }

    fn webhook(&mut self, webhook: &Webhook) {
        let order = webhook.order;
        if let Some(reference) = &webhook.reference {
            self.reference(order, reference);
        }
        match &webhook.body {
            EventBody::Connected { customer_id, processing } => {
                self.mark(|r| &mut r.linked, order);
                if let Some(customer_id) = customer_id {
                    self.put(|r| &mut r.customer, order, customer_id.clone());
                }
                if *processing {
                    self.put(|r| &mut r.job, order, Job { id: None, state: JobState::Linking });
                }
            }
            EventBody::Updated(update) => self.update(order, update),
            EventBody::ReauthorisationRequired => self.mark(|r| &mut r.reauth_required, order),
            EventBody::Reauthorized => self.mark(|r| &mut r.reauthorised, order),
            EventBody::Unlinked => self.recent(|r| &mut r.unlinked, order, ()),
            EventBody::Job(job) => {
                self.put(|r| &mut r.job, order, job.clone());
                if job.state == JobState::ReauthorisationRequired {
                    self.mark(|r| &mut r.reauth_required, order);
                }
            }
            EventBody::SyncFailed => {
                let pull = Pull { sync_status: Some(SyncStatus::Failed), ..Pull::default() };
                self.put(|r| &mut r.pull, order, pull);
            }
        }
    }

    fn update(&mut self, order: OrderKey, update: &Update) {
        let is_confirmed = update.is_confirmed_pull();
        let has_balance = is_confirmed && update.covers_balance();
        match update.balance {
            SentBalance::Amount(balance) if has_balance => {
                self.recent(|r| &mut r.synced_balance, order, balance);
            }
            SentBalance::Amount(balance) => {
                self.recent(|r| &mut r.cached_balance, order, balance);
            }
            SentBalance::Missing | SentBalance::Unreadable => {}
        }
        if is_confirmed && update.covers_transactions() {
            self.recent(|r| &mut r.synced_transactions, order, ());
        } else if is_confirmed {
            self.recent(|r| &mut r.synced_others, order, ());
        }
        if update.brought_transactions() {
            self.mark(|r| &mut r.transactions, order);
        }
        if update.sync_status == Some(SyncStatus::ReauthorisationRequired) {
            self.mark(|r| &mut r.reauth_required, order);
        }
        match &update.data_status {
            Some(DataStatus::Processing) => {
                let job = Job { id: update.job_id.clone(), state: JobState::Running };
                self.put(|r| &mut r.job, order, job);
            }
            Some(DataStatus::Settled(data_status)) => {
                self.registers.has_transactions |= update.shows_transactions();
                // A weak event may be a retry of an event that was counted already.
                if update.shows_only_the_balance() && order.time_source == TimeSource::Event {
                    let (first, last) =
                        self.registers.without_transactions.unwrap_or((order.at, order.at));
                    let seen = (first.min(order.at), last.max(order.at));
                    self.registers.without_transactions = Some(seen);
                }
                let availability = Availability {
                    data_status: data_status.clone(),
                    retrieved_data: update.retrieved_data.clone(),
                    data_request_id: update.data_request_id.clone(),
                };
                self.put(|r| &mut r.availability, order, availability);
            }
            None => {}
        }
        let settled = matches!(update.data_status, Some(DataStatus::Settled(_)));
        if settled || update.sync_status.is_some() {
            let sync_status = update.sync_status.clone();
            self.pull(order, sync_status, None, update.job_id.as_ref());
        }
        if let Some(details) = &update.details {
            self.put(|r| &mut r.details, order, details.clone());
        }
    }

    fn attempt(&mut self, attempt: &SyncAttempt) {
        let started = attempt.order();
        let job_id = match &attempt.outcome {
            SyncOutcome::Processing { job_id } => job_id.clone(),
            _ => None,
        };
        let attempted = Attempted { outcome: attempt.outcome.as_str().to_owned(), job_id };
        self.put(|r| &mut r.attempt, started, attempted);
        if attempt.outcome.may_be_reported() {
            match attempt.data {
                SyncData::Transactions => self.mark(|r| &mut r.last_billable_attempt, started),
                SyncData::Balance => self.mark(|r| &mut r.last_billable_balance_attempt, started),
            }
        }
        if attempt.incomplete_allowed && attempt.outcome.reached_mono() {
            self.mark(|r| &mut r.incomplete, started);
        }
        self.outcome(attempt.outcome_order(), &attempt.outcome);
    }

    /// What a sync came to, by its own answer or by its job.
    fn outcome(&mut self, order: OrderKey, outcome: &SyncOutcome) {
        match outcome {
            SyncOutcome::Successful { has_new_data, data, balance, job_id } => {
                match data {
                    SyncData::Transactions => {
                        self.recent(|r| &mut r.synced_transactions, order, ());
                        if *has_new_data {
                            self.mark(|r| &mut r.transactions, order);
                        }
                    }
                    SyncData::Balance => self.recent(|r| &mut r.synced_others, order, ()),
                }
                if let Some(balance) = balance {
                    self.recent(|r| &mut r.synced_balance, order, *balance);
                }
                self.pull(order, Some(SyncStatus::Successful), None, job_id.as_ref());
            }
            SyncOutcome::Processing { job_id } => {
                let job = Job { id: job_id.clone(), state: JobState::Running };
                self.put(|r| &mut r.job, order, job);
            }
            SyncOutcome::ReauthorisationRequired { job_id } => {
                self.mark(|r| &mut r.reauth_required, order);
                let sync_status = Some(SyncStatus::ReauthorisationRequired);
                self.pull(order, sync_status, None, job_id.as_ref());
            }
            SyncOutcome::Failed { error, job_id } => {
                // Without a job, a request as plain as that of a sync can only be wrong about the account.
                if error.code == "HTTP_400" && job_id.is_none() {
                    self.mark(|r| &mut r.not_found, order);
                }
                let sync_status = Some(SyncStatus::Failed);
                self.pull(order, sync_status, Some(error), job_id.as_ref());
            }
            SyncOutcome::NotFound { error } => {
                self.mark(|r| &mut r.not_found, order);
                self.pull(order, Some(SyncStatus::Failed), Some(error), None);
            }
            SyncOutcome::NoResult(_) => {}
        }
    }

    fn pull(
        &mut self,
        order: OrderKey,
        sync_status: Option<SyncStatus>,
        error: Option<&ProviderError>,
        job_id: Option<&String>,
    ) {
        let pull = Pull { sync_status, error: error.cloned(), job_id: job_id.cloned() };
        self.put(|r| &mut r.pull, order, pull);
    }

    fn reference(&mut self, order: OrderKey, reference: &str) {
        self.wrote = true;
        let held = &mut self.registers.reference;
        let candidate = Register { order, value: reference.to_owned() };
        let wins = held.as_ref().is_none_or(|held| {
            match (candidate.order.rank == Rank::Connected, held.order.rank == Rank::Connected) {
                (true, true) => candidate > *held,
                (false, false) => candidate < *held,
                (connected, _) => connected,
            }
        });
        if wins {
            *held = Some(candidate);
        }
    }
}
