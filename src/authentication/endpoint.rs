//! An authenticator that is asked over HTTP, as the configuration names it. Who asks is `net`.

use std::fmt;

use super::secret::Secret;
use super::settings::AuthenticatorSettings;

/// One endpoint of a realm.
pub struct Endpoint {
    settings: AuthenticatorSettings,
    url: String,
}

impl Endpoint {
    /// `None` if this authenticator asks nobody.
    pub(super) fn of(settings: &AuthenticatorSettings) -> Option<Self> {
        let url = settings.url.clone()?;
        Some(Self { settings: settings.clone(), url })
    }

    pub const fn settings(&self) -> &AuthenticatorSettings {
        &self.settings
    }

    /// An absolute `https` URL, or `http` where that is allowed.
    pub fn url(&self) -> &str {
        &self.url
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
