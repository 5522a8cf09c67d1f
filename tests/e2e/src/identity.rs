//! An identity provider on loopback and a free port. It stands in for the fintech's own.
//!
//! It publishes the metadata of an OpenID provider, so that the API's JWT authorizer finds its key. It
//! signs tokens (RS256) with any claims that a test needs. It creates its keys when it starts and
//! never stores them.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::routing::get;
use axum::{Json, Router};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa::{KeyPair, PublicKeyComponents};
use ring::signature::RSA_PKCS1_SHA256;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinHandle;

use crate::emulator::LocalError;
use crate::project;

/// The id of the published key.
const KEY_ID: &str = "published";

/// The validity of a token in seconds.
const LIFETIME: u64 = 3600;

/// Prints a new RSA key. ring cannot create one, but the emulator's cryptography library can.
const GENERATE: &str = "
import sys
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
sys.stdout.buffer.write(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
";

/// A running issuer of tokens. It ends with this handle and with its runtime.
#[derive(Debug)]
pub struct Issuer {
    url: String,
    key: KeyPair,
    another_key: KeyPair,
    server: JoinHandle<io::Result<()>>,
}

impl Issuer {
    /// Creates the keys, and serves `/.well-known/openid-configuration` and the key set that it names.
    pub async fn start() -> Result<Self, LocalError> {
        let (key, another_key) = tokio::try_join!(new_key(), new_key())?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let jwks = "/.well-known/jwks.json";
        let metadata = json!({
            "issuer": url,
            "jwks_uri": format!("{url}{jwks}"),
            "id_token_signing_alg_values_supported": ["RS256"],
        });
        let keys = json!({ "keys": [public(&key)] });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(async || Json(metadata)))
            .route(jwks, get(async || Json(keys)));
        let server = tokio::spawn(axum::serve(listener, router).into_future());
        Ok(Self { url, key, another_key, server })
    }

    /// The issuer's URL: the `iss` of its tokens and the stack's parameter `JwtIssuer`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A token with these claims. The defaults of `iss`, `iat` and `exp` name this issuer and one hour
    /// of validity. A claim of null is omitted.
    pub fn token(&self, claims: &Value) -> String {
        sign(&self.key, KEY_ID, &self.with_defaults(claims))
    }

    /// A token with these claims that expired a minute ago.
    pub fn expired_token(&self, claims: &Value) -> String {
        let mut claims = claims.clone();
        claims["iat"] = json!(now() - LIFETIME);
        claims["exp"] = json!(now() - 60);
        self.token(&claims)
    }

    /// A token with these claims, signed with a key that is not published. The token names this key.
    pub fn token_of_unknown_key(&self, claims: &Value) -> String {
        sign(&self.another_key, "unpublished", &self.with_defaults(claims))
    }

    /// A token with these claims that names the published key but is signed with another key.
    pub fn forged_token(&self, claims: &Value) -> String {
        sign(&self.another_key, KEY_ID, &self.with_defaults(claims))
    }

    fn with_defaults(&self, claims: &Value) -> Value {
        let mut all = json!({ "iss": self.url, "iat": now(), "exp": now() + LIFETIME });
        for (name, value) in claims.as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        if let Some(all) = all.as_object_mut() {
            all.retain(|_, value| !value.is_null());
        }
        all
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn new_key() -> Result<KeyPair, LocalError> {
    let python = project().join(".venv/emulator/bin/python");
    if !python.exists() {
        return Err(LocalError::NotInstalled(python));
    }
    let printed = Command::new(python).args(["-c", GENERATE]).output().await?;
    KeyPair::from_pkcs8(&printed.stdout)
        .map_err(|_| io::Error::other(String::from_utf8_lossy(&printed.stderr)).into())
}

/// The public half, as a JSON Web Key.
fn public(key: &KeyPair) -> Value {
    let parts = PublicKeyComponents::<Vec<u8>>::from(key.public());
    json!({
        "kty": "RSA",
        "use": "sig",
        "alg": "RS256",
        "kid": KEY_ID,
        "n": base64(&parts.n),
        "e": base64(&parts.e),
    })
}

fn sign(key: &KeyPair, key_id: &str, claims: &Value) -> String {
    let header = json!({ "alg": "RS256", "typ": "JWT", "kid": key_id });
    let [header, claims] = [header, claims.clone()].map(|part| base64(part.to_string().as_bytes()));
    let signed = format!("{header}.{claims}");
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .expect("the signature is as long as the key");
    format!("{signed}.{}", base64(&signature))
}

fn base64(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use ring::signature::RSA_PKCS1_2048_8192_SHA256;

    use super::*;

    fn bytes(part: &str) -> Vec<u8> {
        BASE64_URL_SAFE_NO_PAD.decode(part).unwrap_or_default()
    }

    fn json(part: &str) -> Value {
        serde_json::from_slice(&bytes(part)).unwrap_or_default()
    }

    async fn fetch(url: &str) -> Value {
        let answer = reqwest::get(url).await.expect("the issuer answers");
        answer.json().await.expect("in JSON")
    }

    /// The claims of a token, if the published key verifies its signature.
    async fn verified(issuer: &Issuer, token: &str) -> Option<Value> {
        let metadata = fetch(&format!("{}/.well-known/openid-configuration", issuer.url())).await;
        assert_eq!(metadata["issuer"], issuer.url());
        let keys = fetch(metadata["jwks_uri"].as_str()?).await;
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let key = keys["keys"].as_array()?.iter().find(|key| key["kid"] == json(header)["kid"])?;
        let [n, e] = ["n", "e"].map(|part| bytes(key[part].as_str().unwrap_or_default()));
        let key = PublicKeyComponents { n, e };
        let signature = bytes(signature);
        key.verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature).ok()?;
        Some(json(claims))
    }

    #[tokio::test]
    async fn token_is_verified_with_the_published_key() {
        let issuer = Issuer::start().await.expect("an issuer");
        let requested = json!({ "aud": "app", "scope": "accounts:read", "iat": null });
        let claims = verified(&issuer, &issuer.token(&requested)).await.expect("a valid signature");
        assert_eq!((&claims["iss"], &claims["aud"]), (&json!(issuer.url()), &json!("app")));
        assert_eq!(claims["scope"], "accounts:read");
        assert!(claims.get("iat").is_none());
        assert!(claims["exp"].as_u64() > Some(now()));

        let expired = issuer.expired_token(&requested);
        let expired = verified(&issuer, &expired).await.expect("a valid signature");
        assert!(expired["exp"].as_u64() < Some(now()));
    }

    #[tokio::test]
    async fn token_of_another_key_is_not_verified() {
        let issuer = Issuer::start().await.expect("an issuer");
        let claims = json!({ "aud": "app" });
        for token in [issuer.token_of_unknown_key(&claims), issuer.forged_token(&claims)] {
            assert_eq!(verified(&issuer, &token).await, None);
        }
    }
}
