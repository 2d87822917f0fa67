//! Work for the benches: shards without sockets, driven by frames of RawSocket clients.
//!
//! Used by `router.rs`, which takes times, and by `instructions.rs`, which counts instructions.

use std::hint::black_box;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use stentor::address::Address;
use stentor::authorization::{Access, Permission, RoleSettings};
use stentor::clock::Millis;
use stentor::hash::HashSeed;
use stentor::router::{
    Batch, Deposit, Destinations, RealmSettings, Router, Settings, ShardId, Slot,
};
use stentor::shard::{Admission, Errand, Mail, Shard, Tick, Turn, Waiter, Wire};
use stentor::transport::TransportRules;
use stentor::wamp::Timestamp;

/// Makes a topic long enough for every shape of the patterns to apply to it.
const LONG_TAIL: &str = ".a.topic.with.a.name.that.is.as.long.as.names.of.topics.should.not.be";

const HELLO: &str = concat!(
    r#"[1,"realm1",{"roles":{"publisher":{},"subscriber":{},"#,
    r#""caller":{},"callee":{}}}]"#
);

/// A time at which nothing is due.
const NOW: Millis = Millis(1);

/// Shards with their clients; what they write is forgotten.
pub(crate) struct World {
    turns: Vec<Turn>,
    wire: Clients,
    rules: Arc<TransportRules>,
    joined: usize,
}

/// The other ends of all sockets: clients that say one thing at a time and read at once.
#[derive(Default)]
struct Clients {
    /// What the next read brings.
    said: Vec<u8>,
    /// Mail under way, with its destination.
    mail: Vec<(ShardId, Batch<Mail>)>,
}

impl Wire for Clients {
    fn read(&mut self, _slot: Slot, buffer: &mut [u8]) -> io::Result<usize> {
        if self.said.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let length = self.said.len();
        buffer[..length].copy_from_slice(&self.said);
        self.said.clear();
        Ok(length)
    }

    fn write(&mut self, _slot: Slot, bytes: &[u8]) -> io::Result<usize> {
        Ok(black_box(bytes).len())
    }

    fn shut_down_writing(&mut self, _slot: Slot) {}

    fn close(&mut self, _slot: Slot) {}

    fn congested(&mut self, _places: Destinations) -> Destinations {
        Destinations::default()
    }

    fn send(&mut self, to: ShardId, batch: Batch<Mail>) {
        self.mail.push((to, batch));
    }

    fn store(&mut self, _deposits: Batch<Deposit>) {}

    fn judge(&mut self, _: Waiter, _: Errand) -> bool {
        unreachable!("nobody has a ticket")
    }

    fn release(&mut self, _weight: usize) {}
}

/// A connection: its shard, and its slot there.
#[derive(Clone, Copy)]
pub(crate) struct Client {
    shard: usize,
    slot: Slot,
}

impl Default for World {
    fn default() -> Self {
        Self::new(1)
    }
}

impl World {
    pub(crate) fn new(shards: u8) -> Self {
        Self::with_access(shards, Access::Open)
    }

    /// Of a realm where clients may do what `access` says.
    fn with_access(shards: u8, access: Access) -> Self {
        let settings = Settings::default();
        let realms = vec![RealmSettings { access, ..RealmSettings::default() }];
        let count = usize::from(shards);
        let router = Arc::new(Router::new(settings, realms, count, HashSeed::new(1)));
        let shard = |number| Shard::new(ShardId(number), Arc::clone(&router), [number + 1; 32]);
        Self {
            turns: (0..shards).map(shard).map(Turn::new).collect(),
            wire: Clients::default(),
            rules: Arc::new(TransportRules { deflate: true, ..TransportRules::default() }),
            joined: 0,
        }
    }

    /// A client with a session, that speaks JSON over RawSocket; the shards get theirs in turn.
    pub(crate) fn join(&mut self) -> Client {
        let client = self.connect();
        self.receive_frames(client, vec![0x7F, 0xF1, 0, 0]);
        self.receive(client, HELLO);
        client
    }

