//! Statements that are more than a line: what a trace has seen, and revocations.

use stentor::router::SessionRef;
use stentor::shard::Mail;
use stentor::wamp::SessionId;

use super::Stage;

impl Stage {
    pub(super) fn check_traced(&mut self, words: &[&str]) {
        let mut tracer = self.tracer.take().expect("a trace");
        tracer.fetch(&mut self.network);
        match words {
            ["nothing"] => tracer.check_empty(&self.line),
            [direction, message, fields] => {
                // What is not bound yet is what the trace says.
                let fields = self.literal(fields);
                tracer.expect(direction, message, &fields, &self.line);
            }
            _ => panic!("no statement: {}", self.line),
        }
        self.tracer = Some(tracer);
    }

    /// The session, the id and the reason of a revocation.
    pub(super) fn revocation(
        &self,
        name: &str,
        id: &str,
        rest: &[&str],
    ) -> (SessionRef, u64, Option<Box<str>>) {
        let session = self.bindings[&format!("$id_{name}")].as_u64().and_then(SessionId::new);
        let realm = self.network.router.realm("realm1").expect("it is configured");
        let session = realm.find(session.expect("an id")).expect("the session is there");
        let reason = match rest {
            [] => None,
            ["because", word] => Some(self.literal(word).as_str().expect("text").into()),
            _ => panic!("no statement: {}", self.line),
        };
        (session, self.literal(id).as_u64().expect("an id"), reason)
    }

    /// Mail from outside of all shards.
    pub(super) fn deliver(&mut self, to: SessionRef, mail: Mail) {
        let shard = usize::from(to.shard.0);
        self.network.deliver(shard, mail);
    }
}
