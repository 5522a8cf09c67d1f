//! The fact that this system requested a sync: one call to Mono and its outcome.

use std::time::Duration;

use super::Account;
use super::order_key::{OrderKey, Rank, ShortHash, TimeSource};
use crate::domain::money::MinorUnits;
use crate::domain::timestamp::Timestamp;

/// One call of this system to Mono to sync an account, and its outcome.
///
/// Both times are set before the first write. A repeated write keeps them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncAttempt {
    /// When the lease was taken. It is also the time of the attempt.
    pub started_at: Timestamp,
    /// When the answer arrived. It is also the time of the outcome.
    pub ended_at: Timestamp,
    /// The data that was requested.
    pub data: SyncData,
    /// Whether Mono was allowed to return fewer transactions than it already held.
    pub incomplete_allowed: bool,
    pub outcome: SyncOutcome,
}

/// The outcome of a sync. One type for both versions of Mono's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncOutcome {
    /// Mono has refreshed the account.
    Successful {
        /// Whether the sync brought new data.
        has_new_data: bool,
        /// The data that was refreshed.
        data: SyncData,
        /// The balance, if the answer carried one.
        balance: Option<MinorUnits>,
        /// Mono's job, if the answer named it.
        job_id: Option<String>,
    },
    /// Mono is still processing the sync.
    Processing {
        /// Mono's job, if the answer named it.
        job_id: Option<String>,
    },
    /// The bank requires re-authorisation.
    ReauthorisationRequired {
        /// Mono's job, if the answer named it.
        job_id: Option<String>,
    },
    /// Mono reported that the sync failed.
    Failed {
        error: ProviderError,
        /// Mono's job, if the answer named it.
        job_id: Option<String>,
    },
    /// Mono does not know the account.
    NotFound { error: ProviderError },
    /// The call gave no information about the account.
    NoResult(CallError),
}

/// The data that a sync refreshes. Mono's current API has one call for the transactions and one for the balance. The
/// old API refreshes all data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncData {
    /// The transactions. The balance follows with the webhook.
    Transactions,
    /// Only the balance. A domiciliary account has no other data.
    Balance,
}

/// Why a call to Mono gave no information about the account. Each variant needs a different reaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The call timed out. Mono may have processed it. Then a webhook will report the outcome.
    TimedOut,
    /// Mono answered with a server error, or the connection broke. Mono may have processed the call.
    Unavailable,
    /// Mono's answer could not be parsed. An operator has to investigate.
    Unusable(ProviderError),
    /// Mono refused this system, independent of the account: the key (401), the wallet (402) or the plan (403). Mono
    /// started nothing.
    Refused(ProviderError),
    /// Mono limited the rate (429) and started nothing.
    RateLimited {
        /// The wait that Mono asks for, if the answer states one.
        retry_after: Option<Duration>,
    },
    /// The connection never opened. Mono started nothing.
    NotConnected,
    /// The remaining budget of the day is too small for the call. Mono was not called.
    BudgetExhausted {
        /// When the next day begins.
        until: Timestamp,
    },
    /// The call could not be recorded in the ledger. Mono was not called.
    Unmetered,
}

/// The reason for a failure, as Mono reports it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProviderError {
    /// Mono's code (`SYNC_ERROR`). If Mono sent none: `JOB_FAILED`, `UNREADABLE_ANSWER`, `ANSWER_TOO_LARGE`, or
    /// `HTTP_` with the status code.
    pub code: String,
    /// Mono's message, if it sent one.
    pub message: Option<String>,
}

impl SyncOutcome {
    /// The value that is stored for an attempt.
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

    /// Whether Mono may have started the sync and charged for it.
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

    /// Whether Mono denies the account. A sync request holds little besides the account id, so HTTP 400 without a job
    /// means that too.
    pub fn denies_the_account(&self) -> bool {
        match self {
            Self::NotFound { .. } => true,
            Self::Failed { error, job_id } => error.code == "HTTP_400" && job_id.is_none(),
            _ => false,
        }
    }

    /// Whether the outcome shows that Mono knows the account.
    pub fn proves_the_account(&self) -> bool {
        !matches!(self, Self::NoResult(_)) && !self.denies_the_account()
    }

