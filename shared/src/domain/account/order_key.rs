//! The order of facts: it decides which of two facts is newer.

use sha2::{Digest, Sha256};

use crate::domain::timestamp::Timestamp;

/// The position of a fact among all facts about an account. The order is total and depends only on the facts. So any
/// order of arrival produces the same record.
///
/// The fields are compared from first to last. Stored as eleven bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderKey {
    /// When the fact happened. If this is unknown, when the fact was received.
    pub at: Timestamp,
    /// Decides between facts of the same millisecond.
    pub rank: Rank,
    /// Decides between facts of the same millisecond and rank.
    pub event: ShortHash,
    /// Whether `at` is the time of the event or only of its receipt.
    pub time_source: TimeSource,
}

/// Decides which of two facts of the same millisecond counts as later. A negative fact wins over a positive fact,
/// because an error in that direction costs less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is named after the fact that has it")]
pub enum Rank {
    Connected,
    Job,
    SyncFailed,
    Reauthorized,
    Updated,
    Sync,
    /// Any fact that reports that the bank requires re-authorisation.
    ReauthRequired,
    Unlinked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimeSource {
    /// The time of receipt, because the event carried no usable time. Such a fact is called weak: a redelivery may
    /// have arrived up to 48 hours late.
    Receipt,
    /// The time of the event itself. Such a fact is called strong.
    Event,
}

/// Four bytes of SHA-256. This is enough to distinguish two events of one account in one millisecond. If two hashes
/// collide, the value itself decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortHash([u8; 4]);

impl ShortHash {
    pub fn of(text: &str) -> Self {
        let digest = Sha256::digest(text.as_bytes());
        Self([digest[0], digest[1], digest[2], digest[3]])
    }

    pub const fn to_bytes(self) -> [u8; 4] {
        self.0
    }

    pub const fn from_bytes(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }

    /// Eight hexadecimal digits.
    pub fn to_hex(self) -> String {
        format!("{:08x}", u32::from_be_bytes(self.0))
    }

    /// Parses the output of [`to_hex`](Self::to_hex). `None` for any other text.
    pub fn from_hex(text: &str) -> Option<Self> {
        let hash = u32::from_str_radix(text, 16).ok().map(|number| Self(number.to_be_bytes()))?;
        (hash.to_hex() == text).then_some(hash)
    }

    /// Maps the hash to a number from 0 (inclusive) to 1 (exclusive).
    pub fn fraction(self) -> f64 {
        f64::from(u32::from_be_bytes(self.0)) / (f64::from(u32::MAX) + 1.0)
    }
}

impl OrderKey {
    /// The stored form: six bytes of milliseconds (big-endian), one byte of rank and time source, four bytes of hash.
    pub fn to_bytes(self) -> [u8; 11] {
        let mut bytes = [0; 11];
        bytes[..6].copy_from_slice(&self.at.to_bytes());
        bytes[6] = (self.rank as u8) << 1 | self.time_source as u8;
        bytes[7..].copy_from_slice(&self.event.0);
        bytes
    }

    /// The same bytes as 22 hexadecimal digits.
    pub fn to_hex(self) -> String {
        let mut wide = [0; 16];
        wide[5..].copy_from_slice(&self.to_bytes());
        format!("{:022x}", u128::from_be_bytes(wide))
    }

    /// Parses the output of [`to_hex`](Self::to_hex). `None` for any other text.
    pub fn from_hex(text: &str) -> Option<Self> {
        let wide = u128::from_str_radix(text, 16).ok()?.to_be_bytes();
        Self::from_bytes(&wide[5..]).filter(|key| key.to_hex() == text)
    }

    /// Parses the output of [`to_bytes`](Self::to_bytes). `None` for any other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; 11] = bytes.try_into().ok()?;
        let (at, [flags, event @ ..]) = bytes.split_first_chunk()? else {
            return None;
        };
        let time_source = if flags & 1 == 1 { TimeSource::Event } else { TimeSource::Receipt };
        let key = Self {
            at: Timestamp::from_bytes(*at),
            rank: Rank::ALL.into_iter().find(|rank| *rank as u8 == flags >> 1)?,
            time_source,
            event: ShortHash(event.try_into().ok()?),
        };
        (key.to_bytes() == bytes).then_some(key)
    }
}

impl Rank {
    const ALL: [Self; 8] = [
        Self::Connected,
        Self::Job,
        Self::SyncFailed,
        Self::Reauthorized,
        Self::Updated,
        Self::Sync,
        Self::ReauthRequired,
        Self::Unlinked,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys() -> impl Strategy<Value = OrderKey> {
        let time_source = prop_oneof![Just(TimeSource::Receipt), Just(TimeSource::Event)];
        (any::<u64>(), proptest::sample::select(&Rank::ALL[..]), time_source, any::<[u8; 4]>())
            .prop_map(|(millis, rank, time_source, event)| OrderKey {
                at: Timestamp::from_millis(millis),
                rank,
                time_source,
                event: ShortHash(event),
            })
    }

    #[test]
    fn ranks_are_sorted() {
        assert!(Rank::ALL.is_sorted());
        assert!(Rank::Updated < Rank::Sync && Rank::Sync < Rank::ReauthRequired);
    }

    #[test]
    fn stored_bytes_are_stable() {
        let key = |rank, time_source| OrderKey {
            at: Timestamp::from_millis(0x0102_0304_0506),
            rank,
            time_source,
            event: ShortHash([7, 8, 9, 10]),
        };
        for (stored, rank) in (0..).zip(Rank::ALL) {
            let weak = [1, 2, 3, 4, 5, 6, stored << 1, 7, 8, 9, 10];
            assert_eq!(key(rank, TimeSource::Receipt).to_bytes(), weak, "{rank:?}");
        }
        assert_eq!(key(Rank::Unlinked, TimeSource::Event).to_bytes()[6], 0b1111);
    }

    #[test]
    fn hash_fraction_is_in_the_unit_interval() {
        assert!((ShortHash([0; 4]).fraction()).abs() < f64::EPSILON);
        assert!(ShortHash([255; 4]).fraction() < 1.0);
    }

    #[test]
    fn invalid_bytes_and_hex_are_rejected() {
        assert_eq!(OrderKey::from_bytes(&[]), None);
        assert_eq!(OrderKey::from_bytes(&[0; 10]), None);
        assert_eq!(OrderKey::from_bytes(&[0xff; 11]), None);
        for text in ["", "0", "é", &"+1".repeat(11), &"FF".repeat(11)] {
            assert_eq!(OrderKey::from_hex(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn bytes_and_hex_round_trip(key in keys()) {
            prop_assert_eq!(OrderKey::from_bytes(&key.to_bytes()), Some(key));
            prop_assert_eq!(OrderKey::from_hex(&key.to_hex()), Some(key));
        }
    }
}
