//! Facts: the information about an account that the system gets from webhooks and from its own calls.

use serde::Serialize;

use super::AccountType;
use super::import_lease::ImportState;
use super::order_key::{OrderKey, Rank, ShortHash, TimeSource};
use super::sync_attempt::{SyncAttempt, SyncOutcome};
use crate::domain::link_token::StartedLink;
use crate::domain::money::MinorUnits;
use crate::domain::timestamp::Timestamp;

/// One piece of information about one account. The only input of [`Account::apply`](super::Account::apply).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Mono delivered a webhook.
    Webhook(Webhook),
    /// This system requested a sync of the account.
    Attempt(SyncAttempt),
    /// This system read the account at Mono.
    Verification(Verification),
    /// Mono answered another call of this system about the account.
    Answer(Answer),
    /// This system has imported the account's transactions.
    Import(Import),
    /// Mono has exchanged a code of its widget for the account.
    Exchange(Exchange),
    /// Mono has unlinked the account at this system's request, at this time.
    Unlinking(Timestamp),
    /// The account was erased at this time, and Mono has confirmed a new link since.
    Erased(Timestamp),
}

impl Fact {
    /// Whether the fact reports a pull that can make an import due.
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

    /// Whether the fact carries a balance that is not a whole number of minor units.
    pub fn has_unreadable_balance(&self) -> bool {
        matches!(
            self,
            Self::Webhook(Webhook { body: EventBody::Updated(update), .. })
                if update.balance == SentBalance::Unreadable
        )
    }

    /// Whether the fact holds a value that this version does not know. Unknown values are stored unchanged.
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

/// The result of a verification: a plain read of the account at Mono.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// When Mono was called.
    pub at: Timestamp,
    /// The order key of the unlinking that the read verifies, if there is one.
    pub ending: Option<OrderKey>,
    pub found: Reading,
}

/// What a plain read of the account shows. Mono does not document its answer for an unlinked account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Mono knows the account.
    Linked(Box<Reported>),
    /// Mono does not know the account.
    Gone,
    /// The answer is inconclusive, or Mono has not answered yet.
    Unknown,
}

/// What Mono's API reports of an account. All fields are absent if the answer only proves that the account exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// `meta.ref`, in answers since January 2026 [docs.mono.co, changelog].
    pub reference: Option<String>,
    /// The link that this system has started with the token in `reference`.
    pub link: Option<StartedLink>,
    pub customer_id: Option<String>,
    pub details: Option<Details>,
    pub balance: Option<MinorUnits>,
    /// Identifies the claims that this answer refutes.
    pub refuted: Option<ShortHash>,
}

impl Verification {
    /// The order key of the verification.
    pub fn order(&self) -> OrderKey {
        let event = ShortHash::of("link check");
        OrderKey { at: self.at, rank: Rank::Unlinked, time_source: TimeSource::Event, event }
    }
}

/// Mono's answer about an account outside of a sync: the end of a job, or a listing that requires re-authorisation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The time from which the answer counts. For a job, it is the start of the sync that began the job.
    pub at: Timestamp,
    /// The outcome that a sync with this answer would have.
    pub outcome: SyncOutcome,
}

impl Answer {
    /// The order key of the answer.
    pub fn order(&self) -> OrderKey {
        let requires_reauth = matches!(self.outcome, SyncOutcome::ReauthorisationRequired { .. });
        OrderKey {
            at: self.at,
            rank: if requires_reauth { Rank::ReauthRequired } else { Rank::Sync },
            time_source: TimeSource::Event,
            event: ShortHash::of(self.outcome.as_str()),
        }
    }
}

/// The exchange of a code for the account. A code proves that the customer has just logged in at the bank
/// [docs.mono.co, SDK integration guide].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    pub at: Timestamp,
    /// The `ref` of the customer who gave the code. `None`: the exchange changes no owner.
    pub owner: Option<String>,
}

impl Exchange {
    /// The order key of the exchange.
    pub fn order(&self) -> OrderKey {
        let event = ShortHash::of("exchange");
        OrderKey { at: self.at, rank: Rank::Connected, time_source: TimeSource::Event, event }
    }
}

/// The order key of an unlinking that Mono has made at this time.
pub(super) fn unlinking_order(at: Timestamp) -> OrderKey {
    let event = ShortHash::of("unlinking");
    OrderKey { at, rank: Rank::Unlinked, time_source: TimeSource::Event, event }
}

