//! The status of an account: never stored as truth, always derived from the registers.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::{
    Account, Job, JobState, Lease, OrderKey, Register, SettledStatus, SyncStatus, TimeSource,
};
use crate::domain::timestamp::Timestamp;

/// What a fintech can tell its customer about an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// The link was ended. Nothing more will come.
    Unlinked,
    /// The bank wants the customer: the data is as old as the last pull until they re-authorise.
    ReauthorisationRequired,
    /// The customer has re-authorised, and no fresh data has proved it yet.
    ReauthorisationPending,
    /// A pull is under way.
    Syncing,
    /// The bank gives no data at present.
    BankUnavailable,
    /// The newest pull failed.
    Failed,
    /// Linked, and nothing pulled yet.
    Pending,
    /// Fresh, but with the balance or the transactions alone.
    Partial,
    /// Fresh.
    Healthy,
}

impl Status {
    /// Every status, the most urgent first.
    pub const ALL: [Self; 9] = [
        Self::Unlinked,
        Self::ReauthorisationRequired,
        Self::ReauthorisationPending,
        Self::Syncing,
        Self::BankUnavailable,
        Self::Failed,
        Self::Pending,
        Self::Partial,
        Self::Healthy,
    ];

    /// Its word in the API and in the tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unlinked => "unlinked",
            Self::ReauthorisationRequired => "reauthorisation_required",
            Self::ReauthorisationPending => "reauthorisation_pending",
            Self::Syncing => "syncing",
            Self::BankUnavailable => "bank_unavailable",
            Self::Failed => "failed",
            Self::Pending => "pending",
            Self::Partial => "partial",
            Self::Healthy => "healthy",
        }
    }

    /// The status of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Whether somebody has to look after an account in this status.
    pub const fn needs_attention(self) -> bool {
        matches!(
            self,
            Self::ReauthorisationRequired
                | Self::ReauthorisationPending
                | Self::BankUnavailable
                | Self::Failed
        )
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A status and the time of the newest fact that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusSince {
    /// The status.
    pub status: Status,
    /// Since when, by the facts.
    pub at: Timestamp,
}

/// Why somebody has to look after an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attention {
    /// One of those that [need attention](Status::needs_attention).
    pub status: Status,
    /// How old the data is: `last_synced_at`, or 1970 if there is none.
    pub since: Timestamp,
}

impl StatusSince {
    const fn new(status: Status, at: Timestamp) -> Self {
        Self { status, at }
    }
}

impl Account {
    /// How long a job counts as running after the fact that said so. A job that nothing settles by
    /// then is over.
    pub const JOB_LIFETIME: Duration = Duration::from_mins(30);

    /// The status at a time.
    pub fn status_since(&self, now: Timestamp) -> StatusSince {
        self.urgent()
            .or_else(|| self.syncing_since(now).map(|at| StatusSince::new(Status::Syncing, at)))
            .unwrap_or_else(|| self.resting())
    }

    /// The status without [`Syncing`](Status::Syncing), for which no clock is needed.
    pub fn status_without_sync(&self) -> StatusSince {
        self.urgent().unwrap_or_else(|| self.resting())
    }

    /// Whether somebody has to look after the account: by the status without
    /// [`Syncing`](Status::Syncing), so that it can be stored.
    pub fn attention(&self) -> Option<Attention> {
        let status = self.status_without_sync().status;
        let since = self.last_synced_at().unwrap_or(Timestamp::from_millis(0));
        status.needs_attention().then_some(Attention { status, since })
    }

    /// The time of the demand that stands: newer than the last confirmed pull and than the last
    /// re-authorisation.
    pub fn reauthorisation_required_at(&self) -> Option<Timestamp> {
        self.unresolved_reauth().map(|order| order.at)
    }

    /// Whether a sync of ours holds the account: until the sync ends and releases the lease, or the
    /// lease ends by itself.
    pub fn held_lease(&self, now: Timestamp) -> Option<Lease> {
        self.lease.filter(|lease| now < lease.until)
    }

    /// The job at Mono that is still running, as far as can be told.
    pub fn running_job(&self, now: Timestamp) -> Option<&Register<Job>> {
        let registers = &self.registers;
        let job = registers.job.as_ref()?;
        let pull = registers.pull.as_ref();
        let is_open = match job.value.state {
            JobState::Running => !pull.is_some_and(|pull| {
                let same_job = job.value.id.is_some() && job.value.id == pull.value.job_id;
                same_job || pull.order > job.order
            }),
            // Mono stamps the event of a link after that of its data at times, so the first pull of the
            // link ends it, wherever it stands.
            JobState::Linking => self.counted(pull).is_none(),
            _ => false,
        };
        (is_open && now.since(job.order.at) < Self::JOB_LIFETIME).then_some(job)
    }

    /// When the data was pulled: the transactions, or the balance of a
    /// [balance-only](Self::is_balance_only) account.
    pub fn last_synced_at(&self) -> Option<Timestamp> {
        if self.is_balance_only() {
            return self.balance_synced_at();
        }
        let synced = &self.registers.synced_transactions;
        synced.newest_that(|order| self.is_believed(order)).map(|synced| synced.order.at)
    }

    /// The time of the newest confirmed pull that brought the balance.
    pub fn balance_synced_at(&self) -> Option<Timestamp> {
        let synced = &self.registers.synced_balance;
        synced.newest_that(|order| self.is_believed(order)).map(|synced| synced.order.at)
    }

