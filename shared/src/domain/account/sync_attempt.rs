//! A sync of our own as a fact: one call to Mono, and what it came to.

use std::time::Duration;

use super::Account;
use super::order::{OrderKey, Rank, ShortHash, TimeSource};
use crate::domain::money::MinorUnits;
use crate::domain::timestamp::Timestamp;

/// One call of this system to Mono to have an account refreshed, and what it came to.
///
/// Both times are fixed before anything is written, and kept when a write has to be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncAttempt {
    /// When the lease was taken: the time of the attempt.
    pub started_at: Timestamp,
    /// When the answer was there: the time of what it says of the account.
    pub ended_at: Timestamp,
    /// What was asked for.
    pub data: SyncData,
    /// Whether fewer transactions than Mono already held were to do.
    pub incomplete_allowed: bool,
    /// What it came to.
    pub outcome: SyncOutcome,
}

/// What a sync came to, by what it says of the account. One type for both versions of Mono's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncOutcome {
    /// Mono has refreshed the account.
    Successful {
        /// Whether there is data that was not there before.
        has_new_data: bool,
        /// What was refreshed.
        data: SyncData,
        /// The balance, where the answer carried one.
        balance: Option<MinorUnits>,
        /// Mono's job, where named.
        job_id: Option<String>,
    },
    /// Mono is still at it.
    Processing {
        /// Mono's job, where named.
        job_id: Option<String>,
    },
    /// The bank wants the customer.
    ReauthorisationRequired {
        /// Mono's job, where named.
        job_id: Option<String>,
    },
    /// Mono says that it could not be done.
    Failed {
        /// Why, in Mono's words.
        error: ProviderError,
        /// Mono's job, where named.
        job_id: Option<String>,
    },
    /// Mono does not know the account.
    NotFound {
        /// Mono's words for it.
        error: ProviderError,
    },
    /// Nothing was learnt of the account.
    NoResult(CallError),
}

/// What a sync is to refresh. Mono's current API has a call for transactions and one for the
/// balance; the old one refreshes all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncData {
    /// The transactions; the balance follows with the webhook.
    Transactions,
    /// The balance alone: all there is of a domiciliary account.
    Balance,
}

/// Why a call to Mono taught nothing about the account, by what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// No answer in time. Mono may have done it: the webhook will tell.
    TimedOut,
    /// Mono answered with a server error, or the connection broke. Mono may have done it.
    Unavailable,
    /// Mono's answer could not be read. For an operator to look into.
    Unusable(ProviderError),
    /// Mono refused this system, whatever the account: the key (401), the wallet (402) or the plan
    /// (403). Nothing was begun.
    Refused(ProviderError),
    /// Mono asked to slow down (429): nothing was begun.
    RateLimited {
        /// How long Mono wants to be left alone, where it says so.
        retry_after: Option<Duration>,
    },
    /// The connection never opened: nothing was begun.
    NotConnected,
    /// The day's budget has no room for the call: Mono was not asked.
    BudgetExhausted {
        /// When the next day begins.
        until: Timestamp,
    },
    /// The call could not be entered in the ledger: Mono was not asked.
    Unmetered,
}

/// Why something failed, in Mono's words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProviderError {
    /// Mono's code (`SYNC_ERROR`). Where it gave none: `JOB_FAILED`, `UNREADABLE_ANSWER`,
    /// `ANSWER_TOO_LARGE`, or `HTTP_` and the status.
    pub code: String,
    /// Mono's sentence, where it gave one.
    pub message: Option<String>,
}

impl SyncOutcome {
    /// The word under which an attempt is stored.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Successful { .. } => "successful",
            Self::Processing { .. } => "processing",
            Self::ReauthorisationRequired { .. } => "reauthorisation_required",
            Self::Failed { .. } => "failed",
            Self::NotFound { .. } => "not_found",
            Self::NoResult(call_error) => call_error.as_str(),
        }
    }

    /// Whether Mono may have begun the sync, and charged for it.
    pub const fn reached_mono(&self) -> bool {
        !matches!(
            self,
            Self::NoResult(
                CallError::RateLimited { .. }
                    | CallError::NotConnected
                    | CallError::Refused(_)
                    | CallError::BudgetExhausted { .. }
                    | CallError::Unmetered
            )
        )
    }

    /// Whether it says that there are new transactions.
    pub const fn brought_transactions(&self) -> bool {
        matches!(self, Self::Successful { has_new_data: true, data: SyncData::Transactions, .. })
    }

    /// Whether Mono was asked at all, as far as is known.
    pub const fn is_attempt(&self) -> bool {
        !matches!(self, Self::NoResult(CallError::BudgetExhausted { .. } | CallError::Unmetered))
    }

    /// Whether the outcome is known, or a webhook may still report it. A sync without an outcome is retried
    /// soon.
    pub const fn may_be_reported(&self) -> bool {
        self.reached_mono() && !matches!(self, Self::NoResult(CallError::Unavailable))
    }
}

