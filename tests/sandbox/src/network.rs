//! What can happen to a webhook on its way.

use std::time::Duration;

use fastrand::Rng;
use serde::{Deserialize, Deserializer, Serialize};

use crate::refusal::Refusal;

const LONGEST_DELAY_SECONDS: f64 = 172_800.0;

/// How badly the network behaves: likelihoods between 0 and 1, all 0 at first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// Never arrives.
    pub lose: f64,
    /// Arrives twice.
    pub duplicate: f64,
    /// Sets out late.
    pub delay: f64,
    /// How late at most, in seconds of Mono's time.
    pub delay_seconds: f64,
    /// Is overtaken by the next event of the same account.
    pub reorder: f64,
}

impl Default for Network {
    fn default() -> Self {
        Self { lose: 0.0, duplicate: 0.0, delay: 0.0, delay_seconds: 60.0, reorder: 0.0 }
    }
}

impl Network {
    /// Itself, if every number is in range.
    pub(crate) fn checked(self) -> Result<Self, Refusal> {
        let likelihoods = [
            ("lose", self.lose),
            ("duplicate", self.duplicate),
            ("delay", self.delay),
            ("reorder", self.reorder),
        ];
        for (name, likelihood) in likelihoods {
            if !(0.0..=1.0).contains(&likelihood) {
                return Err(Refusal::Probability(name));
            }
        }
        if !(0.0..=LONGEST_DELAY_SECONDS).contains(&self.delay_seconds) {
            return Err(Refusal::DelaySeconds);
        }
        Ok(self)
    }

    /// Draws one event's fate. The number of draws never varies, so that the same seed gives the
    /// same accidents to the same event whatever the likelihoods of the others.
    fn draw(&self, rng: &mut Rng) -> NetworkFate {
        let [lose, duplicate, delay, how_late, reorder] = std::array::from_fn(|_| rng.f64());
        if lose < self.lose {
            NetworkFate::Lost
        } else if duplicate < self.duplicate {
            NetworkFate::Duplicated(2)
        } else if delay < self.delay {
            NetworkFate::Delayed(Duration::from_secs_f64(how_late * self.delay_seconds))
        } else if reorder < self.reorder {
            NetworkFate::Overtaken
        } else {
            NetworkFate::Prompt
        }
    }
}

/// What happens to one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkFate {
    /// Sets out as soon as the events before it, of the same account, have been tried once.
    Prompt,
    /// Never arrives, and is never tried again.
    Lost,
    /// Arrives this many times, all copies at once.
    Duplicated(u32),
    /// Sets out after this much of Mono's time; later events do not wait for it.
    Delayed(#[serde(deserialize_with = "seconds")] Duration),
    /// Sets out only when the next event of the same account has been tried, or after a minute of
    /// Mono's time if there is none.
    Overtaken,
}

/// A number of whole seconds.
pub(crate) fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u32::deserialize(deserializer).map(|seconds| Duration::from_secs(seconds.into()))
}

/// In which order a list of events sets out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As they happened.
    AsGiven,
    /// The last one first.
    Reversed,
    /// As the seed has it.
    Shuffled,
}

/// The network and the dice it is played with.
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

    pub(crate) fn fate(&mut self) -> NetworkFate {
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

    fn fates(network: Network, seed: u64) -> Vec<NetworkFate> {
        let mut chance = Chance::new(seed);
        chance.set_network(network);
        (0..200).map(|_| chance.fate()).collect()
    }

    fn rough() -> Network {
        Network { lose: 0.2, duplicate: 0.2, delay: 0.2, reorder: 0.2, ..Network::default() }
    }

    #[test]
    fn good_network_delivers_everything_promptly() {
        let fates = fates(Network::default(), 1);
        assert!(fates.iter().all(|fate| *fate == NetworkFate::Prompt));
    }

    #[test]
    fn same_seed_brings_the_same_accidents() {
        assert_eq!(fates(rough(), 1), fates(rough(), 1));
        assert_ne!(fates(rough(), 1), fates(rough(), 2));
    }

    #[test]
    fn every_accident_happens_on_a_rough_network() {
        let fates = fates(rough(), 1);
        let delayed = |fate: &NetworkFate| matches!(fate, NetworkFate::Delayed(_));
        assert!(fates.contains(&NetworkFate::Lost));
        assert!(fates.contains(&NetworkFate::Duplicated(2)));
        assert!(fates.iter().any(delayed));
        assert!(fates.contains(&NetworkFate::Overtaken));
        assert!(fates.contains(&NetworkFate::Prompt));
    }

    #[test]
    fn likelihoods_outside_0_to_1_are_refused_by_name() {
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
