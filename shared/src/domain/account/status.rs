//! The status of an account. The status is always derived from the registers. A stored status is only a copy.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::{
    Account, Job, JobState, Lease, OrderKey, Register, SettledStatus, SyncStatus, TimeSource,
};
use crate::domain::timestamp::Timestamp;

/// The status that a fintech can show its customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// The account was unlinked. Mono will send no more data.
    Unlinked,
    /// The bank requires re-authorisation. Until then, the data is as old as the last pull.
    ReauthorisationRequired,
    /// The customer has re-authorised, but no fresh data has confirmed it yet.
    ReauthorisationPending,
    /// A pull is running.
    Syncing,
    /// The bank currently returns no data.
    BankUnavailable,
    /// The newest pull failed.
    Failed,
    /// Linked, but no data has been pulled yet.
    Pending,
    /// The data is fresh, but has only the balance or only the transactions.
    Partial,
    /// The data is fresh.
    Healthy,
}

impl Status {
    /// All statuses, the most urgent first.
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

    /// The value in the API and in the tables.
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

    /// Parses the value in the API and in the tables.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// The statuses that need attention, the most urgent first.
    pub fn all_that_need_attention() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|status| status.needs_attention())
    }

    /// Whether an account in this status needs attention.
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

/// A status and the time of the newest fact that caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusSince {
    pub status: Status,
    pub at: Timestamp,
}

/// Why an account needs attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attention {
    /// A status that [needs attention](Status::needs_attention).
    pub status: Status,
    /// The age of the data: `last_synced_at`, or 1970 if there is none.
    pub since: Timestamp,
}

impl StatusSince {
    const fn new(status: Status, at: Timestamp) -> Self {
        Self { status, at }
    }
}

impl Account {
    /// How long a job counts as running after the fact that reported it. After that time, the job counts as over.
    pub const JOB_LIFETIME: Duration = Duration::from_mins(30);

    /// The status at the time `now`.
    pub fn status_since(&self, now: Timestamp) -> StatusSince {
        self.urgent_status()
            .or_else(|| self.syncing_since(now).map(|at| StatusSince::new(Status::Syncing, at)))
            .unwrap_or_else(|| self.idle_status())
    }

    /// The status without [`Syncing`](Status::Syncing). It needs no clock.
    pub fn status_without_sync(&self) -> StatusSince {
        self.urgent_status().unwrap_or_else(|| self.idle_status())
    }

    /// Whether the account needs attention. Uses the status without [`Syncing`](Status::Syncing), so that the result
    /// can be stored.
    pub fn attention(&self) -> Option<Attention> {
        let status = self.status_without_sync().status;
        let since = self.last_synced_at().unwrap_or(Timestamp::from_millis(0));
        status.needs_attention().then_some(Attention { status, since })
    }

    /// When the bank required re-authorisation, if that is newer than the last confirmed pull and the last
    /// re-authorisation.
    pub fn reauthorisation_required_at(&self) -> Option<Timestamp> {
        self.unresolved_reauth().map(|order| order.at)
    }

    /// The lease of a running sync of this system. The sync releases the lease at its end. After a crash, the lease
    /// expires.
    pub fn held_lease(&self, now: Timestamp) -> Option<Lease> {
        self.lease.filter(|lease| now < lease.until)
    }

    /// The job at Mono that is still running, according to the facts.
    pub fn running_job(&self, now: Timestamp) -> Option<&Register<Job>> {
        let registers = &self.registers;
        let job = registers.job.as_ref()?;
        let pull = registers.pull.as_ref();
        let is_open = match job.value.state {
            JobState::Running => !pull.is_some_and(|pull| {
                let same_job = job.value.id.is_some() && job.value.id == pull.value.job_id;
                same_job || pull.order > job.order
            }),
            // Mono sometimes gives the event of a link a later time than the event of its data. So the first pull of
            // the link ends the job, whatever its order key.
            JobState::Linking => self.counted(pull).is_none(),
            _ => false,
        };
        (is_open && now.since(job.order.at) < Self::JOB_LIFETIME).then_some(job)
    }

