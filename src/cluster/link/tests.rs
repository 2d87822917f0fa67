//! Two ends over a bus that loses, delays and reorders, against what a link promises.

use std::collections::{BTreeMap, VecDeque};

use super::*;

const LIMITS: LinkLimits = LinkLimits {
    parcel_bytes: 200,
    part_bytes: 300,
    entry_bytes: 2_000,
    window_bytes: 1_500,
    window_parcels: 12,
    acknowledge_ms: 2,
    resend_ms: 250,
    patience_ms: 2_000,
    greeting_ms: 1_000,
    silence_ms: 10_000,
};

/// Two ends, and what is on its way to each.
struct World {
    ends: [End; 2],
    /// Parcels to the first end, and to the second.
    bus: [VecDeque<Vec<u8>>; 2],
    now: Millis,
    chance: u64,
    next_entry: u64,
    ended: usize,
}

/// Entries, and the parcels that they ended in.
#[derive(Default)]
struct Sent {
    entries: Vec<u64>,
    parcels: Vec<u64>,
}

struct End {
    link: Link,
    /// By the link as its sender names it: (here, at the other end).
    sent: BTreeMap<(u64, u64), Sent>,
    /// The same, as the receiver names it.
    got: BTreeMap<(u64, u64), Vec<u64>>,
    /// How many of those it has dealt with.
    dealt: BTreeMap<(u64, u64), usize>,
    /// What it got waits to be dealt with.
    is_busy: bool,
}

impl End {
    fn new(number: u64, limits: LinkLimits) -> Self {
        let link = Link::new(Incarnation(number), limits, Millis(0));
        let (sent, got, dealt) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { link, sent, got, dealt, is_busy: false }
    }

    fn handle_all(&mut self, now: Millis) {
        let all = self.got.get(&self.link.epochs()).map_or(0, Vec::len);
        self.dealt.insert(self.link.epochs(), all);
        self.link.handle_all(now);
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let ends = [End::new(1, LIMITS), End::new(2, LIMITS)];
        let bus = [VecDeque::new(), VecDeque::new()];
        Self { ends, bus, now: Millis(0), chance: seed, next_entry: 0, ended: 0 }
    }

