//! The identity of an account as attributes of its item.

use std::cmp::Reverse;

use aws_sdk_dynamodb::types::AttributeValue;

use super::reader::Reader;
use super::tag::Orders;
use super::writer::Writer;
use super::{CorruptItem, Item};
use crate::domain::account::{Claim, Held, Identity, Institution, Proof, ShortHash, Trusted};
use crate::domain::link_token::{LinkToken, StartedLink};
use crate::domain::timestamp::Timestamp;

/// The proofs of the identity as bytes: see [`Writer::identity`].
const IDENTITY: &str = "identity";
/// The claims that differ from their held values.
const CLAIMED: &str = "claimed";

/// These two attributes are the keys of indexes. They are never empty.
pub(in super::super) const REFERENCE: &str = "ref";
pub(in super::super) const CUSTOMER: &str = "customer_id";
const NAME: &str = "name";
const ACCOUNT_NUMBER: &str = "account_number";
const INSTITUTION: &str = "institution";

/// The flags of a value in [`IDENTITY`].
const HELD: u8 = 1;
const VERIFIED: u8 = 2;
const CLAIM: u8 = 4;
/// The claim repeats the held value.
const REPEATS: u8 = 8;
/// The flags of the whole identity.
const PROVEN: u8 = 1;
const READ: u8 = 2;
const REFUTED: u8 = 4;
const LINK: u8 = 8;
const EXCHANGED: u8 = 16;

/// The token of the newest link that this system has started, and its owner if that is not the held owner.
const LINK_TOKEN: &str = "link_token";
const LINK_OWNER: &str = "link_owner";

impl Writer {
    /// Writes the identity. `identity` holds, for each value, a byte of flags and the times that the flags name. The
    /// held values are attributes with their names in the API. A claim that repeats the held value is not written
    /// again.
    pub(super) fn identity(&mut self, identity: &Identity, is_proven: bool) {
        let Identity { reference, customer, name, account_number, institution, .. } = identity;
        let Identity { read_at, refuted, link, exchanged_at, .. } = identity;
        let flags = flag(READ, read_at.is_some()) | flag(REFUTED, refuted.is_some());
        let flags = flags | flag(LINK, link.is_some()) | flag(EXCHANGED, exchanged_at.is_some());
        let mut bytes = vec![flag(PROVEN, is_proven) | flags];
        bytes.extend(read_at.iter().flat_map(|at| at.to_bytes()));
        if let Some((at, claims)) = refuted {
            bytes.extend(at.to_bytes());
            bytes.extend(claims.to_bytes());
        }
        if let Some(StartedLink { started_at, token, owner }) = link {
            bytes.extend(started_at.to_bytes());
            self.text(LINK_TOKEN, token.as_str());
            if reference.value() != Some(owner) {
                self.text(LINK_OWNER, owner);
            }
        }
        bytes.extend(exchanged_at.iter().flat_map(|at| at.to_bytes()));
        let mut claimed = Item::new();
        let text = |text: &String| AttributeValue::S(text.clone());
        let texts = [
            (REFERENCE, reference),
            (CUSTOMER, customer),
            (NAME, name),
            (ACCOUNT_NUMBER, account_number),
        ];
        for (attribute, trusted) in texts {
            self.trusted(attribute, trusted, text, &mut bytes, &mut claimed);
        }
        self.trusted(INSTITUTION, institution, to_attribute, &mut bytes, &mut claimed);
        if bytes.iter().any(|byte| *byte != 0) {
            self.bytes(IDENTITY, &[&bytes]);
        }
        if !claimed.is_empty() {
            self.item.insert(CLAIMED.to_owned(), AttributeValue::M(claimed));
        }
    }

    fn trusted<T: PartialEq>(
        &mut self,
        attribute: &str,
        trusted: &Trusted<T>,
        to_attribute: impl Fn(&T) -> AttributeValue,
        bytes: &mut Vec<u8>,
        claimed: &mut Item,
    ) {
        let Trusted { held, claim } = trusted;
        let Some(Held { proof, value }) = held else {
            return bytes.push(0);
        };
        let (is_verified, at) = match proof {
            Proof::FirstUse(Reverse(at)) => (false, at),
            Proof::Verified(at) => (true, at),
        };
        let repeats = claim.as_ref().is_some_and(|claim| claim.value == *value);
        let flags = flag(CLAIM, claim.is_some()) | flag(REPEATS, repeats);
        bytes.push(HELD | flag(VERIFIED, is_verified) | flags);
        bytes.extend(at.to_bytes());
        bytes.extend(claim.iter().flat_map(|claim| claim.at.to_bytes()));
        self.item.insert(attribute.to_owned(), to_attribute(value));
        if let Some(claim) = claim.as_ref().filter(|_| !repeats) {
            claimed.insert(attribute.to_owned(), to_attribute(&claim.value));
        }
    }
}

