//! The log of the calls to Mono's API.

use serde::Serialize;
use serde_json::Value;

use crate::bill::Charge;
use crate::plan::Fault;

/// One call to Mono's API. It is logged after its answer is decided and before it is answered. The key
/// itself is never logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Call {
    pub method: String,
    pub path: String,
    pub query: Option<String>,
    /// The names of its headers, in lower case.
    pub headers: Vec<String>,
    /// The body, if it was JSON.
    pub body: Option<Value>,
    /// The account of the call, even if Mono does not know it.
    pub account_id: Option<String>,
    /// Whether the key was correct.
    pub signed_in: bool,
    /// Whether the call requested a sync, with any outcome.
    pub sync: bool,
    /// Whether the call began a sync. It does not if a sync is already running, if the key is wrong, or
    /// if a fault prevents the sync.
    pub begun: bool,
    /// Mono's charge for the call.
    pub charge: Option<Charge>,
    /// The answer that was decided for the caller.
    pub answer: Answer,
}

/// The answer to a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// An answer of Mono with this status.
    Status(u16),
    /// A fault instead of an answer.
    Fault(Fault),
}
