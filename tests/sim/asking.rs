//! Calls of the router's own procedures: who is here, what is held, killing, testaments.

use rand::RngExt;
use serde_json::{Value, json};
use stentor::authorization::Action;
use stentor::wamp::SessionId;

use super::client::{Excuse, Request, Stage};
use super::counting::Count;
use super::endings::LIMIT;
use super::hearing::number;
use super::model::{Pattern, Policy, Publication, Tag};
use super::plan::pick;
use super::questions::URI_ELSEWHERE;
use super::world::World;

/// A call of a meta procedure, and what its answer must agree with.
#[derive(Clone, Debug)]
pub(crate) enum MetaAsk {
    /// How many sessions the realm has.
    Count(Count),
    /// Which sessions the realm has.
    Sessions,
    /// Who a session is, by tag and id.
    Get {
        tag: Tag,
        id: u64,
    },
    /// What a subscription or registration of one's own is for.
    Describe {
        id: u64,
        pattern: Pattern,
    },
    /// How many hold what the asker holds, a subscription or a registration.
    CountHolders(u64),
    /// Who they are.
    ListHolders(u64),
    /// All subscriptions or registrations; the asker holds one.
    List(u64),
    /// The one with this pattern.
    Lookup {
        id: u64,
    },
    /// Those that match a topic or procedure, as this one does.
    Match {
        id: u64,
        policy: Policy,
    },
    Kill {
        tag: Tag,
        id: u64,
    },
    /// Leaves a testament.
    AddTestament {
        refusal: Option<&'static str>,
    },
    /// Ends many sessions.
    Sweep(usize),
    /// Takes back these testaments.
    Flush(Vec<Tag>),
}

impl World {
    pub(crate) fn ask_router(&mut self, c: usize) {
        let has_testaments = !self.clients[c].session.testaments.is_empty();
        match self.rng.random_range(0..16) {
            _ if has_testaments && self.rng.random_bool(0.3) => self.flush_testaments(c),
            0 => self.ask_for_count(c, false),
            1 => self.ask(c, "wamp.session.list", &json!([]), MetaAsk::Sessions),
            2 | 3 => self.ask_about_somebody(c),
            4..8 => self.ask_about_something(c),
            8 => self.kill(c),
            9 => self.sweep(c),
            10..12 => self.look_up(c),
            _ => self.leave_testament(c),
        }
    }

    pub(crate) fn ask(&mut self, c: usize, procedure: &str, args: &Value, ask: MetaAsk) {
        self.ask_with(c, procedure, args, &json!({}), ask);
    }

    pub(crate) fn ask_with(
        &mut self,
        c: usize,
        procedure: &str,
        args: &Value,
        kwargs: &Value,
        ask: MetaAsk,
    ) {
        let request = self.next_request(c);
        self.say(c, procedure, &json!([48, request, {}, procedure, args, kwargs]));
        self.expect(c, request, Request::Meta(Box::new(ask)));
    }

    /// Somebody else of the realm, by tag and session id.
    pub(crate) fn somebody(&mut self, c: usize) -> Option<(usize, Tag, u64)> {
        let realm = self.clients[c].session.realm;
        let here = |world: &Self, other: usize| {
            let client = &world.clients[other];
            other != c && client.stage == Stage::Joined && client.session.realm == realm
        };
        let other = self.any_such(here)?;
        let session = &self.clients[other].session;
        Some((other, session.tag, session.id))
    }

    fn ask_about_somebody(&mut self, c: usize) {
        let Some((_, tag, id)) = self.somebody(c) else { return };
        self.ask(c, "wamp.session.get", &json!([id]), MetaAsk::Get { tag, id });
    }

    fn kill(&mut self, c: usize) {
        let Some((other, tag, id)) = self.somebody(c) else { return };
        if self.may_kill() {
            // From here on its session may end at any time.
            self.clients[other].killed = true;
        }
        let words = json!({"reason": "com.sim.killed", "message": "enough"});
        self.ask_with(c, "wamp.session.kill", &json!([id]), &words, MetaAsk::Kill { tag, id });
    }

    pub(crate) fn may_kill(&self) -> bool {
        self.plan.may_kill()
    }

    /// Something that the session holds: a kind of things, the id and the pattern of one.
    pub(crate) fn something(&mut self, c: usize) -> Option<(&'static str, u64, Pattern)> {
        let session = &self.clients[c].session;
        let of_calls = self.rng.random_bool(0.4);
        let held = if of_calls { &session.registrations } else { &session.subscriptions };
        let held = held.iter().filter(|(_, held)| !held.leaving);
        let held: Vec<_> = held.map(|(id, held)| (*id, held.pattern.clone())).collect();
        if held.is_empty() {
            return None;
        }
        let (id, pattern) = pick(&mut self.rng, &held).clone();
        Some((if of_calls { "registration" } else { "subscription" }, id, pattern))
    }

