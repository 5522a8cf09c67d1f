//! The caller of the accounts routes, and the accounts that are visible to the caller.

use crate::domain::account::Account;

/// A caller that API Gateway has authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The caller may see every account.
    Trusted,
    /// The caller may see only the accounts with this `ref`. Other accounts do not exist for this caller.
    Owner(String),
}

impl Caller {
    /// Whether the account is visible to this caller.
    pub fn may_see(&self, account: &Account) -> bool {
        match self {
            Self::Trusted => true,
            Self::Owner(owner) => account.owner() == Some(owner),
        }
    }
}
