//! The log of the calls to Mono's API.

use serde::Serialize;
use serde_json::Value;

use crate::bill::Charge;
use crate::plan::Fault;

/// One call to Mono's API, noted when it was decided and before it was answered. The key itself is
/// never noted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Call {
    /// Its HTTP method.
    pub method: String,
    /// Its path.
    pub path: String,
    /// What followed the question mark.
    pub query: Option<String>,
    /// The names of its headers, in lower case.
    pub headers: Vec<String>,
    /// What it carried, if that was JSON.
    pub body: Option<Value>,
    /// Whom it was about, known to Mono or not.
    pub account_id: Option<String>,
    /// Whether it carried the right key.
    pub signed_in: bool,
    /// Whether it asked for a sync, whatever came of it.
    pub sync: bool,
    /// Whether it began one. A session that was under way, a wrong key, and a fault that left
    /// nothing done begin none.
    pub begun: bool,
    /// What Mono charges for it.
    pub charge: Option<Charge>,
    /// What the caller was to get.
    pub answer: Answer,
}

/// What a caller got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// An answer of Mono's, with this status.
    Status(u16),
    /// This instead.
    Fault(Fault),
}
