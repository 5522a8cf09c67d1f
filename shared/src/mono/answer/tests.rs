use lambda_http::http::HeaderName;
use serde_json::json;

use super::*;
use ApiVersion::{V1, V2};

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers = headers
        .iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()));
    let status = StatusCode::from_u16(status).unwrap();
    Answer::new(status, headers.collect(), body.into())
}

fn real() -> BaseUrl {
    "https://api.withmono.com".parse().unwrap()
}

fn v1(status: u16, body: &Value) -> SyncOutcome {
    answer(status, &[], &body.to_string()).of_sync(V1, SyncData::Transactions)
}

fn v2(status: u16, headers: &[(&str, &str)], body: &Value) -> SyncOutcome {
    answer(status, headers, &body.to_string()).of_sync(V2, SyncData::Transactions)
}

fn done() -> Value {
    json!({ "status": "successful", "message": "Request was successfully completed", "data": [] })
}

fn successful(has_new_data: bool, job_id: Option<&str>) -> SyncOutcome {
    let (data, job_id) = (SyncData::Transactions, job_id.map(str::to_owned));
    SyncOutcome::Successful { has_new_data, data, balance: None, job_id }
}

fn reauth_required(job_id: Option<&str>) -> SyncOutcome {
    SyncOutcome::ReauthorisationRequired { job_id: job_id.map(str::to_owned) }
}

fn processing(job_id: Option<&str>) -> SyncOutcome {
    SyncOutcome::Processing { job_id: job_id.map(str::to_owned) }
}

fn failed(code: &str, message: Option<&str>, job_id: Option<&str>) -> SyncOutcome {
    let message = message.map(str::to_owned);
    let error = ProviderError { code: code.to_owned(), message };
    SyncOutcome::Failed { error, job_id: job_id.map(str::to_owned) }
}

fn refused(code: &str) -> SyncOutcome {
    let error = ProviderError { code: code.to_owned(), message: None };
    SyncOutcome::NoResult(CallError::Refused(error))
}

fn unusable(code: &str) -> SyncOutcome {
    let error = ProviderError { code: code.to_owned(), message: None };
    SyncOutcome::NoResult(CallError::Unusable(error))
}

fn unavailable() -> SyncOutcome {
    SyncOutcome::NoResult(CallError::Unavailable)
}

#[test]
fn v1_success_code_counts_in_every_spelling_under_any_http_status() {
    for code in ["SYNC_SUCCESSFUL", "SYNCED_SUCCESSFULLY", "SYNCED_SUCCESSFUL", "sync_successful"] {
        for status in [200, 201, 400, 500] {
            let body = json!({ "status": "successful", "hasNewData": true, "code": code });
            assert_eq!(v1(status, &body), successful(true, None), "{code} {status}");
        }
    }
}

#[test]
fn v1_success_has_new_data_unless_its_flag_is_false() {
    let outcome = |body| v1(200, &body);
    let code = "SYNC_SUCCESSFUL";
    assert_eq!(outcome(json!({ "code": code, "hasNewData": false })), successful(false, None));
    assert_eq!(outcome(json!({ "code": code, "has_new_data": false })), successful(false, None));
    assert_eq!(outcome(json!({ "code": code })), successful(true, None));
    assert_eq!(outcome(json!({ "status": "successful" })), successful(true, None));
}

#[test]
fn v1_failure_is_read_from_its_code_under_any_http_status() {
    for code in ["SYNC_ERROR", "INCOMPLETE_STATEMENT_ERROR"] {
        for status in [200, 400, 429, 500, 503] {
            let body = json!({ "status": "failed", "code": code });
            assert_eq!(v1(status, &body), failed(code, None, None), "{code} {status}");
        }
    }
    let unknown = json!({ "status": "failed", "code": "NEW_CODE", "message": "A new reason" });
    assert_eq!(v1(200, &unknown), failed("NEW_CODE", Some("A new reason"), None));
    assert_eq!(v1(400, &unknown), failed("NEW_CODE", Some("A new reason"), None));
}

