use super::*;
use crate::domain::spending::CallReason;

/// The next refresh of an account that Mono knows.
fn next(facts: impl IntoIterator<Item = Fact>) -> Option<Timestamp> {
    proven(record(facts)).next_refresh_at(POLICY)
}

const DAY_MINUTES: u32 = 24 * 60;

/// The jitter by which the interval of a healthy account is shortened.
fn jitter() -> std::ops::Range<Duration> {
    DAY.mul_f64(0.02)..DAY.mul_f64(0.1)
}

#[test]
fn policy_without_an_interval_refreshes_no_account() {
    let off = RefreshPolicy { interval: None, ..POLICY };
    for facts in
        [vec![strong(1, fresh())], vec![strong(1, linked())], vec![weak(1, EventBody::SyncFailed)]]
    {
        assert_eq!(record(facts).next_refresh_at(off), None);
    }
}

#[test]
fn running_job_does_not_change_the_next_refresh() {
    let facts = [strong(1, fresh())];
    let with_job = facts.clone().into_iter().chain([strong(5, job("j", "processing"))]);
    assert_eq!(next(with_job), next(facts));
}

#[test]
fn unlinking_is_checked_immediately_and_then_with_exponential_back_off() {
    for unlinked in [strong(0, EventBody::Unlinked), weak(0, EventBody::Unlinked)] {
        let account = proven(record([strong(0, connected()), unlinked]));
        assert_eq!(account.next_refresh_at(POLICY), Some(at(0) - Webhook::CLOCK_SKEW));
        let gone = |account: &Account, days: u32| {
            account.apply(&verification(account, days * DAY_MINUTES, Reading::Gone))
        };
        let checked = gone(&account, 0);
        assert_eq!(checked.next_refresh_at(POLICY), Some(at(0) + 7 * DAY));
        let again = gone(&checked, 7);
        assert_eq!(again.next_refresh_at(POLICY), Some(at(0) + 14 * DAY));
        assert_eq!(gone(&again, 14).next_refresh_at(POLICY), Some(at(0) + 28 * DAY));
    }
}

#[test]
fn inconclusive_check_of_an_ended_link_is_repeated_with_exponential_back_off() {
    let unlinked = proven(record([strong(0, connected()), strong(0, EventBody::Unlinked)]));
    let gone = unlinked.apply(&verification(&unlinked, 0, Reading::Gone));
    let week = 7 * DAY_MINUTES;
    let unknown = gone.apply(&verification(&gone, week + 30, Reading::Unknown));
    assert_eq!(unknown.next_refresh_at(POLICY), Some(at(week + 30) + HOUR));
    let again = unknown.apply(&verification(&unknown, week + 300, Reading::Unknown));
    assert_eq!(again.next_refresh_at(POLICY), Some(at(week + 600)));
}

#[test]
fn ended_link_is_not_checked_again_if_mono_returned_the_account_after_the_unlinking() {
    let unlinked = record([strong(1, fresh()), strong(5, EventBody::Unlinked)]);
    let shown = unlinked.apply(&verification(&unlinked, 9, there()));
    let error = mono_error();
    let gone = shown.apply(&attempt(20, SyncOutcome::NotFound { error }));
    assert_eq!(gone.next_refresh_at(POLICY), None);
    for retried in [connected(), fresh()] {
        assert_eq!(gone.apply(&weak(30, retried)).next_refresh_at(POLICY), None);
    }
    let again = gone.apply(&weak(30, EventBody::Unlinked)).next_refresh_at(POLICY);
    assert_eq!(again, Some(at(21) + 7 * DAY), "the account may have been linked in between");
    assert!(gone.apply(&strong(30, connected())).next_refresh_at(POLICY).is_some());
}

#[test]
fn later_link_event_does_not_restart_the_back_off() {
    let relinked =
        [strong(0, EventBody::Unlinked), strong(1, connected()), attempt(600, failure())];
    let again = strong(590, connected());
    assert_eq!(next(relinked.clone().into_iter().chain([again])), next(relinked));
}

#[test]
fn inconclusive_check_of_a_link_in_doubt_is_repeated_with_exponential_back_off() {
    let account = record([strong(1, fresh()), strong(5, EventBody::Unlinked)]);
    let checked = |minutes: &[u32]| {
        let check = |account: Account, minutes: &u32| {
            account.apply(&verification(&account, *minutes, Reading::Unknown))
        };
        minutes.iter().fold(account.clone(), check).verification_due().map(|(_, due)| due)
    };
    assert_eq!(checked(&[6]), Some(at(6 + 60)));
    assert_eq!(checked(&[6, 66]), Some(at(66 + 61)));
    assert_eq!(checked(&[6, 66, 205]), Some(at(205 + 200)));
    let month = 30 * DAY_MINUTES;
    assert_eq!(checked(&[month]), Some(at(month + 6 * 60)), "six hours at most");
}

