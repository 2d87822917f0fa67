//! The load-test harness for WAMP routers.

fn main() {}