/// A completed import of an account's transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The order key of the newest pull that was known when Mono was called. The transactions of this pull and of all
    /// earlier pulls are in the table.
    pub pull: OrderKey,
    /// The state of the table after the import.
    pub state: ImportState,
}

/// A webhook event about an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    pub order: OrderKey,
    /// When the webhook arrived.
    pub received_at: Timestamp,
    /// `meta.ref`: the fintech's own reference, which it sent to Mono when it linked the account, or the token of a link.
    pub reference: Option<String>,
    /// The link that this system started with the token in `reference`.
    pub link: Option<StartedLink>,
    pub body: EventBody,
}

/// The content of a webhook event, by event type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventBody {
    /// `account_connected`.
    Connected {
        customer_id: Option<String>,
        /// Whether Mono is still fetching data (`data_status` is `PROCESSING`).
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

/// The content of an `account_updated`. All fields are optional: older and partial events omit most of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// `meta.data_status`.
    pub data_status: Option<DataStatus>,
    /// `meta.sync_status`: absent in events that no sync caused.
    pub sync_status: Option<SyncStatus>,
    /// `meta.retrieved_data`: some of `identity`, `balance`, `transactions`.
    pub retrieved_data: Option<Vec<String>>,
    /// `meta.data_request_id`: the reference that Mono's support asks for.
    pub data_request_id: Option<String>,
    /// `meta.job_id`.
    pub job_id: Option<String>,
    /// `meta.has_new_data`.
    pub has_new_data: Option<bool>,
    /// Present if the event carries a name or an account number.
    pub details: Option<Details>,
    pub balance: SentBalance,
}

/// The balance in an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SentBalance {
    /// Absent or `null`: Mono sometimes omits the balance.
    #[default]
    Missing,
    /// A whole number of minor units.
    Amount(MinorUnits),
    /// Any other value. Money is never rounded.
    Unreadable,
}

impl Update {
    /// Whether the update proves that Mono has fresh data from the bank. For this, `data_status` must be `AVAILABLE`
    /// or `PARTIAL`, and `sync_status` must be absent or successful. `AVAILABLE` with a failed sync comes from Mono's
    /// stale cache and proves nothing.
    pub fn is_confirmed_pull(&self) -> bool {
        let available = matches!(
            self.data_status,
            Some(DataStatus::Settled(SettledStatus::Available | SettledStatus::Partial))
        );
        available && matches!(self.sync_status, None | Some(SyncStatus::Successful))
    }

    /// Whether the pull brought new transactions. An event that no sync caused has no `has_new_data`, so it may bring
    /// new transactions. An event with a `sync_status` omits `has_new_data` exactly if there is no new data
    /// [docs.mono.co/docs/financial-data/realtime-data]. Even a failed sync can have retrieved transactions.
    pub fn brought_transactions(&self) -> bool {
        if self.is_confirmed_pull() {
            let has_new_data = self.has_new_data.unwrap_or(self.sync_status.is_none());
            return has_new_data && self.covers_transactions();
        }
        let is_processing = self.data_status == Some(DataStatus::Processing);
        !is_processing && self.has_new_data == Some(true) && self.lists("transactions")
    }

    /// Whether a confirmed pull with this content covers the transactions. Mono sends `retrieved_data` since
    /// September 2025. Before that, each pull covered all data.
    pub fn covers_transactions(&self) -> bool {
        self.retrieved_data.is_none() || self.lists("transactions")
    }

    /// Whether a confirmed pull with this content covers the balance.
    pub fn covers_balance(&self) -> bool {
        self.retrieved_data.is_none() || self.lists("balance")
    }

    /// Whether the update shows that Mono holds transactions of the account.
    pub fn shows_transactions(&self) -> bool {
        let available = self.data_status == Some(DataStatus::Settled(SettledStatus::Available));
        self.lists("transactions") || (available && self.retrieved_data.is_none())
    }

    /// Whether the update shows that Mono holds the balance but no transactions. A domiciliary account never has
    /// more. Any other account can be in this state while its bank has a problem.
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

/// `data_status`: the data that Mono holds of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataStatus {
    /// Mono is still fetching data. This is progress, not a result.
    Processing,
    Settled(SettledStatus),
}