#[test]
fn ended_link_is_checked_again_after_a_pull_or_reauthorisation() {
    let unlinked = proven(record([strong(1, fresh()), strong(5, EventBody::Unlinked)]));
    let gone = unlinked.apply(&verification(&unlinked, 6, Reading::Gone));
    for body in [fresh(), EventBody::Reauthorized] {
        assert_eq!(gone.apply(&strong(9, body)).next_refresh_at(POLICY), Some(at(7)));
    }
    let sync_failed = gone.apply(&strong(9, EventBody::SyncFailed));
    assert_eq!(sync_failed.next_refresh_at(POLICY), gone.next_refresh_at(POLICY));
}

#[test]
fn weak_link_after_an_unlinking_is_checked_before_a_paid_sync() {
    let unlinked = proven(record([strong(1, fresh()), strong(5, EventBody::Unlinked)]));
    let gone = unlinked.apply(&verification(&unlinked, 6, Reading::Gone));
    let late = gone.apply(&weak(40, connected()));
    assert_eq!(late.next_refresh_at(POLICY), Some(at(7)));
    assert!(matches!(late.plan(at(41), POLICY), Some(RefreshAction::Verify { .. })));
    let settled = late.apply(&verification(&late, 42, Reading::Gone));
    assert_eq!(settled.next_refresh_at(POLICY), Some(at(42) + 7 * DAY));
}

#[test]
fn account_with_old_transactions_and_fresh_balance_is_due() {
    let balance = |start| {
        let (data, balance) = (SyncData::Balance, Some(MinorUnits(1)));
        let has_new_data = false;
        balance_attempt(
            start,
            SyncOutcome::Successful { has_new_data, data, balance, job_id: None },
        )
    };
    let synced = record([strong(0, fresh())]);
    let due = synced.next_refresh_at(POLICY);
    let daily = (1..60).map(|day| balance(day * 20 * 60));
    let account = daily.fold(synced, |account, fact| account.apply(&fact));
    assert_eq!(account.status_since(at(100 * DAY_MINUTES)).status, Status::Healthy);
    assert_eq!(account.next_refresh_at(POLICY), due);
}

#[test]
fn system_error_is_retried_with_exponential_back_off() {
    let healthy = record([strong(0, fresh())]);
    let due = healthy.next_refresh_at(POLICY).unwrap();
    let due_minute = u32::try_from(due.since(at(0)).as_secs() / 60).unwrap() + 1;
    for call_error in
        [CallError::Refused(mono_error()), CallError::Unavailable, CallError::NotConnected]
    {
        let call_error = SyncOutcome::NoResult(call_error);
        let attempted_at =
            |minutes| healthy.apply(&attempt(minutes, call_error.clone())).next_refresh_at(POLICY);
        assert_eq!(attempted_at(due_minute), Some(at(due_minute) + HOUR), "{call_error:?}");
        let later = due_minute + 5 * 60;
        let waited = at(later).since(due);
        assert_eq!(
            attempted_at(later),
            Some(at(later) + waited),
            "the wait is the time since the due time"
        );
        let next_week = due_minute + 7 * DAY_MINUTES;
        assert_eq!(
            attempted_at(next_week),
            Some(at(next_week) + DAY),
            "the wait is at most one interval"
        );
        assert_eq!(
            attempted_at(60),
            Some(due),
            "an attempt before the due time does not delay the account"
        );
    }
    let failing = record([strong(0, fresh()), strong(1, updated("UNAVAILABLE", None))]);
    let refused = SyncOutcome::NoResult(CallError::Refused(mono_error()));
    assert_eq!(failing.apply(&attempt(10, refused)).next_refresh_at(POLICY), Some(at(10) + HOUR));
}

#[test]
fn weak_failure_or_requirement_is_verified_immediately() {
    for body in [EventBody::ReauthorisationRequired, EventBody::SyncFailed, job("j", "failed")] {
        assert_eq!(next([strong(1, fresh()), weak(9, body.clone())]), Some(at(9)));
        assert_eq!(next([weak(9, body)]), Some(at(9)), "the result is the same without any pull");
    }
}

