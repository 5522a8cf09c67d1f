//! Who comes first where the budget does not do for all.

use std::cmp::Reverse;

use super::{Account, RefreshAction, Status};
use crate::domain::spending::{CallKind, Naira, Prices};
use crate::domain::timestamp::Timestamp;

/// Lower values come first.
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
    /// Its rows are fetched at the bank, and have to be listed.
    Import,
    /// Whether it is linked is in doubt.
    Link,
    /// Its customer has re-authorised, and waits for the proof.
    Reauthorised,
    Due,
}

impl Account {
    /// Its place among all for which something is to be done.
    pub fn priority(&self, want: &RefreshAction) -> Priority {
        let is_reauthorised =
            || self.status_without_sync().status == Status::ReauthorisationPending;
        let urgency = match want {
            RefreshAction::Import(_) => Urgency::Import,
            RefreshAction::Link { .. } => Urgency::Link,
            RefreshAction::Sync(_) if is_reauthorised() => Urgency::Reauthorised,
            RefreshAction::Sync(_) | RefreshAction::Job { .. } => Urgency::Due,
        };
        let synced_at = self.last_synced_at().unwrap_or_else(|| self.known_since());
        Priority { urgency, read_at: Reverse(self.read_at), synced_at }
    }
}

impl RefreshAction {
    /// The most that it costs in all, with the listing that follows a sync.
    pub fn price(&self, prices: &Prices) -> Naira {
        match self {
            Self::Sync(_) => prices.of(CallKind::Realtime) + prices.of(CallKind::TransactionsPage),
            Self::Import(_) => prices.of(CallKind::TransactionsPage),
            Self::Link { .. } => prices.of(CallKind::Details),
            Self::Job { .. } => prices.of(CallKind::Job),
        }
    }
}

/// Something to be done about an account.
#[derive(Clone, Debug)]
pub struct Candidate<T> {
    /// Its place among all.
    pub priority: Priority,
    /// What is to be done.
    pub want: RefreshAction,
    /// Which account it is.
    pub account: T,
}

/// Keeps the candidates with the highest priority among all that it is offered.
#[derive(Debug)]
pub struct Shortlist<T> {
    most: usize,
    candidates: Vec<Candidate<T>>,
    seen: usize,
}

impl<T> Shortlist<T> {
    /// An empty shortlist that selects at most `most` candidates. It holds at most twice as many in memory.
    pub const fn new(most: usize) -> Self {
        Self { most, candidates: Vec::new(), seen: 0 }
    }

    /// How many candidates it was offered.
    pub const fn seen(&self) -> usize {
        self.seen
    }

    /// Selects candidates by priority while their maximum price fits into `rest`; `None` is no bound. For the
    /// first sync, only the price of the sync must fit, not that of its listing. Returns the selected
    /// candidates, in order, and whether the budget left any out.
    pub fn choose(mut self, rest: Option<Naira>, prices: &Prices) -> (Vec<Candidate<T>>, bool) {
        let found = self.candidates.len();
        self.candidates.sort_by_key(|candidate| candidate.priority);
        let mut reserved = Naira(0);
        self.candidates.retain(|candidate| {
            let with = reserved + candidate.want.price(prices);
            // One sync alone may begin although its listing might have to wait.
            let is_first = reserved == Naira(0) && matches!(candidate.want, RefreshAction::Sync(_));
            let least = if is_first { prices.of(CallKind::Realtime) } else { with };
            let is_paid = rest.is_none_or(|rest| least <= rest);
            if is_paid {
                reserved = with;
            }
            is_paid
        });
        let is_short = self.candidates.len() < found;
        self.candidates.truncate(self.most);
        (self.candidates, is_short)
    }
}

impl<T> Extend<Candidate<T>> for Shortlist<T> {
    fn extend<I: IntoIterator<Item = Candidate<T>>>(&mut self, candidates: I) {
        for candidate in candidates {
            self.seen += 1;
            self.candidates.push(candidate);
            if self.candidates.len() > 2 * self.most {
                self.candidates.sort_by_key(|candidate| candidate.priority);
                self.candidates.truncate(self.most);
            }
        }
    }
}
