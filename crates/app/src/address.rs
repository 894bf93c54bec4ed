//! Network addresses as people write them.

use http::uri::Authority;

/// Splits `host:port`; an IPv6 address stands in brackets, as in `[::1]:50051`. Returns nothing for other text, such as a
/// URL or an address with a user.
#[must_use]
pub fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let authority: Authority = address.parse().ok()?;
    let port = authority.port_u16().filter(|port| *port > 0)?;
    let (host, _) = address.rsplit_once(':')?;
    let is_host = !host.is_empty() && !host.contains('@');
    is_host.then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::host_and_port;

    #[test]
    fn address_is_host_and_port_and_nothing_else() {
        for (address, expected) in [
            ("localhost:6379", ("localhost", 6379)),
            ("valkey-0.valkey_headless:1", ("valkey-0.valkey_headless", 1)),
            ("[::1]:50051", ("[::1]", 50051)),
        ] {
            assert_eq!(host_and_port(address), Some(expected));
        }
        let others = "|localhost|localhost:|localhost:0|localhost:65536|:6379|::1:50051|redis://h:1|u:p@h:1|h:1/0|a b:1|h:1?x";
        for address in others.split('|') {
            assert_eq!(host_and_port(address), None, "{address}");
        }
    }
}
