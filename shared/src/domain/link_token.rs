//! The token that Mono carries as `ref` of a link that this system has started.

use std::fmt;
use std::time::Duration;

use crate::domain::timestamp::Timestamp;

/// Mono accepts a `ref` of 10 to 24 letters, digits and hyphens [inferred from Mono's reference]. A token has 24
/// characters: a prefix, and 85 random bits in base32.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkToken(String);

const PREFIX: &str = "mslink-";
const RANDOM_CHARACTERS: usize = 17;
/// The alphabet of base32 in lower case.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

impl LinkToken {
    /// A token of these random bytes. The lower five bits of each byte count.
    pub fn new(random: [u8; RANDOM_CHARACTERS]) -> Self {
        let characters = random.map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
        Self(format!("{PREFIX}{}", String::from_iter(characters)))
    }

    /// Reads a `ref`. `None`: it is not a token.
    pub fn parse(reference: &str) -> Option<Self> {
        let random = reference.strip_prefix(PREFIX)?;
        let is_token = random.len() == RANDOM_CHARACTERS
            && random.bytes().all(|character| ALPHABET.contains(&character));
        is_token.then(|| Self(reference.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A token proves who the owner of an account is, so no log contains one.
impl fmt::Debug for LinkToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkToken")
    }
}

/// A link that this system has started for an owner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StartedLink {
    pub started_at: Timestamp,
    pub token: LinkToken,
    /// The `ref` of the owner.
    pub owner: String,
}

impl StartedLink {
    /// How long the token proves the owner.
    const PERIOD: Duration = Duration::from_hours(24);

    /// Until when an event with the token proves the owner.
    pub fn counts_until(&self) -> Timestamp {
        self.started_at + Self::PERIOD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_is_a_ref_that_mono_accepts_and_is_read_back() {
        let token = LinkToken::new(std::array::from_fn(|index| u8::try_from(index * 15).unwrap()));
        assert_eq!(token.as_str().len(), 24);
        let is_accepted = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        assert!(token.as_str().bytes().all(is_accepted));
        assert_eq!(LinkToken::parse(token.as_str()), Some(token.clone()));
        assert_ne!(LinkToken::new([0; 17]), token);
    }

    #[test]
    fn reference_of_the_fintech_is_not_a_token() {
        for reference in [
            "",
            "customer-4711",
            "mslink-",
            "mslink-abc",
            "mslink-aaaaaaaaaaaaaaaa1",
            "mslink-AAAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(LinkToken::parse(reference), None, "{reference}");
        }
    }

    #[test]
    fn token_is_not_in_debug_output() {
        assert_eq!(format!("{:?}", LinkToken::new([7; 17])), "LinkToken");
    }
}
