use super::*;

fn next(facts: impl IntoIterator<Item = Fact>) -> Option<Timestamp> {
    record(facts).next_refresh_at(POLICY)
}

const DAY_MINUTES: u32 = 24 * 60;

/// What the spread may take off a healthy account's interval.
fn spread() -> std::ops::Range<Duration> {
    DAY.mul_f64(0.02)..DAY.mul_f64(0.1)
}

#[test]
fn an_interval_of_none_refreshes_nothing() {
    let off = RefreshPolicy { interval: None, ..POLICY };
    for facts in
        [vec![strong(1, fresh())], vec![weak(1, News::Unlinked)], vec![weak(1, News::SyncFailed)]]
    {
        assert_eq!(record(facts).next_refresh_at(off), None);
    }
}

#[test]
fn syncing_does_not_show_in_the_next_refresh() {
    let facts = [strong(1, fresh())];
    let with_job = facts.clone().into_iter().chain([strong(5, job("j", "processing"))]);
    assert_eq!(next(with_job), next(facts));
}

#[test]
fn an_unlinking_that_is_certain_is_checked_ever_more_rarely() {
    let day = |days: u32| 90 * DAY_MINUTES + days * DAY_MINUTES;
    let facts = [strong(0, fresh()), strong(day(0), News::Unlinked)];
    assert_eq!(next(facts.clone()), Some(at(day(7))));
    let gone = |days| Fact::LinkCheck(LinkCheck { at: at(day(days)), linked: false });
    let checked = |days| next(facts.clone().into_iter().chain([gone(days)]));
    assert_eq!(checked(7), Some(at(day(14))));
    assert_eq!(checked(14), Some(at(day(28))));
}

#[test]
fn an_unlinking_that_is_weak_is_checked() {
    assert_eq!(next([strong(1, fresh()), weak(5, News::Unlinked)]), Some(at(5)));
}

#[test]
fn an_unlinking_older_than_a_pull_or_a_reauthorisation_is_checked() {
    for news in [fresh(), News::Reauthorized] {
        assert_eq!(next([strong(5, News::Unlinked), strong(9, news)]), Some(at(9)));
    }
    let beside = [strong(5, News::Unlinked), strong(9, News::SyncFailed)];
    assert_eq!(next(beside), Some(at(5 + 7 * DAY_MINUTES)));
}

#[test]
fn weak_bad_news_is_settled_at_once() {
    for news in [News::ReauthorisationRequired, News::SyncFailed, job("j", "failed")] {
        assert_eq!(next([strong(1, fresh()), weak(9, news.clone())]), Some(at(9)));
        assert_eq!(next([weak(9, news)]), Some(at(9)), "also where nothing was ever pulled");
    }
}

#[test]
fn weak_bad_news_waits_for_an_interval_after_the_last_attempt() {
    let facts = [attempt(1, timeout()), strong(5, fresh()), weak(9, News::SyncFailed)];
    assert_eq!(next(facts), Some(at(1) + DAY));
}

#[test]
fn weak_bad_news_is_settled_by_one_attempt_for_each_confirmed_pull() {
    let demand = weak(40, News::ReauthorisationRequired);
    let facts = [strong(1, fresh()), attempt(5, failure()), demand];
    assert_eq!(next(facts), Some(at(40 + 7 * DAY_MINUTES)), "an attempt was made since the pull");
}

#[test]
fn weak_bad_news_beside_strong_bad_news_is_not_what_makes_the_record_bad() {
    let strong_only = [strong(1, fresh()), strong(5, updated("AVAILABLE", Some("FAILED")))];
    let both = strong_only.clone().into_iter().chain([weak(5, job("j", "failed"))]);
    assert_eq!(next(both), next(strong_only));
}

#[test]
fn weak_bad_news_older_than_the_last_pull_is_nothing() {
    assert_eq!(next([strong(9, fresh()), weak(5, News::SyncFailed)]), next([strong(9, fresh())]));
}

#[test]
fn a_demand_is_looked_at_again_after_seven_days() {
    let demand = [strong(1, fresh()), strong(40, News::ReauthorisationRequired)];
    assert_eq!(next(demand.clone()), Some(at(40 + 7 * DAY_MINUTES)));
    let attempted = |minute, outcome| demand.clone().into_iter().chain([attempt(minute, outcome)]);
    assert_eq!(next(attempted(48, timeout())), Some(at(40 + 7 * DAY_MINUTES)));
    let said_again = SyncOutcome::ReauthorisationRequired { job_id: None };
    let check = 40 + 7 * DAY_MINUTES;
    assert_eq!(next(attempted(check, said_again)), Some(at(check + 1 + 7 * DAY_MINUTES)));
    let days_later = |days| next(attempted(check + days * DAY_MINUTES, failure()));
    assert_eq!(days_later(0), Some(at(check + DAY_MINUTES)), "it told nothing of the demand");
    assert_eq!(days_later(3), Some(at(check + 6 * DAY_MINUTES)));
    assert_eq!(days_later(20), Some(at(check + 27 * DAY_MINUTES)));
}

