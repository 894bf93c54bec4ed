//! The target of a channel in its canonical form.

use crate::names::intern;

/// Where a channel leads: as gRPC names it, and as address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Canonical URI with scheme, for `grpc.target`.
    pub(crate) uri: &'static str,
    /// For `server.address`.
    pub(crate) address: &'static str,
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
        Self { uri: intern(&uri), address: intern(address), port }
    }
}

fn canonical(target: &str) -> String {
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

/// `server.address` and `server.port` by the conventions for gRPC; a target that names no single
/// server is its own address.
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