#[test]
fn weak_failure_is_verified_one_interval_after_the_last_attempt() {
    let facts = [attempt(1, timeout()), strong(5, fresh()), weak(9, EventBody::SyncFailed)];
    assert_eq!(next(facts), Some(at(1) + DAY));
}

#[test]
fn weak_requirement_is_verified_by_one_later_attempt() {
    let facts =
        [strong(1, fresh()), attempt(5, timeout()), weak(40, EventBody::ReauthorisationRequired)];
    assert_eq!(next(facts.clone()), Some(at(5) + DAY), "the wait is one interval, not seven days");
    let settled = facts.into_iter().chain([attempt(5 + DAY_MINUTES, timeout())]);
    assert_eq!(next(settled), Some(at(5 + DAY_MINUTES) + 7 * DAY));
}

#[test]
fn weak_fact_that_an_attempt_reported_is_not_verified() {
    let requirement = SyncOutcome::ReauthorisationRequired { job_id: None };
    let webhook = weak(7, EventBody::ReauthorisationRequired);
    assert_eq!(next([strong(1, fresh()), attempt(5, requirement), webhook]), Some(at(7) + 7 * DAY));
    let failed = [strong(0, fresh()), attempt(70, failure()), weak(72, EventBody::SyncFailed)];
    assert_eq!(next(failed), Some(at(140)), "the back-off is the same as without the webhook");
}

#[test]
fn weak_pull_that_contradicts_a_requirement_is_verified_immediately_and_only_once() {
    let facts =
        [strong(1, fresh()), strong(60, EventBody::ReauthorisationRequired), weak(80, fresh())];
    assert_eq!(next(facts.clone()), Some(at(80)));
    assert_eq!(record(facts.clone()).reason_to_refresh(), CallReason::WeakEvidence);
    let attempted = |outcome| next(facts.clone().into_iter().chain([attempt(200, outcome)]));
    assert_eq!(attempted(timeout()), Some(at(200) + 7 * DAY), "the attempt had no result");
    let repeated = SyncOutcome::ReauthorisationRequired { job_id: None };
    assert_eq!(attempted(repeated), Some(at(201) + 7 * DAY));
}

#[test]
fn weak_failure_with_a_strong_failure_is_not_verified() {
    let strong_only = [strong(1, fresh()), strong(5, updated("AVAILABLE", Some("FAILED")))];
    let both = strong_only.clone().into_iter().chain([weak(5, job("j", "failed"))]);
    assert_eq!(next(both), next(strong_only));
}

#[test]
fn weak_failure_older_than_the_last_pull_does_not_change_the_next_refresh() {
    assert_eq!(
        next([strong(9, fresh()), weak(5, EventBody::SyncFailed)]),
        next([strong(9, fresh())])
    );
}

#[test]
fn reauthorisation_required_is_checked_a_week_after_the_newest_requirement_or_attempt() {
    let week = 7 * DAY_MINUTES;
    let requirement = [strong(1, fresh()), strong(40, EventBody::ReauthorisationRequired)];
    assert_eq!(next(requirement.clone()), Some(at(40 + week)));
    let attempted =
        |minute, outcome| next(requirement.clone().into_iter().chain([attempt(minute, outcome)]));
    assert_eq!(
        attempted(20, timeout()),
        Some(at(40 + week)),
        "an attempt before the requirement does not count"
    );
    assert_eq!(attempted(48, timeout()), Some(at(48 + week)));
    let repeated = SyncOutcome::ReauthorisationRequired { job_id: None };
    assert_eq!(
        attempted(40 + week, repeated),
        Some(at(41 + 2 * week)),
        "the answer arrived a minute later"
    );
}

#[test]
fn healthy_account_is_refreshed_one_interval_minus_jitter_after_its_pull() {
    for body in [fresh(), updated("PARTIAL", None)] {
        assert!(jitter().contains(&(at(1) + DAY).since(next([strong(1, body)]).unwrap())));
    }
}

#[test]
fn healthy_account_is_refreshed_one_interval_minus_jitter_after_an_attempt_newer_than_its_pull() {
    let next = next([strong(1, fresh()), attempt(60, timeout())]).unwrap();
    assert!(jitter().contains(&(at(60) + DAY).since(next)));
}