#[test]
fn v1_response_without_success_code_or_status_is_unusable() {
    for body in [json!({}), json!({ "status": "odd" }), json!({ "hasNewData": true })] {
        assert_eq!(v1(200, &body), unusable("HTTP_200"), "{body}");
    }
    let in_progress = json!({ "status": "successful", "code": "SYNC_IN_PROGRESS" });
    assert_eq!(v1(200, &in_progress), unusable("SYNC_IN_PROGRESS"), "not a success code");
    assert_eq!(v1(200, &json!({ "status": "success" })), successful(true, None));
    assert_eq!(v1(200, &json!({ "status": "processing" })), processing(None));
}

#[test]
fn reauthorisation_required_is_found_in_every_place_that_mono_uses() {
    let code = json!({ "status": "failed", "code": "REAUTHORISATION_REQUIRED" });
    let status = json!({ "status": "reauthorisation_required", "data": null });
    for http in [200, 401, 402, 403, 404, 429, 500] {
        assert_eq!(v1(http, &code), reauth_required(None), "{http}");
        assert_eq!(v2(http, &[], &code), reauth_required(None), "{http}");
        assert_eq!(v2(http, &[], &status), reauth_required(None), "{http}");
    }
    let job = [("x-job-id", "j"), ("x-job-status", "REAUTHORISATION_REQUIRED")];
    assert_eq!(v2(200, &job, &done()), reauth_required(Some("j")));
    assert_eq!(v2(200, &[("x-reauth-required", "true")], &done()), reauth_required(None));
    assert_eq!(v2(200, &[("x-reauth-required", "false")], &done()), successful(false, None));
    let of_job =
        json!({ "status": "successful", "data": { "status": "REAUTHORISATION_REQUIRED" } });
    assert_eq!(v2(200, &[], &of_job), reauth_required(None));
}

#[test]
fn v2_outcome_is_read_from_job_headers_in_any_case() {
    for (word, outcome) in [
        ("finished", successful(false, Some("j"))),
        ("FINISHED", successful(false, Some("j"))),
        ("processing", processing(Some("j"))),
        ("Processing", processing(Some("j"))),
        ("queued", processing(Some("j"))),
        ("failed", failed("JOB_FAILED", None, Some("j"))),
    ] {
        let headers = [("x-job-id", "j"), ("x-job-status", word)];
        assert_eq!(v2(200, &headers, &done()), outcome, "{word}");
    }
}

#[test]
fn v2_has_new_data_only_if_its_header_is_true() {
    let outcome =
        |value| v2(200, &[("x-job-status", "finished"), ("x-has-new-data", value)], &done());
    assert_eq!(outcome("true"), successful(true, None));
    assert_eq!(outcome("TRUE"), successful(true, None));
    assert_eq!(outcome("false"), successful(false, None));
    assert_eq!(v2(200, &[("x-job-status", "finished")], &done()), successful(false, None));
}

#[test]
fn v2_response_without_job_status_is_processing_until_it_has_data() {
    assert_eq!(v2(200, &[("x-has-new-data", "true")], &done()), successful(true, None));
    let enqueued = json!({
        "status": "successful",
        "message": "Account transaction sync is enqueued, please try again once notified via webhook",
        "data": null,
    });
    assert_eq!(v2(200, &[], &enqueued), processing(None));
    assert_eq!(v2(202, &[("x-job-id", "j")], &enqueued), processing(Some("j")));
}

/// Without the headers of a sync, the response may come from Mono's cache although the bank link is broken.
#[test]
fn v2_response_without_sync_headers_is_not_a_success() {
    assert_eq!(v2(200, &[], &done()), unusable("HTTP_200"));
    assert_eq!(v2(200, &[], &json!({ "status": "odd", "data": {} })), unusable("HTTP_200"));
    assert_eq!(v2(200, &[("x-job-id", "j")], &done()), processing(Some("j")));
    assert_eq!(v2(202, &[], &done()), processing(None));
}

#[test]
fn v1_refreshes_all_data_when_only_the_balance_is_requested() {
    let answer = answer(200, &[], "{\"code\":\"SYNC_SUCCESSFUL\",\"hasNewData\":true}");
    assert_eq!(answer.of_sync(V1, SyncData::Balance), successful(true, None));
}

#[test]
fn v2_failed_status_in_the_body_is_a_failure_under_any_http_status() {
    let body = json!({ "status": "failed", "message": "Bank not available", "data": null });
    assert_eq!(v2(200, &[], &body), failed("HTTP_200", Some("Bank not available"), None));
    assert_eq!(v2(409, &[], &body), failed("HTTP_409", Some("Bank not available"), None));
}

