//! The ways into one realm: which method a client gets that offers several (AU-GEN-02), and who it
//! may be.
//!
//! An authid that nobody has is treated as that of some user, always the same one: it is asked for
//! what that user would be asked for, with another salt, and then denied. Who has none of the
//! methods that it offers is asked and denied as well. So neither the answer nor the time tells
//! which authids there are.
//!
//! Where an endpoint or a procedure is asked, it is asked about everybody whom no users file names.

use std::collections::BTreeMap;
use std::sync::Arc;

use hmac::Mac;
use sha2::{Digest, Sha256};

use super::MAX_AUTHID_BYTES;
use super::candidate::{Candidate, Referral, Start, has_key, start_of};
use super::certificate::{CertificateName, ClientCertificate};
use super::check::{Proof, TokenCheck};
use super::credential::{Credential, Principal};
use super::cryptosign::{PublicKey, RouterKey, RouterProof, bytes_of};
use super::endpoint::{Adviser, Endpoint};
use super::login::PROVIDER;
use super::secret::Secret;
use super::settings::{AuthenticatorSettings, Method};
use super::token::Issuer;
use super::wampcra::mac;
use crate::wamp::{Dict, Value};

/// The ways into one realm.
#[derive(Debug)]
pub struct Gate {
    ways: Vec<Way>,
    /// Everybody who has a credential, in order.
    authids: Vec<Box<str>>,
    /// By which the router proves itself to clients that ask for it.
    router_key: Option<Arc<RouterKey>>,
    /// What salts for authids that nobody has come from: the same after a restart, so that they do
    /// not change, and known only to those who know the credentials.
    mock_key: Secret,
}

#[derive(Debug)]
struct Way {
    settings: AuthenticatorSettings,
    by_authid: BTreeMap<Box<str>, Arc<Principal>>,
    /// `None`: several users have this key.
    by_key: BTreeMap<PublicKey, Option<Arc<Principal>>>,
    /// The same of certificates.
    by_certificate: BTreeMap<CertificateName, Option<Arc<Principal>>>,
    /// Whose tokens are tickets.
    issuer: Option<Arc<Issuer>>,
    /// Who is asked.
    adviser: Option<Adviser>,
}

/// What a client says of itself in HELLO.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// `HELLO.Details.authmethods`.
    pub methods: Option<&'a [String]>,
    /// The methods that the listener permits; `None`: all.
    pub permitted: Option<&'a [Method]>,
    /// What the part of the listener is called that it has come by; see
    /// [`AuthenticatorSettings::listeners`].
    pub entrance: Option<&'a str>,
    pub authid: Option<&'a str>,
    pub extra: &'a Dict,
    /// What tells this TLS channel from all others (RFC 9266), if there is one.
    pub channel_id: Option<[u8; 32]>,
    /// The certificate that it has shown, verified.
    pub certificate: Option<&'a ClientCertificate>,
    /// Nobody on the way can read along; see [`AuthenticatorSettings::only_over_tls`].
    pub is_confidential: bool,
}

/// The method that a client gets.
#[derive(Debug)]
pub enum Choice<'g> {
    /// It joins at once; without an authid, as somebody of whom nothing is known.
    Anonymous { authid: Option<&'g str>, role: &'g str },
    /// It has proved who it is before HELLO.
    Known(&'g Principal),
    /// It has to prove who it is.
    Challenge(Candidate),
    /// An endpoint says what is to follow.
    Ask(Referral),
}

/// As whom a client is challenged.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// As itself, or as the user that an authid is treated as that nobody has.
    Own,
    /// As any user that has the method: who has none of the offered methods does not learn it.
    Any,
}

/// Why a client gets no method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It offers none, and may not join without one.
    AuthenticationRequired,
    /// None of those that it offers is one of these.
    NoMatchingMethod(Vec<&'static str>),
    LongAuthid,
    /// It has shown a certificate, which is nobody's, or not that of the user it wants to be.
    UnknownCertificate,
    /// One of those that it offers is available over TLS, where it did not come by.
    PlainChannel,
    /// It asks for a channel binding that cannot be had.
    ChannelBinding,
    /// It asks for a signature of what is no challenge.
    Challenge,
}

