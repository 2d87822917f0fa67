//! A role's rules, compiled, and the one function that decides.

use std::sync::Arc;

use super::management::{Need, OWN, Standing};
use super::pattern::{is_open, literal_head};
use super::settings::{Action, Disclosure, Permission, RoleSettings};
use super::table::{Entry, Table};
use super::{ADMINISTRATIVE, is_administrative};
use crate::wamp::{MatchPolicy, is_reserved};

/// A rule of a role, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleId(pub(super) u32);

/// What a role's rules say of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// This rule grants it.
    Allow(RuleId),
    /// The authorizer of this rule is to be asked (AU-AZ-04).
    Ask(RuleId),
    /// This rule denies it, or some of the URIs of its pattern; `None`: no rule grants it.
    Deny(Option<RuleId>),
}

/// What a rule says of an action that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Allow,
    /// This one of the role's authorizers decides.
    Ask(AuthorizerId),
    Deny,
}

/// An authorizer of a role, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthorizerId(u16);

/// On which terms something is granted; the default is none but the realm's. One word, as it goes
/// with every PUBLISH and CALL: the trust level, with flags above it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms(u64);

impl Terms {
    const PUBLISHER: u64 = 1 << 63;
    const CALLER: u64 = 1 << 62;
    const LEVEL: u64 = 1 << 61;

    /// `level` is `trustlevel` of the event or the invocation, 0 to 2^53.
    pub fn new(disclose: &[Disclosure], level: Option<u64>) -> Self {
        let flag = |who, flag| if disclose.contains(&who) { flag } else { 0 };
        let flags =
            flag(Disclosure::Publisher, Self::PUBLISHER) | flag(Disclosure::Caller, Self::CALLER);
        Self(flags | level.map_or(0, |level| Self::LEVEL | level & (Self::LEVEL - 1)))
    }

    /// The same terms, on which whoever acts becomes known to the other side.
    #[must_use]
    pub const fn disclosing(self) -> Self {
        Self(self.0 | Self::PUBLISHER | Self::CALLER)
    }

    /// Subscribers learn who has published, whatever the realm says.
    pub const fn discloses_publisher(self) -> bool {
        self.0 & Self::PUBLISHER != 0
    }

    /// Callees learn who calls, whatever the realm says.
    pub const fn discloses_caller(self) -> bool {
        self.0 & Self::CALLER != 0
    }

    /// The trust level, if there is one (AP-PTL-01, AP-CTL-01).
    pub const fn trustlevel(self) -> Option<u64> {
        if self.0 & Self::LEVEL == 0 { None } else { Some(self.0 & (Self::LEVEL - 1)) }
    }
}

/// A rule with where it comes from.
#[derive(Debug)]
pub struct Rule {
    pub uri: Arc<str>,
    pub policy: MatchPolicy,
    effects: [Option<Effect>; 4],
    pub terms: Terms,
    /// The line of the file that it stands in; `None`: it is in no file, or is no permission.
    pub line: Option<usize>,
    pub origin: RuleOrigin,
}

/// What a rule stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleOrigin {
    Permission,
    /// The role's place in `admin_roles`.
    AdminRoles,
    /// Its place in `management.watch`, or that it has none.
    Watch,
    /// Its place in `management.act`, or that it has none.
    Act,
}

impl RuleOrigin {
    /// The key that it stands for.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Permission => "permission",
            Self::AdminRoles => "admin_roles",
            Self::Watch => "management.watch",
            Self::Act => "management.act",
        }
    }
}

/// What a role has besides its permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Powers {
    /// It has the procedures that end what belongs to others, unless a rule with just that URI says
    /// something else.
    pub is_admin: bool,
    /// Its place in the management realm; `None`: its realm is none.
    pub standing: Option<Standing>,
}

impl Rule {
    fn new(permission: &Permission, level: Option<u64>, authorizer: Option<AuthorizerId>) -> Self {
        let effect = |action| {
            let has = |list: &[Action]| list.contains(&action);
            let granted = authorizer.map_or(Effect::Allow, Effect::Ask);
            let denied = has(&permission.deny).then_some(Effect::Deny);
            denied.or_else(|| has(&permission.allow).then_some(granted))
        };
        Self {
            uri: permission.uri.as_str().into(),
            policy: permission.policy,
            effects: Action::ALL.map(effect),
            terms: Terms::new(&permission.disclose, permission.trustlevel.or(level)),
            line: permission.line,
            origin: RuleOrigin::Permission,
        }
    }