#[test]
fn balance_is_read_in_minor_units() {
    let body = json!({ "status": "successful", "data": { "balance": 9_007_199_254_740_993_i64 } });
    let answer = answer(200, &[("x-job-status", "finished")], &body.to_string());
    let balance = Some(MinorUnits(9_007_199_254_740_993));
    let (has_new_data, data, job_id) = (false, SyncData::Balance, None);
    let outcome = SyncOutcome::Successful { has_new_data, data, balance, job_id };
    assert_eq!(answer.of_sync(V2, SyncData::Balance), outcome);
}

#[test]
fn account_that_mono_does_not_know_is_not_found() {
    let body = json!({ "status": "failed", "message": "Account not found", "data": null });
    let message = Some("Account not found".to_owned());
    let error = ProviderError { code: "HTTP_404".to_owned(), message };
    assert_eq!(v1(404, &body), SyncOutcome::NotFound { error: error.clone() });
    assert_eq!(v2(404, &[], &body), SyncOutcome::NotFound { error });
}

#[test]
fn call_error_follows_from_the_http_status() {
    for (status, outcome) in [
        (401, refused("HTTP_401")),
        (402, refused("HTTP_402")),
        (403, refused("HTTP_403")),
        (302, unusable("HTTP_302")),
        (307, unusable("HTTP_307")),
        (429, SyncOutcome::NoResult(CallError::RateLimited { retry_after: None })),
        (500, unavailable()),
        (502, unavailable()),
        (408, unavailable()),
        (503, unavailable()),
        (504, unavailable()),
    ] {
        assert_eq!(v1(status, &json!({})), outcome, "{status}");
        assert_eq!(v2(status, &[], &json!({})), outcome, "{status}");
    }
}

#[test]
fn non_json_response_is_unusable_unless_its_http_status_shows_an_error() {
    for body in ["", "<html></html>", "{\"status\":\"succ", "[]", "null", "\"successful\""] {
        for version in [V1, V2] {
            let outcome =
                |status| answer(status, &[], body).of_sync(version, SyncData::Transactions);
            assert_eq!(outcome(200), unusable("UNREADABLE_ANSWER"), "{body}");
            assert_eq!(outcome(404), unusable("UNREADABLE_ANSWER"), "the base URL may be wrong");
            assert_eq!(outcome(502), unavailable());
            assert_eq!(outcome(401), refused("HTTP_401"));
        }
    }
}

#[test]
fn rate_limit_reads_retry_after_in_seconds() {
    let limited =
        |value| answer(429, &[("retry-after", value)], "{}").of_sync(V2, SyncData::Transactions);
    let after = |retry_after| SyncOutcome::NoResult(CallError::RateLimited { retry_after });
    assert_eq!(limited("7"), after(Some(Duration::from_secs(7))));
    assert_eq!(limited("Wed, 21 Oct 2026 07:28:00 GMT"), after(None));
}

#[test]
fn job_id_unsafe_in_a_path_is_dropped() {
    for id in ["", "a/b", "a b", "../x", &"x".repeat(65)] {
        let headers = [("x-job-id", id), ("x-job-status", "processing")];
        assert_eq!(v2(200, &headers, &done()), processing(None), "{id}");
    }
}

#[test]
fn job_reports_its_state_and_required_reauthorisation() {
    let job = |word| {
        let body = json!({ "status": "successful", "data": { "id": "j", "status": word } });
        let report = answer(200, &[], &body.to_string()).of_job().unwrap();
        assert_eq!(
            report.data,
            SyncData::Transactions,
            "a job without a name is a transactions job"
        );
        report.state
    };
    assert_eq!(job("processing"), JobState::Running);
    assert_eq!(job("finished"), JobState::Finished);
    assert_eq!(job("FAILED"), JobState::Failed);
    assert_eq!(job("REAUTHORISATION_REQUIRED"), JobState::ReauthorisationRequired);
    let balance = r#"{ "data": { "status": "finished", "name": "jobs.accounts.sync_balance" } }"#;
    assert_eq!(answer(200, &[], balance).of_job().unwrap().data, SyncData::Balance);
    assert_eq!(answer(200, &[], "{}").of_job(), None);
    assert_eq!(answer(404, &[], "{\"data\":{\"status\":\"finished\"}}").of_job(), None);
}

