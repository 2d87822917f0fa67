//! A WAMP router that does just enough for the harness: one blocking thread per connection, both
//! transports, three serializers, compression of WebSockets at `/deflate`. On demand it loses,
//! doubles or swaps events, to see whether the harness notices.

mod transport;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use transport::Writer;

/// What it does wrong, to every [`EVERY`]th event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    None,
    Lose,
    /// Sends nothing to who subscribed first.
    Neglect,
    Double,
    /// Sends it after the event that follows it.
    Swap,
    /// Changes the last character of its payload.
    Garble,
    /// Says GOODBYE to its receiver after it.
    Dismiss,
    /// Closes the connection of its receiver behind it.
    HangUp,
    /// Acknowledges nine publications of ten.
    KeepQuiet,
    /// Acknowledges one publication of ten twice.
    RepeatItself,
    /// Reads nothing more from the first session that publishes.
    Ignore,
    /// Serves nobody for half a second.
    Stall,
    /// Answers every tenth call with the payload of its first call.
    MixUpResults,
}

/// Starts a router on a port of its own; it serves until the test process ends.
pub(crate) fn start(fault: Fault) -> SocketAddr {
    start_noting(fault).0
}

/// From where how many have connected.
pub(crate) type Peers = Arc<Mutex<HashMap<IpAddr, u64>>>;

/// Starts a router that notes who connects.
pub(crate) fn start_noting(fault: Fault) -> (SocketAddr, Peers) {
    let peers = Peers::default();
    let noted = peers.clone();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let state = Arc::new(Mutex::new(State { fault, ..State::default() }));
    thread::spawn(move || {
        for (stream, session) in listener.incoming().zip(1..) {
            let (stream, state) = (stream.unwrap(), state.clone());
            let from = stream.peer_addr().unwrap().ip();
            *noted.lock().unwrap().entry(from).or_default() += 1;
            thread::spawn(move || serve(stream, session, &state));
        }
    });
    (address, peers)
}

#[derive(Default)]
struct State {
    fault: Fault,
    /// By topic, or by pattern with its policy in front.
    subscriptions: HashMap<String, Vec<(u64, Writer)>>,
    procedures: HashMap<String, Vec<(u64, Writer)>>,
    /// Invocation id to the caller and its request.
    invocations: HashMap<u64, (Writer, u64)>,
    /// Calls that are not whole, by session and request, to callee and invocation.
    begun: HashMap<(u64, u64), (u64, Writer, u64)>,
    counter: u64,
    retained: HashMap<String, Value>,
    /// Of the topic `loadtest.history`: publications and their arguments.
    history: Vec<(u64, Value)>,
    /// Events and results so far.
    events: u64,
    held_back: Option<(Writer, Value)>,
    first_result: Option<Value>,
    first_publisher: Option<u64>,
}

/// A connection may end at any time: reading and writing errors end its thread quietly.
fn serve(stream: TcpStream, session: u64, state: &Mutex<State>) {
    let Some((mut reader, writer)) = transport::accept(stream) else {
        return;
    };
    while let Some(message) = reader.read() {
        if message[0] == 6 {
            writer.send(&json!([6, {}, "wamp.close.goodbye_and_out"]));
            break;
        }
        let ignored = state.lock().unwrap().handle(session, &writer, &message);
        if ignored {
            thread::sleep(Duration::from_secs(3600));
        }
    }
    let mut state = state.lock().unwrap();
    for receivers in state.subscriptions.values_mut() {
        receivers.retain(|(of, _)| *of != session);
    }
    for callees in state.procedures.values_mut() {
        callees.retain(|(of, _)| *of != session);
    }
}

impl State {
    /// Handles one message; true if there will be no other from this session.
    fn handle(&mut self, session: u64, from: &Writer, message: &Value) -> bool {
        let request = message[1].as_u64().unwrap_or(0);
        let uri = message[3].as_str().unwrap_or_default().to_owned();
        self.counter += 1;
        match message[0].as_u64().unwrap() {
            1 => from.send(&json!([2, session, {"roles": {"broker": {}, "dealer": {}}}])),
            16 => {
                self.publish(request, &uri, from, message);
                let first = *self.first_publisher.get_or_insert(session);
                return self.fault == Fault::Ignore && first == session;
            }
            32 => {
                let uri = match message[2]["match"].as_str() {
                    Some(policy @ ("prefix" | "wildcard")) => format!("{policy}:{uri}"),
                    _ => uri,
                };
                from.send(&json!([33, request, subscription_of(&uri)]));
                let asks = message[2]["get_retained"] == true;
                if let Some(args) = self.retained.get(&uri).filter(|_| asks) {
                    let event = json!([36, subscription_of(&uri), 1, {"retained": true}, args]);
                    self.deliver(from.clone(), event);
                }
                self.subscriptions.entry(uri).or_default().push((session, from.clone()));
            }
            34 => {
                for receivers in self.subscriptions.values_mut() {
                    receivers.retain(|(of, _)| *of != session);
                }
                from.send(&json!([35, request]));
            }
            48 => self.call(session, request, &uri, from, message),
            64 => {
                self.procedures.entry(uri).or_default().push((session, from.clone()));
                from.send(&json!([65, request, self.counter]));
            }
            70 => self.answer(request, message),
            other => panic!("message type {other} is not expected from the harness"),
        }
        false
    }