    /// When the transactions were pulled. For a [balance-only](Self::is_balance_only) account, when the balance was
    /// pulled.
    pub fn last_synced_at(&self) -> Option<Timestamp> {
        if self.is_balance_only() {
            return self.balance_synced_at();
        }
        let synced = &self.registers.synced_transactions;
        synced.newest_that(|order| self.is_trusted(order)).map(|synced| synced.order.at)
    }

    /// The time of the newest confirmed pull that brought the balance.
    pub fn balance_synced_at(&self) -> Option<Timestamp> {
        let synced = &self.registers.synced_balance;
        synced.newest_that(|order| self.is_trusted(order)).map(|synced| synced.order.at)
    }

    /// Whether the account seems to have a balance but no transactions. This needs two times, at least a day apart,
    /// at which Mono held the balance and no transactions. Mono must also never have held transactions of the
    /// account.
    pub fn is_balance_only(&self) -> bool {
        const APART: Duration = Duration::from_hours(24);
        let without = self.registers.without_transactions;
        let long_without = without.is_some_and(|(first, last)| last.since(first) >= APART);
        long_without && !self.registers.has_transactions
    }

    /// A status that a running sync does not hide: unlinked, or a form of re-authorisation.
    fn urgent_status(&self) -> Option<StatusSince> {
        if let Some(ended) = self.link().ended_at() {
            return Some(StatusSince::new(Status::Unlinked, ended));
        }
        if let Some(required) = self.unresolved_reauth() {
            return Some(StatusSince::new(Status::ReauthorisationRequired, required.at));
        }
        let reauthorised = self.counted(self.registers.reauthorised.as_ref())?;
        (Some(reauthorised) > self.confirmed())
            .then(|| StatusSince::new(Status::ReauthorisationPending, reauthorised.at))
    }

    /// Whether a pull is running.
    pub(super) fn is_syncing(&self, now: Timestamp) -> bool {
        self.syncing_since(now).is_some()
    }

    fn syncing_since(&self, now: Timestamp) -> Option<Timestamp> {
        let lease = self.held_lease(now).map(|lease| lease.started_at);
        let job = self.running_job(now).map(|job| job.order.at);
        lease.max(job)
    }

    fn idle_status(&self) -> StatusSince {
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

    /// The order keys of the facts that report a failure and are newer than the last confirmed pull.
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

    /// The newest requirement of re-authorisation, if it is newer than the last re-authorisation and the last strong
    /// confirmed pull. A weak pull may be a redelivery from before the requirement.
    pub(super) fn unresolved_reauth(&self) -> Option<OrderKey> {
        let registers = &self.registers;
        let required = self.counted(registers.reauth_required.as_ref())?;
        let strong = self.confirmed_pulls().filter(|order| order.time_source == TimeSource::Event);
        let confirmed = strong.max();
        let reauthorised = order(registers.reauthorised.as_ref());
        (Some(required) > confirmed && Some(required) > reauthorised).then_some(required)
    }

    /// Whether the time of a fact with this order key is trusted. The time of a weak fact is not trusted if it is
    /// newer than an unresolved requirement of re-authorisation.
    pub(super) fn is_trusted(&self, order: OrderKey) -> bool {
        order.time_source == TimeSource::Event
            || self.unresolved_reauth().is_none_or(|required| order < required)
    }

    /// The newest confirmed pull whose time is trusted.
    pub(super) fn confirmed(&self) -> Option<OrderKey> {
        self.confirmed_pulls().filter(|order| self.is_trusted(*order)).max()
    }

    /// All confirmed pulls of any data. The time of a pull may be untrusted.
    pub(super) fn confirmed_pulls(&self) -> impl Iterator<Item = OrderKey> {
        let registers = &self.registers;
        let marks = registers.synced_transactions.held().chain(registers.synced_others.held());
        let balances = registers.synced_balance.held().map(|balance| balance.order);
        marks.map(|mark| mark.order).chain(balances)
    }

    /// When the record began: the time of the earliest fact, or of the lease of a first sync that still runs.
    pub(super) fn known_since(&self) -> Timestamp {
        let leased = self.lease.map(|lease| lease.started_at);
        self.registers.first_seen.or(leased).unwrap_or(Timestamp::from_millis(0))
    }

    /// The order key of the register, unless its fact is about a former link.
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
