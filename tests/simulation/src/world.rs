//! What is the same for all accounts.

use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;
use mono_sync::domain::account::{RefreshPolicy, RefreshRule};
use mono_sync::domain::timestamp::Timestamp;

/// A world: its time, its misfortunes, and how often it refreshes.
#[derive(Clone, Debug)]
pub struct World {
    /// When it begins.
    pub start: Timestamp,
    /// When it ends.
    pub end: Timestamp,
    /// How often accounts are refreshed.
    pub policy: RefreshPolicy,
    /// What happens to webhooks.
    pub network: Network,
    /// What else goes wrong.
    pub accidents: Accidents,
    /// When Mono is down: every call fails, and webhooks are held back.
    pub outages: Vec<Range<Timestamp>>,
    /// When each bank is down.
    pub banks: Vec<Vec<Range<Timestamp>>>,
    /// Decides everything.
    pub seed: u64,
}

/// The share of webhooks that meet each fate.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// Never arrive.
    pub lose: f64,
    /// Arrive twice.
    pub duplicate: f64,
    /// Arrive up to four hours late.
    pub delay: f64,
    /// Arrive again, four hours to two days later.
    pub retry: f64,
    /// Whether those that can carry a time do. In Mono's old API none does.
    pub timed: bool,
}

impl Network {
    /// All arrive, once and soon.
    pub const FAIR: Self = Self { lose: 0.0, duplicate: 0.0, delay: 0.0, retry: 0.0, timed: true };
}

/// The share of what else goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accidents {
    /// Of the syncs: Mono refuses them for the time being (429).
    pub rate_limited: f64,
    /// Of the jobs that take longer: they never end.
    pub never_ending: f64,
    /// Of the accounts that are due: their planner dies when it has marked them.
    pub planner_dies: f64,
    /// Of the syncs: their worker dies when it has the lease, half of them after Mono was asked.
    pub worker_dies: f64,
}

const DAY: Duration = Duration::from_hours(24);
const BANKS: usize = 25;

impl World {
    /// A world of so many days, in which all goes well.
    pub fn fair(days: u32, interval_hours: u32) -> Self {
        let start = Timestamp::from_millis(1_767_222_000_000);
        Self {
            start,
            end: start + days * DAY,
            policy: RefreshPolicy {
                rule: RefreshRule::Interval,
                interval: Some(interval_hours * Duration::from_hours(1)),
                cooldown: Duration::from_mins(5),
            },
            network: Network::FAIR,
            accidents: Accidents::default(),
            outages: Vec::new(),
            banks: vec![Vec::new(); BANKS],
            seed: 1,
        }
    }

    /// One like the real one: 1 % of the webhooks are lost, 2 % repeated, 5 % delayed, one in a
    /// thousand comes again within two days; Mono is down for an hour every month, and each bank for 2
    /// to 20 hours every second month; of a thousand syncs two are refused, of ten thousand slow jobs
    /// one never ends, and of a million accounts one planner and one worker die.
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

    /// The same, but a fifth of the webhooks is lost, a fifth comes twice, a fifth late and a tenth again within two
    /// days; a tenth of the syncs is refused, a tenth of the slow jobs never ends, and one message in twenty meets a
    /// planner or worker that crashes.
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

    /// When Mono comes back, if it is down at this time.
    pub fn outage(&self, at: Timestamp) -> Option<Timestamp> {
        self.outages.iter().find(|outage| outage.contains(&at)).map(|outage| outage.end)
    }
}
