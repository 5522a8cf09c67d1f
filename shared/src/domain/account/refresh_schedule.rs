//! When an account is to be refreshed next, if no new fact arrives.

use std::time::Duration;

use super::sync_attempt::SYSTEM_ERRORS;
use super::{Account, Link, Mark, Registers, ShortHash, Status, TimeSource};
use crate::domain::timestamp::Timestamp;

/// How often the accounts of a stack are refreshed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshPolicy {
    /// The maximum age of the data of a healthy account. `None` disables the automatic refresh for all accounts.
    pub interval: Option<Duration>,
    /// The rule of accounts without their own rule.
    pub rule: RefreshRule,
    /// The minimum time between two syncs of one account.
    pub cooldown: Duration,
    /// How long an unlinked account is kept. `None`: for ever.
    pub unlinked_retention: Option<Duration>,
}

/// When an account is refreshed automatically.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RefreshRule {
    /// At the stack's interval.
    Interval,
    Off,
    SixHours,
    TwelveHours,
    Daily,
    Weekly,
    /// At the stack's interval, if the account was read after its last sync.
    OnRead,
}

impl RefreshRule {
    pub const ALL: [Self; 7] = [
        Self::Interval,
        Self::Off,
        Self::SixHours,
        Self::TwelveHours,
        Self::Daily,
        Self::Weekly,
        Self::OnRead,
    ];

    /// The value in parameters, in the API and in the table.
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

    /// Parses the rule of one account. `Some(None)` is `default`: the stack's rule. Only a parameter of the stack sets
    /// [`Interval`](Self::Interval).
    pub fn of_account(word: &str) -> Option<Option<Self>> {
        if word == "default" {
            return Some(None);
        }
        Self::from_word(word).filter(|rule| *rule != Self::Interval).map(Some)
    }

    /// Parses the value in parameters, in the API and in the table.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.as_str() == word)
    }
}

/// Both events of a recovery can be lost. So an account that requires re-authorisation is synced again after this
/// time.
const REAUTH_CHECK: Duration = Duration::from_hours(7 * 24);
const HOUR: Duration = Duration::from_hours(1);
pub(super) const SHORTEST_BACKOFF: Duration = HOUR;
pub(super) const LONGEST_BACKOFF: Duration = Duration::from_hours(7 * 24);

impl Account {
    /// When the next refresh is due: a read that verifies the account, or a sync. `None` means never. The result
    /// depends on the status without [`Syncing`](Status::Syncing), so it needs no clock and can be stored.
    ///
    /// Below, "attempt" means this system's newest sync whose outcome Mono reported or may still report.
    pub fn next_refresh_at(&self, policy: RefreshPolicy) -> Option<Timestamp> {
        if self.erasure.is_some() {
            return None;
        }
        let verification = self.verification_due().map(|(_, due)| due);
        verification.into_iter().chain(self.next_sync_at(policy)).min()
    }

    /// When the next sync is due. An account that only webhooks have named gets one attempt.
    pub(super) fn next_sync_at(&self, policy: RefreshPolicy) -> Option<Timestamp> {
        // A sync settles a doubt about the link too, and has a budget of its own.
        let may_be_linked =
            matches!(self.link(), Link::Linked | Link::InDoubt { ended_at: None, .. });
        let interval = self.interval(policy).filter(|_| may_be_linked)?;
        let is_tried = self.attempted_at().is_some() || self.denied_at().is_some();
        if is_tried && !self.registers.is_proven {
            return None;
        }
        let due = self.due_at(interval, policy.cooldown);
        // If Mono refuses the whole system or is down, the attempt says nothing about the account. The account stays
        // due, with exponential back-off.
        let system_error = self.registers.attempt.as_ref().filter(|attempt| {
            SYSTEM_ERRORS.contains(&attempt.value.outcome.as_str()) && attempt.order.at >= due
        });
        Some(system_error.map_or(due, |attempt| {
            let at = attempt.order.at;
            at + at.since(due).max(SHORTEST_BACKOFF).min(interval)
        }))
    }

    /// The refresh rule of the account: its own rule, or else the stack's.
    pub fn refresh_rule(&self, policy: RefreshPolicy) -> RefreshRule {
        self.refresh.unwrap_or(policy.rule)
    }

    /// The current refresh interval of the account. `None` if the account is not refreshed.
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

    /// Whether a read at this time is recorded. Under [`OnRead`](RefreshRule::OnRead), the first read after the last
    /// sync is recorded, and then one read per interval. Under other rules, no read is recorded.
    pub fn is_read_noted(&self, now: Timestamp, policy: RefreshPolicy) -> bool {
        let interval = policy.interval.filter(|_| self.refresh_rule(policy) == RefreshRule::OnRead);
        interval.is_some_and(|interval| {
            self.read_at.is_none_or(|read_at| {
                Some(read_at) <= self.last_synced_at() || read_at + interval <= now
            })
        })
    }

