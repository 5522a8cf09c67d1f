//! Who calls the accounts routes, and which accounts there are for them.

use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt};

use crate::account::Account;
use crate::problem::Problem;

/// Who has called, in the words of API Gateway: the ARN of the principal that signed, or the claim `sub` of the token;
/// `unknown` where it says neither.
#[must_use]
pub fn principal(request: &Request) -> String {
    let named = || {
        let Some(RequestContext::ApiGatewayV2(context)) = request.request_context_ref() else {
            return None;
        };
        let authorizer = context.authorizer.as_ref()?;
        let subject = authorizer.jwt.as_ref().and_then(|token| token.claims.get("sub"));
        let signer = || authorizer.iam.as_ref()?.user_arn.as_ref();
        subject.or_else(signer).cloned()
    };
    named().unwrap_or_else(|| "unknown".to_owned())
}

/// A caller that API Gateway has let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// May see every account.
    Trusted,
    /// May see the accounts whose `ref` is this, and learns of no other.
    Owner(String),
}

impl Caller {
    /// The caller of a request. `owner_claim` is the claim of the token that names the owner, if
    /// callers are to be told apart.
    ///
    /// # Errors
    ///
    /// [`Problem::OwnerClaimMissing`].
    pub fn of(request: &Request, owner_claim: Option<&str>) -> Result<Self, Problem> {
        let Some(claim) = owner_claim else {
            return Ok(Self::Trusted);
        };
        let context = request.request_context_ref();
        let Some(RequestContext::ApiGatewayV2(context)) = context else {
            return Err(Problem::OwnerClaimMissing);
        };
        let token = context.authorizer.as_ref().and_then(|authorizer| authorizer.jwt.as_ref());
        let owner = token.and_then(|token| token.claims.get(claim));
        let owner = owner.filter(|owner| !owner.trim().is_empty());
        owner.cloned().map(Self::Owner).ok_or(Problem::OwnerClaimMissing)
    }

    /// Whether there is such an account for this caller.
    #[must_use]
    pub fn may_see(&self, account: &Account) -> bool {
        match self {
            Self::Trusted => true,
            Self::Owner(owner) => {
                account.registers.reference.as_ref().is_some_and(|held| held.value == *owner)
            }
        }
    }
}