#[test]
fn account_response_is_linked_gone_or_an_error() {
    let read = |status, body| answer(status, &[], body).of_account();
    let unnamed = Ok(Reading::Linked(Box::default()));
    for body in ["{\"data\":{}}", "{\"account\":{}}"] {
        assert_eq!(read(200, body), unnamed, "{body}");
    }
    let reauth_required = r#"{ "code": "REAUTHORISATION_REQUIRED" }"#;
    assert_eq!(
        read(403, reauth_required),
        unnamed,
        "an account that requires re-authorisation is linked"
    );
    for status in [400, 404, 410] {
        assert_eq!(read(status, "{\"status\":\"failed\"}"), Ok(Reading::Gone), "{status}");
    }
    assert_eq!(read(500, "{}"), Err(CallError::Unavailable));
    for status in [200, 302, 400, 404, 410] {
        assert!(matches!(read(status, "<html>"), Err(CallError::Unusable(_))), "{status}");
    }
    for body in ["{}", "{\"data\":null}", "{\"status\":\"failed\",\"data\":{}}"] {
        assert!(matches!(read(200, body), Err(CallError::Unusable(_))), "{body}");
    }
    for status in [401, 402, 403] {
        assert!(matches!(read(status, "{}"), Err(CallError::Refused(_))), "{status}");
    }
}

#[test]
fn account_response_names_the_identity_in_all_versions() {
    let current = json!({ "data": {
        "account": { "id": "a", "name": "Ada Example", "account_number": "0131883461",
                     "balance": 700, "institution": { "name": "GTBank", "bank_code": "058" } },
        "customer": { "id": "c" }, "meta": { "ref": "ours" },
    } });
    let v1 = json!({ "meta": { "data_status": "AVAILABLE" }, "account": {
        "_id": "a", "name": "Ada Example", "accountNumber": "0131883461", "balance": 700,
        "institution": { "name": "GTBank", "bankCode": "058" } } });
    let of_2023 = json!({ "data": { "id": "a", "name": "Ada Example", "balance": 700,
        "account_number": "0131883461", "institution": { "name": "GTBank", "bank_code": "058" } } });
    for body in [&current, &v1, &of_2023] {
        let Ok(Reading::Linked(reported)) = answer(200, &[], &body.to_string()).of_account() else {
            panic!("{body}");
        };
        let details = reported.details.unwrap();
        assert_eq!(details.name.as_deref(), Some("Ada Example"), "{body}");
        assert_eq!(details.account_number.as_deref(), Some("0131883461"), "{body}");
        let bank_code = details.institution.and_then(|bank| bank.bank_code);
        assert_eq!((bank_code.as_deref(), reported.balance), (Some("058"), Some(MinorUnits(700))));
        let is_current = body == &current;
        assert_eq!(reported.reference.as_deref(), is_current.then_some("ours"), "{body}");
        assert_eq!(reported.customer_id.as_deref(), is_current.then_some("c"), "{body}");
    }
}

#[test]
fn reauthorisation_is_a_link_in_v2_and_a_token_of_ten_minutes_in_v1() {
    let requested_at = Timestamp::parse_rfc3339("2026-01-27T21:00:00Z").unwrap();
    let outcome = |version, status, body: Value| {
        answer(status, &[], &body.to_string()).of_reauthorisation(version, &real(), requested_at)
    };
    let url = "https://link.mono.co/ALTAYGCOV".to_owned();
    let link = outcome(V2, 200, json!({ "status": "successful", "data": { "mono_url": url } }));
    assert!(link == Ok(Reauthorisation::Link { url }));
    let token = "VwxcfeLRZvq1UlD5WiuN".to_owned();
    let expires_at = Timestamp::parse_rfc3339("2026-01-27T21:10:00Z").unwrap();
    let token_result = outcome(V1, 200, json!({ "token": token }));
    assert!(token_result == Ok(Reauthorisation::Token { token, expires_at }));
}

