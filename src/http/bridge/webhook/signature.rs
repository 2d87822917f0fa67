//! How requests of webhooks are signed: as the specification of Standard Webhooks 1.0.0 says, for
//! whose receivers there are libraries.

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::router::WebhookSecret;

/// The value of `webhook-signature`: a signature for each secret. `timestamp`: seconds since 1970.
pub(crate) fn signature(secrets: &[WebhookSecret], id: &str, timestamp: u64, body: &str) -> String {
    let signed = secrets.iter().map(|secret| {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(secret.key()).expect("keys may have any length");
        mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()))
    });
    signed.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the libraries of Standard Webhooks.
    #[test]
    fn the_published_example_is_signed_alike() {
        let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let (id, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "{\"test\": 2432232314}");
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let one = [secret.clone()];
        assert_eq!(signature(&one, id, 1_614_265_330, body), expected);
        let other = WebhookSecret::parse(&WebhookSecret::to_text(&[1; 32])).unwrap();
        let both = signature(&[secret, other], id, 1_614_265_330, body);
        let (first, second) = both.split_once(' ').unwrap();
        assert!(first == expected && second.starts_with("v1,") && second != expected);
    }
}
