//! The transport from outside: every handshake, frame and error, whole and in pieces, and against
//! tungstenite as the other side.

mod autobahn;
mod batched;
mod deflate;
mod differential;
mod echo;
mod harness;
mod http;
mod output;
mod rawsocket;
mod websocket;
