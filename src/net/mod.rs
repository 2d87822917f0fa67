//! Sockets and threads around the pure core: event loops, the mesh between them, the acceptor.

mod acceptor;
#[cfg(not(feature = "cluster"))]
mod alone;
mod client;
mod cluster;
mod descriptors;
mod drain;
mod event_loop;
#[cfg(feature = "cluster")]
mod gateway;
mod hold;
mod http;
mod inherited;
#[doc(hidden)]
pub mod inquiry;
mod judges;
mod listening;
mod management;
#[doc(hidden)]
pub mod mesh;
mod preface;
#[doc(hidden)]
pub mod pulse;
mod reload;
mod server;
mod socket;
mod store;
mod threads;
mod tls;
mod view;
mod vigil;
mod webhooks;

pub use crate::router::Snapshot;
pub(crate) use crate::shard::{ManagementCall, Passage, Waiter};
pub use client::{ClientError, check_clients, tls_of_clients};
pub use cluster::{BusView, ClusterView};
pub use descriptors::{TooFewDescriptors, fit_to_descriptors};
#[cfg(feature = "cluster")]
pub use gateway::ClusterError;
pub use inherited::{Inherited, InheritedError};
pub(crate) use listening::{SocketFile, listen_on_unix};
pub(crate) use management::ManagedCall;
pub use reload::ReloadError;
pub use server::{Server, StartError, StopError};
pub use tls::{CertificateError, certificate_of, check_certificates};
pub(crate) use tls::{LoneTls, LoneTlsError};
pub use view::View;
pub use vigil::Vigil;

pub(crate) use crate::http::WebhookView;
