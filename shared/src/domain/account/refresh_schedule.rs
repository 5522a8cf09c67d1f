//! When an account is to be refreshed next, if nothing happens before.

use std::time::Duration;

use super::sync_attempt::SYSTEM_ERRORS;
use super::{Account, Link, Mark, Registers, ShortHash, Status, TimeSource};
use crate::domain::timestamp::Timestamp;

/// How often the accounts of a stack are refreshed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshPolicy {
    /// How old a healthy account may grow. `None`: no automatic refresh, whatever the accounts' own rules.
    pub interval: Option<Duration>,
    /// The rule of accounts that have none of their own.
    pub rule: RefreshRule,
    /// How long after one sync of an account no other is made.
    pub cooldown: Duration,
}

/// When an account is refreshed by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RefreshRule {
    /// At the stack's interval.
    Interval,
    /// Never.
    Off,
    /// Every six hours.
    SixHours,
    /// Every twelve hours.
    TwelveHours,
    /// Every day.
    Daily,
    /// Every week.
    Weekly,
    /// At the stack's interval, if somebody has read the account since its last sync.
    OnRead,
}

impl RefreshRule {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Interval,
        Self::Off,
        Self::SixHours,
        Self::TwelveHours,
        Self::Daily,
        Self::Weekly,
        Self::OnRead,
    ];

    /// Its word in parameters, in the API and in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Interval => "interval",
            Self::Off => "off",
            Self::SixHours => "6h",
            Self::TwelveHours => "12h",
            Self::Daily => "24h",
            Self::Weekly => "weekly",
            Self::OnRead => "on_read",
        }
    }

    /// The rule of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.as_str() == word)
    }
}

/// Both events of a recovery can be lost: an account that waits for its customer is looked at again after
/// this time.
const REAUTH_CHECK: Duration = Duration::from_hours(7 * 24);
const HOUR: Duration = Duration::from_hours(1);
pub(super) const SHORTEST_BACKOFF: Duration = HOUR;
pub(super) const LONGEST_BACKOFF: Duration = Duration::from_hours(7 * 24);

impl Account {
    /// When the next refresh is due; `None` is never. Follows the status without
    /// [`Syncing`](Status::Syncing), so it needs no clock and can be stored.
    ///
    /// "Attempt" below is the newest sync of ours of which Mono told, or may tell, what it came to.
    pub fn next_refresh_at(&self, policy: RefreshPolicy) -> Option<Timestamp> {
        policy.interval?;
        let (interval, due) = match self.link() {
            Link::Ended { .. } | Link::InDoubt { .. } => {
                return self.link_check_due().map(|(_, due)| due);
            }
            Link::Linked => {
                let interval = self.interval(policy)?;
                (interval, self.due_at(interval, policy.cooldown))
            }
        };
        // Where Mono refuses the whole system, or is down, nothing is learnt of the account. It stays due,
        // by exponential back-off.
        let troubled = self.registers.attempt.as_ref().filter(|attempt| {
            SYSTEM_ERRORS.contains(&attempt.value.outcome.as_str()) && attempt.order.at >= due
        });
        Some(troubled.map_or(due, |attempt| {
            let at = attempt.order.at;
            at + at.since(due).max(SHORTEST_BACKOFF).min(interval)
        }))
    }

    /// The rule by which the account is refreshed: its own, or else the stack's.
    pub fn refresh_rule(&self, policy: RefreshPolicy) -> RefreshRule {
        self.refresh.unwrap_or(policy.rule)
    }

    /// How old the account may grow at present; `None` if it is not to be refreshed.
    pub(super) fn interval(&self, policy: RefreshPolicy) -> Option<Duration> {
        let interval = policy.interval?;
        if self.is_payment_only() {
            return None;
        }
        match self.refresh_rule(policy) {
            RefreshRule::Interval => Some(interval),
            RefreshRule::Off => None,
            RefreshRule::SixHours => Some(6 * HOUR),
            RefreshRule::TwelveHours => Some(12 * HOUR),
            RefreshRule::Daily => Some(24 * HOUR),
            RefreshRule::Weekly => Some(7 * 24 * HOUR),
            RefreshRule::OnRead => (self.read_at > self.last_synced_at()).then_some(interval),
        }
    }

    /// Whether a read of this time is to be noted: under [`OnRead`](RefreshRule::OnRead), the first one since the last
    /// sync, and then one an interval.
    pub fn is_read_noted(&self, now: Timestamp, policy: RefreshPolicy) -> bool {
        let interval = policy.interval.filter(|_| self.refresh_rule(policy) == RefreshRule::OnRead);
        interval.is_some_and(|interval| {
            self.read_at.is_none_or(|read_at| {
                Some(read_at) <= self.last_synced_at() || read_at + interval <= now
            })
        })
    }

