//! The properties that are the same for all accounts.

use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;
use mono_sync::domain::account::{RefreshPolicy, RefreshRule};
use mono_sync::domain::timestamp::Timestamp;

/// A world: its time, its faults and its refresh policy.
#[derive(Clone, Debug)]
pub struct World {
    pub start: Timestamp,
    pub end: Timestamp,
    pub policy: RefreshPolicy,
    /// The faults of webhooks.
    pub network: Network,
    /// The other faults.
    pub accidents: Accidents,
    /// Mono's outages. Then every call fails, and webhooks are sent after the outage.
    pub outages: Vec<Range<Timestamp>>,
    /// The outages of each bank.
    pub banks: Vec<Vec<Range<Timestamp>>>,
    /// Determines all random events.
    pub seed: u64,
}

/// The share of webhooks with each fault.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// These webhooks never arrive.
    pub lose: f64,
    /// These webhooks arrive twice.
    pub duplicate: f64,
    /// These webhooks arrive up to four hours late.
    pub delay: f64,
    /// These webhooks arrive again, four hours to two days later.
    pub retry: f64,
    /// Whether webhooks have a timestamp where Mono's new API has one. In the old API, none has.
    pub timed: bool,
}

impl Network {
    /// All webhooks arrive once and soon.
    pub const FAIR: Self = Self { lose: 0.0, duplicate: 0.0, delay: 0.0, retry: 0.0, timed: true };
}

/// The shares of the other faults.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accidents {
    /// The share of syncs that Mono refuses with 429.
    pub rate_limited: f64,
    /// The share of slow jobs that never end.
    pub never_ending: f64,
    /// The share of due accounts whose planner crashes after it has marked them.
    pub planner_dies: f64,
    /// The share of syncs whose worker crashes while it has the lease. Half of them have already called
    /// Mono.
    pub worker_dies: f64,
}

const DAY: Duration = Duration::from_hours(24);
const BANKS: usize = 25;

impl World {
    /// A world of this number of days without faults.
    pub fn fair(days: u32, interval_hours: u32) -> Self {
        let start = Timestamp::from_millis(1_767_222_000_000);
        Self {
            start,
            end: start + days * DAY,
            policy: RefreshPolicy {
                rule: RefreshRule::Interval,
                interval: Some(interval_hours * Duration::from_hours(1)),
                cooldown: Duration::from_mins(5),
                unlinked_retention: None,
            },
            network: Network::FAIR,
            accidents: Accidents::default(),
            outages: Vec::new(),
            banks: vec![Vec::new(); BANKS],
            seed: 1,
        }
    }

    /// A world like the real one:
    ///
    /// - 1 % of the webhooks are lost, 2 % duplicated and 5 % delayed. One in a thousand arrives again
    ///   within two days.
    /// - Mono is down for an hour every month, and each bank for 2 to 20 hours every second month.
    /// - Two in a thousand syncs are refused, and one in ten thousand slow jobs never ends.
    /// - The planner and the worker each crash for one in a million accounts.
    pub fn rough(days: u32, interval_hours: u32, seed: u64) -> Self {
        let fair = Self::fair(days, interval_hours);
        let mut rng = Rng::with_seed(seed);
        let mut down = |every: u32, least: u64, most: u64| {
            let periods = (0..days.div_ceil(every)).map(|period| {
                let begin = fair.start
                    + period * every * DAY
                    + Duration::from_secs(rng.u64(0..u64::from(every) * 86_400));
                begin..begin + Duration::from_hours(rng.u64(least..=most))
            });
            periods.collect::<Vec<_>>()
        };
        Self {
            network: Network {
                lose: 0.01,
                duplicate: 0.02,
                delay: 0.05,
                retry: 0.001,
                timed: true,
            },
            accidents: Accidents {
                rate_limited: 0.002,
                never_ending: 1e-4,
                planner_dies: 1e-6,
                worker_dies: 1e-6,
            },
            outages: down(30, 1, 1),
            banks: (0..BANKS).map(|_| down(60, 2, 20)).collect(),
            seed,
            ..fair
        }
    }

    /// The rough world with more faults. A fifth of the webhooks is lost, a fifth is duplicated, a fifth is
    /// late, and a tenth arrives again within two days. A tenth of the syncs is refused, and a tenth of the
    /// slow jobs never ends. The planner and the worker each crash for one message in twenty.
    pub fn harsh(days: u32, interval_hours: u32, seed: u64) -> Self {
        Self {
            network: Network { lose: 0.2, duplicate: 0.2, delay: 0.2, retry: 0.1, timed: true },
            accidents: Accidents {
                rate_limited: 0.1,
                never_ending: 0.1,
                planner_dies: 0.05,
                worker_dies: 0.05,
            },
            ..Self::rough(days, interval_hours, seed)
        }
    }

    /// The end of Mono's outage, if there is one at this time.
    pub fn outage(&self, at: Timestamp) -> Option<Timestamp> {
        self.outages.iter().find(|outage| outage.contains(&at)).map(|outage| outage.end)
    }
}
