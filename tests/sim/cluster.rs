//! Several nodes: clients subscribe, publish, register and call at any of them, while messages
//! between nodes are lost, late and out of order, nodes do not hear each other for a while, end and
//! start again, and the bucket that says who is one of them fails.
//!
//! Each subscriber gets the events of each publisher in order and once, and all that were published
//! after its SUBSCRIBED, unless a link has ended, or a count says that events were dropped.
//! In worlds whose nodes stop when they are cut off, no procedure that is not shared ever has
//! callees at two nodes that serve clients.

mod calls;
mod meta;
mod stopping;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use stentor::cluster::NodeSettings;
use stentor::cluster::wire::Incarnation;
use stentor::router::Settings;
use stentor::shard::Admission;

use super::Tally;
use super::keeping;
use super::plan::{draw_link, pick};
use crate::support::{Cluster, Incoming, Link, Member};

struct World {
    cluster: Cluster,
    rng: StdRng,
    clients: Vec<Client>,
    /// Publications that all have to hear who had SUBSCRIBED before, by their numbers.
    published: Vec<Publication>,
    /// Whether things go wrong between nodes.
    has_trouble: bool,
    /// Who is cut off from the bucket serves nobody.
    has_stops: bool,
    /// The queue to a node takes little.
    is_narrow: bool,
    calls: calls::Calls,
    /// Answers to questions, of late.
    answers: Vec<Value>,
    tally: Tally,
    /// Of each node.
    first_lives: Vec<Incarnation>,
}

struct Publication {
    publisher: usize,
    topic: &'static str,
    /// Which life of which node its publisher was at; links of that node that had ended, and events
    /// that were dropped there.
    node: usize,
    life: Incarnation,
    ended: u64,
    dropped: u64,
    /// The nodes with which it was linked.
    linked: Vec<Incarnation>,
    /// Too long for some clients.
    is_long: bool,
}

struct Client {
    node: usize,
    pipe: usize,
    link: Link,
    is_lost: bool,
    request: u64,
    /// Requests under way: patterns to be subscribed to, and subscriptions to be left.
    asked: BTreeMap<u64, Asked>,
    /// Patterns by subscription, and the number of publications when SUBSCRIBED came.
    subscriptions: BTreeMap<u64, (Pattern, usize)>,
    /// The last publication heard of each publisher, and through each subscription.
    last: BTreeMap<usize, usize>,
    heard: BTreeMap<(u64, usize), usize>,
    /// Publications that it has to hear: of each, through which pattern.
    got: BTreeMap<usize, usize>,
    /// New subscriptions with which retained events came, and these.
    fresh: BTreeSet<u64>,
    retained: BTreeSet<(u64, usize)>,
    part: calls::Part,
    /// As WELCOME says; 0 before.
    session: u64,
    ear: meta::Ear,
}

enum Asked {
    Subscribe(Pattern),
    Unsubscribe(u64),
    History,
    Register,
    Unregister,
    Call(usize),
    Question,
    Listen(meta::Family),
}

type Pattern = (&'static str, &'static str);

/// Runs one simulation.
pub(crate) fn run(seed: u64, steps: usize, tally: &mut Tally) {
    World::new(seed, false).run(seed, steps, tally);
}

/// The same with nodes that serve nobody when they are cut off.
pub(crate) fn run_stopping(seed: u64, steps: usize, tally: &mut Tally) {
    World::new(seed, true).run(seed, steps, tally);
}

impl World {
    fn run(mut self, seed: u64, steps: usize, tally: &mut Tally) {
        for step in 0..steps {
            self.act();
            self.hear_all(&format!("seed {seed}, step {step}"));
        }
        self.finish(&format!("seed {seed}, the end"), tally);
    }

