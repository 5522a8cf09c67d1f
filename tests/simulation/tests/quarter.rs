//! Tests ninety days of two thousand accounts in a rough world.

use std::time::Duration;

use simulation::report::Hindrance;
use simulation::{World, simulate};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

#[test]
fn data_stays_fresh_at_any_interval() {
    for interval in [24, 12, 6] {
        let report = simulate(&World::rough(90, interval, 7), 2_000);
        let interval = interval * HOUR;
        let p99 = report.age(0.99);
        assert!(p99 < interval + 2 * HOUR, "p99 {p99:?}\n{report}");
        // One refresh without a result, two hours between plans, and the delay of the message.
        let worst = report.worst(Hindrance::None);
        assert!(worst < (interval * 2 + HOUR * 5 / 2).min(50 * HOUR), "the oldest\n{report}");
        // After each call that fails in an outage, the next call waits twice as long.
        assert!(report.worst(Hindrance::Over) < 4 * DAY, "after outages\n{report}");
        assert_eq!(report.stuck, 0, "no account is stuck\n{report}");
    }
}

#[test]
fn frequent_crashes_leave_no_account_stuck_and_cost_no_more() {
    for timed in [true, false] {
        let mut world = World::harsh(90, 24, 12);
        world.network.timed = timed;
        let report = simulate(&world, 2_000);
        let p99 = report.age(0.99);
        assert!(p99 < 72 * HOUR, "p99 {p99:?}\n{report}");
        assert!(report.worst(Hindrance::None) < 8 * DAY, "the oldest\n{report}");
        for hindrance in [Hindrance::WebhooksLost, Hindrance::LinkWebhooksLost] {
            let worst = report.worst(hindrance);
            assert!((HOUR..20 * DAY).contains(&worst), "{hindrance:?}\n{report}");
        }
        assert_eq!(report.stuck, 0, "no account is stuck\n{report}");
        #[expect(clippy::cast_precision_loss, reason = "of small counts")]
        let calls_per_day = report.paid_calls() as f64 / (2_000.0 * 90.0);
        assert!(calls_per_day < 1.2, "{calls_per_day} calls an account and day\n{report}");
    }
}

#[test]
fn burst_of_accounts_linked_together_dissolves_in_a_fortnight() {
    let report = simulate(&World::rough(90, 24, 3), 2_000);
    // All accounts were linked within four hours. Evenly spread, 2,000 calls a day are 1.4 a minute.
    let (first, later) = (report.peak(0), report.peak(14));
    assert!(first > 40 && later < 25, "the burst dissolves\n{report}");
}

#[test]
fn paid_calls_have_a_reason_and_are_about_one_a_day() {
    let report = simulate(&World::rough(90, 24, 5), 2_000);
    #[expect(clippy::cast_precision_loss, reason = "of small counts")]
    let calls_per_day = report.paid_calls() as f64 / (2_000.0 * 90.0);
    assert!(
        (0.95..1.2).contains(&calls_per_day),
        "{calls_per_day} calls an account and day\n{report}"
    );
    assert!(report.followed > 0, "jobs are polled");
}

#[test]
fn interval_of_zero_plans_nothing() {
    let mut world = World::rough(30, 24, 1);
    world.policy.interval = None;
    let report = simulate(&world, 100);
    assert_eq!((report.queued, report.paid_calls()), (0, 0));
}