    /// Below `bound`, by splitmix64.
    fn below(&mut self, bound: u64) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.chance;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % bound
    }

    fn end_of_chance(&mut self) -> usize {
        usize::try_from(self.below(2)).expect("it is 0 or 1")
    }

    /// Its length, its number, and as many bytes as it takes.
    fn push(&mut self, at: usize) {
        if !self.ends[at].link.is_open() || self.ends[at].link.queued_bytes() > 10_000 {
            return;
        }
        let length = match self.below(10) {
            0 => 300 + self.below(1_700),
            1 => 290 + self.below(20),
            _ => 10 + self.below(120),
        };
        self.next_entry += 1;
        let mut entry = vec![7; usize::try_from(length).expect("it is short")];
        entry[..2].copy_from_slice(&u16::try_from(length).expect("it is short").to_le_bytes());
        entry[2..10].copy_from_slice(&self.next_entry.to_le_bytes());
        let urgent = self.below(8) == 0;
        let end = &mut self.ends[at];
        let parcel = end.link.push(&entry, urgent);
        let sent = end.sent.entry(end.link.epochs()).or_default();
        sent.entries.push(self.next_entry);
        sent.parcels.push(parcel);
    }

    fn transmit(&mut self, at: usize) {
        loop {
            let mut bytes = Vec::new();
            if !self.ends[at].link.take_transmit(self.now, &mut bytes) {
                break;
            }
            assert!(bytes.len() <= LIMITS.part_bytes + 64, "{} bytes", bytes.len());
            self.bus[1 - at].push_back(bytes);
        }
    }

    fn deliver(&mut self, to: usize) {
        let Some(bytes) = self.bus[to].pop_front() else { return };
        let (head, body) = Head::decode(&bytes).expect("it was encoded");
        let end = &mut self.ends[to];
        let before = end.link.epochs();
        let heard = end.link.receive(&head, body, self.now).expect("nobody sends anything else");
        let after = end.link.epochs();
        assert!(!heard.ended || before.1 < after.1, "another name for another link");
        assert!(before.0 == after.0 && before.1 <= after.1, "{before:?} {after:?}");
        self.ended += usize::from(heard.ended);
        if let Some(entries) = heard.entries {
            let mut rest = &entries[..];
            while let [low, high, ..] = *rest {
                let (entry, behind) = rest.split_at(u16::from_le_bytes([low, high]).into());
                let number = entry[2..10].try_into().expect("it has eight bytes");
                end.got.entry(after).or_default().push(u64::from_le_bytes(number));
                rest = behind;
            }
        }
        if !end.is_busy {
            end.handle_all(self.now);
        }
    }

    fn timeouts(&mut self) {
        for end in &mut self.ends {
            self.ended += usize::from(end.link.handle_timeout(self.now));
        }
    }

    /// What has come through each link is what was sent through it, as far as it has come.
    fn check(&self) {
        for (from, to) in [(0, 1), (1, 0)] {
            for (&(here, there), got) in &self.ends[to].got {
                let sent = self.ends[from].sent.get(&(there, here)).expect("it was sent");
                assert_eq!(got[..], sent.entries[..got.len()], "link {there} {here} to {to}");
            }
            self.check_dealt(from, to);
            let flying = self.ends[from].link.outgoing.flying();
            let fits = flying.1 <= LIMITS.window_bytes || flying.0 == 1;
            assert!(fits && flying.0 <= LIMITS.window_parcels, "{flying:?} are flying");
        }
    }

    /// Who is told that something was dealt with is told the truth.
    fn check_dealt(&self, from: usize, to: usize) {
        let link = &self.ends[from].link;
        let (here, there) = link.epochs();
        let Some(sent) = self.ends[from].sent.get(&(here, there)) else { return };
        let told = sent.parcels.iter().filter(|parcel| link.is_handled(**parcel)).count();
        let dealt = self.ends[to].dealt.get(&(there, here)).copied().unwrap_or(0);
        assert!(told <= dealt, "{told} of {dealt} are said to be dealt with");
    }

    fn step(&mut self) {
        let at = self.end_of_chance();
        match self.below(100) {
            0..30 => self.push(at),
            30..50 => self.transmit(at),
            50..80 => self.deliver(at),
            80..82 => drop(self.bus[at].pop_front()),
            82..84 => {
                // What came over an old connection arrives behind what came over the new one.
                let old = self.bus[at].pop_front();
                self.bus[at].extend(old);
            }
            84 => {
                self.bus[at].clear();
                if self.below(2) == 0 {
                    self.ends[1 - at].link.send_again(self.now);
                }
            }
            85..88 => {
                let end = &mut self.ends[at];
                end.is_busy = !end.is_busy;
                if !end.is_busy {
                    end.handle_all(self.now);
                }
            }
            88 if self.below(20) == 0 => {
                self.ended += usize::from(self.ends[at].link.end(self.now));
            }
            89 if self.below(20) == 0 => self.now = self.now + LIMITS.silence_ms,
            90..94 => self.now = self.now + self.below(300),
            94 => self.beat(),
            _ => self.now = self.now + self.below(3),
        }
        self.timeouts();
        self.check();
    }

    /// Nothing is lost any more, and all deal with what they get.
    fn rest(&mut self) {
        self.ends.iter_mut().for_each(|end| end.is_busy = false);
        for round in 0..400 {
            if round % 100 == 0 {
                self.beat();
            }
            for at in [0, 1] {
                self.ends[at].handle_all(self.now);
                self.transmit(at);
                while !self.bus[at].is_empty() {
                    self.deliver(at);
                }
            }
            self.now = self.now + 10;
            self.timeouts();
            self.check();
        }
    }

    fn beat(&mut self) {
        for at in [0, 1] {
            let mut bytes = Vec::new();
            self.ends[at].link.beat().encode(&mut bytes);
            self.bus[1 - at].push_back(bytes);
        }
    }
}

/// A few thousand runs: whatever the bus does, each link brings what was sent through it, in order
/// and once, and when the bus is well again there is one.
#[test]
fn a_link_brings_all_in_order_or_ends_at_both_ends() {
    let (mut entries, mut ended) = (0, 0);
    for seed in 0..seeds() {
        let mut world = World::new(seed);
        (0..600).for_each(|_| world.step());
        world.rest();
        let [first, second] = &world.ends;
        assert!(first.link.is_open() && second.link.is_open(), "seed {seed}: no link");
        let (here, there) = first.link.epochs();
        assert_eq!(second.link.epochs(), (there, here), "seed {seed}");
        for (from, to) in [(first, second), (second, first)] {
            let sent = from.sent.get(&from.link.epochs()).map(|sent| &sent.entries);
            assert_eq!(sent, to.got.get(&to.link.epochs()), "seed {seed}: something is lost");
            assert_eq!(from.link.queued_bytes(), 0, "seed {seed}: something waits");
            entries += to.got.values().map(Vec::len).sum::<usize>();
        }
        ended += world.ended;
    }
    assert!(entries > 50 * seeds() as usize && ended > 0, "{entries} entries, {ended} ended");
}