    /// One that speaks JSON over a WebSocket, and has subscribed to a topic.
    fn join_by_websocket(&mut self, extension: &str, topic: &str) {
        let client = self.connect();
        let request = format!(
            "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: wamp.2.json\r\n{extension}\r\n"
        );
        self.receive_frames(client, request.into_bytes());
        for message in [HELLO, &format!(r#"[32,1,{{}},"{topic}"]"#)] {
            let length = u8::try_from(message.len()).expect("messages of the benches are short");
            assert!(length < 126);
            let header = [0x81, 0x80 | length, 0, 0, 0, 0];
            self.receive_frames(client, [&header[..], message.as_bytes()].concat());
        }
    }

    fn connect(&mut self) -> Client {
        let shard = self.joined % self.turns.len();
        self.joined += 1;
        let rules = &self.rules;
        let slot = self.turns[shard].open(rules, Address::UNIX, Admission::Welcome, NOW);
        Client { shard, slot }
    }

    /// Hands one message of a client to its shard and writes all that follows from it.
    pub(crate) fn receive(&mut self, client: Client, message: &str) {
        self.receive_frames(client, frame(message));
    }

    /// Hands whole frames to a shard, in one read, and writes all that follows from them.
    pub(crate) fn receive_frames(&mut self, client: Client, frames: Vec<u8>) {
        self.wire.said = frames;
        self.read(client);
    }

    /// Hands requests with these numbers to a shard, in one read.
    fn receive_requests(&mut self, client: Client, request: &Request, numbers: Range<u64>) {
        numbers.for_each(|number| request.put(number, &mut self.wire.said));
        self.read(client);
    }

    fn read(&mut self, client: Client) {
        self.turns[client.shard].note_readable(client.slot, false);
        self.turn(client.shard);
        while let Some((to, batch)) = self.wire.mail.pop() {
            self.turns[usize::from(to.0)].accept(batch);
            self.turn(usize::from(to.0));
        }
    }

    /// Turns of one shard until it rests.
    fn turn(&mut self, shard: usize) {
        let turn = &mut self.turns[shard];
        loop {
            let tick = Tick { now: NOW, wall_clock: Timestamp::EPOCH, saw_all: true };
            turn.take_in(&mut self.wire, tick);
            turn.give_out(&mut self.wire, true, NOW);
            if !turn.is_busy() && !turn.shard().has_dirty() {
                return;
            }
        }
    }
}

/// A frame of RawSocket with one message.
pub(crate) fn frame(message: &str) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("messages of the benches are short");
    [&length.to_be_bytes()[..], message.as_bytes()].concat()
}

/// A request but for its number. Made once, so that what is counted is the router's work.
struct Request {
    before: String,
    after: String,
}

impl Request {
    /// `text` is a message with `#` in place of the number.
    fn new(text: &str) -> Self {
        let (before, after) = text.split_once('#').expect("a place for the number");
        Self { before: before.to_owned(), after: after.to_owned() }
    }

    /// Puts a frame of RawSocket with this number into `out`.
    fn put(&self, mut number: u64, out: &mut Vec<u8>) {
        let mut digits = [0; 20];
        let mut start = digits.len();
        while number > 0 {
            start -= 1;
            digits[start] = b'0' + (number % 10) as u8;
            number /= 10;
        }
        let length = self.before.len() + digits.len() - start + self.after.len();
        out.extend_from_slice(&(length as u32).to_be_bytes());
        out.extend_from_slice(self.before.as_bytes());
        out.extend_from_slice(&digits[start..]);
        out.extend_from_slice(self.after.as_bytes());
    }
}

/// A role that may do everything, by the last of a thousand permissions.
fn a_thousand_rules() -> Access {
    let rule = |number| Permission::everything_below(format!("com.other{number}."));
    let rules = (0..999).map(rule).chain([Permission::everything_below("com.")]);
    Access::Roles(vec![RoleSettings::new("anonymous", rules.collect())])
}

/// Publications of one publisher to `receivers` subscribers of one topic.
pub(crate) struct FanOut {
    world: World,
    publisher: Client,
    publish: Request,
    published: u64,
}

