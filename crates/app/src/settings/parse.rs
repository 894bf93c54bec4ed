//! How the text of a variable becomes a value.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    path::{Path, PathBuf},
    time::Duration,
};

/// A type that a setting can have.
pub trait Parse: Sized {
    /// Returns what is expected, to follow "… is not", such as "a whole number".
    fn expected() -> String;

    /// Returns the value of `text`, or nothing where it is not what is expected.
    fn parse(text: &str) -> Option<Self>;

    /// Returns the file that the program reads because of this value, if there is one.
    fn file(&self) -> Option<&Path> {
        None
    }
}

/// Types that read themselves from text.
macro_rules! from_str {
    ($( $ty:ty: $expected:literal; )*) => { $(
        impl Parse for $ty {
            fn expected() -> String {
                $expected.into()
            }

            fn parse(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        }
    )* };
}

from_str! {
    u16: "a whole number from 0 to 65535";
    u32: "a whole number from 0 to 4294967295";
    u64: "a whole number, 0 or more";
    usize: "a whole number, 0 or more";
    i64: "a whole number";
    NonZeroU32: "a whole number from 1 to 4294967295";
    NonZeroU64: "a whole number, 1 or more";
    NonZeroUsize: "a whole number, 1 or more";
    bool: "`true` or `false`";
    IpAddr: "an IP address such as 127.0.0.1";
    kelvin_proto::CallType: "`unary`, `client-streaming`, `server-streaming` or `bidi-streaming`";
    SocketAddr: "an IP address and a port such as 0.0.0.0:50051 or [::]:50051";
}

impl Parse for f64 {
    fn expected() -> String {
        "a number such as 21.5".into()
    }

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number: &f64| number.is_finite())
    }
}

impl Parse for String {
    fn expected() -> String {
        "a non-empty string".into()
    }

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.into())
    }
}

/// The path of a file that the program reads.
impl Parse for PathBuf {
    fn expected() -> String {
        "a path".into()
    }

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| text.into())
    }

    fn file(&self) -> Option<&Path> {
        Some(self)
    }
}

impl Parse for http::Uri {
    fn expected() -> String {
        "a URL such as https://kelvin.example:50051".into()
    }

    fn parse(text: &str) -> Option<Self> {
        let uri: http::Uri = text.parse().ok()?;
        (matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some()).then_some(uri)
    }
}

/// A hundred years, which deadlines and sums of durations reach without an overflow.
const MAX_DURATION: Duration = Duration::from_hours(36_500 * 24);

impl Parse for Duration {
    fn expected() -> String {
        "a duration such as 250ms, 10s, 5m or 24h, at most 36500d".into()
    }

    fn parse(text: &str) -> Option<Self> {
        humantime::parse_duration(text).ok().filter(|duration| *duration <= MAX_DURATION)
    }
}

/// Empty text is `None`.
impl<T: Parse> Parse for Option<T> {
    fn expected() -> String {
        format!("{}, or empty for none", T::expected())
    }

    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() { Some(None) } else { T::parse(text).map(Some) }
    }

    fn file(&self) -> Option<&Path> {
        self.as_ref().and_then(T::file)
    }
}

/// Items between commas; empty text is the empty list.
impl<T: Parse> Parse for Vec<T> {
    fn expected() -> String {
        format!("a comma-separated list, each item {}", T::expected())
    }

    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::new());
        }
        text.split(',').map(|item| T::parse(item.trim())).collect()
    }
}

/// A number of bytes: `512`, `64KiB`, `4MiB`, `2GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub usize);

/// The units of [`Bytes`] (IEC 80000-13), the largest first.
const UNITS: [(&str, usize); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl Parse for Bytes {
    fn expected() -> String {
        "a size such as 64KiB, 4MiB or 1GiB".into()
    }

    fn parse(text: &str) -> Option<Self> {
        let (number, factor) = UNITS
            .iter()
            .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))
            .unwrap_or((text, 1));
        number.trim().parse::<usize>().ok()?.checked_mul(factor).map(Self)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = UNITS
            .iter()
            .find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor))
            .unwrap_or(&UNITS[3]);
        write!(f, "{}{unit}", self.0 / factor)
    }
}