#[test]
fn reauthorisation_needs_a_link_to_a_page_of_mono_or_a_token() {
    let error = |version, status, body: &str| {
        let answer = answer(status, &[], body);
        answer.of_reauthorisation(version, &real(), Timestamp::from_millis(0)).err().unwrap()
    };
    for url in [
        "\"http://link.mono.co/A\"",
        "\"http://127.0.0.1:8080/hosted/A\"",
        "\"http://api.withmono.com/A\"",
        "\"https://api.withmono.com@127.0.0.1/A\"",
        "\"https://mono.co.example/A\"",
        "\"https://notmono.co/A\"",
        "\"https://link.mono.co@app.example/A\"",
        "\"https://mono@link.mono.co/A\"",
        "\"javascript:alert(1)\"",
        "\"\"",
        "null",
        "7",
    ] {
        let body = format!("{{\"data\":{{\"mono_url\":{url}}}}}");
        assert!(matches!(error(V2, 200, &body), ReauthoriseError::Call(CallError::Unusable(_))));
    }
    for version in [V1, V2] {
        let error = |status, body| error(version, status, body);
        assert!(matches!(error(200, "{}"), ReauthoriseError::Call(CallError::Unusable(_))));
        assert!(matches!(error(200, "<html>"), ReauthoriseError::Call(CallError::Unusable(_))));
        assert!(matches!(error(401, "{}"), ReauthoriseError::Call(CallError::Refused(_))));
        assert_eq!(error(503, "{}"), ReauthoriseError::Call(CallError::Unavailable));
        assert_eq!(error(404, "{}"), ReauthoriseError::NotFound);
        assert!(matches!(error(400, "{}"), ReauthoriseError::Failed(_)));
    }
}

#[test]
fn page_of_a_stand_in_is_accepted_only_from_that_stand_in() {
    let page = |url: &str, base_url: &str| {
        let body = json!({ "data": { "mono_url": url } }).to_string();
        answer(200, &[], &body).of_link(&base_url.parse().unwrap()).map(|page| page.url)
    };
    let local = "http://127.0.0.1:8080";
    for (url, base_url) in [
        ("http://127.0.0.1:8080/hosted/A", local),
        ("http://localhost:8080/hosted/A", "http://localhost:8080/mono"),
        ("http://[::1]/hosted/A", "http://[::1]:80"),
        ("https://link.mono.co/A", local),
    ] {
        assert_eq!(page(url, base_url).ok().as_deref(), Some(url));
    }
    for (url, base_url) in [
        ("http://127.0.0.1:8081/hosted/A", local),
        ("http://localhost:8080/hosted/A", local),
        ("https://127.0.0.1:8080/hosted/A", local),
        ("http://mono@127.0.0.1:8080/hosted/A", local),
        ("http://127.0.0.1:8080@app.example/A", local),
        ("http://127.0.0.1:8080.app.example/A", local),
        ("https://proxy.example/hosted/A", "https://proxy.example"),
        ("https://127.0.0.1/hosted/A", "https://127.0.0.1"),
        ("file:///hosted/A", local),
    ] {
        assert!(page(url, base_url).is_err(), "{url} {base_url}");
    }
}

#[test]
fn possible_keys_and_personal_numbers_are_removed_from_messages() {
    for (message, expected) in [
        ("Account 0131883461 is dormant.", "Account … is dormant."),
        ("BVN: 22212345678", "BVN: …"),
        ("Invalid key live_sk_Abc123 given", "Invalid key … given"),
        ("sk_live-0 (0131-883-461)", "… (…)"),
        ("Try again in 300 s", "Try again in 300 s"),
        ("Account 0131 883 461, BVN 222-1234-5678.", "Account …, BVN …."),
        ("0131.883.461 or 01318,83461", "… or …"),
        ("LIVE_SK_abc and a0b1c2d3e4f5", "… and …"),
        ("N5,000.00 is due", "N5,000.00 is due"),
        ("TASK_FAILED at RISK_DESK", "TASK_FAILED at RISK_DESK"),
        ("é 12345 ü", "é 12345 ü"),
        ("two\nlines\u{7}", "twolines"),
    ] {
        assert_eq!(disclosable(message), expected);
    }
    assert_eq!(disclosable(&"a".repeat(500)).len(), 200);
}

#[test]
fn code_with_several_words_or_a_personal_number_is_replaced() {
    for (code, expected) in [
        ("TASK_FAILED", "TASK_FAILED"),
        ("E-12.3", "E-12.3"),
        ("Ada Example declined", "HTTP_409"),
        ("ACCOUNT_0131883461", "HTTP_409"),
        ("live_sk_abc", "HTTP_409"),
        (&"X".repeat(65), "HTTP_409"),
    ] {
        assert_eq!(v1(409, &json!({ "code": code })), failed(expected, None, None), "{code}");
    }
}

