use std::{collections::BTreeSet, net::TcpListener, sync::Mutex};

/// Returns a free port below the range of outgoing connections; the port 10,000 above it, a Valkey cluster's bus, is free
/// too. A port is never returned twice, so that a server that is restarted finds its own again.
pub fn free_port() -> u16 {
    static RETURNED: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut returned = RETURNED.lock().expect("no test panics here");
    let mut is_free = |port: u16| returned.insert(port) && TcpListener::bind(("127.0.0.1", port)).is_ok();
    let mut ports = std::iter::repeat_with(|| fastrand::u16(10_000..22_000));
    ports.find(|port| is_free(*port) && is_free(port + 10_000)).expect("there is no end of ports to try")
}
