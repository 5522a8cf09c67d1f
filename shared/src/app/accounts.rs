//! Which accounts a caller may see, and what a read of an account causes.

use tracing::warn;

use crate::aws::store::{AccountStore, StoreError, Stored};
use crate::domain::account::Account;
use crate::domain::account_id::AccountId;
use crate::domain::caller::Caller;
use crate::domain::timestamp::Timestamp;

pub struct AccountReader {
    pub store: AccountStore,
}

impl AccountReader {
    /// Reads an account. `None` if it does not exist for this caller. One request.
    pub async fn visible(
        &self,
        id: &AccountId,
        caller: &Caller,
    ) -> Result<Option<Stored>, StoreError> {
        let stored = self.store.get(id).await?;
        Ok(stored.filter(|stored| caller.may_see(&stored.account)))
    }

    /// Records that the account was read, at most once per interval. Under the rule `on_read`, a recorded read makes
    /// the account due. A read that cannot be recorded is only logged.
    pub async fn note_read(&self, stored: Stored, request_id: &str) -> Account {
        let account = stored.account.clone();
        self.store.note_read(stored, Timestamp::now()).await.unwrap_or_else(|error| {
            warn!(request_id, account_id = %account.id, %error, "account read could not be recorded");
            account
        })
    }
}
