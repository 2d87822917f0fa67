//! Calls of the management API on their way from the shards to the thread `control`, and what comes
//! of them.
//!
//! There is a line for each pace of answers, so that who only watches holds up nobody who changes
//! something. Each is bounded, a session has one call in all of them at most, and who leaves gives
//! its place up. Whoever takes a call answers it: one that is dropped is answered, too.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::mesh::{Mesh, Parcel};
use super::view::View;
#[cfg(test)]
use crate::authentication::Interest;
use crate::authorization::{ManagementPace, ManagementTopic};
use crate::router::{Audience, Realm, Router, SessionRef};
use crate::shard::{
    Bulletin, Mail, ManagementAnswer, ManagementCall, ManagementOutcome, Passage, Waiter,
};
use crate::wamp::{PayloadBuf, WampError};

/// Where calls wait. Any thread may use it.
#[derive(Default)]
pub(super) struct CallLine(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    /// By [`ManagementPace`].
    lines: [Line; ManagementPace::ALL.len()],
    /// Wakes whoever answers; `None`: nobody does.
    attendant: Option<Arc<dyn Fn() + Send + Sync>>,
}

#[derive(Default)]
struct Line {
    calls: VecDeque<(Waiter, Box<ManagementCall>)>,
    /// Nobody had left when it was looked at, and it is as full as then.
    is_stuck: bool,
}

impl Line {
    /// Looks for places of those who have left, once until somebody is taken.
    fn has_room(&mut self, most: usize) -> bool {
        if self.calls.len() >= most && !self.is_stuck {
            self.calls.retain(|(waiter, _)| !waiter.has_left());
            self.is_stuck = self.calls.len() >= most;
        }
        self.calls.len() < most
    }
}

/// A call that is to be answered.
pub(crate) struct ManagedCall {
    waiter: Waiter,
    call: Box<ManagementCall>,
    router: Arc<Router>,
    mesh: Arc<Mesh>,
    is_answered: bool,
}

impl CallLine {
    /// `false` if too many wait already, or nobody answers.
    pub(super) fn push(&self, waiter: Waiter, call: Box<ManagementCall>) -> bool {
        let mut waiting = self.0.lock();
        let Some(attendant) = waiting.attendant.clone() else { return false };
        let line = &mut waiting.lines[call.procedure.pace() as usize];
        let has_room = line.has_room(most_calls(call.procedure.pace()));
        if has_room {
            line.calls.push_back((waiter, call));
            drop(waiting);
            attendant();
        }
        has_room
    }

    /// From here on calls are taken in, and `wake` is called for each.
    pub(super) fn attend(&self, wake: Arc<dyn Fn() + Send + Sync>) {
        self.0.lock().attendant = Some(wake);
    }

    /// Nobody answers any more: what waits is given back.
    pub(super) fn close(&self) -> Vec<(Waiter, Box<ManagementCall>)> {
        let mut waiting = self.0.lock();
        waiting.attendant = None;
        waiting.lines.iter_mut().flat_map(|line| std::mem::take(line).calls).collect()
    }

    /// The first one of this pace whose caller is still there.
    pub(super) fn next(&self, pace: ManagementPace) -> Option<(Waiter, Box<ManagementCall>)> {
        let line = &mut self.0.lock().lines[pace as usize];
        line.is_stuck = false;
        let mut calls = std::iter::from_fn(|| line.calls.pop_front());
        calls.find(|(waiter, _)| !waiter.has_left())
    }
}

impl fmt::Debug for CallLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls = self.0.lock().lines.each_ref().map(|line| line.calls.len());
        f.debug_struct("CallLine").field("calls", &calls).finish()
    }
}

impl ManagedCall {
    pub(crate) fn call(&self) -> &ManagementCall {
        &self.call
    }

    /// Who waits for the answer, and may leave or give up meanwhile.
    pub(crate) const fn waiter(&self) -> &Waiter {
        &self.waiter
    }

    pub(crate) fn answer(mut self, outcome: ManagementOutcome) {
        self.send(outcome);
    }

    fn send(&mut self, outcome: ManagementOutcome) {
        self.is_answered = true;
        let bytes = outcome.as_ref().map_or(0, PayloadBuf::heap_bytes);
        let room = self.router.room_to_hold(&self.router.edition().settings.limits);
        let outcome = if bytes <= room { outcome } else { Err(TOO_MUCH_HELD) };
        let SessionRef { shard, .. } = self.call.caller;
        let answer = ManagementAnswer::new(&self.call, outcome, self.router.held(shard));
        let mail = Mail::Managed(Box::new(answer));
        self.mesh.send(shard, Parcel::Mail(mail.into()));
    }
}

impl Drop for ManagedCall {
    fn drop(&mut self) {
        if !self.is_answered {
            let said = "the router has not answered this call, as it stops or has failed";
            self.send(Err((WampError::Canceled, Cow::Borrowed(said))));
        }
    }
}

impl fmt::Debug for ManagedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedCall").field("call", &self.call).finish_non_exhaustive()
    }
}

impl View {
    /// From here on calls of the management API are taken in, and `wake` is called for each.
    pub(crate) fn attend(&self, wake: Arc<dyn Fn() + Send + Sync>) {
        self.mesh.calls().attend(wake);
    }

    /// The first call of this pace that waits to be answered.
    pub(crate) fn next_call(&self, pace: ManagementPace) -> Option<ManagedCall> {
        self.mesh.calls().next(pace).map(|(waiter, call)| self.managed(waiter, call))
    }

