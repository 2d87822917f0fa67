//! What can be wrong with the roles of a realm, and what to do about it.

use super::fault::{pattern_name, rule_name};
use crate::authorization::{Action, Disclosure};
use crate::wamp::{MatchPolicy, UriRule};

/// One thing that is wrong with a role or a permission of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoleFault {
    #[error(
        "`anonymous_trustlevel` has moved: a role has a trust level, or one of its permissions"
    )]
    MovedTrustlevel,
    #[error("this realm has two roles named `{0}`")]
    SameRole(String),
    #[error("this role has {count} permissions, more than {max}")]
    TooManyPermissions { count: usize, max: usize },
    #[error("`{uri}` is no {} under the {} rule for URIs", uri_name(*.policy), rule_name(*.rule))]
    BadPermission { uri: String, policy: MatchPolicy, rule: UriRule },
    #[error(
        "the URI `{uri}` has {} bytes, more than `limits.uri_bytes` ({limit})", .uri.len()
    )]
    LongPermission { uri: String, limit: usize },
    #[error("`{key}` is set, and there is no `{per_second}` that it could be a burst of")]
    IdleBurst { key: &'static str, per_second: &'static str },
    #[error(
        "at {rate} bytes per second a message of `limits.message_bytes` ({message}) would keep its \
         session waiting for more than a minute"
    )]
    SlowRate { rate: u32, message: usize, least: usize },
    #[error("`over_rate` is set, and this role has no rate")]
    IdleOverRate,
    #[error("this permission neither allows nor denies anything")]
    EmptyPermission,
    #[error("this permission both allows and denies to {}", .0.as_str())]
    AllowedAndDenied(Action),
    #[error(
        "an earlier permission of this role is for the same URIs and says who may {}", .0.as_str()
    )]
    SamePermission(Action),
    #[error("this permission discloses the {} of what it does not allow", .0.as_str())]
    IdleDisclosure(Disclosure),
    #[error("`{0}` can be no procedure of an authorizer")]
    BadAuthorizer(String),
    #[error("`{0}` is plain HTTP to another machine")]
    PlainAuthorizer(String),
    #[error("this permission names an authorizer and allows nothing that it could decide about")]
    IdleAuthorizer,
    #[error("this permission has a trust level and allows neither to publish nor to call")]
    IdleTrustlevel,
    #[error(
        "the wildcards of this role with {components} components leave them open in more than \
         {max} ways"
    )]
    TooManyRuleShapes { components: usize, max: usize },
}

impl RoleFault {
    pub(super) fn help(&self) -> Option<String> {
        Some(match self {
            Self::MovedTrustlevel => "in the realm's `[[realm.role]]` for anonymous clients write \
                `trustlevel = ...`; what it publishes and calls has that level"
                .into(),
            Self::SameRole(_) => "put their permissions below one `[[realm.role]]`".into(),
            Self::TooManyPermissions { .. } => {
                "let one prefix or wildcard stand for many URIs".into()
            }
            Self::BadPermission { policy: MatchPolicy::Exact, .. } => "an exact URI has no empty \
                words; for a pattern set `match` to \"prefix\" or \"wildcard\""
                .into(),
            Self::BadPermission { .. } => {
                "a prefix ends where it likes, a wildcard leaves words empty, as in `com..x`".into()
            }
            Self::LongPermission { .. } => "shorten the URI or raise the limit".into(),
            Self::IdleBurst { per_second, .. } => format!("add `{per_second} = ...`, or remove it"),
            Self::SlowRate { least, .. } => {
                format!("set it to {least} or more, or lower `limits.message_bytes`")
            }
            Self::IdleOverRate => {
                "add `messages_per_second` or `bytes_per_second`, or remove it".into()
            }
            Self::EmptyPermission => "add for example `allow = [\"subscribe\", \"call\"]`; the \
                actions are `publish`, `subscribe`, `call`, `register`"
                .into(),
            Self::AllowedAndDenied(_) => "remove it from `allow` or from `deny`".into(),
            Self::SamePermission(_) => "let one permission say it".into(),
            Self::IdleDisclosure(disclosure) => {
                format!("add \"{}\" to `allow`", disclosure.action().as_str())
            }
            Self::BadAuthorizer(_) => {
                "name the URI that the authorizer registers, which does not begin with `wamp.`, or \
                 the address of an endpoint, as in `https://auth.example.org/wamp`"
                    .into()
            }
            Self::PlainAuthorizer(url) => format!(
                "use `https`, or, where nobody can listen or interfere, add `[[realm.authorizer]]` \
                 with `url = \"{url}\"` and `plain_http = true`"
            ),
            Self::IdleAuthorizer => "add what it decides about to `allow`; what is in `deny` is \
                denied without asking"
                .into(),
            Self::IdleTrustlevel => "remove the level, or allow one of them".into(),
            Self::TooManyRuleShapes { .. } => {
                "use prefixes, or wildcards that are open in the same places".into()
            }
        })
    }
}

const fn uri_name(policy: MatchPolicy) -> &'static str {
    match policy {
        MatchPolicy::Exact => "URI",
        MatchPolicy::Prefix | MatchPolicy::Wildcard => pattern_name(policy),
    }
}
