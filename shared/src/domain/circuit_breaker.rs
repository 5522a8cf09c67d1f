//! A circuit breaker around the automatic refresh and imports. When Mono fails alike for every account (an empty wallet,
//! a key or a plan that is refused, an outage), calls pause. After each pause one account is tried.

use std::time::Duration;

use crate::domain::timestamp::Timestamp;

/// How Mono has answered lately. Closed at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    /// Failures one after the other.
    pub failures: u32,
    /// Until when Mono is left alone. Mono's own wish (429) sets it too.
    pub paused_until: Option<Timestamp>,
    /// How long the pause is. Set as long as the breaker is open.
    pub pause: Option<Duration>,
}

/// Whether Mono may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Yes.
    Open,
    /// By one alone, who [claims](Breaker::claimed) it.
    Probe,
    /// Not before this time.
    PausedUntil(Timestamp),
}

/// Consecutive failures that open the breaker. One account alone causes fewer.
const MOST_FAILURES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_mins(5);
const LONGEST_PAUSE: Duration = Duration::from_hours(1);
/// Whoever probes has an answer by then, or has died.
const PROBE_TIME: Duration = Duration::from_mins(2);

impl Breaker {
    /// Whether Mono may be asked at this time.
    pub fn admit(&self, now: Timestamp) -> Admission {
        match (self.paused_until.filter(|until| now < *until), self.pause) {
            (Some(until), _) => Admission::PausedUntil(until),
            (None, Some(_)) => Admission::Probe,
            (None, None) => Admission::Open,
        }
    }

    /// The breaker while one account is tried.
    pub fn claimed(self, now: Timestamp) -> Self {
        Self { paused_until: Some(now + PROBE_TIME), ..self }
    }

    /// The breaker when whoever was to probe had nothing to ask: another may.
    pub fn unclaimed(self) -> Self {
        Self { paused_until: None, ..self }
    }

    /// The breaker after a failure that says nothing of the account. While the
    /// breaker is open, late failures of earlier calls are ignored.
    pub fn after_failure(self, now: Timestamp) -> Self {
        let failures = self.failures.saturating_add(1);
        if self.pause.is_some() || failures < MOST_FAILURES {
            return Self { failures, ..self };
        }
        self.paused(FIRST_PAUSE, now)
    }

    /// The breaker after the one that [probed](Admission::Probe) has failed as well.
    pub fn after_failed_probe(self, now: Timestamp) -> Self {
        let pause = self.pause.map_or(FIRST_PAUSE, |pause| (pause * 2).min(LONGEST_PAUSE));
        self.paused(pause, now)
    }

    fn paused(self, pause: Duration, now: Timestamp) -> Self {
        Self { paused_until: Some(now + pause), pause: Some(pause), ..self }
    }

    /// The breaker after any other answer: closed. A pause that Mono has asked for stays.
    pub fn after_success(self) -> Self {
        let wished = self.paused_until.filter(|_| self.pause.is_none());
        Self { paused_until: wished, ..Self::default() }
    }

    /// The breaker after Mono has asked to be left alone until then.
    pub fn after_wish(self, until: Timestamp) -> Self {
        Self { paused_until: self.paused_until.max(Some(until)), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: u64) -> Timestamp {
        Timestamp::from_millis(minutes * 60_000)
    }

    fn failed(times: u32) -> Breaker {
        (0..times).fold(Breaker::default(), |breaker, _| breaker.after_failure(at(0)))
    }

    #[test]
    fn four_failures_do_not_open_the_breaker() {
        assert_eq!(failed(4).admit(at(0)), Admission::Open);
        assert_eq!(failed(4).after_success(), Breaker::default());
    }

    #[test]
    fn failures_of_all_open_the_breaker_for_five_minutes_doubling_to_an_hour() {
        let mut breaker = failed(5);
        for pause in [5, 10, 20, 40, 60, 60] {
            assert_eq!(breaker.pause, Some(Duration::from_mins(pause)));
            let until = breaker.paused_until.unwrap();
            assert_eq!(
                breaker.admit(until - Duration::from_secs(1)),
                Admission::PausedUntil(until)
            );
            assert_eq!(breaker.admit(until), Admission::Probe);
            breaker = breaker.claimed(until).after_failed_probe(until);
        }
    }

    #[test]
    fn late_failures_do_not_extend_the_pause() {
        assert_eq!(failed(9).paused_until, failed(5).paused_until);
    }

    #[test]
    fn probe_is_claimed_by_one_worker_until_its_time_is_up() {
        let open = failed(5);
        let claimed = open.claimed(at(5));
        assert!(matches!(claimed.admit(at(6)), Admission::PausedUntil(_)));
        assert_eq!(claimed.admit(at(7)), Admission::Probe);
        assert_eq!(claimed.after_success(), Breaker::default(), "all may go on");
    }

    #[test]
    fn rate_limit_pauses_without_a_probe() {
        let wished = Breaker::default().after_wish(at(3));
        assert_eq!(wished.admit(at(2)), Admission::PausedUntil(at(3)));
        assert_eq!(wished.admit(at(3)), Admission::Open);
        assert_eq!(wished.after_success(), wished);
        assert_eq!(wished.after_wish(at(1)), wished, "it only grows");
    }

    #[test]
    fn day_of_an_empty_wallet_takes_few_attempts_however_many_accounts_wait() {
        let (mut breaker, mut attempts) = (Breaker::default(), 0);
        for second in 0..24 * 3_600 {
            let now = Timestamp::from_millis(second * 1_000);
            // Ten at once, of ten thousand.
            breaker = match breaker.admit(now) {
                Admission::Open => (0..10).fold(breaker, |breaker, _| breaker.after_failure(now)),
                Admission::Probe => breaker.claimed(now).after_failed_probe(now),
                Admission::PausedUntil(_) => continue,
            };
            attempts += if breaker.pause == Some(FIRST_PAUSE) { 10 } else { 1 };
        }
        assert!(attempts <= 40, "{attempts}");
    }
}
