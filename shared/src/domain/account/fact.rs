//! What the system can learn about an account, from a webhook or from a sync of its own.

use serde::Serialize;

use super::import_lease::ImportState;
use super::order::{OrderKey, Rank, ShortHash, TimeSource};
use super::sync_attempt::{SyncAttempt, SyncOutcome};
use crate::domain::money::MinorUnits;
use crate::domain::timestamp::Timestamp;

/// One thing learnt about one account. The only input of
/// [`Account::apply`](super::Account::apply).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Mono called.
    Webhook(Webhook),
    /// This system called Mono to have the account refreshed.
    Attempt(SyncAttempt),
    /// This system asked Mono whether the link is still there.
    LinkCheck(LinkCheck),
    /// Mono answered another question of this system about the account.
    Answer(Answer),
    /// This system has imported the account's transactions.
    Import(Import),
}

impl Fact {
    /// Whether it reports a pull that can make an import due.
    pub fn may_bring_transactions(&self) -> bool {
        match self {
            Self::Webhook(Webhook { body: EventBody::Updated(update), .. }) => {
                update.is_confirmed_pull() || update.brought_transactions()
            }
            Self::Attempt(SyncAttempt { outcome, .. }) | Self::Answer(Answer { outcome, .. }) => {
                matches!(outcome, SyncOutcome::Successful { .. })
            }
            _ => false,
        }
    }

    /// Whether it carries a balance that is no whole number of minor units.
    pub fn has_unreadable_balance(&self) -> bool {
        matches!(
            self,
            Self::Webhook(Webhook { body: EventBody::Updated(update), .. })
                if update.balance == SentBalance::Unreadable
        )
    }

    /// Whether Mono used a word that this version does not know. Such words are kept as they came.
    pub fn has_unknown_value(&self) -> bool {
        let Self::Webhook(webhook) = self else {
            return false;
        };
        match &webhook.body {
            EventBody::Updated(update) => {
                matches!(update.data_status, Some(DataStatus::Settled(SettledStatus::Other(_))))
                    || matches!(update.sync_status, Some(SyncStatus::Other(_)))
            }
            EventBody::Job(job) => matches!(job.state, JobState::Other(_)),
            _ => false,
        }
    }
}

/// What a plain read of an account at Mono says of its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkCheck {
    /// When Mono was asked.
    pub at: Timestamp,
    /// The place of the unlinking that is in question.
    pub ending: OrderKey,
    /// What Mono answered.
    pub found: LinkState,
}

/// What a plain read of an account can say of its link. What Mono answers for an account that was
/// unlinked is not documented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Mono shows the account.
    Linked,
    /// Mono does not know it.
    Gone,
    /// The answer says neither, or there was none.
    Unknown,
}

impl LinkCheck {
    /// Its place among all facts.
    pub fn order(self) -> OrderKey {
        let event = ShortHash::of("link check");
        OrderKey { at: self.at, rank: Rank::Unlinked, time_source: TimeSource::Event, event }
    }
}

/// What Mono answered about an account outside of a sync: how a job has ended, or that a listing
/// needs the customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The time it counts from: of a job, when the sync that began it was made.
    pub at: Timestamp,
    /// What a sync with this answer would have come to.
    pub outcome: SyncOutcome,
}

impl Answer {
    /// Its place among all facts.
    pub fn order(&self) -> OrderKey {
        let demands = matches!(self.outcome, SyncOutcome::ReauthorisationRequired { .. });
        OrderKey {
            at: self.at,
            rank: if demands { Rank::ReauthRequired } else { Rank::Sync },
            time_source: TimeSource::Event,
            event: ShortHash::of(self.outcome.as_str()),
        }
    }
}

/// An import of an account's transactions, done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The place of the newest pull that was known when Mono was asked: its transactions, and those
    /// of all before it, are in the table.
    pub pull: OrderKey,
    /// What the table holds now.
    pub state: ImportState,
}

/// A webhook event that says something about an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// The event's place among all facts.
    pub order: OrderKey,
    /// `meta.ref`: the fintech's own reference, as it gave it to Mono when linking.
    pub reference: Option<String>,
    /// What the event says.
    pub body: EventBody,
}

/// What a webhook event says, by kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventBody {
    /// `account_connected`.
    Connected {
        /// Mono's id of the customer.
        customer_id: Option<String>,
        /// Whether it says that Mono is still fetching (`data_status` `PROCESSING`).
        processing: bool,
    },
    /// `account_updated`.
    Updated(Box<Update>),
    /// `reauthorisation_required`.
    ReauthorisationRequired,
    /// `account_reauthorized`.
    Reauthorized,
    /// `account_unlinked`.
    Unlinked,
    /// `jobs.update`.
    Job(Job),
    /// `sync_failed`.
    SyncFailed,
}