#[test]
fn jitter_is_between_2_and_10_percent_of_the_interval_and_differs_by_account() {
    let due = |number: u32| {
        let account = Account::new(format!("account-{number}").parse().unwrap());
        account.apply(&strong(0, fresh())).next_refresh_at(POLICY).unwrap()
    };
    let mut times: Vec<_> = (0..1_000).map(due).collect();
    let (earliest, latest) = (at(0) + DAY.mul_f64(0.9), at(0) + DAY.mul_f64(0.98));
    assert!(times.iter().all(|time| *time > earliest && *time <= latest));
    times.sort();
    times.dedup();
    assert!(times.len() > 990, "{} different times", times.len());
}

#[test]
fn unhealthy_account_without_an_attempt_is_due_one_cooldown_after_the_newest_event() {
    for body in
        [linked(), updated("UNAVAILABLE", None), EventBody::Reauthorized, EventBody::SyncFailed]
    {
        let facts = [strong(1, linked()), strong(20, body)];
        assert_eq!(next(facts), Some(at(20) + POLICY.cooldown));
    }
}

#[test]
fn unhealthy_account_backs_off_by_the_time_since_the_last_pull() {
    let facts = [strong(0, fresh()), strong(60, updated("UNAVAILABLE", None))];
    let attempted_at = |start| facts.clone().into_iter().chain([attempt(start, timeout())]);
    assert_eq!(next(attempted_at(70)), Some(at(140)));
    assert_eq!(next(attempted_at(300)), Some(at(600)));
}

#[test]
fn account_without_a_pull_backs_off_by_the_time_since_first_seen() {
    let facts = [strong(10, linked()), attempt(210, timeout())];
    assert_eq!(next(facts), Some(at(410)));
}

#[test]
fn back_off_is_at_least_an_hour_and_at_most_seven_days() {
    let facts = [strong(0, fresh()), strong(1, updated("UNAVAILABLE", None))];
    let attempted_at = |start| facts.clone().into_iter().chain([attempt(start, failure())]);
    assert_eq!(next(attempted_at(2)), Some(at(2) + HOUR));
    assert_eq!(next(attempted_at(30 * DAY_MINUTES)), Some(at(37 * DAY_MINUTES)));
}

#[test]
fn attempt_without_a_result_does_not_count_as_a_failure() {
    let facts = [strong(0, fresh()), strong(1, updated("UNAVAILABLE", None))];
    let attempted_at = |start| facts.clone().into_iter().chain([attempt(start, timeout())]);
    assert_eq!(next(attempted_at(3 * DAY_MINUTES)), Some(at(4 * DAY_MINUTES)));
    let outcome = strong(3 * DAY_MINUTES + 5, updated("UNAVAILABLE", Some("FAILED")));
    let by_job = weak(3 * DAY_MINUTES + 5, job("j", "failed"));
    for outcome in [outcome, by_job] {
        assert_eq!(next(attempted_at(3 * DAY_MINUTES).chain([outcome])), Some(at(6 * DAY_MINUTES)));
    }
    let never_synced = [strong(0, linked()), attempt(3 * DAY_MINUTES, timeout())];
    assert_eq!(next(never_synced), Some(at(6 * DAY_MINUTES)), "the account has never worked");
}

#[test]
fn reauthorisation_or_new_link_restarts_the_back_off() {
    let requirement = SyncOutcome::ReauthorisationRequired { job_id: None };
    let facts = [strong(0, fresh()), attempt(8 * DAY_MINUTES, requirement)];
    let recovered_at = 8 * DAY_MINUTES + 9;
    let reauthorised = vec![strong(recovered_at, EventBody::Reauthorized)];
    let relinked =
        vec![strong(recovered_at, EventBody::Unlinked), strong(recovered_at + 1, linked())];
    for recovered in [reauthorised, relinked] {
        let recovered = facts.clone().into_iter().chain(recovered).collect::<Vec<_>>();
        let one_hour_later = Some(at(8 * DAY_MINUTES) + HOUR);
        assert_eq!(next(recovered.clone()), one_hour_later, "the wait is one hour, not eight days");
        let again = recovered.into_iter().chain([attempt(9 * DAY_MINUTES, failure())]);
        assert_eq!(next(again), Some(at(2 * 9 * DAY_MINUTES - recovered_at)));
    }
}

#[test]
fn failure_after_a_pull_is_retried_an_hour_after_an_attempt_before_the_pull() {
    let facts =
        [attempt(1, timeout()), strong(30, fresh()), strong(60, updated("UNAVAILABLE", None))];
    assert_eq!(next(facts), Some(at(1) + HOUR));
}