/// `STENTOR_LINK_SEEDS`: how many runs, for more than the tests take time for.
fn seeds() -> u64 {
    let asked = std::env::var("STENTOR_LINK_SEEDS").ok();
    asked.map_or(1_000, |seeds| seeds.parse().expect("it is a number"))
}

/// Both ends open, nothing on the way.
fn linked() -> World {
    let mut world = World::new(0);
    world.rest();
    assert!(world.ends.iter().all(|end| end.link.is_open()));
    world
}

/// So many entries that each takes a parcel.
fn fill(link: &mut Link, count: u64) {
    (1..=count).for_each(|number| assert!(link.push(&[5; 190], false) >= number));
}

fn heads(world: &World, to: usize) -> Vec<Head> {
    let parcels = world.bus[to].iter();
    parcels.map(|bytes| Head::decode(bytes).expect("it was encoded").0).collect()
}

/// A turn's entries go in one parcel, and a long one in parts of its own, in order.
#[test]
fn entries_share_parcels() {
    let mut world = linked();
    let link = &mut world.ends[0].link;
    assert_eq!([link.push(&[1; 90], false), link.push(&[2; 90], true)], [1, 1]);
    assert_eq!(link.push(&[3; 700], false), 4, "three parts");
    assert_eq!(link.push(&[4; 10], false), 5);
    world.transmit(0);
    let sent = heads(&world, 1);
    let marks = sent.iter().map(|head| (head.number, head.wishes.more, head.wishes.at_once));
    let expected = [
        (1, false, true),
        (2, true, false),
        (3, true, false),
        (4, false, false),
        (5, false, false),
    ];
    assert_eq!(marks.collect::<Vec<_>>(), expected);
    let link = &mut world.ends[1].link;
    let mut got = Vec::new();
    for bytes in std::mem::take(&mut world.bus[1]) {
        let (head, body) = Head::decode(&bytes).expect("it was encoded");
        let heard = link.receive(&head, body, world.now).expect("it is right");
        got.extend(heard.entries.map(|entries| entries.into_owned()));
    }
    let whole = [[[1; 90], [2; 90]].concat(), [3; 700].into(), [4; 10].into()];
    assert_eq!(got, whole);
}

/// While the other end does not deal with what it gets, no more than a window goes out, and what
/// waits is not sent again.
#[test]
fn who_cannot_keep_up_is_not_overwhelmed() {
    let mut world = linked();
    world.ends[1].is_busy = true;
    fill(&mut world.ends[0].link, 100);
    let mut parcels = 0;
    for _ in 0..1_000 {
        world.transmit(0);
        parcels += world.bus[1].len();
        while let Some(bytes) = world.bus[1].pop_front() {
            let (head, body) = Head::decode(&bytes).expect("it was encoded");
            world.ends[1].link.receive(&head, body, world.now).expect("it is right");
        }
        world.transmit(1);
        while let Some(bytes) = world.bus[0].pop_front() {
            let (head, body) = Head::decode(&bytes).expect("it was encoded");
            world.ends[0].link.receive(&head, body, world.now).expect("it is right");
        }
        world.now = world.now + 5;
        assert!(!world.ends[0].link.handle_timeout(world.now));
    }
    let numbered = LIMITS.window_bytes / 190;
    assert!((numbered..numbered + 20).contains(&parcels), "{parcels} parcels in 5 s");
    assert!(!world.ends[0].link.is_handled(1), "nothing was dealt with");
}

