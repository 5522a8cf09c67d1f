//! Mono's id of a linked account.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// Mono's account id. Real ids have 24 hexadecimal digits. Some of Mono's samples are longer, shorter or not
/// hexadecimal. Every text of 1 to 64 letters, digits, `-` or `_` is therefore accepted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct AccountId(String);

/// The text is empty, longer than 64 characters, or has a character other than letters, digits, `-` and `_`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an account id is 1 to 64 letters, digits, hyphens or underscores")]
pub struct InvalidAccountId;

impl AccountId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountId {
    type Err = InvalidAccountId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidAccountId)
        }
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for AccountId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_ids_and_sample_ids_are_accepted() {
        for text in ["697926f050b9c321c1451dda", "66f3caafc2d35bca", "a", "A-b_9", &"x".repeat(64)]
        {
            assert_eq!(text.parse::<AccountId>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn empty_text_long_text_and_text_with_other_characters_are_rejected() {
        for text in ["", " ", "a b", "a/b", "é", "a\n", "${x}", &"x".repeat(65)] {
            assert_eq!(text.parse::<AccountId>(), Err(InvalidAccountId), "{text:?}");
        }
    }
}