#[test]
fn attempt_that_did_not_reach_mono_does_not_change_the_schedule() {
    let facts = [strong(1, linked())];
    let limited = facts.clone().into_iter().chain([attempt(9, rate_limited())]);
    assert_eq!(next(limited), next(facts));
}

fn under(account: &Account, rule: RefreshRule) -> Option<Timestamp> {
    Account { refresh: Some(rule), ..account.clone() }.next_refresh_at(POLICY)
}

#[test]
fn rule_of_an_account_is_any_rule_but_the_interval() {
    assert_eq!(RefreshRule::of_account("default"), Some(None));
    assert_eq!(RefreshRule::of_account("weekly"), Some(Some(RefreshRule::Weekly)));
    for word in ["interval", "", "daily", "Off"] {
        assert_eq!(RefreshRule::of_account(word), None, "{word}");
    }
}

#[test]
fn account_rule_overrides_the_stack_rule() {
    let account = record([strong(0, fresh())]);
    let hours = |rule| under(&account, rule).map(|at_| at_.since(at(0)).as_secs_f64() / 3_600.0);
    for (rule, interval) in [
        (RefreshRule::Interval, 24.0),
        (RefreshRule::SixHours, 6.0),
        (RefreshRule::TwelveHours, 12.0),
        (RefreshRule::Daily, 24.0),
        (RefreshRule::Weekly, 7.0 * 24.0),
    ] {
        let due = hours(rule).unwrap();
        assert!((0.9 * interval..=0.98 * interval).contains(&due), "{rule:?}: {due}");
    }
    assert_eq!(hours(RefreshRule::Off), None);
    let off = RefreshPolicy { interval: None, ..POLICY };
    let with_own_rule = Account { refresh: Some(RefreshRule::Daily), ..account.clone() };
    assert_eq!(
        with_own_rule.next_refresh_at(off),
        None,
        "a stack without an interval refreshes no account"
    );
    let weekly = RefreshPolicy { rule: RefreshRule::Weekly, ..POLICY };
    assert_eq!(account.next_refresh_at(weekly), under(&account, RefreshRule::Weekly));
}

#[test]
fn on_read_account_is_due_after_a_read_newer_than_its_last_sync() {
    let account = record([strong(10, fresh())]);
    let read = |minute| Account { read_at: Some(at(minute)), ..account.clone() };
    assert_eq!(under(&account, RefreshRule::OnRead), None);
    assert_eq!(under(&read(9), RefreshRule::OnRead), None, "the sync is newer than the read");
    let due = under(&account, RefreshRule::Interval);
    assert_eq!(
        under(&read(11), RefreshRule::OnRead),
        due,
        "the account is due at the interval, not earlier"
    );
    let failed = read(11).apply(&attempt(DAY_MINUTES, failure()));
    assert!(
        under(&failed, RefreshRule::OnRead).is_some(),
        "the failed sync does not cover the read"
    );
    let synced = read(11).apply(&attempt(DAY_MINUTES, success()));
    assert_eq!(under(&synced, RefreshRule::OnRead), None);
}

#[test]
fn read_is_recorded_only_under_on_read_and_once_per_interval() {
    let account = record([strong(10, fresh())]);
    let recorded = |rule, read_at: Option<u32>, minute| {
        let read_at = read_at.map(at);
        Account { refresh: rule, read_at, ..account.clone() }.is_read_noted(at(minute), POLICY)
    };
    let on_read = Some(RefreshRule::OnRead);
    assert!(!recorded(None, None, 11) && !recorded(Some(RefreshRule::Daily), None, 11));
    assert!(recorded(on_read, None, 11));
    assert!(recorded(on_read, Some(9), 11), "the first read since the last sync is recorded");
    assert!(!recorded(on_read, Some(11), 12));
    assert!(recorded(on_read, Some(11), 11 + DAY_MINUTES));
}

#[test]
fn account_with_only_a_connected_event_is_not_refreshed() {
    let payment = record([strong(0, connected())]);
    assert!(payment.is_payment_only());
    assert_eq!(payment.next_refresh_at(POLICY), None);
    assert!(
        payment.apply(&attempt(5, timeout())).is_payment_only(),
        "the attempt gave no information"
    );
    for known in [
        strong(1, fresh()),
        strong(1, linked()),
        strong(1, job("j", "finished")),
        attempt(1, success()),
    ] {
        let account = payment.apply(&known);
        assert!(!account.is_payment_only() && account.next_refresh_at(POLICY).is_some());
    }
}
