//! How much one turn does for handshakes, over real sockets: counted in steps and units, not timed.

use std::io::Write;
use std::net::{TcpListener, TcpStream};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::super::share::TURN_HANDSHAKE_UNITS;
use super::super::tests::localhost;
use super::*;

/// A client whose ClientHello has arrived, and the router's end.
struct Pair {
    stream: TlsStream,
    socket: Socket,
    peer: TcpStream,
    client: ClientConnection,
}

fn pair(listener: &TcpListener, context: &Arc<TlsContext>, config: &Arc<ClientConfig>) -> Pair {
    let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::clone(config), name).unwrap();
    client.write_tls(&mut peer).unwrap();
    // Until all of it has come.
    accepted.peek(&mut [0]).unwrap();
    accepted.set_nonblocking(true).unwrap();
    let socket = Socket::Tcp(mio::net::TcpStream::from_std(accepted));
    Pair { stream: TlsStream::new(Arc::clone(context)), socket, peer, client }
}

impl Pair {
    /// What the router makes of what has come; it is no data.
    fn read_nothing(&mut self, share: &mut TlsShare) {
        share.begin_turn();
        let error = self.stream.read(&mut self.socket, share, &mut [0; 64]).unwrap_err();
        assert!(is_refusal(&error), "{error}");
    }

    /// The client reads the router's answer, and the handshake comes to its end.
    fn finish(&mut self, share: &mut TlsShare) {
        while self.client.is_handshaking() {
            self.client.read_tls(&mut self.peer).unwrap();
            self.client.process_new_packets().unwrap();
        }
        self.client.write_tls(&mut self.peer).unwrap();
        while !matches!(self.stream.state, State::Open(_)) {
            self.read_nothing(share);
        }
    }

    /// An idle connection owns no buffer.
    fn check_idle(&self) {
        let stream = &self.stream;
        assert_eq!((stream.input_bytes(), stream.held, stream.unsent.capacity()), (0, 0, 0));
    }
}

fn share(most: usize) -> TlsShare {
    TlsShare::new(64 * 1024, most, Arc::default())
}

/// A storm: all say hello in the same turn.
#[test]
fn a_turn_makes_a_bounded_number_of_handshake_steps() {
    let (context, config) = localhost();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut pairs: Vec<_> = (0..10).map(|_| pair(&listener, &context, &config)).collect();
    let mut share = share(100);
    let mut out = vec![0; 4096];
    let mut answered = Vec::new();
    for _ in 0..3 {
        share.begin_turn();
        let mut units = 0;
        for Pair { stream, socket, .. } in &mut pairs {
            let before = share.counters.tls_handshakes_under_way.get();
            let error = stream.read(socket, &mut share, &mut out).unwrap_err();
            assert!(is_refusal(&error), "{error}");
            let report = share.take_report();
            units += report.units;
            let has_begun = share.counters.tls_handshakes_under_way.get() > before;
            // Who has to wait is known to have more, and its bytes are counted.
            assert!(has_begun || !matches!(stream.state, State::Silent(_)) || report.has_more);
            assert!(report.input_bytes > 0);
        }
        assert!(units <= TURN_HANDSHAKE_UNITS + 10 * READ_UNITS, "{units} units in one turn");
        answered.push(share.counters.tls_handshakes_under_way.get());
    }
    assert_eq!(answered, [4, 8, 10]);
    // Those that were held back get through all the same.
    pairs.iter_mut().for_each(|pair| pair.finish(&mut share));
    assert_eq!(share.counters.tls_handshakes_full.get(), 10);
    assert_eq!(share.counters.tls_handshakes_under_way.get(), 0);
}

