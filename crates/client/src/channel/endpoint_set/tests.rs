use std::{cell::Cell, collections::HashSet, net::Ipv4Addr, rc::Rc};

use proptest::{collection::vec, prelude::*};

use super::*;

/// A connection with an identity, which a test can close.
#[derive(Debug, Clone)]
struct TestConnection {
    id: usize,
    address: SocketAddr,
    open: Rc<Cell<bool>>,
}

impl Connection for TestConnection {
    fn is_open(&self) -> bool {
        self.open.get()
    }
}

/// What happens to the client, for three possible addresses.
#[derive(Debug, Clone, Copy)]
enum TestEvent {
    Resolved([bool; 3]),
    ResolveFailed,
    Connected(usize),
    Health(usize, bool),
    Disconnected(usize),
    Failed(usize),
}

fn test_event() -> impl Strategy<Value = TestEvent> {
    let address = 0..3_usize;
    prop_oneof![
        any::<[bool; 3]>().prop_map(TestEvent::Resolved),
        Just(TestEvent::ResolveFailed),
        address.clone().prop_map(TestEvent::Connected),
        (address.clone(), any::<bool>()).prop_map(|(address, serving)| TestEvent::Health(address, serving)),
        address.clone().prop_map(TestEvent::Disconnected),
        address.prop_map(TestEvent::Failed),
    ]
}

fn address(number: usize) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 5000 + u16::try_from(number).expect("it is small")).into()
}

/// Applies events one after the other and keeps a call that goes on for long, as a client does: it is opened on
/// what `pick` returns, and again after a handover or when its connection closed.
#[derive(Default)]
struct Harness {
    set: EndpointSet<TestConnection>,
    connections: usize,
    call: Option<TestConnection>,
}

impl Harness {
    fn apply(&mut self, event: TestEvent) -> Effects {
        let event = match event {
            TestEvent::Resolved(present) => {
                Event::Resolved((0..3).filter(|number| present[*number]).map(address).collect())
            }
            TestEvent::ResolveFailed => Event::ResolveFailed("no such name".to_owned()),
            TestEvent::Connected(number) => Event::Connected(address(number), self.connection(number)),
            TestEvent::Health(number, serving) => Event::Health(address(number), serving),
            TestEvent::Disconnected(number) => {
                self.close(number);
                Event::Disconnected(address(number))
            }
            TestEvent::Failed(number) => Event::Failed(address(number), "refused".to_owned()),
        };
        let (set, effects) = std::mem::take(&mut self.set).step(event);
        self.set = set;
        if effects.hand_over || self.call.as_ref().is_none_or(|call| !call.is_open()) {
            self.call = self.set.pick(self.connections).and_then(Result::ok);
        }
        effects
    }

    fn connection(&mut self, number: usize) -> TestConnection {
        self.connections += 1;
        TestConnection { id: self.connections, address: address(number), open: Rc::new(Cell::new(true)) }
    }

    fn close(&self, number: usize) {
        if let Some(connection) = self.set.endpoints.get(&address(number)).and_then(State::open) {
            connection.open.set(false);
        }
    }

    fn ready(&self) -> HashSet<usize> {
        self.set.ready().map(|connection| connection.id).collect()
    }

    /// False for a connection that another one of the same endpoint replaced.
    fn is_current(&self, connection: &TestConnection) -> bool {
        let current = self.set.endpoints.get(&connection.address).and_then(State::open);
        current.is_some_and(|current| current.id == connection.id)
    }

    fn call_is_on_draining(&self) -> bool {
        let endpoint = self.call.as_ref().and_then(|call| self.set.endpoints.get(&call.address));
        matches!(endpoint, Some(State::Draining(_)))
    }
}

