//! Storms and errors, without threads: the acceptor's turns are taken one by one.

use std::net::TcpStream;

use super::*;
use crate::config::ListenAddress;
use crate::hash::HashSeed;
use crate::limits::Limits;
use crate::net::listening::Listening;
use crate::net::mesh::Inbox;
use crate::router::Settings;

/// An acceptor for one shard, with two listeners that are told apart by their paths.
struct World {
    acceptor: Acceptor,
    control: Control,
    inbox: Inbox,
    addresses: Vec<ListenAddress>,
    events: Events,
    _poll: Poll,
}

impl World {
    fn new(max_connections: usize) -> Self {
        Self::with(max_connections, Limits::default())
    }

    fn with(max_connections: usize, limits: Limits) -> Self {
        let poll = Poll::new().unwrap();
        let (mesh, mut inboxes) = Mesh::new(&[poll.registry()], Token(0), usize::MAX).unwrap();
        let occupancy = Arc::new(Occupancy::new(1));
        let limits = Limits { connections: max_connections, ..limits };
        let settings = Settings { limits, ..Settings::default() };
        let router = Arc::new(Router::new(settings, Vec::new(), 1, HashSeed::new(1)));
        #[expect(clippy::disallowed_methods, reason = "the acceptor's clock")]
        let (mut acceptor, control) =
            Acceptor::new(router, mesh, occupancy, Instant::now()).unwrap();
        let config = Config { limits, ..Config::default() };
        let mut plan = Plan::new(&config);
        let listen = |path: &str| {
            let listener = Listener::on("127.0.0.1:0".parse().unwrap());
            let listener = Listener { paths: vec![path.into()], ..listener };
            control.bind(&mut plan, &listener, None, &config).unwrap().1
        };
        let addresses = ["/first", "/second"].map(listen).to_vec();
        acceptor.apply(plan);
        let events = Events::with_capacity(16);
        let inbox = inboxes.remove(0);
        Self { acceptor, control, inbox, addresses, events, _poll: poll }
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
    world.control.stop();
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

/// Over the rate nothing is accepted: whoever comes waits in the kernel's queue, and gets in later.
#[test]
fn so_many_are_accepted_per_second() {
    let mut world = World::with(1000, Limits { accepts_per_second: 10, ..Limits::default() });
    let _clients = (world.connect(0, 15), world.connect(1, 15));
    let [first, second, refused] = world.turn();
    assert_eq!((first + second, refused), (10, 0), "a burst of one second");
    assert!(world.acceptor.paced_until.is_some());
    let mut turns = vec![(first, second)];
    while turns.iter().map(|(first, second)| first + second).sum::<usize>() < 13 {
        let [first, second, _] = world.turn();
        turns.push((first, second));
    }
    let most = turns[1..].iter().map(|(first, second)| first + second).max();
    assert!(most < Some(4), "they come one by one: {turns:?}");
    assert!(turns.iter().any(|(first, _)| *first > 0) && turns.iter().any(|(_, s)| *s > 0));
}

/// Who is counted by its own address is judged before a shard sees it.
#[test]
fn an_address_with_too_many_is_answered_within_bounds() {
    let limits = Limits { connections_per_address: 1, ..Limits::default() };
    let mut world = World::with(1000, limits);
    let stranger = Address::new([203, 0, 113, 1].into(), Some(1));
    let (other, now) = (Address::new([203, 0, 113, 2].into(), Some(1)), Millis(5));
    let first = world.acceptor.judge(0, stranger, false, now);
    assert!(matches!(first, Some((Admission::Welcome, Some(_)))));
    let judged = (0..100).map(|_| world.acceptor.judge(0, stranger, false, now));
    let answered = judged.flatten().filter(|(admission, _)| *admission == Admission::Crowded);
    assert_eq!(answered.count(), ANSWERS_PER_SECOND as usize);
    assert_eq!(world.acceptor.router.snapshot().connections_crowded, 100);
    let told = world.acceptor.crowded.map(|(count, peer, limit)| (count, peer, limit.limit()));
    assert_eq!(told, Some((100, stranger, "limits.connections_per_address")));
    assert!(matches!(world.acceptor.judge(0, other, false, now), Some((_, Some(_)))));
    let full = world.acceptor.judge(0, stranger, true, now);
    assert!(matches!(full, Some((Admission::Full, None))), "which limit is reached first counts");
    drop(first);
    let again = world.acceptor.judge(0, stranger, false, now);
    assert!(matches!(again, Some((Admission::Welcome, Some(_)))));
}