#[test]
fn arbitrary_response_is_read_without_panic() {
    use proptest::prelude::*;
    let words =
        proptest::sample::select(vec!["", "failed", "finished", "REAUTHORISATION_REQUIRED"]);
    let row = r#"{"id":"r","type":"debit","amount":1,"date":"2026-01-05T00:00:00Z"}"#;
    let page = format!(r#"{{"data":[{row},{row}],"meta":{{"total":2,"next":"x"}},"count":2}}"#);
    let link = r#"{"token":"t","data":{"mono_url":"https://link.mono.co/A"}}"#.to_owned();
    let damage = (0..page.len(), any::<u8>());
    proptest!(|(status in 100..600_u16, word in words, body in "\\PC*", (at, byte) in damage)| {
        let json_body = json!({ "status": word, "code": word, "data": word }).to_string();
        let damaged = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            String::from_utf8_lossy(&bytes).into_owned()
        };
        for body in [body, json_body, damaged(&page), damaged(&link)] {
            let answer = answer(status, &[("x-job-status", word), ("x-job-id", word)], &body);
            for version in [V1, V2] {
                let _ = answer.of_sync(version, SyncData::Balance);
                let requested_at = Timestamp::from_millis(u64::MAX);
                let _ = answer.of_reauthorisation(version, &real(), requested_at);
            }
            let _ = (answer.of_job(), answer.of_account(), answer.of_transactions());
        }
    });
}

fn transactions(status: u16, body: &str) -> Result<TransactionPage, TransactionsError> {
    answer(status, &[], body).of_transactions()
}

#[test]
fn page_of_transactions_is_read_in_both_versions() {
    let row = |id| {
        format!(
            "{{\"{id}\":\"r\",\"type\":\"debit\",\"amount\":1,\"date\":\"2026-01-05T00:00:00Z\"}}"
        )
    };
    let paging = r#"{ "total": 307, "page": 1, "previous": null, "next": "https://elsewhere" }"#;
    let v2 = format!("{{\"status\":\"successful\",\"data\":[{}],\"meta\":{paging}}}", row("id"));
    let v1 = format!("{{\"paging\":{paging},\"data\":[{}]}}", row("_id"));
    for body in [v1, v2] {
        let page = transactions(200, &body).unwrap();
        assert_eq!((page.rows.len(), page.unreadable.len()), (1, 0));
        assert_eq!((page.total, page.has_next), (Some(307), true));
    }
    let last = transactions(200, r#"{ "data": [], "meta": { "total": 0, "next": null } }"#);
    assert_eq!(last, Ok(TransactionPage { total: Some(0), ..TransactionPage::default() }));
    let bare = transactions(200, r#"{ "status": "successful", "data": null }"#);
    assert_eq!(bare, Ok(TransactionPage::default()));
}

#[test]
fn unreadable_row_is_reported_and_other_rows_are_read() {
    let body = r#"{ "data": [ 7, { "id": "a" },
        { "id": "b", "type": "credit", "amount": 1.10, "date": "2026-01-05T00:00:00Z" },
        { "id": "c", "type": "credit", "amount": 110, "date": "2026-01-05T00:00:00Z" } ] }"#;
    let page = transactions(200, body).unwrap();
    let ids = [None, Some("a".to_owned()), Some("b".to_owned())];
    assert_eq!(page.unreadable, ids, "unreadable rows are reported by id if they have one");
    assert_eq!(page.rows[0].position.id, "c");
}

