//! The types of messages by their names (`WAMP`, chapter "Message Codes and Direction").

use super::message::{ClientMessage, RouterMessage};

macro_rules! types {
    ($($name:ident = $text:literal,)*) => {
        /// What a message is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum MessageType {
            $($name,)*
        }

        impl MessageType {
            /// All, in the order of their codes.
            pub const ALL: [Self; [$($text),*].len()] = [$(Self::$name),*];

            /// As the specification writes it, in small letters.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

types! {
    Hello = "hello",
    Welcome = "welcome",
    Abort = "abort",
    Challenge = "challenge",
    Authenticate = "authenticate",
    Goodbye = "goodbye",
    Error = "error",
    Publish = "publish",
    Published = "published",
    Subscribe = "subscribe",
    Subscribed = "subscribed",
    Unsubscribe = "unsubscribe",
    Unsubscribed = "unsubscribed",
    Event = "event",
    Call = "call",
    Cancel = "cancel",
    Result = "result",
    Register = "register",
    Registered = "registered",
    Unregister = "unregister",
    Unregistered = "unregistered",
    Invocation = "invocation",
    Interrupt = "interrupt",
    Yield = "yield",
}

impl MessageType {
    /// Whether the router sends such messages, or clients do.
    pub const fn goes(self, is_sent: bool) -> bool {
        let both = matches!(self, Self::Abort | Self::Goodbye | Self::Error);
        let router = matches!(
            self,
            Self::Welcome
                | Self::Challenge
                | Self::Published
                | Self::Subscribed
                | Self::Unsubscribed
                | Self::Event
                | Self::Result
                | Self::Registered
                | Self::Unregistered
                | Self::Invocation
                | Self::Interrupt
        );
        both || router == is_sent
    }
}

impl ClientMessage<'_> {
    #[inline]
    pub const fn kind(&self) -> MessageType {
        match self {
            Self::Hello(_) => MessageType::Hello,
            Self::Abort { .. } => MessageType::Abort,
            Self::Authenticate(_) => MessageType::Authenticate,
            Self::Goodbye { .. } => MessageType::Goodbye,
            Self::Error(_) => MessageType::Error,
            Self::Publish(_) => MessageType::Publish,
            Self::Subscribe(_) => MessageType::Subscribe,
            Self::Unsubscribe { .. } => MessageType::Unsubscribe,
            Self::Call(_) => MessageType::Call,
            Self::Cancel(_) => MessageType::Cancel,
            Self::Register(_) => MessageType::Register,
            Self::Unregister { .. } => MessageType::Unregister,
            Self::Yield(_) => MessageType::Yield,
        }
    }
}

impl RouterMessage<'_> {
    #[inline]
    pub const fn kind(&self) -> MessageType {
        match self {
            Self::Welcome { .. } => MessageType::Welcome,
            Self::Abort { .. } => MessageType::Abort,
            Self::Challenge { .. } => MessageType::Challenge,
            Self::Goodbye { .. } => MessageType::Goodbye,
            Self::Error { .. } => MessageType::Error,
            Self::Published { .. } => MessageType::Published,
            Self::Subscribed { .. } => MessageType::Subscribed,
            Self::Unsubscribed { .. } | Self::Revoked { .. } => MessageType::Unsubscribed,
            Self::Event { .. } => MessageType::Event,
            Self::Registered { .. } => MessageType::Registered,
            Self::Unregistered { .. } | Self::RegistrationRevoked { .. } => {
                MessageType::Unregistered
            }
            Self::Invocation { .. } => MessageType::Invocation,
            Self::Interrupt { .. } => MessageType::Interrupt,
            Self::Result { .. } => MessageType::Result,
        }
    }
}
