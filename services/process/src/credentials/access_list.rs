//! The access list: hashes of bearer tokens, and serial numbers of revoked certificates. Pure.

use std::collections::BTreeSet;

use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use subtle::ConstantTimeEq as _;

use super::{Identity, Role};

/// Most lines of a list.
const MOST_LINES: usize = 10_000;

/// The SHA-256 hash of a bearer token. Tokens are random, so the hash needs no salt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenHash([u8; SHA256_OUTPUT_LEN]);

impl TokenHash {
    /// Returns the hash of a token.
    pub fn of(token: &str) -> Self {
        let mut hash = [0; SHA256_OUTPUT_LEN];
        hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(hash)
    }

    /// Returns whether two hashes are equal, in a time that does not depend on where they differ.
    pub fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    fn parse(text: &str) -> Option<Self> {
        let bytes = hex(text)?;
        Some(Self(bytes.try_into().ok()?))
    }
}

impl std::fmt::Display for TokenHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Reads pairs of hexadecimal digits; colons between them, as in `openssl x509`, are left out.
fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> =
        text.chars().filter(|c| *c != ':').map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    if digits.is_empty() || digits.len() % 2 == 1 {
        return None;
    }
    digits.chunks_exact(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok()).collect()
}

/// A line of an access list is invalid.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct AccessListError {
    line: usize,
    problem: String,
}

/// Who gets in without a certificate, and which certificates no longer count.
///
/// A line is `token ROLE NAME SHA256` or `revoked SERIAL`, both in hexadecimal digits; `#` begins a comment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessList {
    tokens: Vec<(Identity, TokenHash)>,
    revoked: BTreeSet<Vec<u8>>,
}

impl AccessList {
    /// Reads a list.
    ///
    /// # Errors
    /// The first invalid line. Its text is not repeated: it may be a token.
    pub fn parse(text: &str) -> Result<Self, AccessListError> {
        let mut list = Self::default();
        for (at, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let problem = |problem: &str| AccessListError { line: at + 1, problem: problem.to_owned() };
            if at >= MOST_LINES {
                return Err(problem(&format!("an access list has at most {MOST_LINES} lines")));
            }
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                [] => {}
                ["token", role, name, hash] => {
                    let role: Role = role
                        .parse()
                        .map_err(|why: String| problem(&format!("the role is invalid: {why}")))?;
                    if !role.may_have_token() {
                        return Err(problem(
                            "tokens are for the roles bot, operator and monitor; others need a certificate",
                        ));
                    }
                    let identity = Identity::new(role, name).map_err(problem)?;
                    let hash = TokenHash::parse(hash).ok_or_else(|| {
                        problem("a token's hash has 64 hexadecimal digits: sha256sum of the token")
                    })?;
                    list.tokens.push((identity, hash));
                }
                ["revoked", serial] => {
                    let serial = hex(serial)
                        .ok_or_else(|| problem("a serial number has pairs of hexadecimal digits"))?;
                    list.revoked.insert(without_zeros(&serial).to_vec());
                }
                _ => return Err(problem("it takes `token ROLE NAME SHA256` or `revoked SERIAL`")),
            }
        }
        Ok(list)
    }

    /// Returns the bearer of a token. Every hash is compared, in constant time.
    pub fn bearer(&self, presented: &TokenHash) -> Option<&Identity> {
        let mut found = None;
        for (identity, hash) in &self.tokens {
            if hash.is(presented) {
                found = Some(identity);
            }
        }
        found
    }

    /// Whether the certificate with this serial number was revoked.
    pub fn is_revoked(&self, serial: &[u8]) -> bool {
        self.revoked.contains(without_zeros(serial))
    }
}

/// DER puts a zero before a serial number whose first bit is set.
fn without_zeros(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    &serial[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_serials_are_found_and_bad_lines_are_named() {
        let hash = TokenHash::of("secret");
        let text = format!(
            "# our tokens\n\ntoken operator alice {hash} # since May\nrevoked 00:AB:01\nrevoked 0c\n"
        );
        let list = AccessList::parse(&text).unwrap();
        let bearer = |token| list.bearer(&TokenHash::of(token));
        assert_eq!(bearer("secret"), Some(&Identity::new(Role::Operator, "alice").unwrap()));
        assert_eq!(bearer("Secret"), None);
        assert_eq!(bearer(""), None);
        assert!(list.is_revoked(&[0xab, 1]) && list.is_revoked(&[0, 0xab, 1]) && list.is_revoked(&[12]));
        assert!(!list.is_revoked(&[]) && !list.is_revoked(&[1]));
        for (line, says) in [
            ("token operator alice secret", "sha256sum"),
            ("token root alice 00", "coordinator, worker"),
            ("token worker any 00", "need a certificate"),
            ("token operator a/b 00", "a-z A-Z"),
            ("revoked 123", "pairs"),
            ("secret", "it takes"),
        ] {
            let error = AccessList::parse(&format!("\n{line}")).unwrap_err().to_string();
            assert!(error.starts_with("line 2: ") && error.contains(says), "{line}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(AccessList::parse(&"\n".repeat(MOST_LINES + 1)).is_err());
    }
}
