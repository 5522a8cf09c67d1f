//! A circuit breaker for the automatic refresh and imports. Calls pause if Mono fails in the same way for every
//! account: an empty wallet, a rejected key or plan, an outage. After each pause, one account is the probe.

use std::time::Duration;

use crate::domain::timestamp::Timestamp;

/// The state of the circuit breaker. It is closed at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    /// The number of consecutive failures.
    pub failures: u32,
    /// No calls to Mono before this time. A rate limit of Mono (429) sets it too.
    pub paused_until: Option<Timestamp>,
    /// The length of the pause. It is set as long as the breaker is open.
    pub pause: Option<Duration>,
}

/// Whether calls to Mono are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Calls are allowed.
    Open,
    /// One call is allowed, for the worker that [claims](Breaker::claimed) the probe.
    Probe,
    /// No calls before this time.
    PausedUntil(Timestamp),
}

/// The number of consecutive failures that opens the breaker. A single account causes fewer.
const MAX_FAILURES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_mins(5);
const MAX_PAUSE: Duration = Duration::from_hours(1);
/// The time limit of a probe. After that, the worker with the probe has finished or crashed.
const PROBE_TIME: Duration = Duration::from_mins(2);

impl Breaker {
    /// Whether calls to Mono are allowed at this time.
    pub fn admit(&self, now: Timestamp) -> Admission {
        match (self.paused_until.filter(|until| now < *until), self.pause) {
            (Some(until), _) => Admission::PausedUntil(until),
            (None, Some(_)) => Admission::Probe,
            (None, None) => Admission::Open,
        }
    }

    /// The breaker while one worker holds the probe.
    pub fn claimed(self, now: Timestamp) -> Self {
        Self { paused_until: Some(now + PROBE_TIME), ..self }
    }

    /// The breaker after a worker released the probe without a call. Another worker may claim it.
    pub fn unclaimed(self) -> Self {
        Self { paused_until: None, ..self }
    }

    /// The breaker after a failure that is not specific to the account. While the breaker is open, late failures of
    /// earlier calls are ignored.
    pub fn after_failure(self, now: Timestamp) -> Self {
        let failures = self.failures.saturating_add(1);
        if self.pause.is_some() || failures < MAX_FAILURES {
            return Self { failures, ..self };
        }
        self.paused(FIRST_PAUSE, now)
    }

    /// The breaker after a failed [probe](Admission::Probe).
    pub fn after_failed_probe(self, now: Timestamp) -> Self {
        let pause = self.pause.map_or(FIRST_PAUSE, |pause| (pause * 2).min(MAX_PAUSE));
        self.paused(pause, now)
    }

    fn paused(self, pause: Duration, now: Timestamp) -> Self {
        Self { paused_until: Some(now + pause), pause: Some(pause), ..self }
    }

    /// The breaker after any other response. It is closed, but a pause that a rate limit of Mono set stays.
    pub fn after_success(self) -> Self {
        let rate_limited_until = self.paused_until.filter(|_| self.pause.is_none());
        Self { paused_until: rate_limited_until, ..Self::default() }
    }

    /// The breaker after a rate limit of Mono until this time.
    pub fn after_rate_limit(self, until: Timestamp) -> Self {
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
    fn five_failures_open_the_breaker_with_back_off_from_five_minutes_to_one_hour() {
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
    fn late_failure_does_not_extend_the_pause() {
        assert_eq!(failed(9).paused_until, failed(5).paused_until);
    }

    #[test]
    fn claimed_probe_pauses_other_workers_for_its_time_limit() {
        let open = failed(5);
        let claimed = open.claimed(at(5));
        assert!(matches!(claimed.admit(at(6)), Admission::PausedUntil(_)));
        assert_eq!(claimed.admit(at(7)), Admission::Probe);
        assert_eq!(
            claimed.after_success(),
            Breaker::default(),
            "a successful probe closes the breaker"
        );
    }

    #[test]
    fn rate_limit_pauses_without_a_probe() {
        let limited = Breaker::default().after_rate_limit(at(3));
        assert_eq!(limited.admit(at(2)), Admission::PausedUntil(at(3)));
        assert_eq!(limited.admit(at(3)), Admission::Open);
        assert_eq!(limited.after_success(), limited);
        assert_eq!(
            limited.after_rate_limit(at(1)),
            limited,
            "a rate limit never shortens the pause"
        );
    }

    #[test]
    fn empty_wallet_causes_at_most_40_attempts_a_day() {
        let (mut breaker, mut attempts) = (Breaker::default(), 0);
        for second in 0..24 * 3_600 {
            let now = Timestamp::from_millis(second * 1_000);
            // Ten concurrent calls while the breaker is closed.
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
