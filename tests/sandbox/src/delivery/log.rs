//! The log of all deliveries.

use std::ops::Range;
use std::sync::Mutex;

use serde::Serialize;
use tokio::sync::watch;

use super::PendingDelivery;
use crate::event::Kind;
use crate::lock;

/// The delivery of one copy of one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// The event's number among all sent events, from 1.
    pub number: usize,
    /// The number of the copy, from 1.
    pub copy: u32,
    /// The kind of the event. Raw deliveries have none.
    pub kind: Option<Kind>,
    /// The `event_id`, if the event has one.
    pub event_id: Option<String>,
    /// The account of the event. Raw deliveries have none.
    pub account_id: Option<String>,
    /// The results of the posts so far.
    pub attempts: Vec<Attempt>,
    pub outcome: Outcome,
}

/// The result of one post.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Attempt {
    /// The receiver answered with this status.
    Status(u16),
    /// The receiver did not answer, for this reason.
    Error(String),
}

/// The outcome of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The delivery has not ended.
    UnderWay,
    /// The receiver answered 200.
    Delivered,
    /// The network lost it.
    Lost,
    /// Mono retried for 48 hours without success.
    GivenUp,
    /// There was no webhook URL.
    Unaddressed,
}

/// All deliveries ever sent.
#[derive(Default)]
pub(super) struct Log {
    deliveries: Mutex<Vec<Delivery>>,
    under_way: watch::Sender<usize>,
}

impl Log {
    /// Adds every copy of an event. Returns the event's number and the indexes of the copies.
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
        // No error is possible: the sender lives as long as the log.
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