    /// About a subscription or registration that the session holds.
    fn ask_about_something(&mut self, c: usize) {
        let Some((kind, id, pattern)) = self.something(c) else { return };
        let holders = if kind == "registration" { "callees" } else { "subscribers" };
        let (what, ask) = match self.rng.random_range(0..3) {
            0 => ("get".to_owned(), MetaAsk::Describe { id, pattern }),
            1 => (format!("count_{holders}"), MetaAsk::CountHolders(id)),
            _ => (format!("list_{holders}"), MetaAsk::ListHolders(id)),
        };
        self.ask(c, &format!("wamp.{kind}.{what}"), &json!([id]), ask);
    }

    fn leave_testament(&mut self, c: usize) {
        self.last_tag += 1;
        let tag = self.last_tag;
        let mut payload = self.payload(tag, 1);
        if self.plan.is_large {
            payload.args.truncate(2);
        }
        let topic = *pick(&mut self.rng, &["com.a", "com.b", "x"]);
        let mut options = json!({});
        let details = self.publish_options(c, topic, &mut options);
        let refusal = match (self.plan.grants(Action::Publish, topic, Policy::Exact), &details) {
            (false, _) => Some("wamp.error.not_authorized"),
            (true, None) => Some("wamp.error.option_disallowed.disclose_me"),
            (true, Some(_)) => None,
        };
        if let Some(options) = options.as_object_mut() {
            options.remove("retain");
        }
        let args = json!([topic, payload.args, payload.kwargs]);
        let scope = *pick(&mut self.rng, &["destroyed", "detached"]);
        let kwargs = json!({"publish_options": options, "scope": scope});
        let publication = Publication {
            realm: self.clients[c].session.realm,
            topic: topic.to_owned(),
            payload,
            exclude_me: true,
            options,
            details: details.unwrap_or_default(),
            settled: false,
            is_in_memory: true,
            void: self.clients[c].hostile || refusal.is_some(),
            id: None,
            sent_bytes: 0,
        };
        self.model.publications.insert((tag, 1), publication);
        let session = &mut self.clients[c].session;
        self.model.testaments.insert(tag, session.id);
        session.testaments.push(tag);
        let ask = MetaAsk::AddTestament { refusal };
        self.ask_with(c, "wamp.session.add_testament", &args, &kwargs, ask);
    }

    fn flush_testaments(&mut self, c: usize) {
        // Both scopes: what was left before is taken back with the second answer.
        let tags = std::mem::take(&mut self.clients[c].session.testaments);
        for (scope, tags) in [("detached", Vec::new()), ("destroyed", tags)] {
            let procedure = "wamp.session.flush_testaments";
            let scope = json!({"scope": scope});
            self.ask_with(c, procedure, &json!([]), &scope, MetaAsk::Flush(tags));
        }
    }

