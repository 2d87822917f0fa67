//! Real routers, which talk to each other through a real nats-server, and real clients.
//!
//! `tests/cluster/run.sh` brings the server and runs this; without it nothing here is run.

#![allow(clippy::disallowed_methods, reason = "these are processes and their clients")]

mod alone;
mod bucket;
mod callers;
mod events;
mod load;
mod logins;
mod operators;
mod outages;
mod processes;
mod registrations;
mod replays;
mod routes;
mod seeing;
mod servers;
mod sessions;
mod starting;
mod upgrades;