    fn publish(&mut self, request: u64, topic: &str, from: &Writer, message: &Value) {
        let publication = self.counter;
        if message[2]["retain"] == true {
            self.retained.insert(topic.to_owned(), message[4].clone());
        }
        if topic == "loadtest.history" && self.history.len() < KEPT {
            self.history.push((publication, message[4].clone()));
        }
        let neglected = usize::from(self.fault == Fault::Neglect);
        let matching = self.subscriptions.iter().filter(|(pattern, _)| matches(pattern, topic));
        let receivers: Vec<(u64, Writer)> = matching
            .flat_map(|(pattern, all)| all.iter().map(|(_, to)| (subscription_of(pattern), to)))
            .map(|(subscription, to)| (subscription, to.clone()))
            .collect();
        for (subscription, to) in receivers.into_iter().skip(neglected) {
            let event = json!([36, subscription, publication, {}, message[4]]);
            self.deliver(to, event);
        }
        if message[2]["acknowledge"] == true {
            let strikes = request.is_multiple_of(10);
            let times = match self.fault {
                Fault::KeepQuiet if strikes => 0,
                Fault::RepeatItself if strikes => 2,
                _ => 1,
            };
            (0..times).for_each(|_| from.send(&json!([17, request, publication])));
        }
    }

    fn deliver(&mut self, to: Writer, event: Value) {
        self.events += 1;
        let strikes = self.events.is_multiple_of(EVERY);
        match self.fault {
            Fault::Lose if strikes => {}
            Fault::Double if strikes => {
                to.send(&event);
                to.send(&event);
            }
            Fault::Garble if strikes => to.send(&garbled(event)),
            Fault::Dismiss if strikes => {
                to.send(&event);
                to.send(&json!([6, {}, "wamp.close.slow_consumer"]));
            }
            Fault::Stall if strikes => {
                thread::sleep(Duration::from_millis(500));
                to.send(&event);
            }
            Fault::HangUp if strikes => to.send_last(&event),
            Fault::Swap if strikes => self.held_back = Some((to, event)),
            _ => {
                to.send(&event);
                if let Some((_, held)) = self.held_back.take_if(|(whose, _)| whose.is(&to)) {
                    to.send(&held);
                }
            }
        }
    }

    /// The RESULT of `wamp.subscription.get_events`.
    fn get_events(&mut self, request: u64, message: &Value) -> Value {
        let limit = message[5]["limit"].as_u64().unwrap() as usize;
        let after = message[5]["after_publication"].as_u64().unwrap_or(0);
        let later = self.history.iter().filter(|(publication, _)| *publication > after);
        let event = |(id, args): &(u64, Value)| {
            let details = json!({});
            json!({"publication": id, "args": args, "details": details})
        };
        let mut events: Vec<Value> = later.map(event).collect();
        let more = events.len() > limit;
        events.truncate(limit);
        self.events += 1;
        if self.fault == Fault::Lose && self.events.is_multiple_of(10) {
            events.remove(0);
        }
        json!([50, request, {}, events, {"is_limit_reached": more, "complete": true}])
    }

    fn call(
        &mut self,
        session: u64,
        request: u64,
        procedure: &str,
        from: &Writer,
        message: &Value,
    ) {
        if procedure == "wamp.subscription.get_events" {
            let answer = self.get_events(request, message);
            return from.send(&answer);
        }
        let details = message[2].clone();
        let more = details["progress"] == true;
        if let Some((registration, callee, invocation)) = self.begun.get(&(session, request)) {
            callee.send(&json!([68, invocation, registration, details, message[4]]));
            if !more {
                self.begun.remove(&(session, request));
            }
            return;
        }
        let Some(callees) = self.procedures.get_mut(procedure).filter(|all| !all.is_empty()) else {
            from.send(&json!([8, 48, request, {}, "wamp.error.no_such_procedure"]));
            return;
        };
        let (registration, callee) = callees[0].clone();
        callees.rotate_left(1);
        self.invocations.insert(self.counter, (from.clone(), request));
        callee.send(&json!([68, self.counter, registration, details, message[4]]));
        if more {
            self.begun.insert((session, request), (registration, callee, self.counter));
        }
    }

    fn answer(&mut self, invocation: u64, message: &Value) {
        let Some((caller, request)) = self.invocations.get(&invocation).cloned() else {
            return;
        };
        self.events += 1;
        if message[2]["progress"] == true {
            // Of every third part with a fault.
            let strikes = self.events.is_multiple_of(3);
            let times = match self.fault {
                Fault::Lose if strikes => 0,
                Fault::Double if strikes => 2,
                _ => 1,
            };
            let part = json!([50, request, {"progress": true}, message[3]]);
            (0..times).for_each(|_| caller.send(&part));
            return;
        }
        self.invocations.remove(&invocation);
        let mut payload = message[3].clone();
        let first = self.first_result.get_or_insert_with(|| payload.clone());
        if self.fault == Fault::MixUpResults && self.events.is_multiple_of(10) {
            payload = first.clone();
        }
        caller.send(&json!([50, request, {}, payload]));
    }
}

fn matches(pattern: &str, topic: &str) -> bool {
    match pattern.split_once(':') {
        Some(("prefix", start)) => topic.starts_with(start),
        Some(("wildcard", parts)) => {
            let (parts, topic): (Vec<_>, Vec<_>) =
                (parts.split('.').collect(), topic.split('.').collect());
            let fits = |(part, of): (&&str, &&str)| part.is_empty() || part == of;
            parts.len() == topic.len() && parts.iter().zip(&topic).all(fits)
        }
        _ => pattern == topic,
    }
}

/// One for all subscribers of a topic; that topics of the same length share it hurts nobody.
const fn subscription_of(topic: &str) -> u64 {
    topic.len() as u64
}

fn garbled(mut event: Value) -> Value {
    let mut payload = event[4][0].as_str().unwrap().to_owned();
    payload.pop();
    event[4][0] = (payload + "?").into();
    event
}

const EVERY: u64 = 97;
/// Events of a history.
const KEPT: usize = 300;