/// The words of what is wrong with the whole system, and says nothing of an account: Mono refuses us, is
/// down, or cannot be reached.
pub(super) const SYSTEM_ERRORS: [&str; 3] = ["refused", "unavailable", "not_connected"];

impl SyncOutcome {
    /// What Mono says went wrong, where it says so.
    pub const fn error(&self) -> Option<&ProviderError> {
        match self {
            Self::Failed { error, .. }
            | Self::NotFound { error }
            | Self::NoResult(CallError::Unusable(error) | CallError::Refused(error)) => Some(error),
            _ => None,
        }
    }

    /// The same without the holder's name in Mono's sentence.
    pub fn without_name_of(self, account: &Account) -> Self {
        match self {
            Self::Failed { error, job_id } => {
                Self::Failed { error: error.without_name_of(account), job_id }
            }
            Self::NotFound { error } => Self::NotFound { error: error.without_name_of(account) },
            Self::NoResult(call_error) => Self::NoResult(call_error.without_name_of(account)),
            told => told,
        }
    }
}

impl CallError {
    /// The same without the holder's name in Mono's sentence.
    pub fn without_name_of(self, account: &Account) -> Self {
        match self {
            Self::Unusable(error) => Self::Unusable(error.without_name_of(account)),
            Self::Refused(error) => Self::Refused(error.without_name_of(account)),
            told => told,
        }
    }
}

impl ProviderError {
    /// The same without the words of the holder's name.
    pub fn without_name_of(self, account: &Account) -> Self {
        // With the marks that stand for themselves behind a letter.
        let letter = |character: char| {
            character.is_alphanumeric() || ('\u{300}'..='\u{36f}').contains(&character)
        };
        let details = account.registers.details.as_ref();
        let name = details.and_then(|details| details.value.name.as_deref()).unwrap_or_default();
        let name = name.to_lowercase();
        let name: Vec<_> = name.split(|c| !letter(c)).filter(|part| part.len() > 2).collect();
        let without_name = |message: String| {
            let words = message.split_inclusive(|character| !letter(character));
            let words = words.map(|word| {
                let text = word.trim_end_matches(|character| !letter(character));
                let of_name = name.contains(&text.to_lowercase().as_str());
                if of_name { word.replacen(text, "…", 1) } else { word.to_owned() }
            });
            words.collect()
        };
        Self { code: self.code, message: self.message.map(without_name) }
    }
}

impl CallError {
    /// Whether the same call may succeed within seconds.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::TimedOut
            | Self::Unavailable
            | Self::RateLimited { .. }
            | Self::NotConnected
            | Self::Unmetered => true,
            Self::Unusable(_) | Self::Refused(_) | Self::BudgetExhausted { .. } => false,
        }
    }

    /// Whether it may be alike for every account: Mono refuses the key, the payment or the plan, is down, does not
    /// answer, or answers with nothing that can be read.
    pub const fn may_affect_all_accounts(&self) -> bool {
        match self {
            Self::TimedOut
            | Self::Unavailable
            | Self::Unusable(_)
            | Self::Refused(_)
            | Self::NotConnected => true,
            Self::RateLimited { .. } | Self::BudgetExhausted { .. } | Self::Unmetered => false,
        }
    }

    /// The word for it, in records and in the log.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::TimedOut => "timed_out",
            Self::Unavailable => "unavailable",
            Self::Unusable(_) => "unusable",
            Self::Refused(_) => "refused",
            Self::RateLimited { .. } => "rate_limited",
            Self::NotConnected => "not_connected",
            Self::BudgetExhausted { .. } => "budget_exhausted",
            Self::Unmetered => "unmetered",
        }
    }
}

impl SyncAttempt {
    /// The place of the attempt itself among all facts.
    pub fn order(&self) -> OrderKey {
        self.order_at(self.started_at, Rank::Sync)
    }

    /// The place of what it says of the account.
    pub fn outcome_order(&self) -> OrderKey {
        let demands = matches!(self.outcome, SyncOutcome::ReauthorisationRequired { .. });
        self.order_at(self.ended_at, if demands { Rank::ReauthRequired } else { Rank::Sync })
    }

    fn order_at(&self, at: Timestamp, rank: Rank) -> OrderKey {
        let name = format!("{} {} {}", self.started_at, self.ended_at, self.outcome.as_str());
        OrderKey { at, rank, time_source: TimeSource::Event, event: ShortHash::of(&name) }
    }
}