#[test]
fn a_demand_just_after_a_reauthorisation_or_a_pull_is_looked_at_after_an_interval() {
    let demand = strong(39, News::ReauthorisationRequired);
    for news in [News::Reauthorized, fresh()] {
        let facts = [strong(0, fresh()), strong(10, news.clone()), demand.clone()];
        assert_eq!(next(facts), Some(at(39) + DAY), "it may be of a job from before");
        let facts = [strong(0, fresh()), strong(9, news), demand.clone()];
        assert_eq!(next(facts), Some(at(39) + 7 * DAY));
    }
    let facts = [strong(10, News::Reauthorized), demand, attempt(600, timeout())];
    assert_eq!(next(facts), Some(at(600) + DAY), "nothing was told");
}

#[test]
fn a_healthy_account_is_refreshed_an_interval_after_its_pull_less_the_spread() {
    for news in [fresh(), updated("PARTIAL", None)] {
        assert!(spread().contains(&(at(1) + DAY).since(next([strong(1, news)]).unwrap())));
    }
}

#[test]
fn a_healthy_account_counts_from_the_attempt_where_that_is_newer() {
    let next = next([strong(1, fresh()), attempt(60, timeout())]).unwrap();
    assert!(spread().contains(&(at(60) + DAY).since(next)));
}

#[test]
fn the_spread_is_a_fiftieth_to_a_tenth_of_the_interval_and_differs_by_account() {
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
fn others_never_attempted_are_due_one_cooldown_after_the_newest_event() {
    for news in [connected(), updated("UNAVAILABLE", None), News::Reauthorized, News::SyncFailed] {
        let facts = [strong(1, connected()), strong(20, news)];
        assert_eq!(next(facts), Some(at(20) + POLICY.cooldown));
    }
}

#[test]
fn others_back_off_by_the_time_since_the_last_pull() {
    let facts = [strong(0, fresh()), strong(60, updated("UNAVAILABLE", None))];
    let tried = |start| facts.clone().into_iter().chain([attempt(start, timeout())]);
    assert_eq!(next(tried(70)), Some(at(140)));
    assert_eq!(next(tried(300)), Some(at(600)));
}

#[test]
fn others_never_pulled_back_off_by_the_time_since_first_seen() {
    let facts = [strong(10, connected()), attempt(210, timeout())];
    assert_eq!(next(facts), Some(at(410)));
}

#[test]
fn the_backoff_is_at_least_an_hour_and_at_most_seven_days() {
    let facts = [strong(0, fresh()), strong(1, updated("UNAVAILABLE", None))];
    let tried = |start| facts.clone().into_iter().chain([attempt(start, failure())]);
    assert_eq!(next(tried(2)), Some(at(2) + HOUR));
    assert_eq!(next(tried(30 * DAY_MINUTES)), Some(at(37 * DAY_MINUTES)));
}

#[test]
fn an_attempt_that_told_nothing_is_no_failure() {
    let facts = [strong(0, fresh()), strong(1, updated("UNAVAILABLE", None))];
    let tried = |start| facts.clone().into_iter().chain([attempt(start, timeout())]);
    assert_eq!(next(tried(3 * DAY_MINUTES)), Some(at(4 * DAY_MINUTES)));
    let told = strong(3 * DAY_MINUTES + 5, updated("UNAVAILABLE", Some("FAILED")));
    let by_job = weak(3 * DAY_MINUTES + 5, job("j", "failed"));
    for told in [told, by_job] {
        assert_eq!(next(tried(3 * DAY_MINUTES).chain([told])), Some(at(6 * DAY_MINUTES)));
    }
    let never_filled = [strong(0, connected()), attempt(3 * DAY_MINUTES, timeout())];
    assert_eq!(next(never_filled), Some(at(6 * DAY_MINUTES)), "it has never worked");
}

#[test]
fn the_backoff_begins_anew_when_the_customer_has_come() {
    let demand = SyncOutcome::ReauthorisationRequired { job_id: None };
    let facts = [strong(0, fresh()), attempt(8 * DAY_MINUTES, demand)];
    let came_at = 8 * DAY_MINUTES + 9;
    let reauthorised = vec![strong(came_at, News::Reauthorized)];
    let relinked = vec![strong(came_at - 1, News::Unlinked), strong(came_at, connected())];
    for came in [reauthorised, relinked] {
        let came = facts.clone().into_iter().chain(came).collect::<Vec<_>>();
        assert_eq!(next(came.clone()), Some(at(9 * DAY_MINUTES)), "not eight days later");
        let later = came.clone().into_iter().chain([strong(12 * DAY_MINUTES, News::Reauthorized)]);
        assert_eq!(next(later), Some(at(12 * DAY_MINUTES) + POLICY.cooldown), "Mono pulls too");
        let again = came.into_iter().chain([attempt(9 * DAY_MINUTES, failure())]);
        assert_eq!(next(again), Some(at(2 * 9 * DAY_MINUTES - came_at)));
    }
}

#[test]
fn others_with_a_pull_newer_than_the_attempt_wait_an_interval_after_the_attempt() {
    let facts =
        [attempt(1, timeout()), strong(30, fresh()), strong(60, updated("UNAVAILABLE", None))];
    assert_eq!(next(facts), Some(at(1) + DAY));
}

#[test]
fn an_attempt_that_did_not_reach_mono_does_not_count() {
    let facts = [strong(1, connected())];
    for outcome in [rate_limited(), SyncOutcome::Trouble(Trouble::NotConnected)] {
        let tried = facts.clone().into_iter().chain([attempt(9, outcome)]);
        assert_eq!(next(tried), next(facts.clone()));
    }
}
