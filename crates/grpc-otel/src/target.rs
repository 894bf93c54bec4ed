//! The target of a channel in its canonical form.

use std::sync::Arc;

/// Where a channel leads: as gRPC names it, and as address and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Canonical URI with scheme, for `grpc.target`.
    pub(crate) uri: Arc<str>,
    /// For `server.address`.
    pub(crate) address: Arc<str>,
    /// For `server.port`.
    pub(crate) port: Option<u16>,
}

impl Target {
    /// Reads a target as gRPC's name resolution does ([naming]). The `http` and `https` URIs that
    /// tonic's endpoints take are DNS names too.
    ///
    /// [naming]: https://grpc.github.io/grpc/core/md_doc_naming.html
    pub(crate) fn new(target: &str) -> Self {
        let uri = canonical(target);
        let (address, port) = address(&uri);
        Self { address: address.into(), port, uri: uri.into() }
    }
}

/// Returns the target in the form that `grpc.target` has, for metrics of your own: `https://greeter` is
/// `dns:///greeter:443`.
#[must_use]
pub fn canonical(target: &str) -> String {
    for (scheme, port) in [("http://", 80), ("https://", 443)] {
        if let Some(rest) = target.strip_prefix(scheme) {
            let authority = rest.split(['/', '?']).next().unwrap_or(rest);
            return match split_port(authority) {
                (_, Some(_)) => format!("dns:///{authority}"),
                (host, None) => format!("dns:///{host}:{port}"),
            };
        }
    }
    match target.split_once(':') {
        Some(("dns", rest)) if !rest.starts_with("//") => format!("dns:///{rest}"),
        Some(("unix", rest)) if rest.starts_with('/') && !rest.starts_with("//") => format!("unix://{rest}"),
        Some(("dns" | "unix" | "unix-abstract" | "vsock" | "ipv4" | "ipv6" | "xds", _)) => target.to_owned(),
        _ if target.contains("://") => target.to_owned(),
        _ => format!("dns:///{target}"),
    }
}

/// Returns `server.address` and `server.port` by the conventions for gRPC; a target that names no single server is its
/// own address.
fn address(uri: &str) -> (&str, Option<u16>) {
    if let Some(rest) = uri.strip_prefix("dns://") {
        let endpoint = rest.split_once('/').map_or(rest, |(_, endpoint)| endpoint);
        return split_port(endpoint);
    }
    if let Some(path) = uri.strip_prefix("unix://") {
        return (path, None);
    }
    match uri.split_once(':') {
        Some(("unix", path)) => (path, None),
        Some(("ipv4" | "ipv6", endpoint)) if !endpoint.contains(',') => split_port(endpoint),
        _ => (uri, None),
    }
}

fn split_port(endpoint: &str) -> (&str, Option<u16>) {
    if let Some((host, rest)) = endpoint.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match endpoint.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (endpoint, None),
        },
        _ => (endpoint, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_become_canonical() {
        for (given, uri, address, port) in [
            ("grpc.io:50051", "dns:///grpc.io:50051", "grpc.io", Some(50051)),
            ("grpc.io", "dns:///grpc.io", "grpc.io", None),
            ("dns:grpc.io:1", "dns:///grpc.io:1", "grpc.io", Some(1)),
            ("dns://1.2.3.4/grpc.io:50051", "dns://1.2.3.4/grpc.io:50051", "grpc.io", Some(50051)),
            ("https://grpc.io", "dns:///grpc.io:443", "grpc.io", Some(443)),
            ("http://[::1]:50051/", "dns:///[::1]:50051", "::1", Some(50051)),
            ("http://grpc.io:80/prefix?x", "dns:///grpc.io:80", "grpc.io", Some(80)),
            ("[2001:db8::1]:443", "dns:///[2001:db8::1]:443", "2001:db8::1", Some(443)),
            ("unix:///run/containerd.sock", "unix:///run/containerd.sock", "/run/containerd.sock", None),
            ("unix:/run/a.sock", "unix:///run/a.sock", "/run/a.sock", None),
            ("unix:a.sock", "unix:a.sock", "a.sock", None),
            ("ipv4:198.51.100.123:50051", "ipv4:198.51.100.123:50051", "198.51.100.123", Some(50051)),
            ("ipv4:10.0.0.1:1,10.0.0.2:1", "ipv4:10.0.0.1:1,10.0.0.2:1", "ipv4:10.0.0.1:1,10.0.0.2:1", None),
            ("zk://zookeeper:2181/mine", "zk://zookeeper:2181/mine", "zk://zookeeper:2181/mine", None),
        ] {
            assert_eq!(
                Target::new(given),
                Target { uri: uri.into(), address: address.into(), port },
                "{given}"
            );
        }
    }
}
