//! Pairs in the values of `OTEL_*` variables.

use percent_encoding::percent_decode_str;

/// `key=value,key=value`, percent-decoded. All or nothing, as the specification wants: none of it if any part
/// cannot be read.
pub(crate) fn key_values(text: &str) -> Option<Vec<(String, String)>> {
    let pair = |part: &str| {
        let (key, value) = part.split_once('=')?;
        let (key, value) = (decode(key)?, decode(value)?);
        (!key.is_empty()).then_some((key, value))
    };
    text.split(',').filter(|part| !part.trim().is_empty()).map(pair).collect()
}

/// Without percent-encoding, if two hexadecimal digits follow every `%`.
pub(crate) fn decode(text: &str) -> Option<String> {
    let digits =
        |rest: &str| rest.as_bytes().get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
    let well_escaped = text.trim().split('%').skip(1).all(digits);
    let decoded = percent_decode_str(text.trim()).decode_utf8().ok()?;
    well_escaped.then(|| decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_attributes_are_percent_decoded_all_or_nothing() {
        let pairs = [("team".to_owned(), "a, b=c".to_owned()), ("grüße".to_owned(), "ä".to_owned())];
        assert_eq!(key_values("team=a%2C%20b%3Dc, gr%C3%BC%C3%9Fe = %c3%a4 ,").unwrap(), pairs);
        for wrong in ["a=1,b", "a=1,=2", "a=%zz", "a=%4", "a=%ff"] {
            assert_eq!(key_values(wrong), None, "{wrong}");
        }
    }
}
