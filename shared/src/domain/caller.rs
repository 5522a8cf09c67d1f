//! Who calls the accounts routes, and which accounts there are for them.

use crate::domain::account::Account;

/// A caller that API Gateway has let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// May see every account.
    Trusted,
    /// May see the accounts whose `ref` is this, and learns of no other.
    Owner(String),
}

impl Caller {
    /// Whether there is such an account for this caller.
    pub fn may_see(&self, account: &Account) -> bool {
        match self {
            Self::Trusted => true,
            Self::Owner(owner) => {
                account.registers.reference.as_ref().is_some_and(|held| held.value == *owner)
            }
        }
    }
}
