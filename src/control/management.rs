//! The management API: what operators see and change as WAMP clients, answered from what the admin
//! listener shows, with its words.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{MutexGuard, Notify, Semaphore};

use super::desk::{Declined, Desk, Operator};
use super::sight::Sight;
use super::{busiest, explain, json, keeping, log_tail, nodes, now, sessions, webhooks};
use crate::authorization::{ManagementPace, ManagementProcedure as Procedure, Standing};
use crate::net::{ManagedCall, ManagementCall};
use crate::wamp::{Codec, PayloadBuf, WampError};

/// Answers calls until it is dropped: then nobody does.
#[derive(Debug)]
pub(super) struct Manager {
    sight: Sight,
    desk: Desk,
    came: [Arc<Notify>; ManagementPace::ALL.len()],
}

/// What answers one call.
#[derive(Clone, Debug)]
struct Clerk {
    sight: Sight,
    desk: Desk,
}

/// Arguments of what takes none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl Manager {
    pub(super) fn new(sight: Sight, desk: Desk) -> Self {
        let came: [Arc<Notify>; ManagementPace::ALL.len()] = Default::default();
        let wakes = came.clone();
        desk.view.attend(Arc::new(move || wakes.iter().for_each(|wake| wake.notify_one())));
        Self { sight, desk, came }
    }

    pub(super) async fn run(self) {
        let [glances, surveys, changes] = ManagementPace::ALL;
        tokio::join!(self.serve(glances), self.serve(surveys), self.serve(changes));
    }

    /// Answers the calls of one pace, some at a time.
    async fn serve(&self, pace: ManagementPace) {
        let room = Arc::new(Semaphore::new(MOST_AT_ONCE));
        loop {
            while let Some(call) = self.desk.view.next_call(pace) {
                // Nobody closes it.
                let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
                let clerk = Clerk { sight: self.sight.clone(), desk: self.desk.clone() };
                tokio::spawn(async move {
                    clerk.answer(call).await;
                    drop(place);
                });
            }
            self.came[pace as usize].notified().await;
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.desk.view.attend_no_more();
    }
}

impl Clerk {
    async fn answer(&self, call: ManagedCall) {
        let outcome = match self.outcome(&call).await {
            Ok(value) => payload_of(value, self.most_bytes()).ok_or(TOO_LARGE),
            Err(declined) => Err(spoken(declined)),
        };
        call.answer(outcome);
    }

    /// Of an answer.
    fn most_bytes(&self) -> usize {
        self.sight.view.router().edition().settings.limits.message_bytes
    }

    /// What the caller may do now; reloads may have come after its call.
    fn standing(&self, call: &ManagedCall) -> Result<Standing, Declined> {
        let ManagementCall { procedure, realm, profile, .. } = call.call();
        let standing = self.sight.view.router().edition().standing(realm, profile);
        let forbidden = || Declined::Forbidden(profile.authrole.clone());
        standing.may_call(*procedure).then_some(standing).ok_or_else(forbidden)
    }