    /// Whether nothing is known but that the account was connected: a payment sends such an event as well, and of
    /// nothing else it is told [docs.mono.co, one-time payments].
    pub fn is_payment_only(&self) -> bool {
        let connected = Registers { linked: None, last_event: None, ..self.registers.clone() };
        self.registers.linked.is_some() && connected.tells_nothing()
    }

    fn due_at(&self, interval: Duration, cooldown: Duration) -> Timestamp {
        let standing = self.status_without_sync();
        if let Some(at) = self.weak_fact_to_verify() {
            return self.attempted_at().map_or(at, |attempt| at.max(attempt + interval));
        }
        match standing.status {
            Status::ReauthorisationRequired => {
                self.attempted_at().map_or(standing.at, |at| at.max(standing.at)) + REAUTH_CHECK
            }
            Status::Healthy | Status::Partial => {
                let synced = self.last_synced_at().unwrap_or_else(|| self.known_since());
                let newest = self.attempted_at().unwrap_or(synced).max(synced);
                newest + interval - interval.mul_f64(self.spread(newest))
            }
            _ => self.backed_off(interval, cooldown),
        }
    }

    /// The time of a weak fact that one sync has to verify, because a retry may have delivered it up to two days
    /// late. It is a failure or demand that only weak facts report, or a weak confirmed pull that is newer than a
    /// standing demand. `None` once a later attempt was made, or an attempt reported the same failure.
    pub(super) fn weak_fact_to_verify(&self) -> Option<Timestamp> {
        let (bad, word) = match self.status_without_sync().status {
            Status::ReauthorisationRequired => {
                (self.unresolved_reauth().into_iter().collect(), "reauthorisation_required")
            }
            Status::Failed => (self.failures().collect::<Vec<_>>(), "failed"),
            _ => return None,
        };
        let all_weak = bad.iter().all(|order| order.time_source == TimeSource::Receipt);
        let attempt = self.registers.attempt.as_ref();
        let is_told = attempt.is_some_and(|attempt| attempt.value.outcome == word);
        let bad = bad.into_iter().max().filter(|_| all_weak && !is_told);
        let good = self.confirmed_pulls().filter(|order| !self.is_believed(*order)).max();
        let at = bad.max(good).map(|order| order.at)?;
        (self.attempted_at() < Some(at)).then_some(at)
    }

    /// Exponential back-off: each failed attempt doubles the time since the account last worked, was re-authorised or
    /// was linked. An attempt without a result is no failure of an account that ever worked.
    fn backed_off(&self, interval: Duration, cooldown: Duration) -> Timestamp {
        let first_seen = self.known_since();
        let Some(attempt) = self.attempted_at() else {
            return self.registers.last_event.unwrap_or(first_seen) + cooldown;
        };
        let backoff = |since| attempt.since(since).clamp(SHORTEST_BACKOFF, LONGEST_BACKOFF);
        let relinked = self.former_link_ended().map(|ended| ended.at);
        let well = self.sign_of_life().map(|sign| sign.at).max(relinked);
        attempt
            + match well {
                None => backoff(first_seen),
                Some(well_at) if self.is_answered(attempt) => backoff(well_at),
                Some(well_at) => backoff(well_at).min(interval),
            }
    }

    /// Whether anything told how a pull ended after this time.
    fn is_answered(&self, attempt: Timestamp) -> bool {
        let pull = self.registers.pull.as_ref().map(|pull| pull.order);
        pull.max(self.failures().max()).is_some_and(|told| told.at >= attempt)
    }

    /// The newest attempt at what the account is refreshed for: one at the balance alone counts where
    /// the balance is all there is.
    fn attempted_at(&self) -> Option<Timestamp> {
        let at = |mark: Option<&Mark>| mark.map(|mark| mark.order.at);
        let reached = at(self.registers.last_billable_attempt.as_ref());
        let balance = self
            .is_balance_only()
            .then(|| at(self.registers.last_billable_balance_attempt.as_ref()))
            .flatten();
        reached.max(balance)
    }

    /// How much of an interval an account is refreshed early: between a fiftieth and a tenth.
    ///
    /// One half of it is the account's own, so that accounts that were all refreshed at once drift
    /// apart; the other differs each time, since plans are made by the hour, and without it all that
    /// drift by less than an hour would stay together for ever. The fiftieth makes up for that hour: an
    /// account of which one refresh came to nothing is less than two intervals and two hours old when
    /// the next one comes.
    fn spread(&self, newest: Timestamp) -> f64 {
        let own = ShortHash::of(self.id.as_str()).fraction();
        let of_this_time = ShortHash::of(&format!("{} {}", self.id, newest.millis())).fraction();
        0.02 + 0.04 * own + 0.04 * of_this_time
    }
}
