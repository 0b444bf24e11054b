//! The signature of Standard Webhooks 1.0.0: HMAC-SHA256 over `id.timestamp.body`.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice, SecretString, zeroize::Zeroizing};
use sha2::Sha256;
use subtle::ConstantTimeEq;

const SECRET_PREFIX: &str = "whsec_";

/// Bytes of a secret, as the specification recommends.
const SECRET_LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// Bytes of a secret that is made here.
const NEW_SECRET_LENGTH: usize = 32;

/// Signs requests.
#[derive(Clone, Debug)]
pub struct SigningKey(SecretSlice<u8>);

impl SigningKey {
    /// `whsec_` and 24 to 64 bytes in base64; else `None`.
    pub fn parse(secret: &str) -> Option<Self> {
        let bytes = Zeroizing::new(STANDARD.decode(secret.strip_prefix(SECRET_PREFIX)?).ok()?);
        // a copy of this very length is not moved again
        SECRET_LENGTHS.contains(&bytes.len()).then(|| Self(bytes.to_vec().into()))
    }

    pub fn is_same(&self, other: &Self) -> bool {
        self.0.expose_secret().ct_eq(other.0.expose_secret()).into()
    }

    fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose_secret()).expect("a key of any length is accepted");
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

/// A new secret, of numbers that cannot be guessed.
pub fn new_secret() -> SecretString {
    let bytes = Zeroizing::new(rand::random::<[u8; NEW_SECRET_LENGTH]>());
    format!("{SECRET_PREFIX}{}", STANDARD.encode(bytes)).into()
}

/// The value of `webhook-signature`: a signature of each key.
pub(super) fn signatures(keys: &[SigningKey], id: &str, timestamp: i64, body: &[u8]) -> String {
    let signatures: Vec<_> = keys.iter().map(|key| key.sign(id, timestamp, body)).collect();
    signatures.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_24_to_64_bytes_in_base64() {
        for (length, is_valid) in [(0, false), (23, false), (24, true), (64, true), (65, false)] {
            let secret = format!("whsec_{}", STANDARD.encode(vec![7; length]));
            assert_eq!(SigningKey::parse(&secret).is_some(), is_valid, "{length}");
        }
        let bytes = STANDARD.encode([7; 24]);
        for secret in [bytes.clone(), format!("WHSEC_{bytes}"), format!("whsec_{bytes}="), format!("whsec_ {bytes}")] {
            assert!(SigningKey::parse(&secret).is_none(), "{secret}");
        }
        assert!(SigningKey::parse(new_secret().expose_secret()).is_some());
    }

    /// The example of the reference implementations.
    #[test]
    fn the_signature_is_that_of_the_specification() {
        let key = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signature = signatures(std::slice::from_ref(&key), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let two = signatures(&[key.clone(), key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(two, format!("{signature} {signature}"));
    }
}
