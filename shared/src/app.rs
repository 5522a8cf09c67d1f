//! The use cases.

pub mod accounts;
pub mod adopt;
pub mod deliver;
pub mod erase;
pub mod import;
pub mod ingest;
pub mod links;
pub mod notify;
pub mod reauthorise;
pub mod refresh;
pub mod refresh_planner;
pub mod sync;
mod verification;
