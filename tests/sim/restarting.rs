//! The process ends at any moment, and another one begins with what the store had kept.

use stentor::wamp::SessionId;

use super::counting::Census;
use super::world::World;

impl World {
    /// All clients lose their connections; what waited for the store is lost.
    pub(crate) fn crash(&mut self) {
        self.note("crash", format_args!(""));
        self.forget_sessions();
        let mut store = std::mem::take(&mut self.net.links.store);
        let now = self.net.now;
        self.life += 1;
        self.net = Self::network(&self.plan, self.life);
        self.net.now = now;
        self.tracers.forget();
        self.sight.forget();
        self.away.forget();
        store.restart(&self.net.router, self.net.wall_clock());
        self.net.links.store = store;
        for c in 0..self.clients.len() {
            self.clients[c] = self.connect();
        }
    }

    /// Nothing is owed to anybody; what was kept in memory alone is not there any more.
    fn forget_sessions(&mut self) {
        for c in 0..self.clients.len() {
            self.session_is_over(c);
        }
        self.model.owed.clear();
        self.model.sweeps.clear();
        self.model.census = Census::default();
        self.model.patterns.clear();
        for (tag, session) in std::mem::take(&mut self.model.testaments) {
            let session = SessionId::new(session).expect("an id");
            if self.net.router.realms().iter().any(|realm| realm.find(session).is_some()) {
                // Nobody publishes it any more.
                let testament = self.model.publications.get_mut(&(tag, 1));
                testament.expect("it was left").void = true;
            }
        }
        for publication in self.model.publications.values_mut() {
            publication.is_in_memory = false;
        }
    }
}
