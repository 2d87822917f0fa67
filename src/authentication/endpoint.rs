//! An authenticator that is asked, as the configuration names it. Who asks an address is `net`, and
//! who asks a procedure is the shard of the client.

use std::fmt;
use std::sync::Arc;

use super::secret::Secret;
use super::settings::AuthenticatorSettings;

/// One endpoint of a realm.
pub struct Endpoint {
    settings: AuthenticatorSettings,
    target: Target,
}

/// Whom the question goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Url(String),
    Procedure(Arc<str>),
}

impl Endpoint {
    /// `None` if this authenticator asks nobody.
    pub(super) fn of(settings: &AuthenticatorSettings) -> Option<Self> {
        let target = match (&settings.url, &settings.procedure) {
            (Some(url), _) => Target::Url(url.clone()),
            (None, Some(procedure)) => Target::Procedure(procedure.as_str().into()),
            (None, None) => return None,
        };
        Some(Self { settings: settings.clone(), target })
    }

    pub const fn settings(&self) -> &AuthenticatorSettings {
        &self.settings
    }

    /// An absolute `https` URL, or `http` where that is allowed; `None` if a procedure is asked.
    pub fn url(&self) -> Option<&str> {
        match &self.target {
            Target::Url(url) => Some(url),
            Target::Procedure(_) => None,
        }
    }

    /// The procedure that is asked, if one is; it is registered in
    /// [`AuthenticatorSettings::procedure_realm`].
    pub const fn procedure(&self) -> Option<&Arc<str>> {
        match &self.target {
            Target::Url(_) => None,
            Target::Procedure(procedure) => Some(procedure),
        }
    }

    /// The value of the request's `Authorization` header, by which the endpoint knows the router.
    pub const fn authorization(&self) -> Option<&Secret> {
        self.settings.authorization_value.as_ref()
    }
}

/// Where it is without what may be a secret behind the host.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("method", &self.settings.method).finish_non_exhaustive()
    }
}
