//! Work for the benches: shards without sockets, driven by frames of RawSocket clients.
//!
//! Used by `router.rs`, which takes times, and by `instructions.rs`, which counts instructions.

use std::sync::Arc;

use stentor::clock::Millis;
use stentor::hash::HashSeed;
use stentor::router::{RealmSettings, Router, Settings, ShardId};
use stentor::shard::{Admission, Flushed, Shard};
use stentor::transport::TransportRules;

/// Makes a topic long enough for every shape of the patterns to apply to it.
const LONG_TAIL: &str = ".a.topic.with.a.name.that.is.as.long.as.names.of.topics.should.not.be";

/// A time at which nothing is due.
const NOW: Millis = Millis(1);

/// Shards with their clients; what they write is counted and forgotten.
pub(crate) struct World {
    shards: Vec<Shard>,
    rules: Arc<TransportRules>,
    joined: usize,
    /// Bytes that clients received.
    pub(crate) received_bytes: usize,
}

/// A connection: its shard, and its slot there.
#[derive(Clone, Copy)]
pub(crate) struct Client {
    shard: usize,
    slot: u32,
}

impl Default for World {
    fn default() -> Self {
        Self::new(1)
    }
}

impl World {
    pub(crate) fn new(shards: u8) -> Self {
        let settings = Settings::default();
        let realms = vec![RealmSettings::default()];
        let count = usize::from(shards);
        let router = Arc::new(Router::new(settings, realms, count, HashSeed::new(1)));
        let shard = |number| Shard::new(ShardId(number), Arc::clone(&router), [number + 1; 32]);
        Self {
            shards: (0..shards).map(shard).collect(),
            rules: Arc::new(TransportRules::default()),
            joined: 0,
            received_bytes: 0,
        }
    }

    /// A client with a session, that speaks JSON over RawSocket; the shards get theirs in turn.
    pub(crate) fn join(&mut self) -> Client {
        let shard = self.joined % self.shards.len();
        self.joined += 1;
        let own = &mut self.shards[shard];
        let slot = own.open(&self.rules, "bench".into(), Admission::Welcome, NOW);
        own.receive(slot, &mut [0x7F, 0xF1, 0, 0], NOW);
        let client = Client { shard, slot };
        let roles = r#"{"publisher":{},"subscriber":{},"caller":{},"callee":{}}"#;
        self.receive(client, &format!(r#"[1,"realm1",{{"roles":{roles}}}]"#));
        client
    }

    /// Hands one message of a client to its shard and writes all that follows from it.
    pub(crate) fn receive(&mut self, client: Client, message: &str) {
        self.receive_frames(client, &mut frame(message));
    }

    /// Hands whole frames to a shard, in one read, and writes all that follows from them.
    pub(crate) fn receive_frames(&mut self, client: Client, frames: &mut [u8]) {
        self.shards[client.shard].receive(client.slot, frames, NOW);
        self.pass_mail(client.shard);
        for shard in &mut self.shards {
            write_all(shard, &mut self.received_bytes);
        }
    }

    /// Hands the mail of shard `from` to the others, who in these benches have none to answer with.
    fn pass_mail(&mut self, from: usize) {
        for to in (0..self.shards.len()).filter(|to| *to != from) {
            let number = u8::try_from(to).expect("shards are few");
            if let Some((batch, _)) = self.shards[from].take_outbox(ShardId(number)) {
                self.shards[to].handle_mail(batch, NOW);
            }
        }
    }
}

/// The end of a turn.
fn write_all(shard: &mut Shard, received_bytes: &mut usize) {
    while let Some(dirty) = shard.take_dirty() {
        let mut write = |bytes: &[u8]| {
            *received_bytes += bytes.len();
            Ok(bytes.len())
        };
        let flushed = shard.flush(dirty, &mut write, NOW);
        assert_eq!(flushed, Flushed::Progress, "no client is slow or leaves");
    }
    shard.end_turn(NOW);
}

/// A frame of RawSocket with one message.
pub(crate) fn frame(message: &str) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("messages of the benches are short");
    [&length.to_be_bytes()[..], message.as_bytes()].concat()
}

/// Publications of one publisher to `receivers` subscribers of one topic.
pub(crate) struct FanOut {
    world: World,
    publisher: Client,
    request: u64,
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
        Self { world, publisher, request: 0 }
    }

    /// Publishes `count` events of 128 bytes of payload in one read.
    pub(crate) fn publish(&mut self, count: usize) {
        let mut frames = Vec::new();
        for _ in 0..count {
            self.request += 1;
            let (request, payload) = (self.request, "x".repeat(128));
            let message = format!(r#"[16,{request},{{}},"com.example.topic",["{payload}"]]"#);
            frames.extend(frame(&message));
        }
        self.world.receive_frames(self.publisher, &mut frames);
    }
}

/// Publications to a topic with one subscriber, beside many other topics and patterns.
pub(crate) struct Matching {
    world: World,
    publisher: Client,
    request: u64,
}

impl Matching {
    /// Each shape in use costs a look-up, so the `patterns` are spread over so many `shapes`.
    pub(crate) fn new(topics: usize, patterns: usize, shapes: usize) -> Self {
        let mut world = World::default();
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
        Self { world, publisher, request: 0 }
    }

    pub(crate) fn publish(&mut self) {
        self.request += 1;
        let request = self.request;
        let message = format!(r#"[16,{request},{{}},"com.example.topic0{LONG_TAIL}",["x"]]"#);
        self.world.receive(self.publisher, &message);
    }
}

/// Calls of one caller that one callee answers.
pub(crate) struct Calls {
    world: World,
    caller: Client,
    callee: Client,
    request: u64,
}

impl Default for Calls {
    fn default() -> Self {
        let mut world = World::default();
        let [caller, callee] = [world.join(), world.join()];
        world.receive(callee, r#"[64,1,{},"com.example.add"]"#);
        Self { world, caller, callee, request: 0 }
    }
}

impl Calls {
    pub(crate) fn call(&mut self) {
        self.request += 1;
        let request = self.request;
        self.world.receive(self.caller, &format!(r#"[48,{request},{{}},"com.example.add",[2,3]]"#));
        self.world.receive(self.callee, &format!("[70,{request},{{}},[5]]"));
    }
}

/// Sessions that come, subscribe and go.
#[derive(Default)]
pub(crate) struct Sessions(World);

impl Sessions {
    pub(crate) fn come_and_go(&mut self) {
        let client = self.0.join();
        self.0.receive(client, r#"[32,1,{},"com.example.topic"]"#);
        let shard = &mut self.0.shards[client.shard];
        shard.handle_lost(client.slot, NOW);
        shard.take_closed();
    }
}
