//! A register that remembers what it had before a weak fact.

use super::Register;
use super::order::{OrderKey, TimeSource};

/// The newest strong value, and the two newest weak ones of different events.
///
/// A weak fact is timed by its receipt, and a retry may have brought it up to 48 hours late. So one
/// may turn out to be older than it claims, and what it hid must still be known.
///
/// All three are maxima, so the order of arrival and repeats leave no trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recent<T> {
    /// The newest whose own time is known.
    pub strong: Option<Register<T>>,
    /// The newest of which only the receipt is known.
    pub weak: Option<Register<T>>,
    /// The newest of those of other events than `weak`.
    pub weak_before: Option<Register<T>>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { strong: None, weak: None, weak_before: None }
    }
}

impl<T: Clone + Ord> Recent<T> {
    /// Takes a value in, where it is one of the three.
    pub fn put(&mut self, candidate: Register<T>) {
        if candidate.order.time_source == TimeSource::Event {
            self.strong = self.strong.take().max(Some(candidate));
            return;
        }
        let mut held: Vec<_> = [self.weak.take(), self.weak_before.take(), Some(candidate)]
            .into_iter()
            .flatten()
            .collect();
        held.sort_by(|one, other| other.cmp(one));
        let newest = held[0].clone();
        self.weak_before = held.into_iter().find(|other| other.order.event != newest.order.event);
        self.weak = Some(newest);
    }
}

impl<T> Recent<T> {
    /// All that are held, in no order.
    pub fn held(&self) -> impl Iterator<Item = &Register<T>> {
        [&self.strong, &self.weak, &self.weak_before].into_iter().flatten()
    }

    /// The newest of all.
    pub fn newest(&self) -> Option<&Register<T>> {
        self.newest_that(|_| true)
    }

    /// The newest of those in a place that is believed.
    pub fn newest_that(&self, believed: impl Fn(OrderKey) -> bool) -> Option<&Register<T>> {
        self.held().filter(|held| believed(held.order)).max_by_key(|held| held.order)
    }
}
