//! The account record: the state of one linked bank account, and how a fact changes it.
//!
//! A record consists of *registers*. A fact replaces a whole register or leaves it unchanged. A register keeps the
//! value with the greatest [`OrderKey`] that it has received, and is never cleared. The same facts therefore produce
//! the same record, in any order and with any number of repeats. A fact that changes nothing in an old version of the
//! record changes nothing in a later version. A stale read is therefore harmless.

mod adoption;
mod erasure;
mod fact;
mod identity;
mod import_lease;
mod layered_register;
mod link;
mod order_key;
mod priority;
mod refresh_plan;
mod refresh_schedule;
mod status;
mod sync_attempt;
mod sync_lease;
#[cfg(test)]
pub(crate) mod tests;

mod verification;
mod view;

pub use adoption::{AdoptionStep, ListedAccount};
pub use erasure::{Erasure, TOMBSTONE_PERIOD};
use fact::unlinking_order;
pub use fact::{
    Answer, DataStatus, Details, EventBody, Exchange, Fact, Import, Institution, Job, JobState,
    Reading, Reported, SentBalance, SettledStatus, SyncStatus, Update, Verification, Webhook,
};
use identity::own_reference;
pub use identity::{Claim, Held, Identity, Proof, Trusted};
pub use import_lease::{
    Gap, GapReason, ImportEnd, ImportLease, ImportNotes, ImportRefusal, ImportState, MOST_GAPS,
    RowCounts,
};
pub use layered_register::LayeredRegister;
pub use link::Link;
pub use order_key::{OrderKey, Rank, ShortHash, TimeSource};
pub use priority::{Candidate, Choice, Left, Priority, Shortlist};
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
    pub id: AccountId,
    /// The state that the facts have written.
    pub registers: Registers,
    /// Set while this system runs a sync. The lease is a lock: no fact writes it.
    pub lease: Option<Lease>,
    /// This system starts no sync before this time. Written with the lease.
    pub cooldown_until: Option<Timestamp>,
    /// Set while an import of transactions runs. The lease is a lock: no fact writes it.
    pub import: Option<ImportLease>,
    /// When the automatic refresh queued the account. Cleared when a sync ends.
    pub refresh_queued_at: Option<Timestamp>,
    /// The account's own refresh rule, if its owner has set one. No fact writes it.
    pub refresh: Option<RefreshRule>,
    /// The last read of the account that was [recorded](Account::is_read_noted).
    pub read_at: Option<Timestamp>,
    /// When a deferred import is requested again. Set while a due import waits: for the budget of the next day, until
    /// Mono accepts the key and the payment again, or until calls to Mono resume after an outage.
    pub import_deferred_until: Option<Timestamp>,
    /// The rows that all imports of the account have written. No fact writes it.
    pub written_rows: RowCounts,
    /// The number of the last import lease. A later lease has a higher number, also after the record was deleted. No
    /// fact writes it.
    pub import_number: u32,
    /// Set once the erasure of the account has begun. Then no fact changes the record.
    pub erasure: Option<Erasure>,
}

/// The record before and after one fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub before: Account,
    pub after: Account,
}

impl Step {
    /// Whether the account has another owner than before.
    pub fn changes_the_owner(&self) -> bool {
        self.before.owner().is_some() && self.before.owner() != self.after.owner()
    }

    /// Whether the fact changed the record. A change of `first_seen` or `last_event` alone does not count.
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
    /// When the lease was taken. It is also the time of the attempt.
    pub started_at: Timestamp,
    /// When the lease expires.
    pub until: Timestamp,
    /// Identifies the lease, so that only its holder releases it.
    pub token: [u8; 8],
}