/// The content of an `account_updated`. Everything is optional: older and partial events leave out
/// most of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// `meta.data_status`.
    pub data_status: Option<DataStatus>,
    /// `meta.sync_status`: absent on events that no sync caused.
    pub sync_status: Option<SyncStatus>,
    /// `meta.retrieved_data`: some of `identity`, `balance`, `transactions`.
    pub retrieved_data: Option<Vec<String>>,
    /// `meta.data_request_id`: the reference that Mono's support asks for.
    pub data_request_id: Option<String>,
    /// `meta.job_id`.
    pub job_id: Option<String>,
    /// `meta.has_new_data`.
    pub has_new_data: Option<bool>,
    /// Present when the event carries a name or an account number.
    pub details: Option<Details>,
    /// The balance, as it was sent.
    pub balance: SentBalance,
}

/// A balance in an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SentBalance {
    /// None, or `null`: Mono leaves it out at times.
    #[default]
    Missing,
    /// A whole number of minor units.
    Amount(MinorUnits),
    /// Anything else: money is never rounded.
    Unreadable,
}

impl Update {
    /// Whether it proves that Mono has fresh data from the bank: `AVAILABLE` or `PARTIAL`, and no
    /// `sync_status` beside it that says otherwise. `AVAILABLE` beside a failed sync is Mono's stale
    /// cache and proves nothing.
    pub fn is_confirmed_pull(&self) -> bool {
        let available = matches!(
            self.data_status,
            Some(DataStatus::Settled(SettledStatus::Available | SettledStatus::Partial))
        );
        available && matches!(self.sync_status, None | Some(SyncStatus::Successful))
    }

    /// Whether Mono says that the pull brought new transactions. On an event that no sync caused, Mono
    /// says nothing of new data, and there may be some; beside a `sync_status` it leaves `has_new_data`
    /// out exactly when there is none [docs.mono.co/docs/financial-data/realtime-data]. A failed sync can
    /// have retrieved transactions all the same.
    pub fn brought_transactions(&self) -> bool {
        if self.is_confirmed_pull() {
            let said = self.has_new_data.unwrap_or(self.sync_status.is_none());
            return said && self.covers_transactions();
        }
        let progress = self.data_status == Some(DataStatus::Processing);
        !progress && self.has_new_data == Some(true) && self.lists("transactions")
    }

    /// Whether a confirmed pull with this content covers the transactions. `retrieved_data` is sent since
    /// September 2025; before that, a pull was of all.
    pub fn covers_transactions(&self) -> bool {
        self.retrieved_data.is_none() || self.lists("transactions")
    }

    /// The same of the balance.
    pub fn covers_balance(&self) -> bool {
        self.retrieved_data.is_none() || self.lists("balance")
    }

    /// Whether it says that Mono holds transactions of the account.
    pub fn shows_transactions(&self) -> bool {
        let available = self.data_status == Some(DataStatus::Settled(SettledStatus::Available));
        self.lists("transactions") || (available && self.retrieved_data.is_none())
    }

    /// Whether it says that Mono holds the balance and no transactions: all there is of a domiciliary
    /// account, and of any account while its bank has a problem.
    pub fn shows_only_the_balance(&self) -> bool {
        let one_part = matches!(
            self.data_status,
            Some(DataStatus::Settled(SettledStatus::Partial | SettledStatus::Failed))
        );
        one_part && self.lists("balance") && !self.lists("transactions")
    }

    fn lists(&self, part: &str) -> bool {
        self.retrieved_data.iter().flatten().any(|listed| listed == part)
    }
}

/// `data_status`: what Mono holds of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataStatus {
    /// Mono is still fetching: progress, not a result.
    Processing,
    /// A result.
    Settled(SettledStatus),
}

/// The results among the values of `data_status`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SettledStatus {
    /// Balance and transactions.
    Available,
    /// One of the two.
    Partial,
    /// Neither: the bank has an issue, or has no data.
    Unavailable,
    /// Neither, by a failure on Mono's side.
    Failed,
    /// A value this version does not know, as it came.
    Other(String),
}

impl SettledStatus {
    /// Mono's word for it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Available => "AVAILABLE",
            Self::Partial => "PARTIAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::Failed => "FAILED",
            Self::Other(word) => word,
        }
    }

    /// Whether it says that there is no data for a reason that is not the bank's.
    pub const fn is_failure(&self) -> bool {
        matches!(self, Self::Failed | Self::Other(_))
    }
}

impl DataStatus {
    /// Reads Mono's word, in any case.
    pub fn from_word(word: &str) -> Self {
        Self::Settled(match word.to_ascii_uppercase().as_str() {
            "PROCESSING" => return Self::Processing,
            "AVAILABLE" => SettledStatus::Available,
            "PARTIAL" => SettledStatus::Partial,
            "UNAVAILABLE" => SettledStatus::Unavailable,
            "FAILED" => SettledStatus::Failed,
            _ => SettledStatus::Other(word.to_owned()),
        })
    }
}

/// `sync_status`: what the newest pull of the account came to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SyncStatus {
    /// `SUCCESSFUL`; `SUCCESS` is met in use as well.
    Successful,
    /// `FAILED`.
    Failed,
    /// `REAUTHORISATION_REQUIRED`.
    ReauthorisationRequired,
    /// A value this version does not know, as it came.
    Other(String),
}