impl Reader {
    pub(super) fn identity(&mut self) -> Result<(Identity, bool), CorruptItem> {
        let bytes = match self.item.remove(IDENTITY) {
            None => return Ok((Identity::default(), false)),
            Some(AttributeValue::B(bytes)) => bytes.into_inner(),
            Some(_) => return Err(CorruptItem(IDENTITY)),
        };
        let claimed = match self.item.remove(CLAIMED) {
            None => Item::new(),
            Some(AttributeValue::M(claimed)) => claimed,
            Some(_) => return Err(CorruptItem(CLAIMED)),
        };
        let mut bytes = Bytes(&bytes);
        let flags = bytes.byte()?;
        let read_at = if flags & READ != 0 { Some(bytes.time()?) } else { None };
        let refuted = if flags & REFUTED != 0 {
            Some((bytes.time()?, ShortHash::from_bytes(bytes.take()?)))
        } else {
            None
        };
        let started_at = if flags & LINK != 0 { Some(bytes.time()?) } else { None };
        let exchanged_at = if flags & EXCHANGED != 0 { Some(bytes.time()?) } else { None };
        let mut claimed = Self { item: claimed, order: Orders::new() };
        let mut text =
            |attribute| self.trusted(attribute, Self::required, &mut bytes, &mut claimed);
        let (reference, customer) = (text(REFERENCE)?, text(CUSTOMER)?);
        let (name, account_number) = (text(NAME)?, text(ACCOUNT_NUMBER)?);
        let institution = self.trusted(INSTITUTION, institution, &mut bytes, &mut claimed)?;
        let link = match started_at {
            Some(started_at) => Some(self.link(started_at, &reference)?),
            None => None,
        };
        let identity = Identity {
            reference,
            customer,
            name,
            account_number,
            institution,
            read_at,
            refuted,
            link,
            exchanged_at,
        };
        Ok((identity, flags & PROVEN != 0))
    }

    fn link(
        &mut self,
        started_at: Timestamp,
        reference: &Trusted<String>,
    ) -> Result<StartedLink, CorruptItem> {
        let token = LinkToken::parse(&self.required(LINK_TOKEN)?).ok_or(CorruptItem(LINK_TOKEN))?;
        let owner = self.text(LINK_OWNER)?.or_else(|| reference.value().cloned());
        Ok(StartedLink { started_at, token, owner: owner.ok_or(CorruptItem(LINK_OWNER))? })
    }

    fn trusted<T: Clone>(
        &mut self,
        attribute: &'static str,
        read: impl Fn(&mut Self, &'static str) -> Result<T, CorruptItem>,
        bytes: &mut Bytes<'_>,
        claimed: &mut Self,
    ) -> Result<Trusted<T>, CorruptItem> {
        let flags = bytes.byte()?;
        if flags & HELD == 0 {
            return Ok(Trusted::default());
        }
        let value = read(self, attribute)?;
        let at = bytes.time()?;
        let is_verified = flags & VERIFIED != 0;
        let proof = if is_verified { Proof::Verified(at) } else { Proof::FirstUse(Reverse(at)) };
        let claim = if flags & CLAIM == 0 {
            None
        } else if flags & REPEATS == 0 {
            let value = read(claimed, attribute)?;
            Some(Claim { at: bytes.time()?, value })
        } else {
            Some(Claim { at: bytes.time()?, value: value.clone() })
        };
        Ok(Trusted { held: Some(Held { proof, value }), claim })
    }
}

const fn flag(flag: u8, is_set: bool) -> u8 {
    if is_set { flag } else { 0 }
}

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], CorruptItem> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(CorruptItem(IDENTITY))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, CorruptItem> {
        self.take().map(|[byte]| byte)
    }

    fn time(&mut self) -> Result<Timestamp, CorruptItem> {
        self.take().map(Timestamp::from_bytes)
    }
}

fn institution(reader: &mut Reader, attribute: &'static str) -> Result<Institution, CorruptItem> {
    let Some(AttributeValue::M(fields)) = reader.item.remove(attribute) else {
        return Err(CorruptItem(attribute));
    };
    let mut fields = Reader { item: fields, order: Orders::new() };
    Ok(Institution {
        name: fields.text("name")?,
        bank_code: fields.text("bank_code")?,
        kind: fields.text("type")?,
    })
}

fn to_attribute(institution: &Institution) -> AttributeValue {
    let Institution { name, bank_code, kind } = institution;
    let fields = [("name", name), ("bank_code", bank_code), ("type", kind)];
    let fields = fields
        .into_iter()
        .filter_map(|(field, value)| Some((field.to_owned(), AttributeValue::S(value.clone()?))));
    AttributeValue::M(fields.collect())
}
