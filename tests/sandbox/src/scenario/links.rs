//! Hosted pages, and the codes of the widget.

use std::collections::HashMap;

use super::{Link, Mono};
use crate::lock;
use crate::refusal::Refusal;

/// A page on which a customer logs in at the bank, once.
#[derive(Clone)]
pub(crate) struct HostedPage {
    /// The account to re-authorise. The page of a link has none.
    pub(crate) account_id: Option<String>,
    /// The `ref` of the account to link.
    pub(crate) reference: Option<String>,
    /// Where the customer goes afterwards.
    pub(crate) redirect_url: Option<String>,
}

/// What customers can do next at Mono.
#[derive(Default)]
pub(super) struct Logins {
    /// The pages on which no customer has logged in, by their tokens.
    hosted: HashMap<String, HostedPage>,
    /// The account of each code that was not exchanged.
    codes: HashMap<String, String>,
}

impl Mono {
    /// Opens a page for a customer. Returns its URL, which ends with the page's token.
    pub(crate) fn host(&self, page: HostedPage, base_url: &str) -> String {
        let token = self.token();
        let url = if self.hosted_pages {
            format!("{base_url}/hosted/{token}")
        } else {
            format!("https://link.mono.co/{token}")
        };
        lock(&self.logins).hosted.insert(token, page);
        url
    }

    /// The page with this token, unless a customer has logged in on it.
    pub(crate) fn hosted_page(&self, token: &str) -> Option<HostedPage> {
        lock(&self.logins).hosted.get(token).cloned()
    }

    /// The customer logs in at the bank on a hosted page. This links an account, or re-authorises the account of the
    /// page. Returns the account's id.
    ///
    /// # Errors
    ///
    /// If there is no such page, a customer has logged in on it, or the account is unlinked.
    pub fn complete_link(&self, token: &str, link: Link) -> Result<String, Refusal> {
        let page = lock(&self.logins).hosted.remove(token);
        let page = page.ok_or_else(|| Refusal::UnknownLink(token.to_owned()))?;
        let Some(account_id) = page.account_id else {
            return Ok(self.link(Link { reference: page.reference.or(link.reference), ..link }));
        };
        self.reauthorise(&account_id)?;
        Ok(account_id)
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