    /// Nobody answers any more: those who wait are told so, as those are who call later.
    pub(crate) fn attend_no_more(&self) {
        for (waiter, call) in self.mesh.calls().close() {
            drop(self.managed(waiter, call));
        }
    }

    /// The same of a call that was in no line, and is awaited while the interest lives.
    #[cfg(test)]
    pub(crate) fn awaited(&self, call: Box<ManagementCall>) -> (ManagedCall, Interest) {
        let interest = Interest::default();
        let waiter = Waiter::new(call.caller, &interest);
        (self.managed(waiter, call), interest)
    }

    fn managed(&self, waiter: Waiter, call: Box<ManagementCall>) -> ManagedCall {
        let (router, mesh) = (Arc::clone(&self.router), Arc::clone(&self.mesh));
        ManagedCall { waiter, call, router, mesh, is_answered: false }
    }

    /// Publishes in the management realm. `passage` says what comes of it.
    pub(crate) fn announce(
        &self,
        realm: &Arc<Realm>,
        topic: ManagementTopic,
        (payload, audience): (PayloadBuf, Audience),
        passage: Passage,
    ) {
        let home = realm.home(self.router.shard_count());
        let counted = (self.router.held(home), passage);
        let bulletin = Bulletin::new(Arc::clone(realm), topic, payload, audience, counted);
        self.mesh.send(home, Parcel::Mail(Mail::Bulletin(Box::new(bulletin)).into()));
    }
}

const TOO_MUCH_HELD: (WampError, Cow<'static, str>) = (
    WampError::ResourceLimit,
    Cow::Borrowed(
        "the answer would take too much of what the router may hold: ask for less of it by \
         `limit`, or try again later",
    ),
);

/// Calls that wait to be answered, each of another session.
const fn most_calls(pace: ManagementPace) -> usize {
    match pace {
        ManagementPace::Glance | ManagementPace::Survey => 512,
        ManagementPace::Change => 64,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::authorization::ManagementProcedure;
    use crate::clock::Millis;
    use crate::hash::HashSeed;
    use crate::router::{Profile, RealmSettings, Settings, ShardId, Slot};
    use crate::wamp::{RequestId, SessionId};

    const GLANCE: ManagementPace = ManagementPace::Glance;
    const MOST: usize = most_calls(GLANCE);

    fn call(router: &Router, number: u64, procedure: ManagementProcedure) -> Box<ManagementCall> {
        let session = SessionId::new(number).expect("a small number is an id");
        let caller = SessionRef { session, slot: Slot::new(0), shard: ShardId(0) };
        let profile = Profile::anonymous("joe", "viewer", "websocket", "json");
        let realm = router.realm("realm1").expect("the default one");
        let request = RequestId::new(1).expect("an id");
        let call = ManagementCall::new(
            procedure,
            (caller, request, Millis(40_000)),
            (realm, Arc::new(profile)),
            b"{}".to_vec(),
            router.held(ShardId(0)),
        );
        Box::new(call)
    }

    #[test]
    fn a_full_line_takes_the_places_of_those_who_have_left() {
        let realms = vec![RealmSettings::default()];
        let router = Router::new(Settings::default(), realms, 1, HashSeed::new(1));
        let line = CallLine::default();
        let mut interests = Vec::new();
        let push = |number: usize, interests: &mut Vec<Interest>| {
            interests.push(Interest::default());
            let call = call(&router, number as u64 + 1, ManagementProcedure::RouterGet);
            line.push(Waiter::new(call.caller, &interests[interests.len() - 1]), call)
        };
        assert!(!push(0, &mut interests), "nobody would answer");
        let woken = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&woken);
        line.attend(Arc::new(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        }));
        interests.clear();
        assert!((0..MOST).all(|number| push(number, &mut interests)));
        assert!(!push(MOST, &mut interests), "all places are taken");
        interests.pop();
        drop(interests.drain(..2));
        assert!(!push(MOST, &mut interests), "it is not looked at for each again");
        interests.pop();
        assert_eq!(line.next(GLANCE).map(|(_, call)| call.caller.session.get()), Some(3));
        assert!(push(MOST, &mut interests), "three have gone");
        assert_eq!(woken.load(Ordering::Relaxed), MOST + 1);
        interests.remove(1);
        assert_eq!(line.next(GLANCE).map(|(_, call)| call.caller.session.get()), Some(5));
        assert_eq!(line.close().len(), MOST - 4);
        assert!(line.next(GLANCE).is_none() && !push(0, &mut interests));
        assert_eq!(router.held_bytes(), 0, "what is given back counts no more");
    }

    #[test]
    fn who_changes_something_does_not_wait_for_who_watches() {
        let realms = vec![RealmSettings::default()];
        let router = Router::new(Settings::default(), realms, 1, HashSeed::new(1));
        let line = CallLine::default();
        line.attend(Arc::new(|| ()));
        let interest = Interest::default();
        let push = |procedure, number: u64| {
            let call = call(&router, number, procedure);
            line.push(Waiter::new(call.caller, &interest), call)
        };
        let watched = [ManagementProcedure::SessionList, ManagementProcedure::RouterGetHealth];
        for procedure in watched {
            let most = most_calls(procedure.pace()) as u64;
            assert!((1..=most).all(|number| push(procedure, number)));
            assert!(!push(procedure, most + 1), "that line is full");
        }
        assert!(push(ManagementProcedure::SessionKick, 7));
        let (_, next) = line.next(ManagementPace::Change).expect("its line is its own");
        assert_eq!(next.procedure, ManagementProcedure::SessionKick);
    }
}