impl FanOut {
    /// The subscribers live on so many shards, in turn.
    pub(crate) fn new(receivers: usize, shards: u8) -> Self {
        let mut world = World::new(shards);
        let publisher = world.join();
        for _ in 0..receivers {
            let subscriber = world.join();
            world.receive(subscriber, r#"[32,1,{},"com.example.topic"]"#);
        }
        let payload = "x".repeat(128);
        let publish = Request::new(&format!(r#"[16,#,{{}},"com.example.topic",["{payload}"]]"#));
        Self { world, publisher, publish, published: 0 }
    }

    /// A thousand receivers on WebSockets, which compress or do not, and 1 KiB of payload.
    pub(crate) fn by_websocket(is_compressed: bool) -> Self {
        let mut world = World::new(1);
        let publisher = world.join();
        let extension = if is_compressed {
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
        } else {
            ""
        };
        (0..1_000).for_each(|_| world.join_by_websocket(extension, "com.example.topic"));
        let reading = |number: u64| {
            let value = number * 7_919 % 1_000;
            format!(r#"{{"sensor":"hall-{number}","unit":"celsius","value":{value}}}"#)
        };
        let readings: Vec<_> = (0..21).map(reading).collect();
        let readings = readings.join(",");
        assert!((1_000..1_200).contains(&readings.len()), "{} B", readings.len());
        let publish = Request::new(&format!(r#"[16,#,{{}},"com.example.topic",[{readings}]]"#));
        Self { world, publisher, publish, published: 0 }
    }

    /// Publishes `count` events of 128 bytes of payload in one read.
    pub(crate) fn publish(&mut self, count: usize) {
        let numbers = self.published + 1..self.published + 1 + count as u64;
        self.published += count as u64;
        self.world.receive_requests(self.publisher, &self.publish, numbers);
    }
}

/// Publications to a topic with one subscriber, beside many other topics and patterns.
pub(crate) struct Matching {
    world: World,
    publisher: Client,
    publish: Request,
    published: u64,
}

impl Matching {
    /// Each shape in use costs a look-up, so the `patterns` are spread over so many `shapes`.
    pub(crate) fn new(topics: usize, patterns: usize, shapes: usize) -> Self {
        Self::in_world(World::default(), topics, patterns, shapes)
    }

    /// The same where a role has a thousand permissions.
    pub(crate) fn with_rules(topics: usize, patterns: usize, shapes: usize) -> Self {
        Self::in_world(World::with_access(1, a_thousand_rules()), topics, patterns, shapes)
    }

    fn in_world(mut world: World, topics: usize, patterns: usize, shapes: usize) -> Self {
        let publisher = world.join();
        let session_limit = Settings::default().limits.subscriptions_per_session;
        let mut subscriber = world.join();
        let mut request = 0;
        let mut subscribe = |world: &mut World, options: &str, topic: &str| {
            if request == session_limit {
                subscriber = world.join();
                request = 0;
            }
            request += 1;
            world.receive(subscriber, &format!(r#"[32,{request},{options},"{topic}"]"#));
        };
        for number in 0..topics {
            subscribe(&mut world, "{}", &format!("com.example.topic{number}{LONG_TAIL}"));
        }
        for number in 0..patterns {
            let tail = "y".repeat(number % shapes);
            let pattern = format!("org.pattern{number:06}.{tail}");
            subscribe(&mut world, r#"{"match":"prefix"}"#, &pattern);
        }
        let publish =
            Request::new(&format!(r#"[16,#,{{}},"com.example.topic0{LONG_TAIL}",["x"]]"#));
        Self { world, publisher, publish, published: 0 }
    }

    pub(crate) fn publish(&mut self) {
        self.published += 1;
        let numbers = self.published..self.published + 1;
        self.world.receive_requests(self.publisher, &self.publish, numbers);
    }
}

/// Calls of one caller that one callee answers.
pub(crate) struct Calls {
    world: World,
    caller: Client,
    callee: Client,
    call: Request,
    answer: Request,
    called: u64,
}

impl Default for Calls {
    fn default() -> Self {
        Self::in_world(World::default())
    }
}

impl Calls {
    /// Where a role has a thousand permissions.
    pub(crate) fn with_rules() -> Self {
        Self::in_world(World::with_access(1, a_thousand_rules()))
    }

    fn in_world(mut world: World) -> Self {
        let [caller, callee] = [world.join(), world.join()];
        world.receive(callee, r#"[64,1,{},"com.example.add"]"#);
        let call = Request::new(r#"[48,#,{},"com.example.add",[2,3]]"#);
        let answer = Request::new("[70,#,{},[5]]");
        Self { world, caller, callee, call, answer, called: 0 }
    }

    pub(crate) fn call(&mut self) {
        self.called += 1;
        let numbers = self.called..self.called + 1;
        self.world.receive_requests(self.caller, &self.call, numbers.clone());
        self.world.receive_requests(self.callee, &self.answer, numbers);
    }
}

/// Sessions that come, subscribe and go.
#[derive(Default)]
pub(crate) struct Sessions(World);

impl Sessions {
    pub(crate) fn come_and_go(&mut self) {
        let client = self.0.join();
        self.0.receive(client, r#"[32,1,{},"com.example.topic"]"#);
        self.0.turns[client.shard].lose(client.slot, NOW);
        self.0.turn(client.shard);
    }
}