/// The state that the facts have written. The order keys of any two registers can be compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// The account was linked.
    pub linked: Option<Mark>,
    /// A webhook reported that the account was unlinked. It counts when Mono has confirmed it.
    pub unlinked: LayeredRegister<()>,
    /// A plain read at Mono found no such account, or an import did before Mono had shown that it knows the account.
    pub gone: Option<Mark>,
    /// A sync at Mono found no such account.
    pub not_found: Option<Mark>,
    /// The newest unlinking that a plain read at Mono has contradicted. Holds the order key of that unlinking.
    pub confirmed_linked: Option<Mark>,
    /// When the newest verification began. Any outcome counts.
    pub link_checked: Option<Timestamp>,
    /// The owner, the holder, the number and the bank.
    pub identity: Identity,
    /// Whether an answer of Mono has ever shown that Mono knows the account. Otherwise only webhooks have named it.
    /// Never reset to `false`.
    pub is_proven: bool,
    /// The bank requires re-authorisation.
    pub reauth_required: Option<Mark>,
    /// The customer has re-authorised.
    pub reauthorised: Option<Mark>,
    /// A confirmed pull (Mono had fresh data from the bank) that covered the transactions.
    pub synced_transactions: LayeredRegister<()>,
    /// The balance of a confirmed pull, in minor units of the currency in `account_type`.
    pub synced_balance: LayeredRegister<MinorUnits>,
    /// A confirmed pull that did not cover the transactions.
    pub synced_others: LayeredRegister<()>,
    /// The newest pull for which Mono reported new transactions. The pull itself may have failed.
    pub transactions: Option<Mark>,
    /// The newest pull whose transactions are in the table, and the state of the import.
    pub imported: Option<Register<ImportState>>,
    /// Whether Mono has ever held transactions of the account. Never reset to `false`.
    pub has_transactions: bool,
    /// The first and the last time at which Mono held the balance but no transactions.
    pub without_transactions: Option<(Timestamp, Timestamp)>,
    /// The data that Mono holds of the account.
    pub availability: Option<Register<Availability>>,
    /// The outcome of the newest pull.
    pub pull: Option<Register<Pull>>,
    pub account_type: Option<Register<AccountType>>,
    /// A balance that no confirmed pull covers. It probably comes from Mono's cache.
    pub cached_balance: LayeredRegister<MinorUnits>,
    /// The newest job at Mono.
    pub job: Option<Register<Job>>,
    /// The newest sync of this system, at its start time.
    pub attempt: Option<Register<Attempted>>,
    /// The newest sync of this system that requested transactions and [may have an
    /// outcome](SyncOutcome::may_be_reported).
    pub last_billable_attempt: Option<Mark>,
    /// The newest such sync that requested only the balance.
    pub last_billable_balance_attempt: Option<Mark>,
    /// When the last erasure of the account began, if Mono has confirmed a new link since. It can be later, if an
    /// earlier new link was not confirmed.
    pub erased_before: Option<Timestamp>,
    /// The newest sync of this system that may have brought an incomplete statement.
    pub incomplete: Option<Mark>,
    /// The time of the earliest fact.
    pub first_seen: Option<Timestamp>,
    /// The time of the latest webhook.
    pub last_event: Option<Timestamp>,
}

/// A value and the order key of the fact that wrote it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Register<T> {
    pub order: OrderKey,
    /// If the order keys are equal, the greater value wins.
    pub value: T,
}

/// A register that holds only an order key.
pub type Mark = Register<()>;

/// The type of an account, as the newest webhook or verification reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccountType {
    /// The bank's own name for the type of account (`Tier 3 Savings Account`).
    pub kind: Option<String>,
    /// The ISO 4217 code if it can be derived (`Naira` is `NGN`). Any other value is stored unchanged.
    pub currency: Option<String>,
}

/// A summary of one sync of this system.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempted {
    /// The outcome, as [`SyncOutcome::as_str`] returns it.
    pub outcome: String,
    /// The id of Mono's job, if Mono was still processing the sync.
    pub job_id: Option<String>,
}

/// The last settled data status that Mono reported.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Availability {
    /// `data_status`.
    pub data_status: SettledStatus,
    /// `retrieved_data`: some of `identity`, `balance`, `transactions`.
    pub retrieved_data: Option<Vec<String>>,
    /// `data_request_id`: the reference that Mono's support asks for.
    pub data_request_id: Option<String>,
}

/// The outcome of a pull of data from the bank.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pull {
    /// Absent if the fact reported no sync status.
    pub sync_status: Option<SyncStatus>,
    /// The error, if a sync of this system received one.
    pub error: Option<ProviderError>,
    /// The id of Mono's job, if the fact named it.
    pub job_id: Option<String>,
}