impl Request<'_> {
    fn permits(&self, method: Method) -> bool {
        self.permitted.is_none_or(|permitted| permitted.contains(&method))
    }
}

impl Gate {
    pub fn new(authenticators: &[AuthenticatorSettings]) -> Self {
        Self::renewed(authenticators, None)
    }

    /// The same, which takes over from `before` those outside who are to be asked as before.
    pub fn renewed(authenticators: &[AuthenticatorSettings], before: Option<&Self>) -> Self {
        let before = before.map_or(&[][..], |gate| &gate.ways);
        let ways: Vec<_> = authenticators.iter().map(|way| Way::new(way, before)).collect();
        let mut authids: Vec<_> = ways.iter().flat_map(|way| way.by_authid.keys()).collect();
        authids.sort_unstable();
        authids.dedup();
        let authids = authids.into_iter().cloned().collect();
        let mut digest = Sha256::new();
        digest.update(b"salts of authids that nobody has");
        let principals = ways.iter().flat_map(|way| way.by_authid.values());
        principals.for_each(|principal| digest.update(principal.credential.private_bytes()));
        let mock_key = Secret::new(digest.finalize().to_vec());
        let router_key = ways.iter().find_map(|way| way.settings.router_key_value.clone());
        Self { mock_key, ways, authids, router_key: router_key.map(Arc::new) }
    }

    /// Chooses the first method of the client's that the realm and the listener have and that can
    /// work with what HELLO says.
    ///
    /// # Errors
    /// [`Refusal`] if there is none.
    pub fn choose<'a>(&'a self, request: &Request<'a>) -> Result<Choice<'a>, Refusal> {
        let offered = request.methods.filter(|methods| !methods.is_empty());
        let mut methods = offered.map_or_else(|| vec![Method::Anonymous], distinct);
        methods.retain(|method| request.permits(*method));
        for shape in [Shape::Own, Shape::Any] {
            for method in &methods {
                if let Some(choice) = self.try_method(*method, request, shape)? {
                    return Ok(choice);
                }
            }
        }
        if offered.is_none() {
            return Err(Refusal::AuthenticationRequired);
        }
        let is_missed =
            |method: &Method| self.ways(*method, request).any(|way| !way.is_open(request));
        if methods.iter().any(is_missed) {
            return Err(Refusal::PlainChannel);
        }
        let is_strange = methods.contains(&Method::Tls) && request.certificate.is_some();
        if is_strange && self.ways(Method::Tls, request).next().is_some() {
            return Err(Refusal::UnknownCertificate);
        }
        let has = |method: &Method| self.ways(*method, request).next().is_some();
        let methods = Method::ALL.into_iter().filter(has).filter(|method| request.permits(*method));
        Err(Refusal::NoMatchingMethod(methods.map(Method::as_str).collect()))
    }

    /// Whether a session that joined as somebody whom the configuration knows could do so now, as
    /// far as that depends on who it is. Which secret it has shown is not looked at.
    pub fn still_admits(&self, method: &str, authid: &str, role: &str) -> bool {
        let Some(method) = Method::named(method) else { return false };
        let mut ways = self.ways.iter().filter(|way| way.settings.method == method);
        ways.any(|way| match method {
            Method::Anonymous => way.adviser.is_none() && way.settings.anonymous_role() == role,
            _ => way.by_authid.get(authid).is_some_and(|user| *user.role == *role),
        })
    }

    /// Those whose tokens are tickets, with keys that may be replaced.
    pub fn issuers(&self) -> impl Iterator<Item = &Arc<Issuer>> {
        self.ways.iter().filter_map(|way| way.issuer.as_ref())
    }

