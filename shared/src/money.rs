//! Money, as whole minor units.

use serde::Serialize;
use serde_json::Value;

/// An amount in the minor unit of its currency (kobo, pesewa, cent), exact over the whole range of
/// `i64`. Mono sends balances so [docs.mono.co/api/bank-data/accounts/details].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct MinorUnits(pub i64);

impl MinorUnits {
    /// A JSON integer. Anything else — `null`, a fraction, text, more than an `i64` holds — is no
    /// amount: money is never guessed or rounded.
    #[must_use]
    pub fn from_json(value: &Value) -> Option<Self> {
        value.as_i64().map(Self)
    }
}

/// ISO 4217 where it can be told, else as it came: Mono's samples say `NGN`, `ngn` and, in 2020,
/// `Naira`.
pub(crate) fn currency(word: &str) -> String {
    let is_code = word.len() == 3 && word.bytes().all(|byte| byte.is_ascii_alphabetic());
    match word {
        _ if word.eq_ignore_ascii_case("naira") => "NGN".to_owned(),
        _ if is_code => word.to_ascii_uppercase(),
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<i64> {
        MinorUnits::from_json(&serde_json::from_str(json).unwrap()).map(|amount| amount.0)
    }

    #[test]
    fn integers_are_exact_beyond_the_53_bits_of_a_float() {
        assert_eq!(read("9007199254740993"), Some(9_007_199_254_740_993));
        assert_eq!(read("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(read("0"), Some(0));
    }

    #[test]
    fn what_is_not_a_whole_number_of_minor_units_is_no_amount() {
        for json in ["null", "1.5", "\"100\"", "1e3", "9223372036854775808", "[]", "true"] {
            assert_eq!(read(json), None, "{json}");
        }
    }
}
