//! The load-test harness for WAMP routers: it drives any router over WebSocket or RawSocket,
//! verifies every delivery, and accounts the router's CPU per event and per call.
//!
//! `wire` is bytes, `engine` the one event loop, `tls` what may lie below, `role` what a client
//! does, `login` who it is, `hostile` what a client should not do, `scenario` who takes part in a
//! run, `measure` what is counted, `report` how it is shown.

pub mod app;
pub mod cli;
pub mod compare;
pub mod engine;
pub mod error;
pub mod floor;
pub mod hostile;
pub mod login;
pub mod measure;
pub mod procfs;
pub mod report;
pub mod role;
pub mod router;
pub mod scenario;
pub mod tls;
pub mod url;
pub mod wire;
