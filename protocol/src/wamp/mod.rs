//! What a WAMP message is: ids, URIs, values, payloads, serializers, messages and errors.
//!
//! Knows no bytes and no routing. Everything else in the crate depends on it, it depends on
//! nothing.

mod codec;
mod error;
mod id;
mod marshal;
mod message;
mod message_type;
mod options;
mod payload;
mod quote;
mod timestamp;
mod uri;
mod value;
mod weight;

pub use codec::Codec;
pub use error::{CloseReason, WampError};
pub use id::{MAX_ID, PublicationId, RegistrationId, RequestId, SessionId, SubscriptionId};
pub use message::{
    Authenticate, Call, Cancel, ClientMessage, Hello, InvocationError, Publish, Register,
    RouterMessage, Subscribe, Yield, code,
};
pub use message_type::MessageType;
pub use options::{
    CallOptions, CancelMode, Choice, ErrorDetails, Feature, Features, InvokePolicy, MatchPolicy,
    Passthru, PublishOptions, ReceiverFilter, RegisterOptions, Role, Roles, SubscribeOptions,
    YieldOptions,
};
pub use payload::{Payload, PayloadBuf};
pub use quote::{quote, quote_list};
pub use timestamp::{BadTimestamp, Timestamp};
pub use uri::{UriRule, is_reserved, is_valid_pattern, is_valid_uri};
pub use value::{Dict, Value};
pub use weight::{
    arc_block, dict_heap_bytes, heap_block, passthru_heap_bytes, strings_heap_bytes, vec_block,
};
