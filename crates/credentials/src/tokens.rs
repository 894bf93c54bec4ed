//! The tokens that stand in for a client, from a file.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use opentelemetry::metrics::Meter;
use subtle::{Choice, ConstantTimeEq};

use crate::{
    TlsError,
    reload::{Live, Parts},
    watched::{Event, Expiry, Loaded, Watched},
};

/// The tokens of a file, one a line; blank lines and those that start with `#` are left out. Several
/// lines let an old and a new token work side by side. Up to date while [`watch`](Self::watch) runs.
pub struct Tokens(Arc<Live<Watched<Vec<String>>>>);

impl Tokens {
    /// Reads the file, which must hold at least one token.
    pub fn load(path: impl Into<PathBuf>) -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self(Live::new(Watched::load("tokens", vec![path.into()], parse)?)?)))
    }

    /// Whether the value of `authorization` metadata is one of the tokens, bare or after `Bearer`. Takes
    /// as long for a wrong token as for a right one of the same length.
    #[must_use]
    pub fn accepts(&self, value: &[u8]) -> bool {
        let value = bare(value);
        let tokens = self.0.current();
        tokens.iter().fold(Choice::from(0), |found, token| found | bare(token.as_bytes()).ct_eq(value)).into()
    }

    /// The first token as it stands in the file, for a client to send.
    #[must_use]
    pub fn first(&self) -> String {
        self.0.current()[0].clone()
    }

    /// Looks at the file every `interval`, for ever. Counts `kelvin.reloads` with `meter`.
    pub fn watch(&self, interval: Duration, meter: &Meter) -> impl Future<Output = ()> + Send + use<> {
        self.0.watch(interval, meter)
    }
}

fn parse(paths: &[PathBuf], contents: &[Vec<u8>]) -> Result<Loaded<Vec<String>>, TlsError> {
    let error = |problem| TlsError::file(&paths[0], problem);
    let text = str::from_utf8(&contents[0]).map_err(|_| error("is not text"))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let tokens: Vec<_> = lines.map(ToOwned::to_owned).collect();
    if tokens.is_empty() {
        return Err(error("holds no token"));
    }
    // Anything else cannot stand in metadata and would never match.
    if tokens.iter().any(|token| !token.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())) {
        return Err(error("holds a token with characters other than visible ASCII"));
    }
    Ok(Loaded { value: tokens, expires: None })
}

/// The token without its scheme, whose case does not matter (RFC 9110, 11.1).
fn bare(value: &[u8]) -> &[u8] {
    let value = value.trim_ascii();
    match value.split_at_checked(b"Bearer ".len()) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"Bearer ") => token.trim_ascii_start(),
        _ => value,
    }
}

impl Parts for Watched<Vec<String>> {
    type Whole = Vec<String>;

    fn whole(&self) -> Result<Arc<Vec<String>>, TlsError> {
        Ok(self.value())
    }

    fn reload(&mut self) -> Vec<Event> {
        self.reload().into_iter().collect()
    }

    fn files(&self) -> Vec<&'static str> {
        vec![self.file()]
    }

    fn expiries(&self) -> Vec<Expiry> {
        Vec::new()
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}