impl Account {
    /// An empty record.
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
            written_rows: RowCounts::default(),
            import_number: 0,
            erasure: None,
        }
    }

    /// Applies the facts one after another. Returns one step for each fact.
    pub fn fold(&self, facts: &[&Fact]) -> Vec<Step> {
        let mut before = self.clone();
        let step = |fact: &&Fact| {
            let after = before.apply(fact);
            Step { before: std::mem::replace(&mut before, after.clone()), after }
        };
        facts.iter().map(step).collect()
    }

    /// Applies one fact and returns the new record. Reads no clock, does no I/O and never fails.
    pub fn apply(&self, fact: &Fact) -> Self {
        if self.erasure.is_some() {
            return self.clone();
        }
        Self { registers: self.registers.apply(fact), ..self.clone() }
    }
}

impl Registers {
    /// Whether the fact with this order key wrote the value of any register. `imported` does not count, since it
    /// holds the order key of a pull.
    pub fn hold(&self, order: OrderKey) -> bool {
        fn order_key<T>(register: Option<&Register<T>>) -> Option<OrderKey> {
            register.map(|register| register.order)
        }
        fn order_keys<T>(register: &LayeredRegister<T>) -> impl Iterator<Item = OrderKey> {
            register.held().map(|held| held.order)
        }
        let layered = order_keys(&self.unlinked)
            .chain(order_keys(&self.synced_transactions))
            .chain(order_keys(&self.synced_balance))
            .chain(order_keys(&self.synced_others))
            .chain(order_keys(&self.cached_balance));
        let single = [
            order_key(self.linked.as_ref()),
            order_key(self.not_found.as_ref()),
            order_key(self.reauth_required.as_ref()),
            order_key(self.reauthorised.as_ref()),
            order_key(self.transactions.as_ref()),
            order_key(self.availability.as_ref()),
            order_key(self.pull.as_ref()),
            order_key(self.account_type.as_ref()),
            order_key(self.job.as_ref()),
            order_key(self.attempt.as_ref()),
            order_key(self.last_billable_attempt.as_ref()),
            order_key(self.last_billable_balance_attempt.as_ref()),
            order_key(self.incomplete.as_ref()),
        ];
        single.contains(&Some(order)) || layered.into_iter().any(|held| held == order)
    }
}

