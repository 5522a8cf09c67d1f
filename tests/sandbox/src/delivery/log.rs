//! What became of everything that was sent.

use std::ops::Range;
use std::sync::Mutex;

use serde::Serialize;
use tokio::sync::watch;

use super::PendingDelivery;
use crate::event::Kind;
use crate::lock;

/// One copy of one event on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// The event's number among all that were sent.
    pub number: usize,
    /// 1, and more where the event was duplicated.
    pub copy: u32,
    /// What it is, unless it was sent raw.
    pub kind: Option<Kind>,
    /// The id it carries, if it carries one.
    pub event_id: Option<String>,
    /// Whom it is about, unless it was sent raw.
    pub account_id: Option<String>,
    /// What came of each post so far.
    pub attempts: Vec<Attempt>,
    /// How it ended, or that it has not.
    pub outcome: Outcome,
}

/// What came of one post.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Attempt {
    /// The receiver answered.
    Status(u16),
    /// It did not, and why.
    Error(String),
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Not yet.
    UnderWay,
    /// The receiver answered 200.
    Delivered,
    /// The network lost it.
    Lost,
    /// Mono has tried for 48 hours.
    GivenUp,
    /// There was no webhook URL to send it to.
    Unaddressed,
}

/// Everything ever sent.
#[derive(Default)]
pub(super) struct Log {
    deliveries: Mutex<Vec<Delivery>>,
    under_way: watch::Sender<usize>,
}

impl Log {
    /// Enters every copy of a pending; its number, and its entries.
    pub(super) fn open(&self, pending: &PendingDelivery, copies: u32) -> (usize, Range<usize>) {
        let mut deliveries = lock(&self.deliveries);
        let number = deliveries.last().map_or(1, |last| last.number + 1);
        let first = deliveries.len();
        deliveries.extend((1..=copies).map(|copy| Delivery {
            number,
            copy,
            kind: pending.kind,
            event_id: pending.event_id.clone(),
            account_id: pending.account_id.clone(),
            attempts: Vec::new(),
            outcome: Outcome::UnderWay,
        }));
        let entries = first..deliveries.len();
        self.under_way.send_modify(|count| *count += entries.len());
        (number, entries)
    }

    pub(super) fn record(&self, entry: usize, attempt: Attempt) {
        lock(&self.deliveries)[entry].attempts.push(attempt);
    }

    pub(super) fn close(&self, entry: usize, outcome: Outcome) {
        lock(&self.deliveries)[entry].outcome = outcome;
        self.under_way.send_modify(|count| *count -= 1);
    }

    pub(super) fn deliveries(&self) -> Vec<Delivery> {
        lock(&self.deliveries).clone()
    }

    pub(super) async fn settled(&self) {
        let mut under_way = self.under_way.subscribe();
        // The sender lives as long as the log does.
        let _ = under_way.wait_for(|count| *count == 0).await;
    }

    pub(super) async fn settled_about(&self, account_id: &str) {
        let mut under_way = self.under_way.subscribe();
        while self.is_under_way_about(account_id) && under_way.changed().await.is_ok() {}
    }

    fn is_under_way_about(&self, account_id: &str) -> bool {
        lock(&self.deliveries).iter().any(|delivery| {
            delivery.outcome == Outcome::UnderWay
                && delivery.account_id.as_deref() == Some(account_id)
        })
    }
}
