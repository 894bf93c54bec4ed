//! The headers of exports (`OTEL_EXPORTER_OTLP_HEADERS`).

use std::collections::HashMap;

use http::{HeaderName, HeaderValue};

use crate::key_values::decode;

/// The headers of `name=value,name=value`, and whether that is all of them. The SDK, too, leaves out what cannot be sent;
/// only a value with a wrong escape it sends as it is.
pub(crate) fn headers(text: &str) -> (HashMap<String, String>, bool) {
    let parts = text.split(',').filter(|part| !part.trim().is_empty());
    let headers: Vec<_> = parts.map(header).collect();
    let all = headers.iter().all(Option::is_some);
    (headers.into_iter().flatten().collect(), all)
}

fn header(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let (name, value) = (name.trim(), decode(value).filter(|value| !value.is_empty())?);
    let sendable = HeaderName::try_from(name).is_ok() && HeaderValue::try_from(&value).is_ok();
    sendable.then(|| (name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_cannot_be_sent_are_left_out() {
        let good = [("authorization".to_owned(), "Bearer a=b%".to_owned()), ("X-Tenant".into(), "ä".into())];
        assert_eq!(headers("authorization=Bearer%20a=b%25, X-Tenant = %C3%A4 ,"), (good.into(), true));
        for wrong in ["b", "=b", "b=", "b c=d", "b=%0A", "b=100%", "b=%ff"] {
            let rest = HashMap::from([("a".to_owned(), "1".to_owned())]);
            assert_eq!(headers(&format!("a=1,{wrong}")), (rest, false), "{wrong}");
        }
    }
}
