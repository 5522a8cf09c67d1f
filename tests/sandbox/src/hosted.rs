//! `GET` and `POST /hosted/{token}`: the page on which a customer logs in at the bank. It stands in for Mono's page,
//! and does not imitate it.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use serde::Deserialize;

use crate::account::{INSTITUTIONS, Link};
use crate::scenario::{HostedPage, Mono};

const PAGE: &str = include_str!("hosted/page.html");
const CODE: &str = r#"<label for="code">One-time password: any digits</label>
    <input id="code" name="code" inputmode="numeric" pattern="[0-9]+" autocomplete="one-time-code" required>"#;
/// Allows no script and no content of other origins. It has no `form-action`, because browsers apply it to redirects
/// too.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

pub(crate) fn routes(mono: Arc<Mono>) -> Router {
    Router::new().route("/hosted/{token}", get(show).post(log_in)).with_state(mono)
}

async fn show(State(mono): State<Arc<Mono>>, Path(token): Path<String>) -> Response {
    let Some(page) = mono.hosted_page(&token) else {
        return not_found();
    };
    if page.account_id.is_some() {
        answer(StatusCode::OK, "Confirm that it is you", &form(CODE, "Confirm", &page))
    } else {
        answer(StatusCode::OK, "Link a bank account", &form(&banks(), "Log in", &page))
    }
}

/// The fields of the form.
#[derive(Default, Deserialize)]
struct Fields {
    bank_code: Option<String>,
}

async fn log_in(State(mono): State<Arc<Mono>>, Path(token): Path<String>, body: Bytes) -> Response {
    let Some(page) = mono.hosted_page(&token) else {
        return not_found();
    };
    // A form is encoded as a query.
    let uri = format!("/?{}", String::from_utf8_lossy(&body)).parse::<Uri>().unwrap_or_default();
    let fields = Query::<Fields>::try_from_uri(&uri).map(|query| query.0).unwrap_or_default();
    let link = Link { bank_code: fields.bank_code, ..Link::default() };
    match (mono.complete_link(&token, link), page.redirect_url) {
        (Ok(_), Some(redirect_url)) => Redirect::to(&redirect_url).into_response(),
        (Ok(_), None) => answer(StatusCode::OK, "Done", "<p>You can close this page.</p>"),
        (Err(_), _) => not_found(),
    }
}

fn banks() -> String {
    let option = |code: &str, name: &str| {
        format!(r#"<option value="{}">{}</option>"#, escaped(code), escaped(name))
    };
    let options: String = INSTITUTIONS.iter().map(|one| option(one.bank_code, one.name)).collect();
    format!(
        r#"<label for="bank">Your bank</label><select id="bank" name="bank_code">{options}</select>"#
    )
}

fn form(fields: &str, button: &str, page: &HostedPage) -> String {
    let cancel = page
        .redirect_url
        .as_deref()
        .map(|url| format!(r#"<p><a href="{}">Cancel, and go back</a></p>"#, escaped(url)));
    let cancel = cancel.unwrap_or_default();
    format!(r#"<form method="post">{fields}<button>{button}</button></form>{cancel}"#)
}

fn not_found() -> Response {
    let content =
        "<p>This link is unknown, or was already used. Go back to your app, and start again.</p>";
    answer(StatusCode::NOT_FOUND, "There is no such link", content)
}

fn answer(status: StatusCode, heading: &str, content: &str) -> Response {
    let page = PAGE.replace("{heading}", heading).replace("{content}", content);
    let headers = [(header::CONTENT_SECURITY_POLICY, POLICY), (header::CACHE_CONTROL, "no-store")];
    (status, headers, Html(page)).into_response()
}

/// The text, escaped for HTML inside and outside of attributes.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}
