//! The order in which accounts are refreshed if the budget is too small for all.

use std::cmp::Reverse;

use super::{Account, RefreshAction, Status};
use crate::domain::spending::{CallKind, Naira, Prices};
use crate::domain::timestamp::Timestamp;

/// The rank of an action among all actions. Lower values come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority {
    urgency: Urgency,
    /// Most recently read first.
    read_at: Reverse<Option<Timestamp>>,
    /// Oldest data first.
    synced_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    /// Mono has fetched the rows from the bank. Only the listing is missing.
    Import,
    /// The link or the identity of the account is in doubt.
    Verification,
    /// The customer has re-authorised and waits for the confirmation.
    Reauthorised,
    Due,
    /// Only webhooks have named the account.
    Unproven,
}

impl Account {
    pub fn priority(&self, action: &RefreshAction) -> Priority {
        let is_reauthorised =
            || self.status_without_sync().status == Status::ReauthorisationPending;
        let urgency = match action {
            RefreshAction::Import(_) => Urgency::Import,
            RefreshAction::Verify { .. } | RefreshAction::Sync(_) if !self.registers.is_proven => {
                Urgency::Unproven
            }
            RefreshAction::Verify { .. } => Urgency::Verification,
            RefreshAction::Sync(_) if is_reauthorised() => Urgency::Reauthorised,
            RefreshAction::Sync(_) | RefreshAction::Job { .. } => Urgency::Due,
        };
        let synced_at = self.last_synced_at().unwrap_or_else(|| self.known_since());
        Priority { urgency, read_at: Reverse(self.read_at), synced_at }
    }
}

impl RefreshAction {
    /// The maximum price of the action, including the listing that follows a sync.
    pub fn price(&self, prices: &Prices) -> Naira {
        match self {
            Self::Sync(_) => prices.of(CallKind::Realtime) + prices.of(CallKind::TransactionsPage),
            Self::Import(_) => prices.of(CallKind::TransactionsPage),
            Self::Verify { .. } => prices.of(CallKind::Details),
            Self::Job { .. } => prices.of(CallKind::Job),
        }
    }
}

/// An action for an account.
#[derive(Clone, Debug)]
pub struct Candidate<T> {
    pub priority: Priority,
    pub action: RefreshAction,
    pub account: T,
}

/// A plan syncs at most this many accounts that only webhooks have named. Forged webhooks can name any number.
const MOST_UNPROVEN: usize = 200;

/// Keeps the candidates with the highest priority.
#[derive(Debug)]
pub struct Shortlist<T> {
    limit: usize,
    candidates: Vec<Candidate<T>>,
    seen: usize,
}

impl<T> Shortlist<T> {
    /// An empty shortlist that selects at most `limit` candidates. It keeps at most twice as many in memory.
    pub const fn new(limit: usize) -> Self {
        Self { limit, candidates: Vec::new(), seen: 0 }
    }

    /// How many candidates were added.
    pub const fn seen(&self) -> usize {
        self.seen
    }

    /// Selects candidates by priority while their maximum price fits into what is left, and that of verifications into
    /// what is left for them. For the first sync, only the price of the sync must fit, not that of its listing. At most [`MOST_UNPROVEN`] accounts
    /// that only webhooks have named are selected.
    pub fn choose(mut self, budgets: Left, prices: &Prices) -> Choice<T> {
        self.candidates.sort_by_key(|candidate| candidate.priority);
        let is_unproven =
            |candidate: &Candidate<T>| candidate.priority.urgency == Urgency::Unproven;
        let unproven = self.candidates.iter().filter(|candidate| is_unproven(candidate)).count();
        let unproven_left_out = unproven.saturating_sub(MOST_UNPROVEN);
        // These accounts come last in the order of priority.
        self.candidates.truncate(self.candidates.len() - unproven_left_out);
        let found = self.candidates.len();
        let Left { all: budget, verifications } = budgets;
        let (mut reserved, mut verified) = (Naira(0), Naira(0));
        self.candidates.retain(|candidate| {
            let total = reserved + candidate.action.price(prices);
            // The first sync may start even if its listing has to wait for more budget.
            let is_first =
                reserved == Naira(0) && matches!(candidate.action, RefreshAction::Sync(_));
            let required = if is_first { prices.of(CallKind::Realtime) } else { total };
            let is_verification = matches!(candidate.action, RefreshAction::Verify { .. });
            let verified_too = verified + candidate.action.price(prices);
            let is_in_share =
                !is_verification || verifications.is_none_or(|share| verified_too <= share);
            let is_affordable = is_in_share && budget.is_none_or(|budget| required <= budget);
            if is_affordable {
                reserved = total;
            }
            if is_affordable && is_verification {
                verified = verified_too;
            }
            is_affordable
        });
        let is_short = self.candidates.len() < found;
        self.candidates.truncate(self.limit);
        Choice { chosen: self.candidates, is_short, unproven_left_out }
    }
}

/// What is left of the budget of a day. `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    pub all: Option<Naira>,
    /// What verifications may still spend of it.
    pub verifications: Option<Naira>,
}

/// The selection of a [`Shortlist`].
#[derive(Debug)]
pub struct Choice<T> {
    /// In the order of priority.
    pub chosen: Vec<Candidate<T>>,
    /// Whether the budget left any candidate out.
    pub is_short: bool,
    /// How many accounts that only webhooks have named are left to a later plan.
    pub unproven_left_out: usize,
}

impl<T> Extend<Candidate<T>> for Shortlist<T> {
    fn extend<I: IntoIterator<Item = Candidate<T>>>(&mut self, candidates: I) {
        for candidate in candidates {
            self.seen += 1;
            self.candidates.push(candidate);
            if self.candidates.len() > 2 * self.limit {
                self.candidates.sort_by_key(|candidate| candidate.priority);
                self.candidates.truncate(self.limit);
            }
        }
    }
}
