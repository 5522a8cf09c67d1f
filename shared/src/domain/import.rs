//! The rules of an import: which days Mono is asked for, when its answer is complete, and what is written then.

pub(crate) mod diff;
pub(crate) mod gaps;
mod job;
pub(crate) mod listing;
pub(crate) mod range;
pub(crate) mod sync_page;

pub use job::{Continuation, ImportJob, UnreadableJob};
pub use range::RemainingRange;