impl Fact {
    /// Whether the fact writes any register. A fact that does so creates the record of an unknown account. Any other
    /// fact is acknowledged and dropped.
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
            Fact::Verification(verification) => {
                writer.verification(verification);
                (verification.at, false)
            }
            Fact::Answer(answer) => {
                writer.outcome(answer.order(), &answer.outcome);
                (answer.at, false)
            }
            Fact::Import(Import { pull, state }) => {
                writer.registers.has_transactions |= state.through.is_some();
                writer.registers.is_proven = true;
                writer.put(|r| &mut r.imported, *pull, state.clone());
                (pull.at, false)
            }
            Fact::Exchange(exchange) => {
                writer.exchange(exchange);
                (exchange.at, false)
            }
            Fact::Unlinking(at) => {
                writer.unlinking(*at);
                (*at, false)
            }
            Fact::Erased(at) => {
                let registers = &mut writer.registers;
                registers.erased_before = registers.erased_before.max(Some(*at));
                (*at, false)
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

/// Applies one fact and records whether the fact wrote to any register. A write that loses against a newer value
/// counts too. Otherwise the record would depend on the order of arrival.
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

    fn put_layered<T: Clone + Ord>(
        &mut self,
        slot: impl FnOnce(&mut Registers) -> &mut LayeredRegister<T>,
        order: OrderKey,
        value: T,
    ) {
        self.wrote = true;
        slot(&mut self.registers).put(Register { order, value });
    }

    /// Keeps the newest time.
    fn time(&mut self, slot: impl FnOnce(&mut Registers) -> &mut Option<Timestamp>, at: Timestamp) {
        self.wrote = true;
        let held = slot(&mut self.registers);
        *held = Some(at).max(*held);
    }

    fn verification(&mut self, verification: &Verification) {
        let Verification { at, ending, found } = verification;
        self.time(|r| &mut r.link_checked, *at);
        match found {
            Reading::Linked(reported) => {
                self.registers.is_proven = true;
                if let Some(ending) = ending {
                    self.mark(|r| &mut r.confirmed_linked, *ending);
                }
                self.registers.identity.verify(*at, reported);
                if let Some(details) = &reported.details {
                    self.put(|r| &mut r.account_type, verification.order(), details.account_type());
                }
                if let Some(balance) = reported.balance {
                    self.put_layered(|r| &mut r.cached_balance, verification.order(), balance);
                }
            }
            Reading::Gone => {
                self.mark(|r| &mut r.gone, verification.order());
                self.time(|r| &mut r.identity.read_at, *at);
            }
            Reading::Unknown => {}
        }
    }

    fn exchange(&mut self, exchange: &Exchange) {
        self.mark(|r| &mut r.linked, exchange.order());
        self.registers.is_proven = true;
        if let Some(owner) = &exchange.owner {
            self.registers.identity.exchange(exchange.at, owner);
        }
    }

    /// Mono has both ended the link and confirmed its end.
    fn unlinking(&mut self, at: Timestamp) {
        let order = unlinking_order(at);
        self.put_layered(|r| &mut r.unlinked, order, ());
        self.mark(|r| &mut r.gone, order);
        self.time(|r| &mut r.identity.read_at, at);
    }

    fn webhook(&mut self, webhook: &Webhook) {
        let Webhook { order, received_at, .. } = *webhook;
        let identity = &mut self.registers.identity;
        if let Some(link) = &webhook.link {
            self.wrote = true;
            identity.claim_link(received_at, order.at, link);
        } else if let Some(reference) = own_reference(webhook.reference.as_ref()) {
            self.wrote = true;
            identity.reference.claim(received_at, order.at, reference);
        }
        match &webhook.body {
            EventBody::Connected { customer_id, processing } => {
                self.mark(|r| &mut r.linked, order);
                if let Some(customer_id) = customer_id {
                    self.registers.identity.customer.claim(received_at, order.at, customer_id);
                }
                if *processing {
                    self.put(|r| &mut r.job, order, Job { id: None, state: JobState::Linking });
                }
            }
            EventBody::Updated(update) => self.update(order, received_at, update),
            EventBody::ReauthorisationRequired => self.mark(|r| &mut r.reauth_required, order),
            EventBody::Reauthorized => self.mark(|r| &mut r.reauthorised, order),
            EventBody::Unlinked => self.put_layered(|r| &mut r.unlinked, order, ()),
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

    fn update(&mut self, order: OrderKey, received_at: Timestamp, update: &Update) {
        let is_confirmed = update.is_confirmed_pull();
        let has_balance = is_confirmed && update.covers_balance();
        match update.balance {
            SentBalance::Amount(balance) if has_balance => {
                self.put_layered(|r| &mut r.synced_balance, order, balance);
            }
            SentBalance::Amount(balance) => {
                self.put_layered(|r| &mut r.cached_balance, order, balance);
            }
            SentBalance::Missing | SentBalance::Unreadable => {}
        }
        if is_confirmed && update.covers_transactions() {
            self.put_layered(|r| &mut r.synced_transactions, order, ());
        } else if is_confirmed {
            self.put_layered(|r| &mut r.synced_others, order, ());
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
                // A weak event (timed by its receipt) may be a redelivery of an event that already counted.
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
            self.registers.identity.claim_details(received_at, order.at, details);
            self.put(|r| &mut r.account_type, order, details.account_type());
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

    /// Writes the outcome of a sync, from its own answer or from its job.
    fn outcome(&mut self, order: OrderKey, outcome: &SyncOutcome) {
        self.registers.is_proven |= outcome.proves_the_account();
        match outcome {
            SyncOutcome::Successful { has_new_data, data, balance, job_id } => {
                match data {
                    SyncData::Transactions => {
                        self.put_layered(|r| &mut r.synced_transactions, order, ());
                        if *has_new_data {
                            self.mark(|r| &mut r.transactions, order);
                        }
                    }
                    SyncData::Balance => self.put_layered(|r| &mut r.synced_others, order, ()),
                }
                if let Some(balance) = balance {
                    self.put_layered(|r| &mut r.synced_balance, order, *balance);
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
                if outcome.denies_the_account() {
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
}
