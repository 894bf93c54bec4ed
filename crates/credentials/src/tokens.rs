//! Reads the tokens of callers from a file.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher as _, RandomState},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use opentelemetry::metrics::Meter;
use subtle::ConstantTimeEq;
use tokio::sync::watch;

use crate::{
    Role, TlsError,
    file::{File, Loaded, Purpose, Reload, ReloadableFile},
    reload::{Reloadable, Source},
};

/// The tokens of a file, one per line: `TOKEN`, `Bearer TOKEN`, `TOKEN NAME` or `Bearer TOKEN NAME`. The name identifies the
/// caller in logs and spans. Blank lines and lines that start with `#` are skipped. With several lines, an old and a new
/// token are valid at the same time. Updated when the file changes while [`watch`](Self::watch) runs.
pub struct Tokens(Arc<Reloadable<ReloadableFile<Lines>>>);

/// The sender of an accepted token.
#[derive(Clone)]
pub struct Caller(Arc<Line>);

/// The reason why a token is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No line of the file has this token.
    #[error("the token in the authorization metadata is not one of this server's")]
    Unknown,
    /// The token contains white space, as a whole line of a token file may.
    #[error(
        "the token in the authorization metadata contains a space: send the token alone, without its name"
    )]
    ContainsSpace,
}

/// The maximum length of a caller's name in bytes, which becomes an attribute of spans.
const MAX_NAME: usize = 64;

/// Words that are in the place of a token if a template was rendered with a wrong value, or not at all.
const NOT_TOKENS: [&str; 4] = ["bearer", "basic", "null", "undefined"];
const PLACEHOLDERS: [&str; 4] = ["${", "$(", "{{", "<no value>"];

/// Accepted tokens by their keyed hash. The key is random and never leaves the process, so nobody can construct a token
/// whose hash collides with that of a valid one. The time of a look-up therefore reveals nothing about the tokens, and does
/// not grow with their number. Tokens with the same hash are compared in constant time.
struct Lines {
    first: String,
    hasher: RandomState,
    by_hash: HashMap<u64, Vec<Arc<Line>>>,
}

struct Line {
    token: Box<str>,
    name: Option<Arc<str>>,
}

impl Tokens {
    /// Reads the file, which must contain at least one token.
    pub fn load(path: impl Into<PathBuf>) -> Result<Arc<Self>, TlsError> {
        let file = ReloadableFile::load(Purpose::Tokens, vec![(Role::Tokens, path.into())], parse)?;
        Ok(Arc::new(Self(Reloadable::new(file)?)))
    }

    /// Finds the caller by the value of the `authorization` metadata: a token, alone or after `Bearer`.
    pub fn authenticate(&self, value: &[u8]) -> Result<Caller, TokenError> {
        let token = without_scheme(value);
        if token.iter().any(u8::is_ascii_whitespace) {
            return Err(TokenError::ContainsSpace);
        }
        self.0.peek(|lines| lines.find(token).cloned()).map(Caller).ok_or(TokenError::Unknown)
    }

    /// Returns whether the file still has the token of `caller`, under any name.
    #[must_use]
    pub fn accepts(&self, caller: &Caller) -> bool {
        self.0.peek(|lines| lines.find(caller.0.token.as_bytes()).is_some())
    }

    /// Returns a receiver of reloads, after which [`accepts`](Self::accepts) may return a different result.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.0.changes()
    }

    /// Returns the first token, which a client sends, with `Bearer` if the line has it, and without the name.
    #[must_use]
    pub fn first(&self) -> String {
        self.0.current().first.clone()
    }

    /// Reads the file again every `interval`; never completes. Counts `kelvin.reloads` with `meter`.
    pub fn watch(&self, interval: Duration, meter: &Meter) -> impl Future<Output = ()> + Send + use<> {
        self.0.watch(interval, meter)
    }
}

impl Caller {
    /// Returns the name after the token, if there is one.
    #[must_use]
    pub fn name(&self) -> Option<&Arc<str>> {
        self.0.name.as_ref()
    }
}

impl Lines {
    fn find(&self, token: &[u8]) -> Option<&Arc<Line>> {
        self.candidates(token).iter().find(|line| line.token.as_bytes().ct_eq(token).into())
    }

    /// Returns the lines that a token is compared with.
    fn candidates(&self, token: &[u8]) -> &[Arc<Line>] {
        self.by_hash.get(&self.hasher.hash_one(token)).map_or(&[], Vec::as_slice)
    }
}