    /// Whether the balance is all there is of the account, as far as known: Mono held it and no
    /// transactions at two times at least a day apart, and never showed any.
    pub fn is_balance_only(&self) -> bool {
        const APART: Duration = Duration::from_hours(24);
        let without = self.registers.without_transactions;
        let long_without = without.is_some_and(|(first, last)| last.since(first) >= APART);
        long_without && !self.registers.has_transactions
    }

    /// Unlinked, or waiting for the customer: nothing that runs can hide it.
    fn urgent(&self) -> Option<StatusSince> {
        if let Some(ended) = self.link().ended_at() {
            return Some(StatusSince::new(Status::Unlinked, ended));
        }
        if let Some(demand) = self.unresolved_reauth() {
            return Some(StatusSince::new(Status::ReauthorisationRequired, demand.at));
        }
        let reauthorised = self.counted(self.registers.reauthorised.as_ref())?;
        (Some(reauthorised) > self.confirmed())
            .then(|| StatusSince::new(Status::ReauthorisationPending, reauthorised.at))
    }

    /// Whether a pull is under way.
    pub(super) fn is_syncing(&self, now: Timestamp) -> bool {
        self.syncing_since(now).is_some()
    }

    fn syncing_since(&self, now: Timestamp) -> Option<Timestamp> {
        let lease = self.held_lease(now).map(|lease| lease.started_at);
        let job = self.running_job(now).map(|job| job.order.at);
        lease.max(job)
    }

    fn resting(&self) -> StatusSince {
        let availability = self.registers.availability.as_ref();
        if let Some(availability) = availability
            && availability.value.data_status == SettledStatus::Unavailable
            && let Some(unavailable) = self.since_confirmed(Some(availability))
        {
            return StatusSince::new(Status::BankUnavailable, unavailable.at);
        }
        if let Some(failure) = self.failures().max() {
            return StatusSince::new(Status::Failed, failure.at);
        }
        let Some(confirmed) = self.confirmed().filter(|order| self.is_of_this_link(*order)) else {
            let since = self.relinked_at().unwrap_or_else(|| self.known_since());
            return StatusSince::new(Status::Pending, since);
        };
        let lacks_a_part = availability.is_some_and(|availability| {
            matches!(
                availability.value.data_status,
                SettledStatus::Partial | SettledStatus::Failed | SettledStatus::Unavailable
            )
        });
        let status = if lacks_a_part { Status::Partial } else { Status::Healthy };
        StatusSince::new(status, confirmed.at)
    }

    /// The places of the facts newer than the last confirmed pull that say that it failed.
    pub(super) fn failures(&self) -> impl Iterator<Item = OrderKey> {
        let registers = &self.registers;
        let pull = registers
            .pull
            .as_ref()
            .filter(|pull| !matches!(pull.value.sync_status, None | Some(SyncStatus::Successful)));
        let availability = registers
            .availability
            .as_ref()
            .filter(|availability| availability.value.data_status.is_failure());
        let job = registers.job.as_ref().filter(|job| job.value.state.is_failure());
        [self.since_confirmed(pull), self.since_confirmed(availability), self.since_confirmed(job)]
            .into_iter()
            .flatten()
    }

    /// The demand that stands: newer than the last re-authorisation and than the last confirmed pull
    /// whose own time is known. A weak one may be a retry from before the demand.
    pub(super) fn unresolved_reauth(&self) -> Option<OrderKey> {
        let registers = &self.registers;
        let demand = self.counted(registers.reauth_required.as_ref())?;
        let strong = self.confirmed_pulls().filter(|order| order.time_source == TimeSource::Event);
        let confirmed = strong.max();
        let reauthorised = order(registers.reauthorised.as_ref());
        (Some(demand) > confirmed && Some(demand) > reauthorised).then_some(demand)
    }

    /// Whether a fact in this place counts as having happened then: a weak one that is newer than a
    /// standing demand does not.
    pub(super) fn is_believed(&self, order: OrderKey) -> bool {
        order.time_source == TimeSource::Event
            || self.unresolved_reauth().is_none_or(|demand| order < demand)
    }

    /// The newest confirmed pull that is believed.
    pub(super) fn confirmed(&self) -> Option<OrderKey> {
        self.confirmed_pulls().filter(|order| self.is_believed(*order)).max()
    }

    /// Confirmed pulls, whatever they covered and whether they are believed or not.
    pub(super) fn confirmed_pulls(&self) -> impl Iterator<Item = OrderKey> {
        let registers = &self.registers;
        let marks = registers.synced_transactions.held().chain(registers.synced_others.held());
        let balances = registers.synced_balance.held().map(|balance| balance.order);
        marks.map(|mark| mark.order).chain(balances)
    }

    /// Since when there is a record: the earliest fact, or the lease of a first sync under way.
    pub(super) fn known_since(&self) -> Timestamp {
        let leased = self.lease.map(|lease| lease.started_at);
        self.registers.first_seen.or(leased).unwrap_or(Timestamp::from_millis(0))
    }

    /// A fact of a former link does not count.
    fn counted<T>(&self, register: Option<&Register<T>>) -> Option<OrderKey> {
        order(register).filter(|order| self.is_of_this_link(*order))
    }

    fn since_confirmed<T>(&self, register: Option<&Register<T>>) -> Option<OrderKey> {
        self.counted(register).filter(|order| Some(*order) > self.confirmed())
    }
}

fn order<T>(register: Option<&Register<T>>) -> Option<OrderKey> {
    register.map(|register| register.order)
}