    pub(crate) fn hear_meta_result(&mut self, c: usize, ask: MetaAsk, message: &[Value]) {
        let args = message.get(3).map_or(&[][..], |args| args.as_array().expect("a list"));
        let mine = self.clients[c].session.id;
        self.check_missing_nodes(message.get(4));
        match ask {
            MetaAsk::Count(count) => {
                let answer = self.without_others(number(&args[0]));
                self.check_count(c, &count, answer);
            }
            MetaAsk::Sessions => {
                let ids = ids(&args[0]);
                let listed = ids.contains(&mine) || self.excuses(c).contains(&Excuse::Killed);
                assert!(listed, "c{c} is not in the list of sessions");
                self.check_distinct(&ids);
            }
            MetaAsk::Get { tag, id } => {
                assert_eq!(number(&args[0]["session"]), id);
                let known = self.clients.iter().find(|client| client.session.tag == tag);
                if let Some(client) = known.filter(|client| client.stage == Stage::Joined) {
                    assert_eq!(args[0]["authid"], json!(client.session.authid));
                }
            }
            MetaAsk::Describe { id, .. } if args[0]["uri"] == URI_ELSEWHERE => {
                assert!(!self.still_holds(c, id), "{id} is described as another node has it");
            }
            MetaAsk::Describe { id, pattern } => {
                assert_eq!(number(&args[0]["id"]), id);
                assert_eq!(args[0]["uri"], json!(pattern.uri));
                assert_eq!(args[0]["match"], json!(pattern.policy.as_str()));
            }
            MetaAsk::CountHolders(id) => {
                let count = number(&args[0]);
                assert!(count >= u64::from(self.still_holds(c, id)), "c{c} is not counted");
            }
            MetaAsk::ListHolders(id) => {
                let ids = ids(&args[0]);
                assert!(ids.contains(&mine) || !self.still_holds(c, id), "c{c} is not listed");
                self.check_distinct(&ids);
            }
            MetaAsk::List(id) => {
                let lists = ["exact", "prefix", "wildcard"].map(|kind| ids(&args[0][kind]));
                let ids = lists.concat();
                assert!(ids.contains(&id) || !self.still_holds(c, id), "{id} is not listed");
                self.check_distinct(&ids);
            }
            MetaAsk::Lookup { id } => {
                assert!(args[0] == json!(id) || !self.still_holds(c, id), "{id} is not found");
            }
            MetaAsk::Match { id, policy } => self.check_match(c, id, policy, &args[0]),
            MetaAsk::Sweep(number) => self.hear_swept(c, number, &args[0]),
            MetaAsk::Kill { id, .. } => {
                assert!(self.may_kill(), "nobody may kill here (AP-SMA-07)");
                assert!(!self.is_listed(c, id), "the killed is still there");
                self.note("killed", format_args!("c{c} {id}"));
            }
            MetaAsk::AddTestament { refusal } => assert_eq!(refusal, None),
            MetaAsk::Flush(tags) => {
                for tag in tags {
                    let testament = self.model.publications.get_mut(&(tag, 1));
                    testament.expect("it was left").void = true;
                    self.note("testament taken back", format_args!("c{c} {tag}"));
                }
            }
        }
    }

    pub(crate) fn may_ask_fail(&self, c: usize, ask: &MetaAsk, uri: &str) -> bool {
        // What is not here may be with those that do not answer.
        let may_be_elsewhere = self.plan.settings.question_ms > 0;
        let is_unknown = may_be_elsewhere && uri == "wamp.error.network_failure";
        match ask {
            MetaAsk::Count(_)
            | MetaAsk::Sessions
            | MetaAsk::List(_)
            | MetaAsk::Lookup { .. }
            | MetaAsk::Match { .. }
            | MetaAsk::Flush(_) => false,
            MetaAsk::Sweep(_) => uri == "wamp.error.not_authorized" && !self.may_kill(),
            MetaAsk::Get { tag, .. } => {
                (is_unknown || uri == "wamp.error.no_such_session") && !self.is_well(*tag)
            }
            MetaAsk::Kill { tag, .. } if self.may_kill() => {
                (is_unknown || uri == "wamp.error.no_such_session") && !self.is_well(*tag)
            }
            MetaAsk::Kill { .. } => uri == "wamp.error.not_authorized",
            MetaAsk::Describe { id, .. } | MetaAsk::CountHolders(id) | MetaAsk::ListHolders(id) => {
                let gone = ["wamp.error.no_such_subscription", "wamp.error.no_such_registration"];
                (is_unknown || gone.contains(&uri)) && !self.still_holds(c, *id)
            }
            MetaAsk::AddTestament { refusal: Some(expected) } => uri == *expected,
            // Where it is not kept, nobody hears of it.
            MetaAsk::AddTestament { .. } => self.plan.tight_limits && uri == LIMIT,
        }
    }

    /// A testament is heard when its session is over, and never before (AP-TES-01).
    pub(crate) fn check_testament(&mut self, c: usize, tag: Tag) {
        let Some(session) = self.model.testaments.get(&tag).copied() else { return };
        assert!(!self.is_listed(c, session), "testament {tag} of {session}, which is here");

        self.note("heard a testament", format_args!("c{c} {tag}"));
    }

    pub(crate) fn is_listed(&self, c: usize, id: u64) -> bool {
        let realm = self.net.router.realm(self.clients[c].session.realm).expect("a realm");
        realm.find(SessionId::new(id).expect("an id")).is_some()
    }

    pub(crate) fn still_holds(&self, c: usize, id: u64) -> bool {
        let session = &self.clients[c].session;
        let mut held =
            session.subscriptions.get(&id).into_iter().chain(session.registrations.get(&id));
        held.any(|held| !held.leaving)
    }

    pub(crate) fn check_distinct(&self, ids: &[u64]) {
        let mut sorted = ids.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), ids.len(), "nobody is listed twice: {ids:?}");
    }
}

pub(crate) fn ids(list: &Value) -> Vec<u64> {
    list.as_array().expect("a list of ids").iter().map(number).collect()
}
