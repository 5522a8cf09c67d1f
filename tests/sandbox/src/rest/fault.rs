//! Answers with faults.

use std::convert::Infallible;
use std::future::pending;
use std::io;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::response::{Html, IntoResponse, Response};
use futures_util::stream;

use super::{error, status};
use crate::plan::Fault;

const JSON: &str = "application/json";
const HTML: &str = "<!doctype html><title>Sorry</title><h1>Something went wrong</h1>";

pub(super) async fn respond(fault: Fault) -> Response {
    match fault {
        Fault::Status(code) => error(status(code), "Something went wrong"),
        Fault::Words { status: code, message } => error(status(code), &message),
        Fault::RateLimited { retry_after } => rate_limited(retry_after),
        Fault::MalformedJson => {
            ([(CONTENT_TYPE, JSON)], r#"{"status":"successful","data":"#).into_response()
        }
        Fault::Html(code) => (status(code), Html(HTML)).into_response(),
        Fault::EndlessBody => ([(CONTENT_TYPE, JSON)], endless()).into_response(),
        Fault::ConnectionClosed => closed().into_response(),
        Fault::Redirect(url) => (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, url)]).into_response(),
        Fault::Hang => pending().await,
    }
}

fn rate_limited(retry_after: Option<u32>) -> Response {
    let response = error(StatusCode::TOO_MANY_REQUESTS, "Too many requests");
    match retry_after {
        Some(seconds) => ([(RETRY_AFTER, seconds.to_string())], response).into_response(),
        None => response,
    }
}

/// An endless body of blanks, which is the beginning of valid JSON.
fn endless() -> Body {
    const BLANKS: &[u8] = &[b' '; 16_384];
    Body::from_stream(stream::repeat(Ok::<_, Infallible>(Bytes::from_static(BLANKS))))
}

/// If the body fails before its first byte, the server closes the connection without sending headers.
fn closed() -> Body {
    let failure = io::Error::from(io::ErrorKind::ConnectionAborted);
    Body::from_stream(stream::iter([Err::<Bytes, _>(failure)]))
}
