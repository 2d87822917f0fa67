//! WAMP dialogues in text. Each runs with several numbers of shards, serializers and transports,
//! and with several nodes; the clients of a dialogue sit on different shards and nodes.
//! `scenarios/dialogue.rs` has the language.

#[allow(dead_code, reason = "the simulator uses more of it")]
mod support;

mod scenarios {
    mod asker;
    mod dialogue;
    mod encoding;
    mod entrances;
    mod peer;
    mod races;
    mod rates;
    mod registrations;
    mod traces;
    mod words;
    mod world;

    mod asking;
    mod attacks;
    mod authentication;
    mod authenticators;
    mod authorization;
    mod authorizers;
    mod authorizers_order;
    mod backpressure;
    mod batches;
    mod bounds;
    mod call_details;
    mod call_timeouts;
    mod calls_and_links;
    mod calls_between_nodes;
    mod calls_of_strangers;
    mod canceling;
    mod carried;
    mod claims;
    mod cluster;
    mod copies;
    mod corks;
    mod counted;
    mod deflate;
    mod drain;
    mod elsewhere;
    mod endpoint_authorizers;
    mod half_made;
    mod history;
    mod kept;
    mod limits;
    mod management;
    mod memory;
    mod meta_events;
    mod meta_events_between_nodes;
    mod meta_flood;
    mod meta_registrations;
    mod meta_sessions;
    mod meta_subscriptions;
    mod methods;
    mod nodes;
    mod patterns;
    mod progressive;
    mod protocol;
    mod publish;
    mod pubsub_options;
    mod questions;
    mod questions_between_nodes;
    mod questions_bounds;
    mod questions_of_nodes;
    mod quoting;
    mod reload;
    mod rerouting;
    mod retention;
    mod revocation;
    mod rpc;
    mod seen;
    mod sessions;
    mod slow;
    mod stopping;
    mod subscribe;
    mod testaments;
    mod timers;
    mod tokens;
    mod tracing;
    mod tracing_bounds;
    mod transports;
    mod unheard;
    mod vectors;
    mod versions;
}