    /// Whether somebody bears a token that lets in by an entrance of this name, to be computed:
    /// some 50 us. `None`: nobody's tokens are taken there.
    pub fn token_check(
        &self,
        token: &str,
        entrance: Option<&str>,
        is_confidential: bool,
    ) -> Option<Proof> {
        let request = Request {
            methods: None,
            permitted: None,
            entrance,
            authid: None,
            extra: &Dict::new(),
            channel_id: None,
            certificate: None,
            is_confidential,
        };
        let ways = self.open_ways(Method::Ticket, &request);
        let issuers: Vec<_> = ways.filter_map(|way| way.issuer.clone()).collect();
        let is_taken = !issuers.is_empty();
        let check = TokenCheck { issuers, authid: None, token: Secret::new(token) };
        is_taken.then(|| Proof::Token(check))
    }

    /// Those who are asked over HTTP.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.ways.iter().filter_map(|way| way.adviser.as_ref()?.endpoint())
    }

    /// `None` if the method cannot be had here, or not with what HELLO says.
    fn try_method<'a>(
        &'a self,
        method: Method,
        request: &Request<'a>,
        shape: Shape,
    ) -> Result<Option<Choice<'a>>, Refusal> {
        if method == Method::Anonymous {
            return Ok(self.open_ways(method, request).next().map(Way::anonymous));
        }
        if method == Method::Tls {
            return Ok(self.holder(request).map(Choice::Known));
        }
        let Some(mut start) = start_of(method, request.extra) else { return Ok(None) };
        self.prove_itself(&mut start, request)?;
        if request.authid.is_some_and(|authid| authid.len() > MAX_AUTHID_BYTES) {
            return Err(Refusal::LongAuthid);
        }
        if method == Method::Ticket {
            let mut candidate = self.ticket(request, shape);
            if let Some(candidate) = &mut candidate {
                bind_channel(&mut candidate.start, request)?;
            }
            return Ok(candidate.map(Choice::Challenge));
        }
        if let Some(adviser) = self.adviser_for(method, request, &start) {
            bind_channel(&mut start, request)?;
            let authid = request.authid.unwrap_or_default().into();
            return Ok(Some(Choice::Ask(Referral { method, authid, start, adviser })));
        }
        let Some(mut candidate) = self.candidate(method, request, start, shape) else {
            return Ok(None);
        };
        bind_channel(&mut candidate.start, request)?;
        Ok(Some(Choice::Challenge(candidate)))
    }

    /// Takes note of a challenge of the client's, if the router can answer it (AU-CSG-02).
    fn prove_itself(&self, start: &mut Start, request: &Request<'_>) -> Result<(), Refusal> {
        let (Start::Cryptosign { proof, .. }, Some(key)) = (start, &self.router_key) else {
            return Ok(());
        };
        let asked = request.extra.iter().find(|(name, _)| name == "challenge");
        let challenge = match asked.map(|(_, value)| value) {
            None | Some(Value::Null) => return Ok(()),
            Some(Value::Str(text)) => bytes_of(text).ok_or(Refusal::Challenge)?,
            Some(_) => return Err(Refusal::Challenge),
        };
        *proof = Some(RouterProof { key: Arc::clone(key), challenge });
        Ok(())
    }

    /// Who is asked about a client of whom the users files know nothing.
    fn adviser_for(&self, method: Method, request: &Request<'_>, start: &Start) -> Option<Adviser> {
        let is_known = |way: &Way| match (request.authid, start) {
            (Some(authid), _) => way.by_authid.contains_key(authid),
            (None, Start::Cryptosign { key, .. }) => way.by_key.contains_key(key),
            // Nobody can be asked about: these methods need an authid.
            (None, _) => true,
        };
        let mut ways = self.open_ways(method, request);
        if self.open_ways(method, request).any(is_known) {
            return None;
        }
        ways.find_map(|way| way.adviser.clone())
    }

    /// Somebody with a ticket: what it is, only AUTHENTICATE tells.
    fn ticket(&self, request: &Request<'_>, shape: Shape) -> Option<Candidate> {
        let method = Method::Ticket;
        let ways = || self.open_ways(method, request);
        let issuers: Vec<_> = ways().filter_map(|way| way.issuer.clone()).collect();
        let adviser = ways().find_map(|way| way.adviser.clone());
        let authid = request.authid;
        let known = authid.and_then(|_| self.candidate(method, request, Start::Nothing, shape));
        if issuers.is_empty() && adviser.is_none() {
            return known;
        }
        let unknown = || Candidate {
            method,
            authid: authid.unwrap_or_default().into(),
            principal: None,
            is_decoy: true,
            mock: [0; 32],
            start: Start::Nothing,
            provider: PROVIDER,
            extra: Dict::new(),
            issuers: Vec::new(),
            adviser: None,
            question: None,
        };
        Some(Candidate { issuers, adviser, ..known.unwrap_or_else(unknown) })
    }

    fn candidate(
        &self,
        method: Method,
        request: &Request<'_>,
        start: Start,
        shape: Shape,
    ) -> Option<Candidate> {
        let Some(authid) = request.authid else { return self.owner_of(start, request) };
        let mock = self.mock(authid);
        let is_known = self.authids.binary_search_by(|known| (**known).cmp(authid)).is_ok();
        let own = if is_known { authid } else { self.somebody(&mock)? };
        let mut ways = self.open_ways(method, request);
        let (principal, is_decoy) = match shape {
            Shape::Own => (ways.find_map(|way| way.by_authid.get(own))?, !is_known),
            Shape::Any => (ways.find_map(|way| way.anybody(&mock))?, true),
        };
        let is_decoy = is_decoy || !has_key(principal, &start);
        let candidate =
            Candidate::of(method, authid.into(), Arc::clone(principal), is_decoy, start);
        Some(Candidate { mock, ..candidate })
    }

    /// The one user that has a key; `authid` is then inferred from it (AU-CSG-05).
    fn owner_of(&self, start: Start, request: &Request<'_>) -> Option<Candidate> {
        let Start::Cryptosign { key, .. } = &start else { return None };
        let method = Method::Cryptosign;
        let ways = || self.open_ways(method, request);
        let owner = ways().find_map(|way| way.by_key.get(key)).cloned().flatten();
        let is_decoy = owner.is_none();
        let principal =
            owner.or_else(|| ways().find_map(|way| way.by_authid.values().next().cloned()))?;
        let authid = if is_decoy { key.to_string().into() } else { principal.authid.clone() };
        Some(Candidate::of(method, authid, principal, is_decoy, start))
    }

    /// The user that the client's certificate is of. If several users have the same name in theirs,
    /// HELLO must say which of them it is.
    fn holder(&self, request: &Request<'_>) -> Option<&Principal> {
        let names = request.certificate?.names();
        let mut ways = self.ways(Method::Tls, request);
        match request.authid {
            Some(authid) => {
                let holds = |principal: &&Arc<Principal>| match &principal.credential {
                    Credential::Tls(known) => names.iter().any(|name| known.contains(name)),
                    _ => false,
                };
                ways.filter_map(|way| way.by_authid.get(authid)).find(holds).map(|found| &**found)
            }
            None => ways.find_map(|way| {
                let owner = names.iter().find_map(|name| way.by_certificate.get(name))?;
                owner.as_deref()
            }),
        }
    }

    /// Those for clients that have come as this one has.
    fn open_ways(&self, method: Method, request: &Request<'_>) -> impl Iterator<Item = &Way> {
        let is_confidential = request.is_confidential;
        self.ways(method, request).filter(move |way| is_confidential || !way.settings.only_over_tls)
    }

    /// Those of a method that are for the entrance by which a client has come.
    fn ways(&self, method: Method, request: &Request<'_>) -> impl Iterator<Item = &Way> {
        let entrance = request.entrance;
        self.ways.iter().filter(move |way| way.settings.method == method && way.is_for(entrance))
    }

    fn mock(&self, authid: &str) -> [u8; 32] {
        let mut mac = mac(self.mock_key.bytes());
        mac.update(authid.as_bytes());
        mac.finalize().into_bytes().into()
    }

    /// The user that an authid is treated as that nobody has.
    fn somebody(&self, mock: &[u8; 32]) -> Option<&str> {
        Some(self.authids.get(pick(mock, self.authids.len())?)?)
    }
}

