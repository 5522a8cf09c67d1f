//! When an account is to be refreshed next, if nothing happens before.

use std::time::Duration;

use super::{Account, Evidence, OrderKey, ShortHash, Status};
use crate::timestamp::Timestamp;

/// How often accounts are refreshed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshPolicy {
    /// How old a healthy account may grow. `None`: no automatic refresh.
    pub interval: Option<Duration>,
    /// How long after one sync of an account no other is made.
    pub cooldown: Duration,
}

/// Both events of a recovery can be lost: an account that waits for its customer, or was unlinked, is
/// looked at again after this time.
const LINK_CHECK: Duration = Duration::from_hours(7 * 24);
const SHORTEST_BACKOFF: Duration = Duration::from_hours(1);
const LONGEST_BACKOFF: Duration = Duration::from_hours(7 * 24);

impl Account {
    /// When the next refresh is due; `None` is never. Follows the status without
    /// [`Syncing`](Status::Syncing), so it needs no clock and can be stored.
    ///
    /// "Attempt" below is the newest sync of ours that reached Mono.
    #[must_use]
    pub fn next_refresh_at(&self, policy: RefreshPolicy) -> Option<Timestamp> {
        let interval = policy.interval?;
        let standing = self.settled_standing();
        if standing.status == Status::Unlinked {
            return self.unlinking_in_doubt().or_else(|| self.unlinking_checked_again());
        }
        if let Some(at) = self.weak_bad_news() {
            return Some(self.attempted_at().map_or(at, |attempt| at.max(attempt + interval)));
        }
        Some(match standing.status {
            Status::ReauthorisationRequired => {
                let outdated = self.may_be_outdated(standing.at);
                let check = standing.at + if outdated { interval } else { LINK_CHECK };
                // An attempt that says so again moves the demand; any other leaves it in doubt.
                let again = |attempt: Timestamp| {
                    attempt + attempt.since(check).min(LONGEST_BACKOFF).max(interval)
                };
                check.max(self.attempted_at().map_or(check, again))
            }
            Status::Healthy | Status::Partial => {
                let newest = self.attempted_at().unwrap_or(standing.at).max(standing.at);
                newest + interval - interval.mul_f64(self.spread(newest))
            }
            _ => self.backed_off(interval, policy.cooldown),
        })
    }

    /// Since when an unlinking wants checking, by a plain read of the account, which is free: it is
    /// weak, or a confirmed pull or a re-authorisation is newer than it. Any other is
    /// [checked more rarely](Self::unlinking_checked_again).
    pub(super) fn unlinking_in_doubt(&self) -> Option<Timestamp> {
        let unlinked = self.registers.unlinked.as_ref()?.order;
        let contradicted = self.sign_of_life().filter(|sign| *sign > unlinked);
        let weak = (unlinked.evidence == Evidence::Weak).then_some(unlinked);
        contradicted.or(weak).map(|order| order.at)
    }

    /// The newest confirmed pull or re-authorisation.
    fn sign_of_life(&self) -> Option<OrderKey> {
        self.synced().max(self.registers.reauthorised.as_ref().map(|mark| mark.order))
    }

    /// When an unlinking that is certain is checked again: the link may have been made anew without a
    /// word. Each check that finds it gone moves it away from the last event, and so doubles the time to
    /// the next.
    fn unlinking_checked_again(&self) -> Option<Timestamp> {
        let unlinked = self.registers.unlinked.as_ref()?.order.at;
        let told = self.registers.last_event.unwrap_or_else(|| self.known_since());
        Some(unlinked + unlinked.since(told).max(LINK_CHECK))
    }

    /// The time of bad news that only weak facts tell, newer than the last confirmed pull, where no
    /// attempt has reached Mono since that pull. A retry may have brought them up to two days late,
    /// so one sync settles them; but only one, or the echo of each sync would beget the next.
    pub(super) fn weak_bad_news(&self) -> Option<Timestamp> {
        let synced_at = self.synced().map(|synced| synced.at);
        if self.attempted_at() > synced_at {
            return None;
        }
        let news = match self.settled_standing().status {
            Status::ReauthorisationRequired => self.standing_demand().into_iter().collect(),
            Status::Failed => self.failures().collect::<Vec<_>>(),
            _ => return None,
        };
        let all_weak = news.iter().all(|order| order.evidence == Evidence::Weak);
        news.into_iter().max().filter(|_| all_weak).map(|order| order.at)
    }

    /// Each failing attempt doubles the time since the account was last well, within bounds. It begins
    /// anew when the customer has re-authorised or linked anew, of which no earlier attempt can tell;
    /// and of an account that has ever worked, an attempt that told nothing is no failure.
    fn backed_off(&self, interval: Duration, cooldown: Duration) -> Timestamp {
        let first_seen = self.known_since();
        let Some(attempt) = self.attempted_at() else {
            return self.registers.last_event.unwrap_or(first_seen) + cooldown;
        };
        let backoff = |since| attempt.since(since).clamp(SHORTEST_BACKOFF, LONGEST_BACKOFF);
        let well = self.sign_of_life().max(self.relinked());
        attempt
            + match well.map(|well| well.at) {
                None => backoff(first_seen),
                Some(well_at) if well_at > attempt => {
                    interval.max(well_at.since(attempt) + cooldown)
                }
                Some(well_at) if self.is_answered(attempt) => backoff(well_at),
                Some(well_at) => backoff(well_at).min(interval),
            }
    }

    /// Whether a demand of this time came so soon after a re-authorisation or a confirmed pull that it
    /// may be of a job that had begun before.
    fn may_be_outdated(&self, demand: Timestamp) -> bool {
        self.sign_of_life().is_some_and(|sign| demand.since(sign.at) < Self::JOB_LIFETIME)
    }

    /// Whether anything told how a pull ended after this time.
    fn is_answered(&self, attempt: Timestamp) -> bool {
        let pull = self.registers.pull.as_ref().map(|pull| pull.order);
        pull.max(self.failures().max()).is_some_and(|told| told.at >= attempt)
    }

    fn attempted_at(&self) -> Option<Timestamp> {
        self.registers.reached.as_ref().map(|reached| reached.order.at)
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