    /// Whether the sync brought new transactions.
    pub const fn brought_transactions(&self) -> bool {
        matches!(self, Self::Successful { has_new_data: true, data: SyncData::Transactions, .. })
    }

    /// Whether Mono was called.
    pub const fn is_attempt(&self) -> bool {
        !matches!(self, Self::NoResult(CallError::BudgetExhausted { .. } | CallError::Unmetered))
    }

    /// Whether the outcome is known or a webhook may still report it. Otherwise, the sync is retried soon.
    pub const fn may_be_reported(&self) -> bool {
        self.reached_mono() && !matches!(self, Self::NoResult(CallError::Unavailable))
    }
}

/// The outcomes that affect the whole system and say nothing about an account: Mono refuses this system, is down or
/// cannot be reached.
pub(super) const SYSTEM_ERRORS: [&str; 3] = ["refused", "unavailable", "not_connected"];

impl SyncOutcome {
    /// Mono's error, if the outcome has one.
    pub const fn error(&self) -> Option<&ProviderError> {
        match self {
            Self::Failed { error, .. }
            | Self::NotFound { error }
            | Self::NoResult(CallError::Unusable(error) | CallError::Refused(error)) => Some(error),
            _ => None,
        }
    }

    /// Removes the holder's name from Mono's message.
    pub fn without_name_of(self, account: &Account) -> Self {
        match self {
            Self::Failed { error, job_id } => {
                Self::Failed { error: error.without_name_of(account), job_id }
            }
            Self::NotFound { error } => Self::NotFound { error: error.without_name_of(account) },
            Self::NoResult(call_error) => Self::NoResult(call_error.without_name_of(account)),
            other => other,
        }
    }
}

impl CallError {
    /// Removes the holder's name from Mono's message.
    pub fn without_name_of(self, account: &Account) -> Self {
        match self {
            Self::Unusable(error) => Self::Unusable(error.without_name_of(account)),
            Self::Refused(error) => Self::Refused(error.without_name_of(account)),
            other => other,
        }
    }
}

impl ProviderError {
    /// Removes the parts of the holder's name from Mono's message.
    pub fn without_name_of(self, account: &Account) -> Self {
        // Combining marks after a letter are part of the word.
        let is_letter = |character: char| {
            character.is_alphanumeric() || ('\u{300}'..='\u{36f}').contains(&character)
        };
        let name = account.registers.identity.name.value().map(|name| name.to_lowercase());
        let name = name.unwrap_or_default();
        let name: Vec<_> = name.split(|c| !is_letter(c)).filter(|part| part.len() > 2).collect();
        let without_name = |message: String| {
            let words = message.split_inclusive(|character| !is_letter(character));
            let words = words.map(|word| {
                let text = word.trim_end_matches(|character| !is_letter(character));
                let is_part_of_name = name.contains(&text.to_lowercase().as_str());
                if is_part_of_name { word.replacen(text, "…", 1) } else { word.to_owned() }
            });
            words.collect()
        };
        Self { code: self.code, message: self.message.map(without_name) }
    }
}

impl CallError {
    /// Whether a retry may succeed within seconds.
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

    /// Whether the same error may affect every account. Mono refuses the key, the payment or the plan, is down, does
    /// not answer, or sends answers that cannot be parsed.
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

    /// The value in records and in the log.
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
    /// The order key of the attempt itself.
    pub fn order(&self) -> OrderKey {
        self.order_at(self.started_at, Rank::Sync)
    }

    /// The order key of the outcome.
    pub fn outcome_order(&self) -> OrderKey {
        let requires_reauth = matches!(self.outcome, SyncOutcome::ReauthorisationRequired { .. });
        self.order_at(
            self.ended_at,
            if requires_reauth { Rank::ReauthRequired } else { Rank::Sync },
        )
    }

    fn order_at(&self, at: Timestamp, rank: Rank) -> OrderKey {
        let name = format!("{} {} {}", self.started_at, self.ended_at, self.outcome.as_str());
        OrderKey { at, rank, time_source: TimeSource::Event, event: ShortHash::of(&name) }
    }
}
