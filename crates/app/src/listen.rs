//! Listen addresses on hosts with and without IPv6.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Returns `address`, or `0.0.0.0` with its port where it is `[::]` and this host has no IPv6.
///
/// A node that is booted with `ipv6.disable=1` creates no IPv6 sockets. Elsewhere a listener on `[::]` accepts IPv4 too.
#[must_use]
pub fn available(address: SocketAddr) -> SocketAddr {
    with_ipv6(address, || UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok())
}

fn with_ipv6(address: SocketAddr, has_ipv6: impl FnOnce() -> bool) -> SocketAddr {
    if address.ip() == Ipv6Addr::UNSPECIFIED && !has_ipv6() {
        return (Ipv4Addr::UNSPECIFIED, address.port()).into();
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unspecified_ipv6_address_falls_back_to_ipv4() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(with_ipv6(address("[::]:50051"), || false), address("0.0.0.0:50051"));
        assert_eq!(with_ipv6(address("[::]:50051"), || true), address("[::]:50051"));
        for other in ["[::1]:50051", "0.0.0.0:50051", "127.0.0.1:0"] {
            assert_eq!(
                with_ipv6(address(other), || false),
                address(other),
                "a single address is what was asked for"
            );
        }
    }
}