proptest! {
    #[test]
    fn long_call_leaves_draining_endpoint_when_another_is_ready(
        events in vec(test_event(), 0..60),
    ) {
        let mut harness = Harness::default();
        for event in events {
            harness.apply(event);
            prop_assert!(!harness.call_is_on_draining() || harness.ready().is_empty(), "{:?}", harness.set);
        }
    }

    #[test]
    fn long_call_on_removed_endpoint_moves_to_ready_one(
        events in vec(test_event(), 0..60),
        successor in 0..3_usize,
    ) {
        let mut harness = Harness::default();
        for event in events {
            harness.apply(event);
        }
        let mut present = [false; 3];
        present[successor] = true;
        let on_current_connection = harness.call.clone().filter(|call| harness.is_current(call));
        harness.apply(TestEvent::Resolved(present));
        harness.apply(TestEvent::Connected(successor));
        if on_current_connection.is_some() {
            prop_assert_eq!(harness.call.expect("an endpoint is ready").address, address(successor));
        }
    }

    #[test]
    fn pick_returns_each_ready_endpoint_once_per_round(events in vec(test_event(), 0..60), call in 0..1000_usize) {
        let mut harness = Harness::default();
        for event in events {
            harness.apply(event);
        }
        harness.apply(TestEvent::Resolved([true; 3]));
        harness.apply(TestEvent::Connected(0));
        let ready = harness.ready();
        let picked: HashSet<_> = (call..call + ready.len())
            .map(|call| harness.set.pick(call).and_then(Result::ok).expect("an endpoint is ready").id)
            .collect();
        prop_assert_eq!(picked, ready);
    }

    #[test]
    fn pick_returns_open_connections_only(events in vec(test_event(), 0..60), closed in 0..3_usize) {
        let mut harness = Harness::default();
        for event in events {
            harness.apply(event);
        }
        harness.close(closed);
        if let Some(Ok(picked)) = harness.set.pick(0) {
            prop_assert!(picked.is_open());
        }
    }

    #[test]
    fn effects_connect_added_and_disconnect_removed_addresses(events in vec(test_event(), 0..60)) {
        let mut harness = Harness::default();
        let mut connecting = BTreeSet::new();
        for event in events {
            let effects = harness.apply(event);
            for address in effects.disconnect {
                prop_assert!(connecting.remove(&address));
            }
            for address in effects.connect {
                prop_assert!(connecting.insert(address));
            }
            prop_assert_eq!(&connecting, &harness.set.endpoints.keys().copied().collect());
        }
    }
}

fn apply_all(events: impl IntoIterator<Item = TestEvent>) -> (Harness, Vec<Effects>) {
    let mut harness = Harness::default();
    let effects = events.into_iter().map(|event| harness.apply(event)).collect();
    (harness, effects)
}

#[test]
fn second_draining_endpoint_hands_over_again() {
    let (_, effects) = apply_all([
        TestEvent::Resolved([true; 3]),
        TestEvent::Connected(0),
        TestEvent::Connected(1),
        TestEvent::Connected(2),
        TestEvent::Health(0, false),
        TestEvent::Health(1, false),
    ]);
    assert!(effects[4].hand_over);
    assert!(effects[5].hand_over);
}

#[test]
fn removed_endpoint_hands_over_once_successor_connects() {
    let (_, effects) = apply_all([
        TestEvent::Resolved([true, false, false]),
        TestEvent::Connected(0),
        TestEvent::Resolved([false, true, false]),
        TestEvent::Connected(1),
    ]);
    assert_eq!(
        effects.iter().map(|effects| effects.hand_over).collect::<Vec<_>>(),
        [false, false, false, true]
    );
}

#[test]
fn failed_attempt_keeps_open_connection() {
    let (harness, _) =
        apply_all([TestEvent::Resolved([true, false, false]), TestEvent::Connected(0), TestEvent::Failed(0)]);
    assert_eq!(harness.ready().len(), 1);
}

#[test]
fn pick_waits_while_connecting_then_fails_with_all_errors() {
    let (mut harness, _) = apply_all([TestEvent::Resolved([true, true, false]), TestEvent::Failed(0)]);
    assert!(harness.set.pick(0).is_none());
    harness.apply(TestEvent::Failed(1));
    harness.apply(TestEvent::ResolveFailed);
    let Some(Err(error)) = harness.set.pick(0) else { panic!("no endpoint is connected") };
    assert_eq!(
        error.to_string(),
        "cannot reach the server; no such name; 127.0.0.1:5000: refused; 127.0.0.1:5001: refused"
    );
}
