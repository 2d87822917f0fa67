//! Event history (AP-HIS): what PUBLISH records, and what of it goes to the store.

use std::sync::Arc;

use super::super::Shard;
use super::super::requests::Refusal;
use crate::router::{Audience, Destination, Fanouts, Realm, Receipt, Slot, StoredEvent};
use crate::wamp::{Dict, PayloadBuf, PublicationId, Publish, RouterMessage, WampError, code};

impl Shard {
    /// Appends an event to every history among `fanouts`, unless its receivers are named by
    /// session (AP-HIS-06). What durable histories have to save is recorded as a deposit.
    #[cold] // A publication without history shall not pay for it.
    pub(in crate::shard) fn record(
        &mut self,
        realm: &Realm,
        publish: &Publish<'_>,
        (publication, audience, details): (PublicationId, &Audience, &Dict),
        payload: PayloadBuf,
        fanouts: &Fanouts,
    ) {
        if audience.names_sessions() {
            return;
        }
        let event = Arc::new(StoredEvent {
            timestamp: self.cx.wall_clock,
            publication,
            topic: publish.topic.as_ref().into(),
            lists: audience.lists.clone(),
            details: details.clone(),
            payload,
        });
        for history in realm.histories.among(fanouts) {
            let pushed = history.push(Arc::clone(&event));
            self.cx.counters.history_events.increment();
            self.cx.counters.history_evicted.add(pushed.dropped as u64);
            if let Some(record) = history.record_of(pushed, &event) {
                self.cx.deposits.record(record);
            }
        }
    }

    /// Hands what the publication leaves on disk to the store; if it is to be acknowledged, that
    /// waits until it is there.
    #[cold]
    pub(in crate::shard) fn deposit(
        &mut self,
        slot: Slot,
        publish: &Publish<'_>,
        publication: PublicationId,
    ) {
        // Nobody waits for a testament, whose session is gone.
        let receipt = publish.options.acknowledge.then(|| {
            let publisher = self.cx.reference(slot, self.connections.joined_mut(slot).id);
            Receipt { publisher, request: publish.request, publication }
        });
        self.cx.deposits.close(receipt, self.cx.router.held(self.cx.id));
        self.connections[slot].feeds.insert(Destination::Store);
    }

    /// The store has saved an acknowledged publication, or could not.
    pub(in crate::shard) fn handle_stored(&mut self, receipt: Receipt, is_saved: bool) {
        let Receipt { publisher, request, publication } = receipt;
        if self.connections.find(publisher).is_none() {
            return;
        }
        if is_saved {
            self.answer(publisher.slot, &RouterMessage::Published { request, publication });
        } else {
            self.refuse(publisher.slot, code::PUBLISH, request, NOT_SAVED);
        }
    }
}

const NOT_SAVED: Refusal = (
    WampError::Canceled,
    "the router could not store the event durably; subscribers may have got it",
);
