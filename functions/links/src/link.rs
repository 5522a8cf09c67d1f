//! `POST /links` and `POST /links/exchange`: a hosted link, and the exchange of a code of Mono's widget.

use lambda_http::{Body, Request, Response};
use mono_sync::app::links::Failure;
use mono_sync::domain::caller::Caller;
use mono_sync::domain::link_token::LinkToken;
use mono_sync::domain::webhook::event::{MAX_REFERENCE, MAX_TEXT};
use mono_sync::http::problem::Problem;
use mono_sync::http::response;
use mono_sync::lambda::invocation::Invocation;
use mono_sync::mono::{Customer, LinkError, LinkRequest};
use serde_json::{Map, Value, json};

use crate::body;
use crate::handler::{Links, audit, problem};

/// The maximum length of a code in bytes. Mono documents none.
const LONGEST_CODE: usize = 512;

impl Links {
    pub(crate) async fn start(
        &self,
        request: &Request,
        caller: Caller,
        invocation: &Invocation,
    ) -> Result<Response<Body>, Problem> {
        let members = body::members(request, &["ref", "customer", "redirect_url"])?;
        let owner = owner(&members, caller)?.ok_or_else(reference_invalid)?;
        let redirect_url = body::redirect_url(&members, &self.redirect_origins)?;
        let redirect_url = redirect_url.ok_or_else(|| {
            Problem::request_invalid("redirect_url", "a URL of one of the stack's RedirectOrigins")
        })?;
        let link = LinkRequest { customer: customer(&members)?, redirect_url };
        audit(request, "link", None, invocation);
        let page = self.linker.start(owner.clone(), &link, invocation).await;
        let page = page.map_err(|failure| problem(failure, invocation))?;
        Ok(response::created(&json!({
            "url": page.url,
            "ref": owner,
            "customer_id": page.customer_id,
        })))
    }

    pub(crate) async fn exchange(
        &self,
        request: &Request,
        caller: Caller,
        invocation: &Invocation,
    ) -> Result<Response<Body>, Problem> {
        let members = body::members(request, &["ref", "code"])?;
        let owner = owner(&members, caller)?;
        let code = members.get("code").and_then(Value::as_str).filter(|code| is_code(code));
        let expected = "the code that Mono's widget passes to onSuccess";
        let code = code.ok_or_else(|| Problem::request_invalid("code", expected))?;
        audit(request, "exchange", None, invocation);
        let exchanged = self.linker.exchange(code, owner, invocation).await;
        let account_id = exchanged.map_err(|failure| match failure {
            Failure::Mono(LinkError::Refused(_)) => Problem::LinkCodeInvalid,
            other => problem(other, invocation),
        })?;
        Ok(response::ok(&json!({ "account_id": account_id })))
    }
}

/// The owner of the link: the owner in the caller's token, or else the `ref` in the body.
fn owner(members: &Map<String, Value>, caller: Caller) -> Result<Option<String>, Problem> {
    let named = match members.get("ref") {
        None => None,
        Some(Value::String(named)) if is_reference(named) => Some(named.clone()),
        Some(_) => return Err(reference_invalid()),
    };
    match caller {
        Caller::Trusted => Ok(named),
        Caller::Owner(owner) if named.as_ref().is_none_or(|named| *named == owner) => {
            Ok(Some(owner))
        }
        Caller::Owner(_) => {
            Err(Problem::request_invalid("ref", "the owner in the token, or left out"))
        }
    }
}

fn reference_invalid() -> Problem {
    let expected = format!("a text of at most {MAX_REFERENCE} bytes that is not blank");
    Problem::request_invalid("ref", expected)
}

/// A token would be taken for that of a link.
fn is_reference(text: &str) -> bool {
    is_text(text, MAX_REFERENCE) && LinkToken::parse(text).is_none()
}

fn is_text(text: &str, longest: usize) -> bool {
    !text.trim().is_empty() && text.len() <= longest
}

fn is_code(text: &str) -> bool {
    (1..=LONGEST_CODE).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn customer(members: &Map<String, Value>) -> Result<Customer, Problem> {
    let read = || {
        let customer = members.get("customer")?.as_object()?;
        let text = |name| customer.get(name)?.as_str().filter(|text| is_text(text, MAX_TEXT));
        match (customer.len(), text("id"), text("name"), text("email")) {
            (1, Some(id), None, None) => Some(Customer::Known { id: id.to_owned() }),
            (2, None, Some(name), Some(email)) if email.contains('@') => {
                Some(Customer::New { name: name.to_owned(), email: email.to_owned() })
            }
            _ => None,
        }
    };
    let expected = "an object with `name` and `email`, or with the `id` of a customer at Mono";
    read().ok_or_else(|| Problem::request_invalid("customer", expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(members) => members,
            other => panic!("{other}"),
        }
    }

    fn name_of_invalid<T>(result: Result<T, Problem>) -> String {
        match result {
            Err(Problem::RequestInvalid { name, .. }) => name.into_owned(),
            _ => panic!("the request is valid"),
        }
    }

    #[test]
    fn owner_of_the_token_counts_and_no_other() {
        let ada = || Caller::Owner("ada".to_owned());
        let owner = |body, caller| owner(&members(body), caller);
        assert_eq!(owner(json!({}), ada()).unwrap().as_deref(), Some("ada"));
        assert_eq!(owner(json!({ "ref": "ada" }), ada()).unwrap().as_deref(), Some("ada"));
        assert_eq!(name_of_invalid(owner(json!({ "ref": "bayo" }), ada())), "ref");
        assert_eq!(owner(json!({}), Caller::Trusted).unwrap(), None);
        let named = owner(json!({ "ref": "bayo" }), Caller::Trusted).unwrap();
        assert_eq!(named.as_deref(), Some("bayo"));
        for invalid in [json!(""), json!(" "), json!(7), json!("a".repeat(1025))] {
            assert_eq!(name_of_invalid(owner(json!({ "ref": invalid }), Caller::Trusted)), "ref");
        }
        let token = json!({ "ref": LinkToken::new([0; 17]).as_str() });
        assert_eq!(name_of_invalid(owner(token, Caller::Trusted)), "ref");
    }

    #[test]
    fn customer_is_new_or_known() {
        let customer = |value| customer(&members(json!({ "customer": value })));
        let new = customer(json!({ "name": "Ada Fictional", "email": "ada@example.com" })).unwrap();
        assert!(matches!(new, Customer::New { .. }));
        let known = customer(json!({ "id": "65f82acd00000003aa9028d0" })).unwrap();
        assert!(matches!(known, Customer::Known { .. }));
        for invalid in [
            json!({}),
            json!("ada"),
            json!({ "name": "Ada" }),
            json!({ "name": "Ada", "email": "ada" }),
            json!({ "id": "a", "name": "Ada" }),
            json!({ "id": "a", "bvn": "22212345678" }),
        ] {
            assert_eq!(name_of_invalid(customer(invalid)), "customer");
        }
    }
}