/// Dribbling costs nobody else a handshake: what is not whole is not looked at.
#[test]
fn bytes_of_a_record_that_is_not_whole_use_no_step() {
    let (context, _) = localhost();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    let mut stream = TlsStream::new(context);
    let mut share = share(1);
    for byte in [22, 3, 1, 1, 0, 1, 0, 0, 0xFC] {
        peer.write_all(&[byte]).unwrap();
        accepted.peek(&mut [0]).unwrap();
        let socket = accepted.try_clone().unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut socket = Socket::Tcp(mio::net::TcpStream::from_std(socket));
        let error = stream.read(&mut socket, &mut share, &mut [0; 64]).unwrap_err();
        assert!(is_refusal(&error), "{error}");
        assert_eq!(share.take_report().units, READ_UNITS);
        accepted.set_nonblocking(false).unwrap();
    }
    assert_eq!(share.handshake_units, TURN_HANDSHAKE_UNITS);
    assert_eq!(share.counters.tls_handshakes_under_way.get(), 0);
}

/// The client's messages are split over many records, of which each byte comes by itself.
#[test]
fn a_message_may_be_split_over_records() {
    let (context, config) = localhost();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = ClientConfig::clone(&config);
    config.max_fragment_size = Some(40);
    let mut pair = pair(&listener, &context, &Arc::new(config));
    let mut share = share(1);
    pair.read_nothing(&mut share);
    let mut most_held = 0;
    // The last of its messages.
    while pair.client.is_handshaking() {
        pair.client.read_tls(&mut pair.peer).unwrap();
        pair.client.process_new_packets().unwrap();
    }
    let mut bytes = Vec::new();
    while pair.client.wants_write() {
        pair.client.write_tls(&mut bytes).unwrap();
    }
    pair.peer.set_nodelay(true).unwrap();
    for byte in bytes {
        pair.peer.write_all(&[byte]).unwrap();
        pair.read_nothing(&mut share);
        most_held = most_held.max(pair.stream.held);
    }
    while !matches!(pair.stream.state, State::Open(_)) {
        pair.read_nothing(&mut share);
    }
    assert!(most_held > 40, "{most_held} bytes held: nothing was split");
    pair.check_idle();
}

/// Plaintext that there is no room for waits, of one record at most, and is counted.
#[test]
fn what_there_is_no_room_for_is_read_later() {
    let (context, config) = localhost();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut pair = pair(&listener, &context, &config);
    let mut share = share(1);
    pair.read_nothing(&mut share);
    pair.finish(&mut share);
    let sent: Vec<u8> = (0..60_000_u32).map(|number| (number % 251) as u8).collect();
    pair.client.writer().write_all(&sent).unwrap();
    while pair.client.wants_write() {
        pair.client.write_tls(&mut pair.peer).unwrap();
    }
    let (mut received, mut most_left) = (Vec::new(), 0);
    let mut out = [0; 1_000];
    while received.len() < sent.len() {
        match pair.stream.read(&mut pair.socket, &mut share, &mut out) {
            Ok(length) => received.extend_from_slice(&out[..length]),
            Err(error) => assert!(is_refusal(&error), "{error}"),
        }
        let (report, left) = (share.take_report(), pair.stream.left.len());
        assert!(left == 0 || report.has_more && report.input_bytes >= left);
        most_left = most_left.max(left);
    }
    assert_eq!(received, sent);
    assert!((15_000..=1 << 14).contains(&most_left), "{most_left} bytes of a record left");
    pair.check_idle();
}

/// What a peer sends after its connection has failed is read as slowly as anything else, and costs
/// something.
#[test]
fn what_is_thrown_away_is_bounded_and_charged() {
    let (context, config) = localhost();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut pair = pair(&listener, &context, &config);
    let mut share = TlsShare::new(4096, 0, Arc::default());
    pair.read_nothing(&mut share);
    let error = pair.stream.read(&mut pair.socket, &mut share, &mut [0; 64]);
    assert_eq!(
        (error.unwrap(), share.take_report().fault),
        (0, Some(LayerFault::Tls(TlsFault::Busy)))
    );
    pair.peer.write_all(&[0; 10_000]).unwrap();
    let mut waiting = [0; 20_000];
    while pair.socket.peek(&mut waiting).map_or(true, |waits| waits < 10_000) {
        std::thread::yield_now();
    }
    pair.read_nothing(&mut share);
    assert_eq!(share.take_report().units, READ_UNITS + 4096 / COPIED_PER_UNIT);
    assert_eq!(pair.socket.peek(&mut waiting).unwrap(), 10_000 - 4096);
}
