//! Hosted links, and the codes of the widget.

use std::collections::HashMap;

use super::{Link, Mono};
use crate::lock;
use crate::refusal::Refusal;

/// What customers can do next at Mono.
#[derive(Default)]
pub(super) struct Logins {
    /// The `ref` of each hosted link that no customer has completed.
    hosted: HashMap<String, Option<String>>,
    /// The account of each code that was not exchanged.
    codes: HashMap<String, String>,
}

impl Mono {
    /// Starts a hosted link with this `ref`. Returns the last part of its URL.
    pub(crate) fn start_link(&self, reference: Option<String>) -> String {
        let token = self.token();
        lock(&self.logins).hosted.insert(token.clone(), reference);
        token
    }

    /// The customer logs in at the bank on the page of a hosted link. Returns the account's id.
    ///
    /// # Errors
    ///
    /// If there is no such link, or a customer has completed it.
    pub fn complete_link(&self, token: &str, link: Link) -> Result<String, Refusal> {
        let reference = lock(&self.logins).hosted.remove(token);
        let reference = reference.ok_or_else(|| Refusal::UnknownLink(token.to_owned()))?;
        Ok(self.link(Link { reference: reference.or(link.reference), ..link }))
    }

    /// The customer logs in at the bank in the widget. Returns the code that the widget passes to the front end.
    ///
    /// # Errors
    ///
    /// If the account is unknown or unlinked.
    pub fn code(&self, account_id: &str) -> Result<String, Refusal> {
        self.linked(account_id)?;
        let code = format!("code_{}", self.token());
        lock(&self.logins).codes.insert(code.clone(), account_id.to_owned());
        Ok(code)
    }

    /// Exchanges a code. A code can be exchanged once.
    pub(crate) fn exchange(&self, code: &str) -> Option<String> {
        lock(&self.logins).codes.remove(code)
    }
}
