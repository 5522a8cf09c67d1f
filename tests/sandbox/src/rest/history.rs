//! The parameters of calls for transactions, and the paging fields of their answers.
//!
//! Mono's documentation leaves some points open. The sandbox decides them: both days are inclusive
//! business days in Lagos, and each is optional. A narration matches by any part of it. Invalid
//! parameters are answered with 400. So is a range that ends after today or has more than 365 days,
//! because it is unknown whether Mono serves it.

use axum::http::header::HOST;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use time::Date;
use time::macros::format_description;

use super::Problem;
use crate::history::{Direction, Page, Selection, today};

/// The query parameters.
#[derive(Deserialize)]
pub(super) struct TransactionsQuery {
    start: Option<String>,
    end: Option<String>,
    #[serde(rename = "type")]
    direction: Option<String>,
    narration: Option<String>,
    paginate: Option<String>,
    limit: Option<String>,
    page: Option<String>,
}

impl TransactionsQuery {
    pub(super) fn selection(self) -> Result<Selection, Problem> {
        let start = read(self.start, "start must be a date such as 31-12-2026", date)?;
        let end = read(self.end, "end must be a date such as 31-12-2026", date)?;
        if end.is_some_and(|end| start > Some(end)) {
            return Err(bad_request("start must not be after end"));
        }
        if end.is_some_and(|end| end > today()) {
            return Err(bad_request("end must not be after today"));
        }
        if start.is_some_and(|start| (end.unwrap_or(today()) - start).whole_days() >= 365) {
            return Err(bad_request("a range has 365 days at most"));
        }
        let paginate = read(self.paginate, "paginate must be true or false", boolean)?;
        let page = read(self.page, "page must be a number from 1 on", positive)?;
        Ok(Selection {
            start,
            end,
            direction: read(self.direction, "type must be debit or credit", direction)?,
            narration: self.narration,
            limit: read(self.limit, "limit must be a number from 1 on", positive)?,
            page: paginate.unwrap_or(true).then_some(page.unwrap_or(1)),
        })
    }
}

fn read<T>(
    text: Option<String>,
    message: &'static str,
    parse: fn(&str) -> Option<T>,
) -> Result<Option<T>, Problem> {
    text.map(|text| parse(&text).ok_or(bad_request(message))).transpose()
}

fn bad_request(message: &'static str) -> Problem {
    Problem(StatusCode::BAD_REQUEST, message)
}

fn date(text: &str) -> Option<Date> {
    Date::parse(text, format_description!("[day]-[month]-[year]")).ok()
}

fn boolean(text: &str) -> Option<bool> {
    text.parse().ok()
}

fn direction(text: &str) -> Option<Direction> {
    match text {
        "debit" => Some(Direction::Debit),
        "credit" => Some(Direction::Credit),
        _ => None,
    }
}

fn positive(text: &str) -> Option<usize> {
    text.parse().ok().filter(|number| *number > 0)
}

/// The paging fields: v2's `meta`, v1's `paging`. The links contain only the page, as in Mono's sample.
pub(super) fn position(page: &Page, url: &str) -> Value {
    let link = |number: usize| format!("{url}?page={number}");
    json!({
        "total": page.total,
        "page": page.number,
        "previous": (page.number > 1).then(|| link(page.number - 1)),
        "next": (!page.is_last).then(|| link(page.number + 1)),
    })
}

/// The base URL of the request.
pub(super) fn base_url(headers: &HeaderMap) -> String {
    let host = headers.get(HOST).map(HeaderValue::to_str);
    format!("http://{}", host.and_then(Result::ok).unwrap_or_default())
}
