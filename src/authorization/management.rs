//! The management API: what the router answers and publishes about itself in one realm, and who may
//! ask for it. Its URIs begin with `stentor.`; WAMP does not know them.

use super::settings::Action;

macro_rules! procedures {
    ($($name:ident $uri:literal $is_change:literal;)*) => {
        /// A procedure of the management API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ManagementProcedure {
            $($name,)*
        }

        impl ManagementProcedure {
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            pub const fn uri(self) -> &'static str {
                match self {
                    $(Self::$name => $uri,)*
                }
            }

            /// Whether it changes something, or only says how things are.
            pub const fn is_change(self) -> bool {
                match self {
                    $(Self::$name => $is_change,)*
                }
            }
        }
    };
}

/// How long an answer may take: those of one pace wait for each other, and for no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManagementPace {
    /// It is made of what is at hand.
    Glance,
    /// The shards are asked, for one caller at a time.
    Survey,
    /// Something is changed, one thing at a time.
    Change,
}

impl ManagementPace {
    pub const ALL: [Self; 3] = [Self::Glance, Self::Survey, Self::Change];
}

impl ManagementProcedure {
    pub const fn pace(self) -> ManagementPace {
        match self {
            Self::SessionList | Self::TopicList | Self::ProcedureList | Self::RequestExplain => {
                ManagementPace::Survey
            }
            _ if self.is_change() => ManagementPace::Change,
            _ => ManagementPace::Glance,
        }
    }
}

procedures! {
    RouterGet "stentor.router.get" false;
    RouterGetHealth "stentor.router.get_health" false;
    RouterDrain "stentor.router.drain" true;
    ShardList "stentor.shard.list" false;
    NodeList "stentor.node.list" false;
    SessionList "stentor.session.list" false;
    SessionListClosed "stentor.session.list_closed" false;
    SessionListReasons "stentor.session.list_reasons" false;
    SessionKick "stentor.session.kick" true;
    TopicList "stentor.topic.list" false;
    ProcedureList "stentor.procedure.list" false;
    RequestExplain "stentor.request.explain" false;
    HistoryList "stentor.history.list" false;
    StoreGet "stentor.store.get" false;
    WebhookList "stentor.webhook.list" false;
    LogList "stentor.log.list" false;
    LogSetLevel "stentor.log.set_level" true;
    ConfigGetChanges "stentor.config.get_changes" false;
    ConfigReload "stentor.config.reload" true;
}

impl ManagementProcedure {
    pub fn named(uri: &str) -> Option<Self> {
        if !uri.starts_with(OWN) {
            return None;
        }
        Self::ALL.iter().copied().find(|procedure| procedure.uri() == uri)
    }
}

/// A topic of the management API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManagementTopic {
    RouterOnUpdate,
    ShardOnUpdate,
    NodeOnChange,
    SessionOnClose,
    ConfigOnReload,
}

impl ManagementTopic {
    pub const ALL: [Self; 5] = [
        Self::RouterOnUpdate,
        Self::ShardOnUpdate,
        Self::NodeOnChange,
        Self::SessionOnClose,
        Self::ConfigOnReload,
    ];

    pub const fn uri(self) -> &'static str {
        match self {
            Self::RouterOnUpdate => "stentor.router.on_update",
            Self::ShardOnUpdate => "stentor.shard.on_update",
            Self::NodeOnChange => "stentor.node.on_change",
            Self::SessionOnClose => "stentor.session.on_close",
            Self::ConfigOnReload => "stentor.config.on_reload",
        }
    }

    pub fn named(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.uri() == uri)
    }
}

/// The roles of the management realm that may use the API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Managers {
    /// Those who see.
    pub watch: Vec<String>,
    /// Those who see, and change.
    pub act: Vec<String>,
}

/// What a role of the management realm may do with the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Stranger,
    Watcher,
    Actor,
}

impl Standing {
    /// Whether that is enough for a call of a procedure.
    pub const fn may_call(self, procedure: ManagementProcedure) -> bool {
        Need::of_call(procedure).is_met_by(self)
    }
}

impl Managers {
    pub fn standing(&self, role: &str) -> Standing {
        let has = |list: &[String]| list.iter().any(|name| name == role);
        match (has(&self.watch), has(&self.act)) {
            (_, true) => Standing::Actor,
            (true, false) => Standing::Watcher,
            (false, false) => Standing::Stranger,
        }
    }

    /// Everybody who may see something.
    pub fn all(&self) -> impl Iterator<Item = &String> {
        self.watch.iter().chain(&self.act)
    }
}

/// What a request has to do with the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Watch,
    Act,
}

impl Need {
    const fn of_call(procedure: ManagementProcedure) -> Self {
        if procedure.is_change() { Self::Act } else { Self::Watch }
    }

    /// What a request for one URI needs; `None`: it is none of the API.
    pub(super) fn of(action: Action, uri: &str) -> Option<Self> {
        match action {
            Action::Call => ManagementProcedure::named(uri).map(Self::of_call),
            Action::Subscribe => ManagementTopic::named(uri).map(|_| Self::Watch),
            Action::Publish | Action::Register => None,
        }
    }

    pub(super) const fn is_met_by(self, standing: Standing) -> bool {
        match self {
            Self::Watch => !matches!(standing, Standing::Stranger),
            Self::Act => matches!(standing, Standing::Actor),
        }
    }
}

/// What the router's own URIs begin with.
pub(super) const OWN: &str = "stentor.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wamp::{UriRule, is_reserved, is_valid_uri};

    #[test]
    fn each_uri_is_reserved_and_found() {
        for procedure in ManagementProcedure::ALL {
            let uri = procedure.uri();
            assert_eq!(ManagementProcedure::named(uri), Some(*procedure));
            assert!(is_reserved(uri) && is_valid_uri(uri, UriRule::Strict), "{uri}");
        }
        for topic in ManagementTopic::ALL {
            assert_eq!(ManagementTopic::named(topic.uri()), Some(topic));
            assert!(is_reserved(topic.uri()) && topic.uri().starts_with(OWN));
        }
        assert_eq!(ManagementProcedure::named("stentor.session.refresh"), None);
    }
}