    /// Waits until the shards may be asked for it.
    async fn turn_of(&self, call: &ManagedCall) -> Result<MutexGuard<'_, ()>, Declined> {
        let turn = self.sight.turn().await?;
        if call.waiter().has_left() {
            return Err(Declined::Unawaited);
        }
        self.standing(call)?;
        Ok(turn)
    }

    async fn outcome(&self, call: &ManagedCall) -> Result<Value, Declined> {
        let Sight { view, health, admin, log, .. } = &self.sight;
        if takes_nothing(call.call().procedure) {
            let Nothing {} = read(call)?;
        }
        let standing = self.standing(call)?;
        Ok(match call.call().procedure {
            Procedure::RouterGet => json::router(view, admin, self.sight.age()),
            Procedure::RouterGetHealth => health.standing(now()).to_json(),
            Procedure::ShardList => json::shards(view, &health.lags(now())),
            Procedure::NodeList => nodes::list(view, now()).ok_or_else(alone)?,
            Procedure::SessionList => {
                let filter = read(call)?;
                let _turn = self.turn_of(call).await?;
                sessions::open(view, &filter).await
            }
            Procedure::SessionListClosed => sessions::closed(view, &read(call)?),
            Procedure::SessionListReasons => sessions::reasons(view),
            Procedure::TopicList => {
                let filter = read(call)?;
                let _turn = self.turn_of(call).await?;
                busiest::topics(view, &filter).await
            }
            Procedure::ProcedureList => {
                let filter = read(call)?;
                let _turn = self.turn_of(call).await?;
                busiest::procedures(view, &filter).await
            }
            Procedure::RequestExplain => {
                let request = read(call)?;
                let _turn = self.turn_of(call).await?;
                let page = explain::page(view, &request).await;
                page.map_err(|fault| Declined::Unclear(fault.to_string()))?
            }
            Procedure::HistoryList => keeping::histories(view),
            Procedure::StoreGet => keeping::store(view),
            Procedure::WebhookList => webhooks::page(view),
            Procedure::LogList => log_tail::page(log.get(), &read(call)?),
            // Why a reload was refused quotes lines of the file.
            Procedure::ConfigGetChanges => {
                self.desk.record.last_reload(standing == Standing::Actor, self.most_bytes())
            }
            Procedure::SessionKick => self.desk.kick(&operator(call), read(call)?).await?,
            Procedure::LogSetLevel => self.desk.set_level(&operator(call), read(call)?).await?,
            Procedure::RouterDrain => self.desk.drain(&operator(call), read(call)?).await?,
            Procedure::ConfigReload => self.desk.reload(&operator(call), self.most_bytes()).await?,
        })
    }
}

const fn takes_nothing(procedure: Procedure) -> bool {
    matches!(
        procedure,
        Procedure::RouterGet
            | Procedure::RouterGetHealth
            | Procedure::ShardList
            | Procedure::NodeList
            | Procedure::SessionListReasons
            | Procedure::HistoryList
            | Procedure::StoreGet
            | Procedure::WebhookList
            | Procedure::ConfigGetChanges
            | Procedure::ConfigReload
    )
}

fn alone() -> Declined {
    Declined::Missing(WampError::FeatureNotSupported, nodes::ALONE.to_owned())
}

fn operator(call: &ManagedCall) -> Operator {
    let (waiter, call) = (call.waiter().clone(), call.call());
    Operator::Session { waiter, profile: Arc::clone(&call.profile), realm: Arc::clone(&call.realm) }
}

fn read<T: DeserializeOwned>(call: &ManagedCall) -> Result<T, Declined> {
    serde_json::from_slice(&call.call().arguments)
        .map_err(|error| Declined::Unclear(format!("the keyword arguments are wrong: {error}")))
}

/// What an ERROR says.
fn spoken(declined: Declined) -> (WampError, Cow<'static, str>) {
    let error = match declined {
        Declined::Unclear(_) | Declined::Refused(_) => WampError::InvalidArgument,
        Declined::Forbidden(_) => WampError::NotAuthorized,
        Declined::Missing(error, _) => error,
        Declined::Unavailable(_) | Declined::Unawaited => WampError::Canceled,
        Declined::NoTurn(_) => WampError::ResourceLimit,
        Declined::Late => WampError::CallTimeout,
    };
    (error, declined.to_string().into())
}

/// One argument, as a JSON client would send it; `None` if it is longer than a message may be.
pub(super) fn payload_of(mut value: Value, limit_bytes: usize) -> Option<PayloadBuf> {
    unmark(&mut value);
    let bytes = format!("[{value}]").into_bytes();
    let args_len = bytes.len();
    let payload =
        PayloadBuf::Raw { codec: Codec::Json, bytes: bytes.into(), args_len, has_kwargs: false };
    (args_len <= limit_bytes).then_some(payload)
}

/// To WAMP clients a JSON string that begins with NUL is binary: what a client chose must not be
/// taken for that.
fn unmark(value: &mut Value) {
    match value {
        Value::String(text) if text.starts_with('\0') => {
            text.replace_range(..1, char::REPLACEMENT_CHARACTER.encode_utf8(&mut [0; 4]));
        }
        Value::Array(items) => items.iter_mut().for_each(unmark),
        Value::Object(members) => members.values_mut().for_each(unmark),
        _ => {}
    }
}

