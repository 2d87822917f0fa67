//! One of a few threads that compare tickets with their hashes, which takes tens of milliseconds
//! and as many MiB each, and verify the signatures of tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::line::Line;
use super::{Issuer, Judgement, Mesh, MissingKey, Proof, tell, wall_clock};

pub(super) struct Verifier {
    pub(super) line: Line<Proof>,
    pub(super) mesh: Arc<Mesh>,
    pub(super) is_over: Arc<AtomicBool>,
    /// Who can fetch the keys of an issuer again.
    pub(super) keepers: Arc<[(Arc<Issuer>, Line<Proof>)]>,
}

impl Verifier {
    /// Judges until all ways to it are gone.
    pub(super) fn run(self) {
        while let Some((waiter, check)) = self.line.next() {
            if self.is_over.load(Ordering::Relaxed) {
                continue;
            }
            let judgement = check.run(wall_clock());
            let keeper = self.keeper_of(&judgement);
            // If too many wait for the keys already, it is as if there were no newer ones.
            let applicant = waiter.session;
            if keeper.is_none_or(|keeper| !keeper.push(waiter, check)) {
                tell(&self.mesh, applicant, judgement);
            }
        }
    }

    fn keeper_of(&self, judgement: &Judgement) -> Option<&Line<Proof>> {
        let Judgement::KeyMissing(MissingKey(issuer, _)) = judgement else { return None };
        issuer.settings().keys_url.as_ref()?;
        let mut keepers = self.keepers.iter();
        keepers.find(|(other, _)| Arc::ptr_eq(issuer, other)).map(|(_, keeper)| keeper)
    }
}
