//! Work for the benches: one shard without sockets, driven by frames of RawSocket clients.
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

/// One shard with its clients; what it writes is counted and forgotten.
pub(crate) struct World {
    shard: Shard,
    rules: Arc<TransportRules>,
    /// Bytes that clients received.
    pub(crate) received_bytes: usize,
}

impl Default for World {
    fn default() -> Self {
        let settings = Settings::default();
        let realms = vec![RealmSettings::default()];
        let router = Arc::new(Router::new(settings, realms, 1, HashSeed::new(1)));
        Self {
            shard: Shard::new(ShardId(0), router, [1; 32]),
            rules: Arc::new(TransportRules::default()),
            received_bytes: 0,
        }
    }
}

impl World {
    /// A client with a session, that speaks JSON over RawSocket.
    pub(crate) fn join(&mut self) -> u32 {
        let slot = self.shard.open(&self.rules, "bench".into(), Admission::Welcome, NOW);
        self.shard.receive(slot, &mut [0x7F, 0xF1, 0, 0], NOW);
        let roles = r#"{"publisher":{},"subscriber":{},"caller":{},"callee":{}}"#;
        self.receive(slot, &format!(r#"[1,"realm1",{{"roles":{roles}}}]"#));
        slot
    }

    /// Hands one message of a client to the shard and writes all that follows from it.
    pub(crate) fn receive(&mut self, slot: u32, message: &str) {
        self.receive_frames(slot, &mut frame(message));
    }

    /// Hands whole frames to the shard, in one read, and writes all that follows from them.
    pub(crate) fn receive_frames(&mut self, slot: u32, frames: &mut [u8]) {
        self.shard.receive(slot, frames, NOW);
        while let Some(dirty) = self.shard.take_dirty() {
            let received = &mut self.received_bytes;
            let mut write = |bytes: &[u8]| {
                *received += bytes.len();
                Ok(bytes.len())
            };
            let flushed = self.shard.flush(dirty, &mut write, NOW);
            assert_eq!(flushed, Flushed::Progress, "no client is slow or leaves");
        }
        self.shard.end_turn(NOW);
    }
}

/// A frame of RawSocket with one message.
pub(crate) fn frame(message: &str) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("messages of the benches are short");
    [&length.to_be_bytes()[..], message.as_bytes()].concat()
}

/// Publications of one publisher to `receivers` subscribers of one topic.
pub(crate) struct FanOut {
    world: World,
    publisher: u32,
    request: u64,
}

impl FanOut {
    pub(crate) fn new(receivers: usize) -> Self {
        let mut world = World::default();
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
    publisher: u32,
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
    caller: u32,
    callee: u32,
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
        let slot = self.0.join();
        self.0.receive(slot, r#"[32,1,{},"com.example.topic"]"#);
        self.0.shard.handle_lost(slot, NOW);
        self.0.shard.take_closed();
    }
}