const TOO_LARGE: (WampError, Cow<'static, str>) = (
    WampError::PayloadSizeExceeded,
    Cow::Borrowed("the answer is larger than a message may be: ask for less of it by `limit`"),
);

/// Calls of one pace that are answered at a time; those that ask shards do so one by one.
const MOST_AT_ONCE: usize = 8;

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::task::yield_now;

    use super::*;
    use crate::authorization::{Managers, RoleSettings};
    use crate::clock::Millis;
    use crate::config::{Access, Config};
    use crate::control::Order;
    use crate::control::health::Health;
    use crate::control::record::Record;
    use crate::control::token::Lock;
    use crate::net::{ClusterView, Server};
    use crate::router::{Profile, RealmSettings, SessionRef, Settings, ShardId, Slot};
    use crate::wamp::{RequestId, SessionId};

    fn clerk(server: &Server, config: &Config) -> (Clerk, crossbeam_channel::Receiver<Order>) {
        let (orders, given) = crossbeam_channel::bounded(4);
        let lock = Arc::new(Lock::new(&config.admin, now()).unwrap());
        let (record, turn) = (Arc::new(Record::new()), Arc::default());
        let desk = Desk { view: server.view(), tls: None, lock, record, orders, turn };
        let health = Arc::new(Health::new(server.view()));
        (Clerk { sight: Sight::new(&desk, health, &config.admin, Arc::default()), desk }, given)
    }

    fn managed(managers: Managers) -> RealmSettings {
        let role = RoleSettings::new("anonymous", Vec::new());
        let access = Access::Roles(vec![role]);
        RealmSettings { access, managers: Some(managers), ..RealmSettings::named("realm1") }
    }

    /// A call of a session that was allowed to make it when its shard looked.
    /// It waits while what comes with the call lives.
    fn call(
        server: &Server,
        procedure: Procedure,
        arguments: &Value,
    ) -> (ManagedCall, impl Sized + use<>) {
        let router = server.router();
        let session = SessionId::new(1).expect("an id");
        let caller = SessionRef { session, slot: Slot::new(0), shard: ShardId(0) };
        let profile = Arc::new(Profile::anonymous("joe", "anonymous", "websocket", "json"));
        let realm = router.realm("realm1").expect("there is one");
        let request = (caller, RequestId::new(1).expect("an id"), Millis(40_000));
        let (asker, arguments) = ((realm, profile), arguments.to_string().into_bytes());
        let held = router.held(ShardId(0));
        let call = ManagementCall::new(procedure, request, asker, arguments, held);
        server.view().awaited(Box::new(call))
    }

    fn arguments(procedure: Procedure) -> Value {
        match procedure {
            Procedure::RequestExplain => json!({ "action": "call", "uri": "com.x" }),
            Procedure::SessionKick => json!({ "authid": "joe" }),
            Procedure::LogSetLevel => json!({ "level": "info" }),
            _ => json!({}),
        }
    }

    fn waits(procedure: Procedure) -> bool {
        matches!(procedure.pace(), ManagementPace::Survey | ManagementPace::Change)
    }

    /// Whoever has waited for something may have lost the right to it meanwhile, whatever its shard
    /// has found.
    #[test]
    fn a_right_must_hold_when_the_thing_is_done() {
        let mut config = Config { shards: 1, listeners: Vec::new(), ..Config::default() };
        let everybody = vec!["anonymous".to_owned()];
        let actors = Managers { watch: Vec::new(), act: everybody.clone() };
        config.realms = vec![managed(actors.clone())];
        let server = Server::start(&config).unwrap();
        let (clerk, orders) = clerk(&server, &config);
        let reload =
            |managers| server.router().reload(Settings::default(), vec![managed(managers)]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for procedure in Procedure::ALL.iter().copied() {
                reload(actors.clone());
                let (asking, turn) =
                    (clerk.sight.asking.lock().await, clerk.desk.turn.lock().await);
                let (call, _interest) = call(&server, procedure, &arguments(procedure));
                let (own, uri) = (clerk.clone(), procedure.uri());
                let answer = tokio::spawn(async move { own.outcome(&call).await });
                for _ in 0..8 {
                    yield_now().await;
                }
                assert_ne!(answer.is_finished(), waits(procedure), "{uri}");
                reload(Managers::default());
                drop((asking, turn));
                let outcome = answer.await.unwrap();
                let is_forbidden = matches!(outcome, Err(Declined::Forbidden(_)));
                assert_eq!(is_forbidden, waits(procedure), "{uri}: {outcome:?}");
            }
            for watch in [Vec::new(), everybody] {
                reload(Managers { watch: watch.clone(), act: Vec::new() });
                for procedure in Procedure::ALL.iter().copied() {
                    let is_allowed = !procedure.is_change() && !watch.is_empty();
                    let (call, _interest) = call(&server, procedure, &arguments(procedure));
                    let outcome = clerk.outcome(&call).await;
                    let is_forbidden = matches!(outcome, Err(Declined::Forbidden(_)));
                    assert_ne!(is_forbidden, is_allowed, "{}: {outcome:?}", procedure.uri());
                }
            }
        });
        assert!(orders.is_empty(), "nothing was ordered");
        server.stop().unwrap();
    }

    /// Nothing is done for those who have given up before their turn has come, or whose turn does
    /// not come.
    #[test]
    fn nothing_is_done_too_late() {
        let mut config = Config { shards: 1, listeners: Vec::new(), ..Config::default() };
        let everybody = vec!["anonymous".to_owned()];
        config.realms = vec![managed(Managers { watch: Vec::new(), act: everybody })];
        let server = Server::start(&config).unwrap();
        let (clerk, orders) = clerk(&server, &config);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for procedure in Procedure::ALL.iter().copied().filter(|it| waits(*it)) {
                let (asking, turn) =
                    (clerk.sight.asking.lock().await, clerk.desk.turn.lock().await);
                let (call, interest) = call(&server, procedure, &arguments(procedure));
                let own = clerk.clone();
                let answer = tokio::spawn(async move { own.outcome(&call).await });
                yield_now().await;
                drop(interest);
                drop((asking, turn));
                let outcome = answer.await.unwrap();
                assert_eq!(outcome, Err(Declined::Unawaited), "{}", procedure.uri());
            }
        });
        assert!(orders.is_empty(), "nothing was ordered");
        server.stop().unwrap();
    }

    /// It is what `/clusterz` says, and where there is no cluster, too.
    #[test]
    fn nodes_are_listed_by_nodes() {
        let mut config = Config { shards: 1, listeners: Vec::new(), ..Config::default() };
        let everybody = vec!["anonymous".to_owned()];
        config.realms = vec![managed(Managers { watch: everybody, act: Vec::new() })];
        let server = Server::start(&config).unwrap();
        let (mut clerk, _orders) = clerk(&server, &config);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let outcome = |clerk: &Clerk, arguments: Value| {
            let (call, _interest) = call(&server, Procedure::NodeList, &arguments);
            runtime.block_on(clerk.outcome(&call))
        };
        let alone = spoken(outcome(&clerk, json!({})).unwrap_err());
        assert_eq!(alone, (WampError::FeatureNotSupported, nodes::ALONE.into()));
        // Its age does not grow.
        let view = ClusterView { at: Millis(u64::MAX), ..nodes::tests::example() };
        clerk.sight.view = server.view().into_node(view);
        let page = outcome(&clerk, json!({})).unwrap();
        assert_eq!(page["nodes"].as_array().map(Vec::len), Some(3));
        assert_eq!(Some(page), nodes::list(&clerk.sight.view, now()));
        let unclear = outcome(&clerk, json!({ "node": "b" }));
        assert!(matches!(unclear, Err(Declined::Unclear(_))), "{unclear:?}");
        server.stop().unwrap();
    }

    #[test]
    fn no_text_is_taken_for_binary() {
        let said = payload_of(json!({ "authid": "\0Zm9v", "list": ["\0", "a\0"] }), 100);
        let Some(PayloadBuf::Raw { bytes, args_len, .. }) = said else { panic!("{said:?}") };
        let read: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(read, json!([{ "authid": "\u{fffd}Zm9v", "list": ["\u{fffd}", "a\0"] }]));
        assert_eq!(args_len, bytes.len());
        assert!(payload_of(json!("x".repeat(97)), 100).is_none());
    }
}
