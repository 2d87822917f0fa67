//! Real routers, which talk to each other through a real nats-server, and real clients.
//!
//! `tests/cluster/run.sh` brings the server and runs this; without it nothing here is run.

mod bucket;
mod events;
mod outages;
mod processes;
mod servers;
mod starting;