    fn of_admin(procedure: &str, level: Option<u64>) -> Self {
        let (uri, allow) = (procedure.to_owned(), vec![Action::Call]);
        let permission = Permission { uri, allow, ..Permission::default() };
        Self { origin: RuleOrigin::AdminRoles, ..Self::new(&permission, level, None) }
    }

    /// Says of all that needs it whether the role may have it.
    fn of_management(need: Need, standing: Standing) -> Self {
        let (actions, origin) = match need {
            Need::Watch => (vec![Action::Subscribe, Action::Call], RuleOrigin::Watch),
            Need::Act => (vec![Action::Call], RuleOrigin::Act),
        };
        let (allow, deny) =
            if need.is_met_by(standing) { (actions, Vec::new()) } else { (Vec::new(), actions) };
        let permission = Permission { allow, deny, ..Permission::everything_below(OWN) };
        Self { origin, ..Self::new(&permission, None, None) }
    }

    /// What it says of an action; `None`: nothing.
    pub const fn effect(&self, action: Action) -> Option<Effect> {
        self.effects[action as usize]
    }
}

/// The rules of one role.
#[derive(Debug)]
pub struct Role {
    name: Box<str>,
    rules: Vec<Rule>,
    /// The procedures that decide for rules.
    authorizers: Vec<Arc<str>>,
    /// For each action.
    tables: [Table; 4],
    management: Option<Management>,
}

/// The two rules that alone decide about the management API, in its realm.
#[derive(Clone, Copy, Debug)]
struct Management {
    standing: Standing,
    watch: RuleId,
    act: RuleId,
}

impl Role {
    /// # Panics
    /// If a wildcard has more than [`super::MAX_RULE_COMPONENTS`] components: the configuration
    /// bounds them.
    pub fn new(settings: &RoleSettings, powers: Powers) -> Self {
        let level = settings.trustlevel;
        let mut authorizers: Vec<Arc<str>> = Vec::new();
        let mut rules = Vec::with_capacity(settings.permissions.len());
        for permission in &settings.permissions {
            let authorizer = permission.authorizer.as_deref();
            let authorizer = authorizer.map(|procedure| number_of(procedure, &mut authorizers));
            rules.push(Rule::new(permission, level, authorizer));
        }
        for procedure in ADMINISTRATIVE.into_iter().filter(|_| powers.is_admin) {
            let says = |rule: &Rule| {
                &*rule.uri == procedure
                    && rule.policy == MatchPolicy::Exact
                    && rule.effect(Action::Call).is_some()
            };
            if !rules.iter().any(says) {
                rules.push(Rule::of_admin(procedure, level));
            }
        }
        let tables = Action::ALL.map(|action| {
            Table::new(rules.iter().zip(0..).filter_map(|(rule, number)| {
                let (uri, rule_id) = (Arc::clone(&rule.uri), RuleId(number));
                let entry = Entry { uri, rule: rule_id, effect: rule.effect(action)? };
                Some((entry, rule.policy))
            }))
        });
        // No table has these: they come first.
        let management = powers.standing.map(|standing| {
            let [watch, act] = [Need::Watch, Need::Act].map(|need| {
                rules.push(Rule::of_management(need, standing));
                RuleId(u32::try_from(rules.len() - 1).expect("permissions are limited to fewer"))
            });
            Management { standing, watch, act }
        });
        Self { name: settings.name.as_str().into(), rules, authorizers, tables, management }
    }

    pub const fn name(&self) -> &str {
        &self.name
    }

    pub fn rule(&self, rule: RuleId) -> &Rule {
        &self.rules[rule.0 as usize]
    }

    /// The procedure that decides for a rule; `None` if it decides itself.
    pub fn authorizer(&self, rule: RuleId) -> Option<&Arc<str>> {
        let mut effects = self.rule(rule).effects.iter().flatten();
        effects.find_map(|effect| match effect {
            Effect::Ask(AuthorizerId(number)) => self.authorizers.get(usize::from(*number)),
            Effect::Allow | Effect::Deny => None,
        })
    }

    /// The procedures that decide for rules of this role, each once.
    pub fn authorizers(&self) -> impl Iterator<Item = &Arc<str>> {
        self.authorizers.iter()
    }