impl Way {
    fn new(settings: &AuthenticatorSettings, before: &[Self]) -> Self {
        let (mut by_authid, mut by_key) = (BTreeMap::new(), BTreeMap::new());
        let mut by_certificate = BTreeMap::new();
        for principal in &settings.principals {
            by_authid.insert(principal.authid.clone(), Arc::clone(principal));
            match &principal.credential {
                Credential::Cryptosign(keys) => own(&mut by_key, keys, principal),
                Credential::Tls(names) => own(&mut by_certificate, names, principal),
                _ => {}
            }
        }
        // Their threads know them, and the keys that were fetched are theirs.
        let is_same = |old: &&Self| old.settings == *settings;
        let old = before.iter().find(is_same);
        let issuer = old.and_then(|old| old.issuer.clone()).or_else(|| {
            let jwt = settings.jwt.as_deref()?.clone();
            Some(Arc::new(Issuer::new(jwt, settings.role.clone())))
        });
        let adviser = old.and_then(|old| old.adviser.clone());
        let adviser = adviser.or_else(|| Adviser::of(settings));
        Self { settings: settings.clone(), by_authid, by_key, by_certificate, issuer, adviser }
    }

    /// Whether it is there for those who come by an entrance of this name.
    fn is_for(&self, entrance: Option<&str>) -> bool {
        let listeners = &self.settings.listeners;
        let is_it = |name: &String| entrance == Some(name.as_str());
        listeners.is_empty() || listeners.iter().any(is_it)
    }