/// The values of `data_status` that are results.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SettledStatus {
    /// Balance and transactions.
    Available,
    /// Only one of balance and transactions.
    Partial,
    /// No data: the bank has a problem, or has no data.
    Unavailable,
    /// No data, because of a failure on Mono's side.
    Failed,
    /// A value that this version does not know, stored unchanged.
    Other(String),
}

impl SettledStatus {
    /// The value in Mono's API.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Available => "AVAILABLE",
            Self::Partial => "PARTIAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::Failed => "FAILED",
            Self::Other(word) => word,
        }
    }

    /// Whether there is no data and the bank is not the cause.
    pub const fn is_failure(&self) -> bool {
        matches!(self, Self::Failed | Self::Other(_))
    }
}

impl DataStatus {
    /// Parses Mono's value. Ignores case.
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

/// `sync_status`: the outcome of the newest pull of the account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SyncStatus {
    /// `SUCCESSFUL`. Mono also sends `SUCCESS`.
    Successful,
    /// `FAILED`.
    Failed,
    /// `REAUTHORISATION_REQUIRED`.
    ReauthorisationRequired,
    /// A value that this version does not know, stored unchanged.
    Other(String),
}

impl SyncStatus {
    /// Parses Mono's value. Ignores case.
    pub fn from_word(word: &str) -> Self {
        match word.to_ascii_uppercase().as_str() {
            "SUCCESSFUL" | "SUCCESS" => Self::Successful,
            "FAILED" => Self::Failed,
            "REAUTHORISATION_REQUIRED" => Self::ReauthorisationRequired,
            _ => Self::Other(word.to_owned()),
        }
    }

    /// The value in Mono's API.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Successful => "SUCCESSFUL",
            Self::Failed => "FAILED",
            Self::ReauthorisationRequired => "REAUTHORISATION_REQUIRED",
            Self::Other(word) => word,
        }
    }
}

/// A job at Mono and its state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Job {
    /// Mono's id of the job, if known.
    pub id: Option<String>,
    pub state: JobState,
}

/// The state of a job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobState {
    /// `processing`, or `RUNNING`.
    Running,
    /// The first fetch of data after a link. Mono reports only its start.
    Linking,
    /// `finished`, or `SUCCESSFUL` according to Mono's changelog.
    Finished,
    /// `failed`.
    Failed,
    /// `REAUTHORISATION_REQUIRED`: the bank requires re-authorisation [Mono's changelog of September 2024].
    ReauthorisationRequired,
    /// A value that this version does not know, stored unchanged.
    Other(String),
}

impl JobState {
    /// Parses Mono's value. Ignores case.
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

    /// The value that is stored.
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

/// The holder, the account number and the bank. Never logged.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Details {
    /// The holder's name.
    pub name: Option<String>,
    /// The account's number at the bank.
    pub account_number: Option<String>,
    /// The bank's own name for the type of account (`Tier 3 Savings Account`).
    pub kind: Option<String>,
    /// The ISO 4217 code if it can be derived (`Naira` is `NGN`). Any other value is stored unchanged.
    pub currency: Option<String>,
    pub institution: Option<Institution>,
}

impl Details {
    /// The part that is not the account's identity.
    pub(super) fn account_type(&self) -> AccountType {
        AccountType { kind: self.kind.clone(), currency: self.currency.clone() }
    }
}

/// A bank, as Mono names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Institution {
    pub name: Option<String>,
    /// The bank code (`058`). It is text, because leading zeros are significant.
    pub bank_code: Option<String>,
    /// `PERSONAL_BANKING` or `BUSINESS_BANKING`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

impl Webhook {
    /// Creates the fact and its order key. `event_key` distinguishes the event from other events.
    /// [`occurred_at`](Self::occurred_at) describes the time.
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
        Self { order, received_at, reference, link: None, body }
    }

    /// When an event happened: Mono's `timestamp`. If the `timestamp` is absent, or ahead of the receipt by more than
    /// [`CLOCK_SKEW`](Self::CLOCK_SKEW), the time of receipt counts.
    pub fn occurred_at(
        timestamp: Option<Timestamp>,
        received_at: Timestamp,
    ) -> (Timestamp, TimeSource) {
        match timestamp.filter(|at| *at <= received_at + Self::CLOCK_SKEW) {
            Some(at) => (at, TimeSource::Event),
            None => (received_at, TimeSource::Receipt),
        }
    }

    /// How far Mono's clock may run ahead of this system's clock.
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
