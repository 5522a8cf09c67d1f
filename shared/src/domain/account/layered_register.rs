//! A register that also keeps the values that a weak fact hides.

use super::Register;
use super::order_key::{OrderKey, TimeSource};

/// The newest strong value, and the two newest weak values of different events.
///
/// A weak fact has only the time of its receipt, and a redelivery may have arrived up to 48 hours late. So a weak
/// fact may be older than its order key says. The values that it hides must therefore be kept.
///
/// All three are maxima, so they do not depend on the order of arrival or on repeats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayeredRegister<T> {
    /// The newest value with the time of its event.
    pub strong: Option<Register<T>>,
    /// The newest value with only the time of its receipt.
    pub weak: Option<Register<T>>,
    /// The newest value with only the time of its receipt, of another event than `weak`.
    pub weak_before: Option<Register<T>>,
}

impl<T> Default for LayeredRegister<T> {
    fn default() -> Self {
        Self { strong: None, weak: None, weak_before: None }
    }
}

impl<T: Clone + Ord> LayeredRegister<T> {
    /// Adds a value. Keeps the value if it is one of the three maxima.
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

impl<T> LayeredRegister<T> {
    /// All values, in no particular order.
    pub fn held(&self) -> impl Iterator<Item = &Register<T>> {
        [&self.strong, &self.weak, &self.weak_before].into_iter().flatten()
    }

    pub fn newest(&self) -> Option<&Register<T>> {
        self.newest_that(|_| true)
    }

    /// The newest value whose order key is trusted.
    pub fn newest_that(&self, trusted: impl Fn(OrderKey) -> bool) -> Option<&Register<T>> {
        self.held().filter(|held| trusted(held.order)).max_by_key(|held| held.order)
    }
}
