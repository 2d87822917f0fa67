//! Storms and errors, without threads: the acceptor's turns are taken one by one.

use std::net::TcpStream;

use super::*;
use crate::net::mesh::Inbox;

/// An acceptor for one shard, with two listeners that are told apart by their paths.
struct World {
    acceptor: Acceptor,
    stop: StopAcceptor,
    inbox: Inbox,
    addresses: Vec<ListenAddress>,
    events: Events,
    _poll: Poll,
}

impl World {
    fn new(max_connections: usize) -> Self {
        let poll = Poll::new().unwrap();
        let (mesh, mut inboxes) = Mesh::new(&[poll.registry()], Token(0), usize::MAX).unwrap();
        let occupancy = Arc::new(Occupancy::new(1));
        let (mut acceptor, stop) = Acceptor::new(max_connections, mesh, occupancy).unwrap();
        let listen = |path: &str| {
            let listener = Listener::on("127.0.0.1:0".parse().unwrap());
            let listener = Listener { paths: vec![path.into()], ..listener };
            acceptor.bind(&listener, None, &Config::default()).unwrap()
        };
        let addresses = ["/first", "/second"].map(listen).to_vec();
        let events = Events::with_capacity(16);
        let inbox = inboxes.remove(0);
        Self { acceptor, stop, inbox, addresses, events, _poll: poll }
    }

    fn connect(&self, listener: usize, count: usize) -> Vec<TcpStream> {
        let ListenAddress::Tcp(address) = self.addresses[listener] else { panic!("TCP") };
        (0..count).map(|_| TcpStream::connect(address).unwrap()).collect()
    }

    /// One turn: how many were accepted at the first listener, at the second, and of all how many
    /// only to be refused.
    fn turn(&mut self) -> [usize; 3] {
        assert!(self.acceptor.wait(&mut self.events).unwrap(), "it was not told to stop");
        self.acceptor.accept();
        let mut counts = [0; 3];
        while let Some(parcel) = self.inbox.take() {
            let Parcel::Accepted(sockets) = parcel else { panic!("{parcel:?}") };
            for accepted in sockets {
                counts[usize::from(accepted.rules.paths == ["/second"])] += 1;
                counts[2] += usize::from(accepted.admission == Admission::Full);
            }
        }
        counts
    }
}

#[test]
fn a_storm_at_one_listener_starves_neither_the_other_nor_the_stop() {
    let mut world = World::new(1000);
    let _storm = world.connect(0, 2 * ACCEPTED_PER_TURN + 10);
    let _other = world.connect(1, 1);
    assert_eq!(world.turn(), [ACCEPTED_PER_TURN, 1, 0]);
    let _late = world.connect(1, 2);
    assert_eq!(world.turn(), [ACCEPTED_PER_TURN, 2, 0], "no event tells of the storm again");
    world.stop.stop();
    assert!(!world.acceptor.wait(&mut world.events).unwrap(), "ten still wait");
}

#[test]
fn a_listener_that_was_emptied_waits_for_the_next_event() {
    let mut world = World::new(1000);
    let _first = world.connect(0, 3);
    assert_eq!(world.turn(), [3, 0, 0]);
    assert!(world.acceptor.listeners.iter().all(|bound| !bound.is_ready));
    let _next = world.connect(0, 1);
    assert_eq!(world.turn(), [1, 0, 0]);
}

#[test]
fn those_over_the_limit_are_refused_and_then_dropped() {
    let mut world = World::new(10);
    let _clients = world.connect(0, 30);
    let refused = refusals_at_once(10);
    assert_eq!(world.turn(), [10 + refused, 0, refused]);
    assert_eq!(world.acceptor.dropped, 0, "the log was told");
    let _more = world.connect(1, 5);
    assert_eq!(world.turn(), [0, 0, 0]);
    assert_eq!(world.acceptor.dropped, 5, "which is not said again so soon");
}

/// As they are known elsewhere, whatever socket they came through.
#[test]
fn ipv4_clients_keep_their_address() {
    let listener = Listener::on("[::]:0".parse().unwrap());
    let config = Config { listeners: vec![listener.clone()], ..Config::default() };
    let mut listening = Listening::bind(&listener, &config).unwrap();
    let poll = Poll::new().unwrap();
    listening.register(poll.registry(), Token(0)).unwrap();
    let ListenAddress::Tcp(address) = listening.address().unwrap() else { panic!("TCP") };
    for host in ["127.0.0.1", "::1"] {
        let client = TcpStream::connect((host, address.port())).unwrap();
        // A connection on loopback is complete when `connect` returns.
        let (_, peer) = listening.accept().unwrap();
        assert_eq!(peer, client.local_addr().unwrap().into());
    }
}

/// accept(2): only a lack of resources makes the acceptor wait.
#[test]
fn errors_of_one_connection_stop_no_other() {
    for errno in [
        Errno::CONNABORTED,
        Errno::INTR,
        Errno::PROTO,
        Errno::NETDOWN,
        Errno::NOPROTOOPT,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        Errno::OPNOTSUPP,
        Errno::NETUNREACH,
        Errno::PERM,
    ] {
        assert!(is_about_one_peer(&errno.into()) && !is_shortage(&errno.into()), "{errno}");
    }
    for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
        assert!(is_shortage(&errno.into()) && !is_about_one_peer(&errno.into()), "{errno}");
    }
    let broken = Errno::INVAL.into();
    assert!(!is_shortage(&broken) && !is_about_one_peer(&broken), "not tried again at once");
}
