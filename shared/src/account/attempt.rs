//! A sync of our own as a fact: one call to Mono, and what it came to.

use super::order::{Evidence, OrderKey, Rank, ShortHash};
use crate::money::MinorUnits;
use crate::timestamp::Timestamp;

/// One call of this system to Mono to have an account refreshed, and what it came to.
///
/// Both times are fixed before anything is written, and kept when a write has to be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncAttempt {
    /// When the lease was taken: the time of the attempt.
    pub started_at: Timestamp,
    /// When the answer was there: the time of what it says of the account.
    pub ended_at: Timestamp,
    /// What it came to.
    pub outcome: SyncOutcome,
}

/// What a sync came to, by what it says of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyncOutcome {
    /// Mono has refreshed the account.
    Successful {
        /// Whether there is data that was not there before.
        has_new_data: bool,
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
        error: SyncError,
        /// Mono's job, where named.
        job_id: Option<String>,
    },
    /// No answer in time. Mono may have done it: the webhook will tell.
    TimedOut,
    /// Mono answered with a server error, or the connection broke. Says nothing of the account.
    Unavailable,
    /// Mono's answer could not be read, or it refused the key. Says nothing of the account.
    Unusable,
    /// Mono asked to slow down (429): the sync was not begun.
    RateLimited,
    /// The connection never opened: the sync was not begun.
    NotConnected,
}

/// Why a sync failed, in Mono's words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SyncError {
    /// Mono's code (`SYNC_ERROR`).
    pub code: String,
    /// Mono's sentence, where it gave one.
    pub message: Option<String>,
}

impl SyncOutcome {
    /// The word under which an attempt is stored.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Successful { .. } => "successful",
            Self::Processing { .. } => "processing",
            Self::ReauthorisationRequired { .. } => "reauthorisation_required",
            Self::Failed { .. } => "failed",
            Self::TimedOut => "timed_out",
            Self::Unavailable => "unavailable",
            Self::Unusable => "unusable",
            Self::RateLimited => "rate_limited",
            Self::NotConnected => "not_connected",
        }
    }

    /// Whether Mono may have begun the sync, and charged for it.
    #[must_use]
    pub const fn reached_mono(&self) -> bool {
        !matches!(self, Self::RateLimited | Self::NotConnected)
    }
}

impl SyncAttempt {
    /// The place of the attempt itself among all facts.
    #[must_use]
    pub fn order(&self) -> OrderKey {
        self.order_at(self.started_at, Rank::Sync)
    }

    /// The place of what it says of the account.
    #[must_use]
    pub fn outcome_order(&self) -> OrderKey {
        let demands = matches!(self.outcome, SyncOutcome::ReauthorisationRequired { .. });
        self.order_at(self.ended_at, if demands { Rank::Demand } else { Rank::Sync })
    }

    fn order_at(&self, at: Timestamp, rank: Rank) -> OrderKey {
        let name = format!("{} {} {}", self.started_at, self.ended_at, self.outcome.as_str());
        OrderKey { at, rank, evidence: Evidence::Strong, event: ShortHash::of(&name) }
    }
}