/// A gap is asked for once, and what was lost is sent again at once.
#[test]
fn a_gap_is_asked_for_once() {
    let mut world = linked();
    fill(&mut world.ends[0].link, 6);
    world.transmit(0);
    world.bus[1].pop_front();
    while !world.bus[1].is_empty() {
        let (head, body) = Head::decode(&world.bus[1].pop_front().expect("it is there"))
            .map(|(head, body)| (head, body.to_vec()))
            .expect("it was encoded");
        world.ends[1].link.receive(&head, &body, world.now).expect("it is right");
        world.transmit(1);
    }
    let asks = heads(&world, 0);
    assert_eq!(asks.iter().filter(|head| head.wishes.again).count(), 1, "{asks:?}");
    world.deliver(0);
    world.transmit(0);
    let again = heads(&world, 1).iter().map(|head| head.number).collect::<Vec<_>>();
    assert_eq!(again, [1, 2, 3, 4, 5, 6]);
}

/// Of a window that is lost one parcel goes out alone, and the others when it is answered.
#[test]
fn one_parcel_asks_for_all() {
    let mut world = linked();
    fill(&mut world.ends[0].link, 6);
    world.transmit(0);
    world.bus[1].clear();
    world.now = world.now + LIMITS.resend_ms;
    world.timeouts();
    world.transmit(0);
    assert_eq!(heads(&world, 1).iter().map(|head| head.number).collect::<Vec<_>>(), [1]);
    let (head, body) = (heads(&world, 1)[0], [5; 190]);
    world.bus[1].clear();
    world.ends[1].link.receive(&head, &body, world.now).expect("it is right");
    world.ends[1].link.handle_all(world.now);
    world.now = world.now + LIMITS.acknowledge_ms;
    world.transmit(1);
    world.bus[0].truncate(1);
    let bytes = world.bus[0].pop_front().expect("it is acknowledged");
    let (head, _) = Head::decode(&bytes).expect("it was encoded");
    world.ends[0].link.receive(&head, &[], world.now).expect("it is right");
    world.transmit(0);
    let again = heads(&world, 1).iter().map(|head| head.number).collect::<Vec<_>>();
    assert_eq!(again, [2, 3, 4, 5, 6]);
}

/// What no node sends ends nothing but the link: the caller does that.
#[test]
fn what_no_node_sends_is_said() {
    let mut world = linked();
    let (own, peers) = world.ends[1].link.epochs();
    let from = Incarnation(2);
    let wishes = Wishes::default();
    let head = Head { from, own, peers, received: 1, handled: 0, number: 0, wishes };
    let mut receive = |head: Head, body: &[u8]| {
        let heard = world.ends[0].link.receive(&head, body, world.now);
        heard.map(|_| ())
    };
    assert_eq!(receive(head, &[]), Err(Garbled::Acknowledgement), "nothing was sent");
    let head = Head { received: 0, handled: 1, ..head };
    assert_eq!(receive(head, &[]), Err(Garbled::Acknowledgement), "dealt with, not received");
    let more = Wishes { more: true, ..wishes };
    let part = |number| Head { number, wishes: more, received: 0, handled: 0, ..head };
    for number in 1..=20 {
        assert_eq!(receive(part(number), &[1; 100]), Ok(()), "part {number}");
    }
    assert_eq!(receive(part(21), &[1]), Err(Garbled::Length));
}

/// The window of all links together is bounded, and a parcel fits into a message of NATS.
#[test]
fn limits_fit_the_cluster() {
    let two = LinkLimits::new(1, 1 << 20, 10_000);
    assert_eq!((two.window_bytes, two.part_bytes, two.acknowledge_ms), (8 << 20, 256 << 10, 1));
    let many = LinkLimits::new(60, 100_000, 10_000);
    assert_eq!((many.window_bytes * 60 <= 48 << 20, many.acknowledge_ms), (true, 12));
    assert_eq!((many.part_bytes, many.parcel_bytes), (50_000, 50_000));
}

/// Whatever the bus does, nobody takes in more than was sent for the first time, and entries count
/// with all their bytes.
#[test]
fn what_goes_through_is_counted() {
    let mut resent = 0;
    for seed in 0..seeds().min(100) {
        let mut world = World::new(seed);
        (0..300).for_each(|_| world.step());
        world.rest();
        for (from, to) in [(0, 1), (1, 0)] {
            let (sent, got) = (world.ends[from].link.tally(), world.ends[to].link.tally());
            let first = sent.sent_parcels - sent.resent_parcels;
            assert!(got.received_parcels <= first, "seed {seed}: {sent:?} {got:?}");
            assert!(world.ended > 0 || got.received_parcels == first, "seed {seed}");
            let got_bytes: usize = world.ends[to].got.values().flatten().count();
            assert!(got.received_bytes >= got_bytes as u64 * 10, "seed {seed}: {got:?}");
            resent += sent.resent_parcels;
        }
    }
    assert!(resent > 0, "nothing was sent again");
}