impl SyncStatus {
    /// Reads Mono's word, in any case.
    pub fn from_word(word: &str) -> Self {
        match word.to_ascii_uppercase().as_str() {
            "SUCCESSFUL" | "SUCCESS" => Self::Successful,
            "FAILED" => Self::Failed,
            "REAUTHORISATION_REQUIRED" => Self::ReauthorisationRequired,
            _ => Self::Other(word.to_owned()),
        }
    }

    /// Mono's word for it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Successful => "SUCCESSFUL",
            Self::Failed => "FAILED",
            Self::ReauthorisationRequired => "REAUTHORISATION_REQUIRED",
            Self::Other(word) => word,
        }
    }
}

/// A job at Mono and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Job {
    /// Mono's id of it, where known.
    pub id: Option<String>,
    /// How far it is.
    pub state: JobState,
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobState {
    /// `processing`, or `RUNNING`.
    Running,
    /// The first fetch after a link, of which no more is said than that it runs.
    Linking,
    /// `finished`, or `SUCCESSFUL` by Mono's changelog.
    Finished,
    /// `failed`.
    Failed,
    /// `REAUTHORISATION_REQUIRED`: the bank asks for authentication again [Mono's changelog of September 2024].
    ReauthorisationRequired,
    /// A value this version does not know, as it came.
    Other(String),
}

impl JobState {
    /// Reads Mono's word, in any case.
    pub fn from_word(word: &str) -> Self {
        match word.to_ascii_uppercase().as_str() {
            "PROCESSING" | "RUNNING" => Self::Running,
            "LINKING" => Self::Linking,
            "FINISHED" | "SUCCESSFUL" | "SUCCESS" => Self::Finished,
            "FAILED" => Self::Failed,
            "REAUTHORISATION_REQUIRED" => Self::ReauthorisationRequired,
            _ => Self::Other(word.to_owned()),
        }
    }

    /// Whether the job has ended without data.
    pub const fn is_failure(&self) -> bool {
        matches!(self, Self::Failed | Self::ReauthorisationRequired)
    }

    /// The word it is stored as.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Running => "processing",
            Self::Linking => "linking",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::ReauthorisationRequired => "reauthorisation_required",
            Self::Other(word) => word,
        }
    }
}

/// Whose account it is and where. Never logged.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Details {
    /// The holder's name.
    pub name: Option<String>,
    /// The account's number at the bank.
    pub account_number: Option<String>,
    /// The bank's own words for the type of account (`Tier 3 Savings Account`).
    pub kind: Option<String>,
    /// ISO 4217 where it can be told (`Naira` is `NGN`), else as it came.
    pub currency: Option<String>,
    /// The bank.
    pub institution: Option<Institution>,
}

/// A bank, as Mono names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Institution {
    /// Its name.
    pub name: Option<String>,
    /// Its code (`058`), which is text: zeros in front count.
    pub bank_code: Option<String>,
    /// `PERSONAL_BANKING` or `BUSINESS_BANKING`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

impl Webhook {
    /// Gives the event its place: by Mono's `timestamp` where it carries one that is not ahead of
    /// the receipt by more than [`CLOCK_SKEW`](Self::CLOCK_SKEW), else, as weak time_source, by the
    /// receipt. `event_key` is what tells it from other events.
    pub fn new(
        timestamp: Option<Timestamp>,
        received_at: Timestamp,
        event_key: &str,
        reference: Option<String>,
        body: EventBody,
    ) -> Self {
        let (at, time_source) = Self::occurred_at(timestamp, received_at);
        let order =
            OrderKey { at, rank: body.rank(), time_source, event: ShortHash::of(event_key) };
        Self { order, reference, body }
    }

    /// When an event happened, as far as known.
    pub fn occurred_at(
        timestamp: Option<Timestamp>,
        received_at: Timestamp,
    ) -> (Timestamp, TimeSource) {
        match timestamp.filter(|at| *at <= received_at + Self::CLOCK_SKEW) {
            Some(at) => (at, TimeSource::Event),
            None => (received_at, TimeSource::Receipt),
        }
    }

    /// How far Mono's clock may run ahead of ours.
    pub const CLOCK_SKEW: std::time::Duration = std::time::Duration::from_secs(30);
}

impl EventBody {
    fn rank(&self) -> Rank {
        match self {
            Self::Connected { .. } => Rank::Connected,
            Self::Updated(update) => match update.sync_status {
                Some(SyncStatus::ReauthorisationRequired) => Rank::ReauthRequired,
                _ => Rank::Updated,
            },
            Self::ReauthorisationRequired => Rank::ReauthRequired,
            Self::Reauthorized => Rank::Reauthorized,
            Self::Unlinked => Rank::Unlinked,
            Self::Job(Job { state: JobState::ReauthorisationRequired, .. }) => Rank::ReauthRequired,
            Self::Job(_) => Rank::Job,
            Self::SyncFailed => Rank::SyncFailed,
        }
    }
}
