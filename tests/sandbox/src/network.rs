//! The faults of the network between Mono and the webhook.

use std::time::Duration;

use fastrand::Rng;
use serde::{Deserialize, Deserializer, Serialize};

use crate::refusal::Refusal;

const LONGEST_DELAY_SECONDS: f64 = 172_800.0;

/// The faults of the network: probabilities between 0 and 1, by default 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// The webhook never arrives.
    pub lose: f64,
    /// The webhook arrives twice.
    pub duplicate: f64,
    /// The webhook is sent late.
    pub delay: f64,
    /// The longest delay, in seconds of Mono's time.
    pub delay_seconds: f64,
    /// The next event of the same account overtakes the webhook.
    pub reorder: f64,
}

impl Default for Network {
    fn default() -> Self {
        Self { lose: 0.0, duplicate: 0.0, delay: 0.0, delay_seconds: 60.0, reorder: 0.0 }
    }
}

impl Network {
    /// The network, if every number is in range.
    pub(crate) fn checked(self) -> Result<Self, Refusal> {
        let probabilities = [
            ("lose", self.lose),
            ("duplicate", self.duplicate),
            ("delay", self.delay),
            ("reorder", self.reorder),
        ];
        for (name, probability) in probabilities {
            if !(0.0..=1.0).contains(&probability) {
                return Err(Refusal::Probability(name));
            }
        }
        if !(0.0..=LONGEST_DELAY_SECONDS).contains(&self.delay_seconds) {
            return Err(Refusal::DelaySeconds);
        }
        Ok(self)
    }

    /// Draws the fault of one event. The number of draws is constant, so an event's fault does not depend
    /// on the faults of earlier events.
    fn draw(&self, rng: &mut Rng) -> NetworkFault {
        let [lose, duplicate, delay, how_late, reorder] = std::array::from_fn(|_| rng.f64());
        if lose < self.lose {
            NetworkFault::Lost
        } else if duplicate < self.duplicate {
            NetworkFault::Duplicated(2)
        } else if delay < self.delay {
            NetworkFault::Delayed(Duration::from_secs_f64(how_late * self.delay_seconds))
        } else if reorder < self.reorder {
            NetworkFault::Overtaken
        } else {
            NetworkFault::Prompt
        }
    }
}

/// What the network does with one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkFault {
    /// The event is sent after the first attempts of all earlier events of the same account.
    Prompt,
    /// The event never arrives and is never retried.
    Lost,
    /// This number of copies arrives concurrently.
    Duplicated(u32),
    /// The event is sent after this much of Mono's time. Later events do not wait for it.
    Delayed(#[serde(deserialize_with = "seconds")] Duration),
    /// The event is sent after the first attempt of the next event of the same account, or after a minute
    /// of Mono's time if there is none.
    Overtaken,
}

/// A number of whole seconds.
pub(crate) fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u32::deserialize(deserializer).map(|seconds| Duration::from_secs(seconds.into()))
}

/// The order in which a list of events is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// In the order of the list.
    AsGiven,
    /// The last one first.
    Reversed,
    /// In random order, determined by the seed.
    Shuffled,
}

/// The network and its random number generator.
pub(crate) struct Chance {
    network: Network,
    rng: Rng,
}

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self { network: Network::default(), rng: Rng::with_seed(seed) }
    }

    pub(crate) fn set_network(&mut self, network: Network) {
        self.network = network;
    }

    pub(crate) fn network_fault(&mut self) -> NetworkFault {
        self.network.draw(&mut self.rng)
    }

    pub(crate) fn arrange<T>(&mut self, items: &mut [T], order: Order) {
        match order {
            Order::AsGiven => {}
            Order::Reversed => items.reverse(),
            Order::Shuffled => self.rng.shuffle(items),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(network: Network, seed: u64) -> Vec<NetworkFault> {
        let mut chance = Chance::new(seed);
        chance.set_network(network);
        (0..200).map(|_| chance.network_fault()).collect()
    }

    fn unreliable() -> Network {
        Network { lose: 0.2, duplicate: 0.2, delay: 0.2, reorder: 0.2, ..Network::default() }
    }

    #[test]
    fn good_network_delivers_everything_promptly() {
        let faults = faults(Network::default(), 1);
        assert!(faults.iter().all(|network_fault| *network_fault == NetworkFault::Prompt));
    }

    #[test]
    fn same_seed_draws_the_same_fates() {
        assert_eq!(faults(unreliable(), 1), faults(unreliable(), 1));
        assert_ne!(faults(unreliable(), 1), faults(unreliable(), 2));
    }

    #[test]
    fn unreliable_network_draws_every_fate() {
        let faults = faults(unreliable(), 1);
        let delayed =
            |network_fault: &NetworkFault| matches!(network_fault, NetworkFault::Delayed(_));
        assert!(faults.contains(&NetworkFault::Lost));
        assert!(faults.contains(&NetworkFault::Duplicated(2)));
        assert!(faults.iter().any(delayed));
        assert!(faults.contains(&NetworkFault::Overtaken));
        assert!(faults.contains(&NetworkFault::Prompt));
    }

    #[test]
    fn probability_outside_0_to_1_is_refused_by_name() {
        let network = Network { duplicate: 1.5, ..Network::default() };
        assert_eq!(network.checked(), Err(Refusal::Probability("duplicate")));
    }

    #[test]
    fn shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..50).collect();
        Chance::new(3).arrange(&mut items, Order::Shuffled);
        assert!(!items.is_sorted());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
