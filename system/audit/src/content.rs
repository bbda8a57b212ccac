//! What a session carries: a request that nobody else has made, so that each part of it can be recognised.

use ring::rand::{SecureRandom, SystemRandom};
use sha2_host::{Digest, Sha256};

use crate::{Kind, Secret};

/// Bytes of a mark. It has nothing in common with another one but by a chance of 2^-128.
const MARK: usize = 32;

/// Bytes from one mark in a body to the next: small against all buffers, so that none is left unmarked.
const STEP: usize = 256;

/// Bytes of a body: more than a TLS record, and more than the ring of the `https` system between `tls` and its service.
const BODY: usize = 20_000;

/// A request to `/digest`, whose response is as unique.
pub(crate) struct Content {
    /// The whole request.
    pub(crate) request: Vec<u8>,
    /// The response's body, without its line break.
    pub(crate) digest: String,
    /// What to search for of the request.
    pub(crate) secrets: Vec<Secret>,
}

impl Content {
    /// Random content; `None` without random bytes.
    pub(crate) fn random() -> Option<Self> {
        let (query, cookie, mark) = (hex::encode(random()?), hex::encode(random()?), random()?);
        let mut body = vec![b'.'; BODY];
        for place in body.chunks_exact_mut(STEP) {
            place[..MARK].copy_from_slice(&mark);
        }
        let head = format!(
            "POST /digest?{query} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\nContent-Length: {BODY}\r\n\r\n"
        );
        let secret = |name, bytes: &[u8]| Secret::new(Kind::Request, name, bytes);
        Some(Self {
            digest: hex::encode(Sha256::digest(&body)),
            request: [head.as_bytes(), &body].concat(),
            secrets: vec![
                secret("path", query.as_bytes()),
                secret("header field", cookie.as_bytes()),
                secret("body", &mark),
            ],
        })
    }

    /// What to search for of the response, if it is what a service that has `/digest` answers.
    pub(crate) fn answered(&self, body: &[u8]) -> Option<Secret> {
        let digest = self.digest.as_bytes();
        (body.trim_ascii() == digest).then(|| Secret::new(Kind::Response, "body", digest))
    }
}

fn random() -> Option<[u8; MARK]> {
    let mut bytes = [0; MARK];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_searched_for_is_in_the_request_and_in_no_other() {
        let [one, other] = [Content::random().unwrap(), Content::random().unwrap()];
        let has = |content: &Content, secret: &Secret| {
            let windows = content.request.windows(secret.bytes.len());
            windows.filter(|window| *window == secret.bytes).count()
        };
        for secret in &one.secrets {
            let expected = if secret.name == "body" {
                BODY / STEP
            } else {
                1
            };
            assert_eq!(has(&one, secret), expected, "{}", secret.name);
            assert_eq!(has(&other, secret), 0);
        }
    }

    #[test]
    fn only_the_digest_is_an_answer() {
        let content = Content::random().unwrap();
        let text = format!("{}\n", content.digest);
        assert_eq!(content.answered(text.as_bytes()).unwrap().bytes.len(), 64);
        assert!(content.answered(b"404 Not Found\n").is_none());
    }
}