    /// All rules, in the order of the file; those that stand for `admin_roles` last.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = (RuleId, &Rule)> {
        self.rules.iter().enumerate().map(|(number, rule)| (RuleId(number as u32), rule))
    }

    /// Decides: the most specific rule that matches all URIs of the pattern and names the action
    /// says it. A pattern is denied, too, if a more specific rule denies some of its URIs, or wants
    /// somebody else to be asked about them.
    ///
    /// `uri` is valid for `policy`; PUBLISH and CALL have exact ones. For them and for prefixes the
    /// costs do not grow with the rules, but for a binary search; see also [`Self::effort`].
    pub fn authorize(&self, action: Action, uri: &str, policy: MatchPolicy) -> Decision {
        if let Some((decision, _)) = self.of_management(action, uri, policy) {
            return decision;
        }
        let (table, pattern) = (&self.tables[action as usize], (uri, policy));
        let Some(best) = table.best_cover(pattern, is_administrative(action, uri)) else {
            return Decision::Deny(None);
        };
        if best.entry.effect == Effect::Deny {
            return Decision::Deny(Some(best.entry.rule));
        }
        if is_open(pattern)
            && let Some(denial) = table.denial_within(pattern, best)
        {
            return Decision::Deny(Some(denial));
        }
        match best.entry.effect {
            Effect::Ask(_) => Decision::Ask(best.entry.rule),
            Effect::Allow | Effect::Deny => Decision::Allow(best.entry.rule),
        }
    }

    /// What is decided about a URI of the management API, and by which rule; `None`: it is none.
    /// Patterns are decided about as others are: who may not watch hears nothing by them.
    pub(super) fn of_management(
        &self,
        action: Action,
        uri: &str,
        policy: MatchPolicy,
    ) -> Option<(Decision, RuleId)> {
        let Management { standing, watch, act } = self.management?;
        let need = Need::of(action, uri).filter(|_| policy == MatchPolicy::Exact)?;
        let rule = match need {
            Need::Watch => watch,
            Need::Act => act,
        };
        let is_met = need.is_met_by(standing);
        Some((if is_met { Decision::Allow(rule) } else { Decision::Deny(Some(rule)) }, rule))
    }

    /// What [`Self::authorize`] costs at most, in comparisons of two URIs: a few searches, one for
    /// each shape of wildcards, and for a pattern all rules that may restrict it.
    pub const fn effort(&self, action: Action, policy: MatchPolicy) -> usize {
        self.tables[action as usize].effort(policy)
    }
}

fn number_of(procedure: &str, known: &mut Vec<Arc<str>>) -> AuthorizerId {
    let number = known.iter().position(|other| **other == *procedure).unwrap_or_else(|| {
        known.push(procedure.into());
        known.len() - 1
    });
    AuthorizerId(u16::try_from(number).expect("permissions are limited to fewer"))
}

/// A rule that never decides about an action that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleRule {
    pub rule: RuleId,
    pub action: Action,
    /// The rule that decides wherever this one matches; `None`: no client may do that at all, as
    /// the URIs belong to the protocol.
    pub because_of: Option<RuleId>,
}

impl Role {
    /// The rules that never decide, in the order of the file: wildcards behind a prefix that covers
    /// them, and what speaks of publishing or registering what belongs to the protocol.
    pub fn idle_rules(&self) -> Vec<IdleRule> {
        let all = self.rules().flat_map(|(id, rule)| {
            let named = Action::ALL.into_iter().filter(|action| rule.effect(*action).is_some());
            named.map(move |action| (id, rule, action))
        });
        all.filter_map(|(rule, settings, action)| {
            let pattern = (&*settings.uri, settings.policy);
            let is_served = matches!(action, Action::Publish | Action::Register);
            if is_served && is_reserved(literal_head(pattern)) {
                return Some(IdleRule { rule, action, because_of: None });
            }
            if settings.origin != RuleOrigin::Permission {
                return None;
            }
            if let Some((_, other)) = self.of_management(action, pattern.0, pattern.1) {
                return Some(IdleRule { rule, action, because_of: Some(other) });
            }
            let table = &self.tables[action as usize];
            let best = table.best_cover(pattern, false)?.entry.rule;
            let is_idle = best != rule && settings.policy == MatchPolicy::Wildcard;
            is_idle.then_some(IdleRule { rule, action, because_of: Some(best) })
        })
        .collect()
    }
}