    /// Whether the way that a client has come by is good enough.
    const fn is_open(&self, request: &Request<'_>) -> bool {
        request.is_confidential || !self.settings.only_over_tls
    }

    /// What a client gets that proves nothing.
    fn anonymous(&self) -> Choice<'_> {
        match &self.adviser {
            Some(adviser) => Choice::Ask(Referral {
                method: Method::Anonymous,
                authid: Box::default(),
                start: Start::Nothing,
                adviser: adviser.clone(),
            }),
            None => Choice::Anonymous {
                authid: self.settings.authid.as_deref(),
                role: self.settings.anonymous_role(),
            },
        }
    }

    /// Some user of this way, always the same one.
    fn anybody(&self, mock: &[u8; 32]) -> Option<&Arc<Principal>> {
        let principals = &self.settings.principals;
        principals.get(pick(mock, principals.len())?)
    }
}

/// Enters whose these are; what several users have is nobody's.
fn own<K: Clone + Ord>(
    owners: &mut BTreeMap<K, Option<Arc<Principal>>>,
    keys: &[K],
    principal: &Arc<Principal>,
) {
    for key in keys {
        let owner = owners.entry(key.clone()).or_insert_with(|| Some(Arc::clone(principal)));
        if owner.as_ref().is_some_and(|owner| owner.authid != principal.authid) {
            *owner = None;
        }
    }
}

/// A number below `count` that stays with an authid.
fn pick(mock: &[u8; 32], count: usize) -> Option<usize> {
    let number = mock.iter().take(8).fold(0_usize, |number, byte| number << 8 | *byte as usize);
    number.checked_rem(count)
}

/// The methods that a list names, each once.
fn distinct(names: &[String]) -> Vec<Method> {
    let mut methods = Vec::new();
    for method in names.iter().filter_map(|name| Method::named(name)) {
        if !methods.contains(&method) {
            methods.push(method);
        }
    }
    methods
}

/// `tls-exporter` where the transport has it, and nothing else (AU-CSG-04, AU-SCR-02).
fn bind_channel(start: &mut Start, request: &Request<'_>) -> Result<(), Refusal> {
    let asked = match request.extra.iter().find(|(name, _)| name == "channel_binding") {
        None | Some((_, Value::Null)) => return Ok(()),
        Some((_, Value::Str(kind))) => kind.as_str(),
        Some(_) => return Err(Refusal::ChannelBinding),
    };
    match (start, asked, request.channel_id) {
        (Start::Cryptosign { channel_id, .. }, "tls-exporter", Some(id)) => {
            *channel_id = Some(id);
            Ok(())
        }
        (Start::Nothing, ..) => Ok(()),
        _ => Err(Refusal::ChannelBinding),
    }
}