/// A parcel that is lost, and those behind it, are sent again, and come once.
#[test]
fn parcels_sent_again_are_counted_apart() {
    let mut world = linked();
    fill(&mut world.ends[0].link, 6);
    world.transmit(0);
    world.bus[1].pop_front();
    while !world.bus[1].is_empty() {
        let bytes = world.bus[1].pop_front().expect("it is there");
        let (head, body) = Head::decode(&bytes).expect("it was encoded");
        world.ends[1].link.receive(&head, body, world.now).expect("it is right");
    }
    world.transmit(1);
    world.deliver(0);
    world.transmit(0);
    while let Some(bytes) = world.bus[1].pop_front() {
        let (head, body) = Head::decode(&bytes).expect("it was encoded");
        world.ends[1].link.receive(&head, body, world.now).expect("it is right");
    }
    let (sent, got) = (world.ends[0].link.tally(), world.ends[1].link.tally());
    assert_eq!((sent.sent_parcels, sent.sent_bytes, sent.resent_parcels), (12, 12 * 190, 6));
    assert_eq!((got.received_parcels, got.received_bytes), (6, 6 * 190));
    assert_eq!(sent.window_waits, 0, "six fit");
    world.ends[1].link.handle_all(world.now);
    world.now = world.now + LIMITS.acknowledge_ms;
    world.transmit(1);
    world.deliver(0);
    assert_eq!(world.ends[0].link.queued_bytes(), 0);
    assert_eq!(world.ends[0].link.round_trip_us(), None, "nobody knows which of the two came");
}

/// Whoever has too much to deal with holds up what is sent: that is one wait, however often is
/// asked.
#[test]
fn a_full_window_is_one_wait() {
    let mut world = linked();
    fill(&mut world.ends[0].link, 20);
    for _ in 0..5 {
        world.transmit(0);
    }
    let waits = |world: &World| world.ends[0].link.tally().window_waits;
    assert_eq!(waits(&world), 1);
    for _ in 0..2 {
        while let Some(bytes) = world.bus[1].pop_front() {
            let (head, body) = Head::decode(&bytes).expect("it was encoded");
            world.ends[1].link.receive(&head, body, world.now).expect("it is right");
        }
        world.ends[1].link.handle_all(world.now);
        world.now = world.now + LIMITS.acknowledge_ms;
        world.transmit(1);
        while let Some(bytes) = world.bus[0].pop_front() {
            let (head, body) = Head::decode(&bytes).expect("it was encoded");
            world.ends[0].link.receive(&head, body, world.now).expect("it is right");
        }
        world.transmit(0);
    }
    let expected = 20_usize.div_ceil(LIMITS.window_bytes / 190) as u64 - 1;
    assert_eq!(waits(&world), expected, "the last window was not full");
}

/// The time until a parcel is known to be there, smoothed over several.
#[test]
fn a_round_trip_is_measured() {
    let mut world = linked();
    let mut trip = |ms: u64| {
        world.ends[0].link.push(&[5; 10], true);
        world.transmit(0);
        world.now = world.now + ms;
        let bytes = world.bus[1].pop_front().expect("it was sent");
        let (head, body) = Head::decode(&bytes).expect("it was encoded");
        world.ends[1].link.receive(&head, body, world.now).expect("it is right");
        world.ends[1].link.handle_all(world.now);
        world.transmit(1);
        let bytes = world.bus[0].pop_front().expect("somebody waits");
        let (head, _) = Head::decode(&bytes).expect("it was encoded");
        world.ends[0].link.receive(&head, &[], world.now).expect("it is right");
        world.ends[0].link.round_trip_us()
    };
    assert_eq!(trip(8), Some(8_000));
    assert_eq!(trip(16), Some(9_000), "an eighth of the difference");
    assert!((0..100).all(|_| trip(1).is_some()));
    assert!(trip(1).is_some_and(|us| (1_000..1_010).contains(&us)), "{:?}", trip(1));
    world.ends[0].link.end(world.now);
    assert_eq!(world.ends[0].link.round_trip_us(), None, "another link takes another time");
}
