//! What the router publishes when a session ends.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::{Future, IntoFuture};
use std::pin::Pin;

use ciborium::Value as Node;
use serde::Serialize;
use stentor_protocol::wamp::{Codec, Dict, Value};

use crate::call::{Call, CallParts, set, start};
use crate::client::Client;
use crate::error::Error;
use crate::payload::PayloadError;

/// A publication that the router makes when the session ends, however it does. It belongs to the
/// session: after a reconnect it must be left again.
#[must_use = "a testament is left when this is awaited or sent"]
pub struct Testament<C = Client> {
    pub(crate) client: C,
    topic: String,
    args: Result<Node, PayloadError>,
    kwargs: Result<Node, PayloadError>,
    options: Dict,
    scope: &'static str,
}

impl<C> Testament<C> {
    pub(crate) fn new<A: Serialize>(client: C, topic: String, args: A) -> Self {
        let args = node(&args, false);
        let (kwargs, options) = (Ok(Node::Map(Vec::new())), Dict::new());
        Self { client, topic, args, kwargs, options, scope: "destroyed" }
    }

    /// Keyword arguments: a struct or a map.
    pub fn kwargs<T: Serialize>(mut self, kwargs: T) -> Self {
        self.kwargs = node(&kwargs, true);
        self
    }

    /// Any option of PUBLISH.
    pub fn option(mut self, key: &str, value: impl Into<Value>) -> Self {
        set(&mut self.options, key, value.into());
        self
    }

    /// It is published when the session is detached from its transport, where routers tell that
    /// from its end.
    pub const fn when_detached(mut self) -> Self {
        self.scope = "detached";
        self
    }

    /// The call of `wamp.session.add_testament` that it is.
    pub(crate) fn into_call(self, codec: Codec) -> Result<(C, CallParts), Error> {
        let args = (self.topic, self.args?, self.kwargs?);
        let options = Node::Map(self.options.into_iter().map(entry).collect());
        let named = BTreeMap::from([
            ("publish_options", options),
            ("scope", Node::Text(self.scope.into())),
        ]);
        let uri = "wamp.session.add_testament".to_owned();
        let call = Call::new(self.client, codec, uri, &args).kwargs(named);
        Ok((call.client, call.parts))
    }
}

impl IntoFuture for Testament<Client> {
    type Output = Result<(), Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let codec = self.client.shared.codec;
            let (client, parts) = self.into_call(codec)?;
            start(client, parts).await?.finish().await.map(drop)
        })
    }
}

/// A list, or a dict, as a part of an argument list.
fn node<T: Serialize>(value: &T, is_dict: bool) -> Result<Node, PayloadError> {
    let type_name = std::any::type_name::<T>();
    let written = Node::serialized(value).map_err(|error| PayloadError::Unwritable {
        type_name,
        codec: Codec::Cbor,
        reason: error.to_string(),
    })?;
    match written {
        Node::Null if is_dict => Ok(Node::Map(Vec::new())),
        Node::Null => Ok(Node::Array(Vec::new())),
        Node::Map(_) if is_dict => Ok(written),
        Node::Array(_) if !is_dict => Ok(written),
        _ if is_dict => Err(PayloadError::NoDict { type_name }),
        _ => Err(PayloadError::NoList { type_name }),
    }
}

fn entry((key, value): (Cow<'static, str>, Value)) -> (Node, Node) {
    (Node::Text(key.into_owned()), of_value(value))
}

fn of_value(value: Value) -> Node {
    match value {
        Value::Null | Value::Encoded(..) => Node::Null,
        Value::Bool(truth) => Node::Bool(truth),
        Value::Int(number) => Node::Integer(number.into()),
        Value::UInt(number) => Node::Integer(number.into()),
        Value::Float(number) => Node::Float(number),
        Value::Str(text) => Node::Text(text),
        Value::Bytes(bytes) => Node::Bytes(bytes),
        Value::List(values) => Node::Array(values.into_iter().map(of_value).collect()),
        Value::Dict(entries) => Node::Map(entries.into_iter().map(entry).collect()),
    }
}