    /// Whether the account has only a connected event. A one-time payment sends only such an event
    /// [docs.mono.co, one-time payments].
    pub fn is_payment_only(&self) -> bool {
        self.registers.linked.is_some() && !self.is_data_link()
    }

    /// Whether a fact shows that the account is linked for data. A connected event alone does not, because a one-time
    /// payment sends it too. A sync attempt without a result does not either.
    pub fn is_data_link(&self) -> bool {
        let others = Registers { linked: None, last_event: None, ..self.registers.clone() };
        !others.hold_only_attempts()
    }

    fn due_at(&self, interval: Duration, cooldown: Duration) -> Timestamp {
        let current = self.status_without_sync();
        if let Some(at) = self.weak_fact_to_verify() {
            return self.attempted_at().map_or(at, |attempt| at.max(attempt + interval));
        }
        match current.status {
            Status::ReauthorisationRequired => {
                self.attempted_at().map_or(current.at, |at| at.max(current.at)) + REAUTH_CHECK
            }
            Status::Healthy | Status::Partial => {
                let synced = self.last_synced_at().unwrap_or_else(|| self.known_since());
                let newest = self.attempted_at().unwrap_or(synced).max(synced);
                newest + interval - interval.mul_f64(self.jitter(newest))
            }
            _ => self.backed_off(interval, cooldown),
        }
    }

    /// The time of a weak fact that one sync has to verify. A weak fact may be a redelivery that arrived up to 48
    /// hours late. Two kinds of weak facts need a verification:
    ///
    /// - a failure or a requirement of re-authorisation that only weak facts report
    /// - a confirmed pull that is newer than an unresolved requirement of re-authorisation
    ///
    /// `None` after a later attempt, or if an attempt reported the same failure.
    pub(super) fn weak_fact_to_verify(&self) -> Option<Timestamp> {
        let (negative, outcome) = match self.status_without_sync().status {
            Status::ReauthorisationRequired => {
                (self.unresolved_reauth().into_iter().collect(), "reauthorisation_required")
            }
            Status::Failed => (self.failures().collect::<Vec<_>>(), "failed"),
            _ => return None,
        };
        let all_weak = negative.iter().all(|order| order.time_source == TimeSource::Receipt);
        let attempt = self.registers.attempt.as_ref();
        let is_reported = attempt.is_some_and(|attempt| attempt.value.outcome == outcome);
        let negative = negative.into_iter().max().filter(|_| all_weak && !is_reported);
        let weak_pull = self.confirmed_pulls().filter(|order| !self.is_trusted(*order)).max();
        let at = negative.max(weak_pull).map(|order| order.at)?;
        (self.attempted_at() < Some(at)).then_some(at)
    }

    /// Exponential back-off: each failed attempt doubles the time since the last confirmed pull, re-authorisation or
    /// link. If the account has ever worked, an attempt without a result does not count as a failure.
    fn backed_off(&self, interval: Duration, cooldown: Duration) -> Timestamp {
        let first_seen = self.known_since();
        let Some(attempt) = self.attempted_at() else {
            return self.registers.last_event.unwrap_or(first_seen) + cooldown;
        };
        let backoff = |since| attempt.since(since).clamp(SHORTEST_BACKOFF, LONGEST_BACKOFF);
        let relinked = self.former_link_ended().map(|ended| ended.at);
        let last_success = self.sign_of_life().map(|sign| sign.at).max(relinked);
        attempt
            + match last_success {
                None => backoff(first_seen),
                Some(last_success) if self.is_answered(attempt) => backoff(last_success),
                Some(last_success) => backoff(last_success).min(interval),
            }
    }

    /// Whether a fact at or after this time reported the outcome of a pull.
    fn is_answered(&self, attempt: Timestamp) -> bool {
        let pull = self.registers.pull.as_ref().map(|pull| pull.order);
        pull.max(self.failures().max()).is_some_and(|reported| reported.at >= attempt)
    }

    /// The newest attempt. A balance sync counts only for a balance-only account.
    fn attempted_at(&self) -> Option<Timestamp> {
        let at = |mark: Option<&Mark>| mark.map(|mark| mark.order.at);
        let billable = at(self.registers.last_billable_attempt.as_ref());
        let balance = self
            .is_balance_only()
            .then(|| at(self.registers.last_billable_balance_attempt.as_ref()))
            .flatten();
        billable.max(balance)
    }

    /// The jitter: the part of an interval by which an account is refreshed early. Between 2 % and 10 %.
    ///
    /// One half of the variable part is fixed for the account, so that accounts that were refreshed at the same time
    /// drift apart. The other half differs each time. Without it, accounts that drift by less than an hour would stay
    /// together, because plans are made once an hour. The constant 2 % compensates for this hour: after one failed
    /// refresh, the account is less than two intervals and two hours old at the next refresh.
    fn jitter(&self, newest: Timestamp) -> f64 {
        let own = ShortHash::of(self.id.as_str()).fraction();
        let varying = ShortHash::of(&format!("{} {}", self.id, newest.millis())).fraction();
        0.02 + 0.04 * own + 0.04 * varying
    }
}
