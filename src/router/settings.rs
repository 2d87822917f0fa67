//! What a configuration says of a realm.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{HistoryAnswer, HistorySettings, WebhookSettings};
use crate::authentication::{AuthenticatorSettings, EndpointSettings};
use crate::authorization::{Access, Managers, Powers, Standing, is_endpoint};
use crate::wamp::UriRule;

/// One realm: its name and the rules of its sessions.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RealmSettings {
    /// The URI that clients name in HELLO; valid under `uri_rule`.
    pub name: String,
    /// How strictly the URIs that clients use in this realm are checked.
    pub uri_rule: UriRule,
    /// The ways in, in order; none: nobody can join.
    #[serde(rename = "authenticator")]
    pub authenticators: Vec<AuthenticatorSettings>,
    pub publisher_disclosure: PublisherDisclosure,
    pub caller_disclosure: CallerDisclosure,
    /// The roles that may end what belongs to other sessions: `wamp.session.kill` and its like
    /// (AP-SMA-07). In a realm with roles it is short for a permission to call each of them.
    pub admin_roles: Vec<String>,
    /// What the sessions may do, by their roles.
    #[serde(rename = "role")]
    pub access: Access,
    /// How the endpoints are asked that are authorizers; the others are asked as by default.
    #[serde(rename = "authorizer")]
    pub authorizers: Vec<EndpointSettings>,
    /// Whether `wamp.session.get` and `wamp.session.on_join` say where a session comes from.
    pub disclose_peers: bool,
    /// Whether `wamp.session.on_leave` says who leaves, and not only its id (AP-META-03).
    pub disclose_leavers: bool,
    /// What answers the GOODBYE of a client.
    pub goodbye_reply: GoodbyeReply,
    /// The shape of the answers of `wamp.subscription.get_events` (AP-HIS-04).
    pub history_answer: HistoryAnswer,
    /// The patterns whose events are kept (AP-HIS-01).
    #[serde(rename = "history")]
    pub histories: Vec<HistorySettings>,
    /// Where events are posted to.
    #[serde(rename = "webhook")]
    pub webhooks: Vec<WebhookSettings>,
    /// The roles that see and change the router from here; `None`: this is not the management
    /// realm.
    #[serde(skip)]
    pub managers: Option<Managers>,
}

impl RealmSettings {
    /// A realm with default rules, which everybody may join as `anonymous`.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The endpoints that are authorizers, each once, and how they are asked.
    pub fn authorizer_endpoints(&self) -> Vec<EndpointSettings> {
        let permissions = self.access.roles().iter().flat_map(|role| &role.permissions);
        let authorizers = permissions.filter_map(|permission| permission.authorizer.as_deref());
        let urls: BTreeSet<_> = authorizers.filter(|authorizer| is_endpoint(authorizer)).collect();
        let settings = |url: &str| {
            let said = self.authorizers.iter().find(|settings| settings.url == url);
            said.cloned().unwrap_or_else(|| EndpointSettings::at(url))
        };
        urls.into_iter().map(settings).collect()
    }

    /// What a role has besides its permissions.
    pub fn powers(&self, role: &str) -> Powers {
        let is_admin = self.admin_roles.iter().any(|admin| admin == role);
        let standing = self.managers.as_ref().map(|_| self.standing(role));
        Powers { is_admin, standing }
    }

    /// What a role may do with the management API. Where there are no roles, anybody could have it.
    pub fn standing(&self, role: &str) -> Standing {
        let managers = self.managers.as_ref().filter(|_| self.access != Access::Open);
        managers.map_or(Standing::Stranger, |managers| managers.standing(role))
    }

    /// Whether a session with this `authrole` may do something because of it: the role is listed,
    /// or stands in `admin_roles`, or the realm is open.
    pub fn has_role(&self, name: &str) -> bool {
        let is_admin = || self.admin_roles.iter().any(|admin| admin == name);
        match &self.access {
            Access::Open => true,
            Access::Roles(roles) => roles.iter().any(|role| role.name == name) || is_admin(),
        }
    }
}

impl Default for RealmSettings {
    fn default() -> Self {
        Self {
            name: "realm1".into(),
            uri_rule: UriRule::default(),
            authenticators: vec![AuthenticatorSettings::anonymous("anonymous")],
            publisher_disclosure: PublisherDisclosure::default(),
            caller_disclosure: CallerDisclosure::default(),
            admin_roles: Vec::new(),
            access: Access::Open,
            authorizers: Vec::new(),
            webhooks: Vec::new(),
            disclose_peers: false,
            disclose_leavers: true,
            goodbye_reply: GoodbyeReply::default(),
            history_answer: HistoryAnswer::default(),
            histories: Vec::new(),
            managers: None,
        }
    }
}

/// The reason of the GOODBYE that answers a client's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GoodbyeReply {
    /// `wamp.close.goodbye_and_out` (BP-SES-11).
    #[default]
    GoodbyeAndOut,
    /// `wamp.close.normal`, for clients that compare it with what crossbar says.
    Normal,
}

/// Whether subscribers learn who published an event (AP-PID).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PublisherDisclosure {
    /// If the publisher asks for it.
    #[default]
    Allow,
    /// Never; a publication that asks for it is refused.
    Forbid,
    /// Of every publication.
    Always,
}

/// Whether callees learn who calls them (AP-CID).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CallerDisclosure {
    /// If the caller or the callee asks for it.
    #[default]
    Allow,
    /// Never; a request that asks for it is refused.
    Forbid,
    /// Of every call.
    Always,
}
