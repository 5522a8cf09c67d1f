//! Masks the BVN in a JSON text. This module works on the text, and not on parsed values, so every other byte stays
//! unchanged.

use std::borrow::Cow;

const KEY: &str = "bvn";

/// Masks the value of each key `bvn`, in any case and at any depth: the bytes of its strings become `*`, and its
/// digits `1`. The text must be valid JSON. It stays valid, and keeps its length.
pub(super) fn bvn(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut masked: Option<Vec<u8>> = None;
    // `bvn_depth` is the depth at which the value of a key `bvn` began. `None` outside such a value.
    let (mut depth, mut bvn_depth): (usize, Option<usize>) = (0, None);
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let end = end_of_string(bytes, at);
                if !is_key(bytes, end) {
                    if bvn_depth.is_some() {
                        let masked = masked.get_or_insert_with(|| bytes.to_vec());
                        masked[at + 1..end - 1].fill(b'*');
                    }
                } else if bvn_depth.is_none() && is_bvn(&text[at..end]) {
                    bvn_depth = Some(depth);
                }
                at = end;
                continue;
            }
            b'0'..=b'9' if bvn_depth.is_some() => {
                masked.get_or_insert_with(|| bytes.to_vec())[at] = b'1';
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                bvn_depth = bvn_depth.filter(|start| depth >= *start);
            }
            b',' => bvn_depth = bvn_depth.filter(|start| depth > *start),
            _ => {}
        }
        at += 1;
    }
    // Whole strings are masked, so the text stays UTF-8. Never fall back to the text with the BVN.
    masked.map_or(Cow::Borrowed(text), |masked| {
        Cow::Owned(String::from_utf8_lossy(&masked).into_owned())
    })
}

/// The position after the string that starts at `start`.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Whether the string that ends at `end` is a key.
fn is_key(bytes: &[u8], end: usize) -> bool {
    bytes[end..].iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b':')
}

/// Whether a string, with its quotation marks, is the key `bvn`. Any of its characters may be an escape.
fn is_bvn(string: &str) -> bool {
    let max_length = KEY.len() * r"\u0062".len() + 2;
    string.len() <= max_length
        && serde_json::from_str::<String>(string).is_ok_and(|key| key.eq_ignore_ascii_case(KEY))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn bvn_is_masked_and_every_other_byte_is_unchanged() {
        for (text, masked) in [
            (r#"{"bvn":"22212345678"}"#, r#"{"bvn":"***********"}"#),
            (r#"{ "BVN" : 22212345678 , "a" : 1 }"#, r#"{ "BVN" : 11111111111 , "a" : 1 }"#),
            (r#"{"bvn":null,"a":"1"}"#, r#"{"bvn":null,"a":"1"}"#),
            (r#"{"\u0062vn":"2","a":[{"bvn":"3"},4]}"#, r#"{"\u0062vn":"*","a":[{"bvn":"*"},4]}"#),
            (
                r#"{"bvn":{"number":"22","of":[7,"2"]},"a":"22"}"#,
                r#"{"bvn":{"number":"**","of":[1,"*"]},"a":"22"}"#,
            ),
            (r#"{"bvn":"a\"b\\","a":"bvn"}"#, r#"{"bvn":"******","a":"bvn"}"#),
            (r#"{"bvn":"é","bvns":"1","a":"bvn:1"}"#, r#"{"bvn":"**","bvns":"1","a":"bvn:1"}"#),
        ] {
            assert_eq!(bvn(text), masked);
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            r#"[a-z0-9"\\,:{}é]{0,8}"#.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let key = prop_oneof![Just("bvn".to_owned()), Just("BVN".to_owned()), "[a-c\"]{1,2}"];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map(key, inner, 0..4)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    /// The value without its BVN.
    fn without_bvn(value: Value) -> Value {
        match value {
            Value::Object(entries) => {
                let entries = entries.into_iter().map(|(key, value)| {
                    let is_bvn = key.eq_ignore_ascii_case(KEY);
                    (key, if is_bvn { json!("masked") } else { without_bvn(value) })
                });
                Value::Object(entries.collect())
            }
            Value::Array(items) => Value::Array(items.into_iter().map(without_bvn).collect()),
            other => other,
        }
    }

    /// The strings and numbers below keys `bvn`.
    fn secrets(value: &Value, is_below: bool) -> Vec<String> {
        match value {
            Value::Object(entries) => entries
                .iter()
                .flat_map(|(key, value)| secrets(value, is_below || key.eq_ignore_ascii_case(KEY)))
                .collect(),
            Value::Array(items) => items.iter().flat_map(|item| secrets(item, is_below)).collect(),
            Value::String(text) if is_below => vec![text.clone()],
            Value::Number(number) if is_below => vec![number.to_string()],
            _ => Vec::new(),
        }
    }

    proptest! {
        #[test]
        fn masked_text_has_the_same_length_and_the_same_value_without_the_bvn(value in any_json()) {
            for text in [value.to_string(), format!("{value:#}")] {
                let masked = bvn(&text);
                prop_assert_eq!(masked.len(), text.len());
                let read: Value = serde_json::from_str(&masked).unwrap();
                for secret in secrets(&read, false) {
                    prop_assert!(secret.chars().all(|c| "*1-".contains(c)), "{}", secret);
                }
                prop_assert_eq!(without_bvn(read), without_bvn(value.clone()));
            }
        }
    }
}
