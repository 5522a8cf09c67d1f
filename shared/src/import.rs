//! The rules of an import: which days Mono is asked for, when its answer is complete, and what is written then.

pub(crate) mod compare;
pub(crate) mod gaps;
mod job;
pub(crate) mod listing;
pub(crate) mod page;
pub(crate) mod slices;

pub use job::{Continuation, ImportJob, UnreadableJob};
pub use slices::RemainingRange;