    fn new(seed: u64, has_stops: bool) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut settings = Settings {
            visible_ms: 600_000,
            claims: true,
            rosters: true,
            question_ms: 500,
            ..Settings::default()
        };
        settings.interest_bits = *pick(&mut rng, &[1, 4, 20, 20]);
        settings.timeouts.ping_interval_ms = 0;
        let queue_bytes = *pick(&mut rng, &[3_000, 1 << 20, 1 << 20]);
        let max_payload = *pick(&mut rng, &[600, 1 << 20]);
        let node = NodeSettings { max_payload, silence_ms: SILENCE_MS, queue_bytes };
        let (count, shards) = (*pick(&mut rng, &[2, 3, 4]), *pick(&mut rng, &[1, 2]));
        let realms = [keeping::realm(&mut rng, &mut settings)];
        let stops_ms = has_stops.then_some(SILENCE_MS);
        let mut cluster = Cluster::stopping(count, shards, (&settings, node, stops_ms), &realms);
        cluster.exclusive = calls::exclusive().filter(|_| has_stops).collect();
        cluster.settle_for(50);
        assert!(cluster.is_linked(), "they are all well");
        let life = |member: &Member| member.node.members().incarnation();
        let first_lives = cluster.members.iter().map(life).collect();
        let (clients, published, tally) = (Vec::new(), Vec::new(), Tally::new());
        let has_trouble = rng.random_bool(0.5) || has_stops;
        let (is_narrow, calls) = (queue_bytes < 1 << 20, calls::Calls::default());
        Self {
            cluster,
            rng,
            clients,
            published,
            has_trouble,
            has_stops,
            is_narrow,
            calls,
            answers: Vec::new(),
            tally,
            first_lives,
        }
    }

    fn act(&mut self) {
        if self.rng.random_bool(0.4) {
            return self.act_on_calls();
        }
        if self.rng.random_bool(0.06) {
            return self.act_on_meta();
        }
        match self.rng.random_range(0..100) {
            0..5 if self.clients.len() < 10 => self.come(),
            5..15 => self.subscribe(),
            15..19 => self.unsubscribe(),
            19 => self.ask_history(),
            20..38 => self.publish(),
            38..56 => self.deliver(),
            56..65 => {
                let index = self.rng.random_range(0..self.cluster.members.len());
                self.cluster.watch(index);
            }
            65..70 => self.decide(),
            70..85 => {
                let index = self.rng.random_range(0..self.cluster.members.len());
                self.cluster.serve(index);
            }
            85..90 => {
                let ms = self.rng.random_range(1..20);
                self.cluster.advance(ms);
            }
            90..92 if self.has_stops => self.part(),
            90..98 if self.has_trouble => self.trouble(),
            // What is not used any more is given up, and told anew.
            98 => self.cluster.advance(2_500),
            99 => self.leave(),
            _ => self.deliver(),
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.tally.entry(what.into()).or_default() += 1;
    }

    /// A write of a node is decided, and perhaps it does not hear how.
    fn decide(&mut self) {
        let mut often = || !self.has_trouble || self.rng.random_bool(0.8);
        let fate = (often(), often());
        self.cluster.decide(fate);
    }

    fn come(&mut self) {
        let up = self.cluster.up();
        if up.is_empty() {
            return;
        }
        let node = *pick(&mut self.rng, &up);
        let network = &mut self.cluster.members[node].network;
        let shard = self.rng.random_range(0..network.shard_count());
        let (link, capacity) = (draw_link(&mut self.rng), usize::MAX);
        let pipe = network.connect(shard, Admission::Welcome, capacity);
        network.receive(pipe, &link.greeting());
        let features = json!({"progressive_call_results": true, "call_canceling": true,
            "progressive_call_invocations": true, "call_reroute": true,
            "registration_revocation": true});
        let plain = json!({"registration_revocation": true});
        let features = *pick(&mut self.rng, &[&features, &features, &plain]);
        let takes_interrupt = features["call_canceling"] == true;
        let roles = json!({"publisher": {}, "subscriber": {}, "caller": {"features": features},
            "callee": {"features": features}});
        let network = &mut self.cluster.members[node].network;
        network.receive(pipe, &link.message(&json!([1, "realm1", {"roles": roles}])));
        self.clients.push(Client {
            node,
            pipe,
            link,
            is_lost: false,
            request: 0,
            asked: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            last: BTreeMap::new(),
            heard: BTreeMap::new(),
            got: BTreeMap::new(),
            fresh: BTreeSet::new(),
            retained: BTreeSet::new(),
            part: calls::Part::new(takes_interrupt),
            session: 0,
            ear: meta::Ear::default(),
        });
        network.settle();
        self.register_at_first();
    }

    fn any_client(&mut self) -> Option<usize> {
        let here = (0..self.clients.len()).filter(|client| !self.clients[*client].is_lost);
        let here: Vec<_> = here.collect();
        (!here.is_empty()).then(|| *pick(&mut self.rng, &here))
    }

    fn say(&mut self, client: usize, message: &Value) {
        let Client { node, pipe, link, .. } = &self.clients[client];
        let network = &mut self.cluster.members[*node].network;
        network.receive(*pipe, &link.message(message));
        if self.rng.random_bool(0.5) {
            network.settle();
        }
    }

    fn subscribe(&mut self) {
        let Some(client) = self.any_client() else { return };
        let (uri, policy) = *pick(&mut self.rng, &PATTERNS);
        let Client { request, asked, .. } = &mut self.clients[client];
        *request += 1;
        asked.insert(*request, Asked::Subscribe((uri, policy)));
        let wants_retained = self.rng.random_bool(0.4);
        let options = json!({"match": policy, "get_retained": wants_retained});
        let message = json!([32, *request, options, uri]);
        self.say(client, &message);
    }

    fn unsubscribe(&mut self) {
        let Some(client) = self.any_client() else { return };
        let held: Vec<_> = self.clients[client].subscriptions.keys().copied().collect();
        if held.is_empty() {
            return;
        }
        let subscription = *pick(&mut self.rng, &held);
        let Client { request, asked, .. } = &mut self.clients[client];
        *request += 1;
        asked.insert(*request, Asked::Unsubscribe(subscription));
        let message = json!([34, *request, subscription]);
        self.say(client, &message);
    }

    /// Asks for the events of a history that it has subscribed to.
    fn ask_history(&mut self) {
        let Some(client) = self.any_client() else { return };
        let Client { request, asked, subscriptions, .. } = &mut self.clients[client];
        let mut held = subscriptions.iter();
        let kept = held.find(|(_, (pattern, _))| keeping::HISTORIES.contains(pattern));
        let Some((subscription, _)) = kept else { return };
        *request += 1;
        asked.insert(*request, Asked::History);
        let message = json!([48, *request, {}, "wamp.subscription.get_events", [subscription]]);
        self.say(client, &message);
    }

    fn publish(&mut self) {
        let Some(publisher) = self.any_client() else { return };
        let topic = *pick(&mut self.rng, &TOPICS);
        let node = self.clients[publisher].node;
        let here = &self.cluster.members[node].node;
        let (counts, life) = (here.counts(), here.members().incarnation());
        let linked = here.linked().collect();
        let (ended, dropped) = (counts.links_ended, counts.dropped_events);
        let number = self.published.len();
        let is_long = self.rng.random_bool(0.05);
        self.published.push(Publication {
            publisher,
            topic,
            node,
            life,
            ended,
            dropped,
            linked,
            is_long,
        });
        let client = &mut self.clients[publisher];
        client.request += 1;
        let text = "x".repeat(if is_long { LONG_BYTES } else { 10 });
        let options = match self.rng.random_range(0..10) {
            0..3 => json!({"retain": true}),
            3 => json!({"retain": true, "eligible_authrole": ["anonymous"]}),
            _ => json!({}),
        };
        let message = json!([16, client.request, options, topic, [publisher, number, text]]);
        self.say(publisher, &message);
    }

    fn deliver(&mut self) {
        let routes = self.cluster.bus.routes();
        if !routes.is_empty() {
            let route = *pick(&mut self.rng, &routes);
            self.cluster.deliver(route);
        }
    }

    fn leave(&mut self) {
        let Some(client) = self.any_client() else { return };
        self.clients[client].is_lost = true;
        self.note_leaver();
        let Client { node, pipe, .. } = self.clients[client];
        self.cluster.members[node].network.lose(pipe);
        self.cluster.members[node].network.settle();
    }

    fn hear_all(&mut self, when: &str) {
        for client in 0..self.clients.len() {
            self.hear(client, when);
        }
    }

    fn hear(&mut self, client: usize, when: &str) {
        let Client { node, pipe, is_lost, .. } = self.clients[client];
        if is_lost {
            return;
        }
        let network = &mut self.cluster.members[node].network;
        let shards = network.shard_count();
        (0..shards).for_each(|shard| network.turn(shard));
        let bytes = network.read(pipe, usize::MAX);
        self.clients[client].link.feed(&bytes);
        while let Some(incoming) = self.clients[client].link.next() {
            match incoming {
                Incoming::Message(message) if self.take_farewell(client, &message, when) => return,
                Incoming::Message(message) => self.take(client, &message, when),
                Incoming::Opened => {}
                other => panic!("{when}: {other:?}"),
            }
        }
    }

    fn take(&mut self, client: usize, message: &Value, when: &str) {
        let number = |index: usize| message[index].as_u64().expect("it is a number");
        if self.take_call(client, message, when) {
            return;
        }
        let published = self.published.len();
        let me = &mut self.clients[client];
        match number(0) {
            2 => me.session = number(1),
            33 => {
                let asked = me.asked.remove(&number(1));
                if let Some(Asked::Listen(family)) = asked {
                    return self.begin_to_listen(client, family, number(2));
                }
                let Some(Asked::Subscribe(pattern)) = asked else { panic!("{when}: {message}") };
                if me.subscriptions.contains_key(&number(2)) {
                    // What comes now may come once more, as it is owed.
                    me.fresh.remove(&number(2));
                } else {
                    me.fresh.insert(number(2));
                }
                me.subscriptions.entry(number(2)).or_insert((pattern, published));
                self.count("SUBSCRIBED");
            }
            35 => {
                let asked = me.asked.remove(&number(1));
                let Some(Asked::Unsubscribe(id)) = asked else { panic!("{when}: {message}") };
                me.retained.retain(|(subscription, _)| *subscription != id);
                if let Some(((uri, policy), since)) = me.subscriptions.remove(&id) {
                    self.owe_nothing(client, (uri, policy), since);
                }
            }
            8 => {
                let asked = me.asked.remove(&number(2));
                if let Some(Asked::Question) = asked {
                    return self.take_meta_answer(message, when);
                }
                let is_late = matches!(asked, Some(Asked::Unsubscribe(_) | Asked::History));
                assert!(is_late, "{when}: {message}");
            }
            50 => {
                let asked = me.asked.remove(&number(1));
                if let Some(Asked::Question) = asked {
                    self.answers.push(message.clone());
                    return self.take_meta_answer(message, when);
                }
                assert!(matches!(asked, Some(Asked::History)), "{when}: {message}");
                keeping::check_answer(message, when);
                self.count("a history answers");
            }
            36 if self.take_meta_event(client, message, when) => {}
            36 => self.take_event(client, message, when),
            other => panic!("{when}: {other} in {message}"),
        }
    }

    /// What was published until now may have been under way when it left.
    fn owe_nothing(&mut self, client: usize, pattern: Pattern, since: usize) {
        for number in since..self.published.len() {
            if matches(pattern, self.published[number].topic) {
                self.clients[client].got.insert(number, 1);
            }
        }
    }

    fn take_event(&mut self, client: usize, message: &Value, when: &str) {
        let number = |value: &Value| value.as_u64().expect("it is a number");
        let index = |value: &Value| usize::try_from(number(value)).expect("it is small");
        let (subscription, args) = (number(&message[1]), &message[4]);
        let (publisher, publication) = (index(&args[0]), index(&args[1]));
        let said = &self.published[publication];
        assert_eq!(said.publisher, publisher, "{when}: {message}");
        let is_foreign = said.node != self.clients[client].node;
        let is_late = message[3]["retained"] != true
            && !self.check_behind_calls(client, publisher, publication);
        assert!(!is_late, "{when}: behind a later call: {message}");
        let me = &mut self.clients[client];
        if message[3]["retained"] == true {
            assert!(me.subscriptions.contains_key(&subscription), "{when}: {message}");
            if me.fresh.contains(&subscription) {
                me.retained.insert((subscription, publication));
            }
            me.got.insert(publication, 1);
            self.count("a retained event");
            return;
        }
        let has_it = me.retained.contains(&(subscription, publication));
        assert!(!has_it, "{when}: retained, and then live: {message}");
        let last = me.last.insert(publisher, publication);
        assert!(last.is_none_or(|last| last <= publication), "{when}: order, {message}");
        let last = me.heard.insert((subscription, publisher), publication);
        assert!(last.is_none_or(|last| last < publication), "{when}: twice, {message}");
        assert_ne!(publisher, client, "{when}: nobody hears itself");
        me.got.insert(publication, 1);
        self.count(if is_foreign { "an event of another node" } else { "an event" });
    }

    /// Whether the publication need not have come: a link has ended since, or events were dropped.
    fn is_excused(&self, said: &Publication, receiver: usize) -> bool {
        let Client { node, ref link, .. } = self.clients[receiver];
        if said.is_long && link.limit_bytes() < 2 * LONG_BYTES {
            return true;
        }
        let is_here = said.node == node;
        let publishers = &self.cluster.members[said.node].node;
        let counts = publishers.counts();
        let has_changed = counts.links_ended > said.ended
            || counts.dropped_events > said.dropped
            || publishers.members().incarnation() != said.life;
        let receivers = self.cluster.members[node].node.members().incarnation();
        !is_here && (has_changed || !said.linked.contains(&receivers))
    }

    fn finish(mut self, when: &str, tally: &mut Tally) {
        self.heal();
        self.hear_all(when);
        self.check_interrupts(when);
        self.answer_all(when);
        self.check_members(when);
        self.check_ears(when);
        let mut owed = 0;
        for (index, client) in self.clients.iter().enumerate().filter(|(_, it)| !it.is_lost) {
            assert!(client.asked.is_empty(), "{when}: each request is answered");
            for (pattern, since) in client.subscriptions.values() {
                for (number, said) in self.published.iter().enumerate().skip(*since) {
                    let is_owed = matches(*pattern, said.topic) && said.publisher != index;
                    if is_owed && !self.is_excused(said, index) {
                        owed += 1;
                        let topic = said.topic;
                        assert!(client.got.contains_key(&number), "{when}: {number}, {topic}");
                    }
                }
            }
        }
        *self.tally.entry("events that had to come".into()).or_default() += owed;
        self.cluster.settle_for(6_000);
        self.cluster.check_interest();
        let (retained, recorded) = keeping::check(&self.cluster, when);
        *self.tally.entry("events retained everywhere".into()).or_default() += retained;
        *self.tally.entry("events of histories everywhere".into()).or_default() += recorded;
        for client in 0..self.clients.len() {
            let Client { node, pipe, is_lost, .. } = self.clients[client];
            if !is_lost {
                self.cluster.members[node].network.lose(pipe);
            }
        }
        self.cluster.settle_for(8_000);
        self.cluster.check_empty();
        for member in &self.cluster.members {
            let counts = member.node.counts();
            *self.tally.entry("links ended".into()).or_default() += counts.links_ended;
            *self.tally.entry("events dropped".into()).or_default() += counts.dropped_events;
            *self.tally.entry("calls lost".into()).or_default() += counts.lost_calls;
            let dropped = counts.dropped_meta_events;
            *self.tally.entry("meta events dropped".into()).or_default() += dropped;
            *self.tally.entry("late answers".into()).or_default() += counts.late_answers;
            *self.tally.entry("useless events".into()).or_default() += counts.useless_events;
            assert_eq!(counts.strange_messages, 0, "{when}");
        }
        for (what, count) in self.tally {
            *tally.entry(what).or_default() += count;
        }
    }
}

fn matches((uri, policy): Pattern, topic: &str) -> bool {
    match policy {
        "exact" => uri == topic,
        "prefix" => topic.starts_with(uri),
        _ => {
            let (pattern, topic) = (uri.split('.'), topic.split('.'));
            pattern.clone().count() == topic.clone().count()
                && pattern.zip(topic).all(|(part, whole)| part.is_empty() || part == whole)
        }
    }
}

const TOPICS: [&str; 12] = [
    "com.a", "com.b", "com.c", "com.d", "com.e", "com.f", "com.g", "com.h", "com.a.x", "com.b.x",
    "org.b", "org.c",
];

const PATTERNS: [Pattern; 15] = [
    ("com.a", "exact"),
    ("com.b", "exact"),
    ("com.c", "exact"),
    ("com.d", "exact"),
    ("com.e", "exact"),
    ("com.f", "exact"),
    ("com.g", "exact"),
    ("com.h", "exact"),
    ("com.b.x", "exact"),
    ("org.b", "exact"),
    ("org.c", "exact"),
    ("com.", "prefix"),
    ("org", "prefix"),
    (".b", "wildcard"),
    ("com..x", "wildcard"),
];

const SILENCE_MS: u64 = 10_000;
const LONG_BYTES: usize = 2_000;
