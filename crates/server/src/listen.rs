use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that wait to be accepted, per listener.
const BACKLOG: i32 = 1024;

/// One listener for each of `count` workers, all on the same address; port 0 takes any free one.
///
/// Linux spreads new connections over sockets that share a port by `SO_REUSEPORT`; elsewhere the workers share one
/// socket.
pub(crate) fn listeners(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let share = cfg!(target_os = "linux");
    if share {
        // Another process could share the port too and get a part of our clients: this fails if it is taken.
        drop(socket(address, false)?);
    }
    let first = listener(address, share)?;
    let address = first.local_addr()?;
    let mut all = vec![first];
    for _ in 1..count {
        all.push(if share { listener(address, true)? } else { all[0].try_clone()? });
    }
    Ok(all)
}

fn listener(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = socket(address, shared)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` accepts IPv4 too, whatever the host's default is.
        socket.set_only_v6(false)?;
    }
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unspecified_ipv6_address_accepts_ipv4() {
        if kelvin_app::listen::available("[::]:0".parse().unwrap()).is_ipv4() {
            return; // this host has no IPv6
        }
        let listeners = listeners("[::]:0".parse().unwrap(), 1).unwrap();
        let port = listeners[0].local_addr().unwrap().port();
        for address in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
            std::net::TcpStream::connect(&address).unwrap_or_else(|error| panic!("{address}: {error}"));
        }
    }

    #[test]
    fn workers_share_a_port_and_nobody_else_gets_it() {
        let ours = listeners("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let address = ours[0].local_addr().unwrap();
        assert!(ours.iter().all(|listener| listener.local_addr().unwrap() == address));
        assert_eq!(listeners(address, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
