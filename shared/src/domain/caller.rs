//! The caller of the accounts routes, and the accounts that are visible to the caller.

use crate::domain::account::{Account, Erasure};

/// A caller that API Gateway has authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The caller may see every account.
    Trusted,
    /// The caller may see only the accounts with this `ref`. Other accounts do not exist for this caller.
    Owner(String),
}

impl Caller {
    /// Whether the account is visible to this caller. An account whose erasure has begun is visible to nobody.
    pub fn may_see(&self, account: &Account) -> bool {
        account.erasure.is_none() && self.is_responsible_for(account)
    }

    /// The same for an account whose erasure may have begun.
    pub fn is_responsible_for(&self, account: &Account) -> bool {
        match self {
            Self::Trusted => true,
            Self::Owner(owner) => account.owner() == Some(owner),
        }
    }

    /// Whether a request of this caller ends the new link of an erasure too. A former owner cannot end a link that
    /// another owner has exchanged.
    pub fn may_erase_again(&self, erasure: &Erasure) -> bool {
        let owner = erasure.exchange.as_ref().and_then(|exchange| exchange.owner.as_ref());
        match self {
            Self::Trusted => true,
            Self::Owner(caller) => owner.is_none_or(|owner| owner == caller),
        }
    }
}
