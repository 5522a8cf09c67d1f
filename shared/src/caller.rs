//! Who calls the accounts routes, and which accounts there are for them.

use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt};

use crate::account::Account;
use crate::problem::Problem;

/// The caller as API Gateway names it: the ARN of the principal that signed the request, or the token's claim `sub`.
/// `unknown` if the request has neither.
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(authorizer: &Value) -> Request {
        let event = json!({
            "version": "2.0", "routeKey": "GET /accounts", "rawPath": "/accounts", "rawQueryString": "",
            "headers": {}, "isBase64Encoded": false,
            "requestContext": {
                "accountId": "1", "apiId": "api", "authorizer": authorizer, "domainName": "localhost",
                "http": { "method": "GET", "path": "/accounts", "protocol": "HTTP/1.1", "sourceIp": "::1",
                          "userAgent": "" },
                "requestId": "1", "routeKey": "GET /accounts", "stage": "$default", "timeEpoch": 1,
            },
        });
        lambda_http::request::from_str(&event.to_string()).expect("an event of API Gateway")
    }

    #[test]
    fn principal_is_the_signer_or_the_subject_of_the_token_or_unknown() {
        let arn = "arn:aws:iam::111122223333:user/app";
        let signed = json!({ "iam": { "userArn": arn } });
        let token = json!({ "jwt": { "claims": { "sub": "user-1" }, "scopes": null } });
        let nameless = json!({ "jwt": { "claims": {}, "scopes": null } });
        for (authorizer, expected) in
            [(signed, arn), (token, "user-1"), (nameless, "unknown"), (Value::Null, "unknown")]
        {
            assert_eq!(principal(&request(&authorizer)), expected);
        }
    }
}
