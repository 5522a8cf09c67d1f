//! Starts a customer's re-authorisation. Each call requests a link or a token from Mono. Neither is stored.

use tracing::info;

use crate::aws::secrets::SecretUnavailable;
use crate::domain::account::{Account, CallError, Link, ProviderError, Status};
use crate::domain::caller::Caller;
use crate::domain::timestamp::Timestamp;
use crate::lambda::invocation::Invocation;
use crate::mono::{Mono, Reauthorisation, ReauthorisationRequest, ReauthoriseError};

/// Why no re-authorisation was started.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("the account is unlinked")]
    Unlinked,
    #[error("Mono does not know the account")]
    NotFound,
    #[error("the account belongs to another `ref`")]
    ForeignReference,
    #[error("Mono refused: {}", .0.code)]
    Failed(ProviderError),
    #[error("call to Mono failed: {}", .0.as_str())]
    Call(CallError),
    /// The key of the Mono app cannot be read.
    #[error(transparent)]
    Key(#[from] SecretUnavailable),
}

/// Requests the link (v2) or the token (v1) for a customer's re-authorisation, at any status of the account. It makes
/// one call, which is not on Mono's price list.
///
/// # Errors
///
/// [`Refusal`]: no re-authorisation was started.
pub async fn start(
    mono: &Mono,
    account: &Account,
    request: ReauthorisationRequest,
    caller: &Caller,
    invocation: &Invocation,
) -> Result<(Status, Reauthorisation), Refusal> {
    if matches!(account.link(), Link::Ended { .. }) {
        return Err(Refusal::Unlinked);
    }
    let request = with_own_reference(account, request, caller)?;
    let session = mono.session(Timestamp::now()).await?;
    let answer = session.reauthorise(&account.id, &request, invocation.deadline).await;
    let (request_id, account_id) = (&invocation.request_id, &account.id);
    match answer {
        Ok(reauthorisation) => {
            info!(request_id, %account_id, "re-authorisation started");
            Ok((account.status_since(Timestamp::now()).status, reauthorisation))
        }
        Err(ReauthoriseError::NotFound) if account.is_unlinked() => Err(Refusal::Unlinked),
        Err(ReauthoriseError::NotFound) => Err(Refusal::NotFound),
        Err(ReauthoriseError::Failed(error)) => {
            info!(request_id, %account_id, mono_code = error.code, "re-authorisation refused by Mono");
            Err(Refusal::Failed(error.without_name_of(account)))
        }
        Err(ReauthoriseError::Call(error)) => {
            info!(request_id, %account_id, call_error = error.as_str(), "re-authorisation could not be started");
            Err(Refusal::Call(error.without_name_of(account)))
        }
    }
}

/// Returns the request with the account's own reference, which Mono's webhooks then carry. An owner cannot transfer
/// the account to another owner.
fn with_own_reference(
    account: &Account,
    request: ReauthorisationRequest,
    caller: &Caller,
) -> Result<ReauthorisationRequest, Refusal> {
    let own = account.owner().map(str::to_owned);
    let is_foreign = request.reference.is_some() && request.reference != own;
    if is_foreign && *caller != Caller::Trusted {
        return Err(Refusal::ForeignReference);
    }
    Ok(ReauthorisationRequest { reference: request.reference.or(own), ..request })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::account::tests::record;
    use crate::domain::account::{EventBody, Fact, Webhook};

    fn account_with_reference(reference: &str) -> Account {
        let at = Timestamp::from_millis(1_767_603_601_000);
        let body = EventBody::Connected { customer_id: None, processing: false };
        let reference = Some(reference.to_owned());
        record([Fact::Webhook(Webhook::new(Some(at), at, "event", reference, body))])
    }

    fn reference(requested: Option<&str>, caller: &Caller) -> Result<Option<String>, Refusal> {
        let reference = requested.map(str::to_owned);
        let request = ReauthorisationRequest { reference, ..ReauthorisationRequest::default() };
        with_own_reference(&account_with_reference("ours"), request, caller)
            .map(|request| request.reference)
    }

    #[test]
    fn reauthorisation_carries_the_reference_of_the_account_by_default() {
        let owner = Caller::Owner("ours".to_owned());
        for caller in [&Caller::Trusted, &owner] {
            assert_eq!(reference(None, caller).unwrap().as_deref(), Some("ours"));
        }
        assert_eq!(reference(Some("ours"), &owner).unwrap().as_deref(), Some("ours"));
    }

    #[test]
    fn foreign_reference_is_refused_unless_the_caller_is_trusted() {
        let owner = Caller::Owner("ours".to_owned());
        assert!(matches!(reference(Some("theirs"), &owner), Err(Refusal::ForeignReference)));
        let trusted = reference(Some("theirs"), &Caller::Trusted).unwrap();
        assert_eq!(trusted.as_deref(), Some("theirs"));
    }
}