fn parse(files: &[File]) -> Result<Loaded<Lines>, TlsError> {
    let mut lines = Lines { first: String::new(), hasher: RandomState::new(), by_hash: HashMap::new() };
    for (number, line) in (1..).zip(files[0].text()?.lines()) {
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let error = |problem: &str| files[0].error(format!("line {number}: {problem}"));
        let (scheme, token, name) = split(line).map_err(&error)?;
        if lines.first.is_empty() {
            lines.first = [scheme, token].concat();
        }
        match lines.find(token.as_bytes()) {
            Some(other) if other.name.as_deref() != name => {
                return Err(error("the token repeats that of an earlier line under a different name"));
            }
            Some(_) => {}
            None => {
                let hash = lines.hasher.hash_one(token.as_bytes());
                let line = Arc::new(Line { token: token.into(), name: name.map(Into::into) });
                lines.by_hash.entry(hash).or_default().push(line);
            }
        }
    }
    if lines.by_hash.is_empty() {
        return Err(files[0].error("contains no token"));
    }
    Ok(Loaded { value: lines, expires: None })
}

/// Splits a line into `Bearer ` or nothing, the token, and the name. If a template variable was empty, the next word must
/// not become the token: neither the name, which is not secret, nor `Bearer`, which anybody can send.
fn split(line: &str) -> Result<(&str, &str, Option<&str>), &'static str> {
    // Other characters cannot be sent as metadata, so the token would never match.
    if !line.bytes().all(|byte| matches!(byte, b' ' | b'\t') || byte.is_ascii_graphic()) {
        return Err("a token contains characters other than visible ASCII");
    }
    if line.starts_with([' ', '\t']) {
        return Err("white space before the token; is the token missing?");
    }
    if PLACEHOLDERS.iter().any(|placeholder| line.contains(placeholder)) {
        return Err("a placeholder of a template, such as `${TOKEN}`, instead of a token");
    }
    let mut words = line.split_ascii_whitespace();
    let mut token = words.next().unwrap_or_default();
    let mut scheme = "";
    if token.eq_ignore_ascii_case("bearer") {
        let Some(word) = words.next() else { return Err("no token after `Bearer`") };
        scheme = &line[.."Bearer ".len()];
        if scheme.ends_with('\t') || !line[scheme.len()..].starts_with(word) {
            return Err("not exactly one space after `Bearer`; is the token missing?");
        }
        token = word;
    }
    if token.ends_with(':') || NOT_TOKENS.iter().any(|word| token.eq_ignore_ascii_case(word)) {
        return Err("expected a token, found another word, such as a scheme or a header name");
    }
    // Such as `""`, or the dash of a YAML list.
    if !token.bytes().any(|byte| byte.is_ascii_alphanumeric()) {
        return Err("a token without letters or digits");
    }
    let name = words.next();
    if words.next().is_some() {
        return Err(
            "a token must not contain a space; a line holds a token, optionally followed by white space and a name",
        );
    }
    if name.is_some_and(|name| name.len() > MAX_NAME) {
        return Err("the name is longer than 64 characters");
    }
    Ok((scheme, token, name))
}

/// Returns the token without its scheme, which is case-insensitive (RFC 9110, 11.1).
fn without_scheme(value: &[u8]) -> &[u8] {
    let value = value.trim_ascii();
    match value.split_at_checked(b"Bearer".len()) {
        Some((scheme, token))
            if scheme.eq_ignore_ascii_case(b"Bearer")
                && token.first().is_some_and(u8::is_ascii_whitespace) =>
        {
            token.trim_ascii_start()
        }
        _ => value,
    }
}

impl Source for ReloadableFile<Lines> {
    type Snapshot = Lines;

    fn snapshot(&self) -> Result<Arc<Lines>, TlsError> {
        Ok(self.value())
    }

    fn files(&mut self) -> Vec<&mut dyn Reload> {
        vec![self]
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("name", &self.0.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn cost_of_a_look_up_does_not_grow_with_the_number_of_tokens() {
        for count in [1_usize, 10_000] {
            let mut content = String::new();
            for number in 0..count {
                writeln!(content, "token-{number} caller-{number}").unwrap();
            }
            let file = File { role: Role::Tokens, path: PathBuf::new(), content: Ok(content.into_bytes()) };
            let Ok(Loaded { value: lines, .. }) = parse(&[file]) else { panic!("{count} lines are valid") };
            // Of 10,000 tokens two share one of 2^64 hashes once in 370 billion runs.
            let compared =
                (0..count).map(|number| lines.candidates(format!("token-{number}").as_bytes()).len());
            assert_eq!(compared.max(), Some(1));
            assert_eq!(lines.candidates(b"unknown").len(), 0);
        }
    }
}