#[test]
fn unreadable_page_is_an_error_and_never_an_empty_page() {
    for (status, body) in [
        (200, "{}"),
        (200, r#"{ "data": {} }"#),
        (200, r#"{ "status": "failed", "data": [] }"#),
        (200, "[]"),
        (200, "<html>"),
        (202, "not json"),
        (307, r#"{ "data": [] }"#),
        (400, r#"{ "data": [] }"#),
    ] {
        let page = transactions(status, body);
        let unusable = matches!(page, Err(TransactionsError::Call(CallError::Unusable(_))));
        assert!(unusable, "{status} {body}: {page:?}");
    }
    for status in [404, 410] {
        assert_eq!(transactions(status, "{}"), Err(TransactionsError::NotFound));
    }
    for status in [401, 402, 403] {
        let page = transactions(status, r#"{ "data": [] }"#);
        assert!(matches!(page, Err(TransactionsError::Call(CallError::Refused(_)))), "{status}");
    }
    let call_error = |status| transactions(status, "{}").unwrap_err();
    assert_eq!(call_error(500), TransactionsError::Call(CallError::Unavailable));
    let limited = CallError::RateLimited { retry_after: None };
    assert_eq!(call_error(429), TransactionsError::Call(limited));
}

#[test]
fn reauthorisation_required_is_found_in_transactions_under_any_http_status() {
    for status in [200, 400, 401, 403, 428, 500] {
        let page = transactions(status, r#"{ "code": "REAUTHORISATION_REQUIRED" }"#);
        assert_eq!(page, Err(TransactionsError::ReauthorisationRequired), "{status}");
    }
    let page = transactions(403, r#"{ "message": "Account needs Reauthorization" }"#);
    assert_eq!(page, Err(TransactionsError::ReauthorisationRequired));
    let narrated = r#"{ "data": [{ "id": "a", "narration": "reauth fee" }], "message": "reauth" }"#;
    assert_eq!(
        transactions(200, narrated).unwrap().unreadable.len(),
        1,
        "a successful page is read whatever its message"
    );
}

#[test]
fn total_of_a_response_without_paging_is_its_count() {
    let page = transactions(200, r#"{ "count": 0, "data": [] }"#).unwrap();
    assert_eq!((page.total, page.has_next), (Some(0), false));
    let page = transactions(200, r#"{ "data": [], "meta": { "next": "" } }"#).unwrap();
    assert_eq!((page.total, page.has_next), (None, false));
}

#[test]
fn rejected_key_wallet_or_plan_is_not_a_failure_of_the_account() {
    for status in [401, 402, 403] {
        for version in [V1, V2] {
            let outcome = answer(status, &[], r#"{ "status": "failed" }"#)
                .of_sync(version, SyncData::Transactions);
            assert!(matches!(outcome, SyncOutcome::NoResult(CallError::Refused(_))), "{status}");
            assert!(!outcome.reached_mono(), "no sync was started");
        }
    }
}

#[test]
fn list_of_accounts_is_read_in_each_documented_and_seen_form() {
    let row = json!({
        "id": "660e9c267474f97aba212345", "name": "ADA EXAMPLE", "account_number": "2002451234",
        "currency": "NGN", "balance": 12335, "status": "AVAILABLE", "customer": "c1",
        "institution": { "name": "First Sandbox Bank", "bank_code": "901" },
        "meta": { "ref": "not documented" },
    });
    let page = |body: Value| answer(200, &[], &body.to_string()).of_list(2).unwrap();
    let next = "https://api.withmono.com/v2/accounts?page=3";
    let meta = json!({ "total": 41, "page": 2, "previous": null, "next": next });
    for body in [
        json!({ "status": "successful", "data": [row], "meta": meta }),
        json!({ "status": "successful", "data": { "accounts": [row], "meta": meta } }),
    ] {
        let page = page(body);
        assert_eq!((page.total, page.next, page.unreadable), (Some(41), Some(3), 0));
        let ListedAccount { id, reported } = &page.accounts[0];
        assert_eq!(id.as_str(), "660e9c267474f97aba212345");
        assert_eq!((reported.customer_id.as_deref(), &reported.reference), (Some("c1"), &None));
        let details = reported.details.as_ref().unwrap();
        assert_eq!(details.account_number.as_deref(), Some("2002451234"));
        assert_eq!(reported.balance, Some(MinorUnits(12335)));
    }
    // Mono's own sample has no `meta`.
    let sample = page(json!({ "status": "successful", "data": [row, { "name": "no id" }] }));
    assert_eq!((sample.total, sample.next, sample.unreadable), (None, Some(3), 1));
    for last in [
        json!({ "data": [], "meta": { "next": next } }),
        json!({ "data": [row], "meta": { "next": null } }),
        json!({ "data": [row], "meta": { "next": "?page=2" } }),
    ] {
        assert_eq!(page(last).next, None);
    }
    let list = |status, body: &str| answer(status, &[], body).of_list(1);
    assert!(matches!(list(200, "{}"), Err(LinkError::Call(CallError::Unusable(_)))));
    assert!(
        list(403, r#"{"status":"failed","message":"subscription plan does not cover endpoint"}"#)
            .is_err()
    );
}
