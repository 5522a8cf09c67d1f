//! The rules of an import: which days are requested from Mono, when a listing is complete, and which rows are
//! written.

pub(crate) mod diff;
pub(crate) mod gaps;
mod job;
pub(crate) mod listing;
pub(crate) mod range;
pub(crate) mod sync_page;

pub use job::{Continuation, ImportJob, UnreadableJob};
pub use range::RemainingRange;
