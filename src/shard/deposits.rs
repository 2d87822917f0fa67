//! What this shard's publications leave for the store.

use std::sync::Arc;

use crate::router::{Batch, Deposit, HeldCount, Receipt, Record};

/// Invariant: between two publications there are no `records`.
#[derive(Debug, Default)]
pub(super) struct Deposits {
    /// What the publication at hand leaves.
    records: Vec<Record>,
    /// What goes to the store at the end of the turn.
    batch: Batch<Deposit>,
}

impl Deposits {
    /// The publication at hand leaves this.
    pub(super) fn record(&mut self, record: Record) {
        self.records.push(record);
    }

    /// Whether the publication at hand leaves something.
    #[inline]
    pub(super) const fn has_records(&self) -> bool {
        !self.records.is_empty()
    }

    /// Ends a publication that leaves something: all of it goes to the store, or nothing.
    pub(super) fn close(&mut self, receipt: Option<Receipt>, count: &Arc<HeldCount>) {
        let records = std::mem::take(&mut self.records);
        self.batch.push(Deposit::new(records, receipt, count));
    }

    /// What is to be stored; `None` if there is nothing.
    pub(super) fn take(&mut self) -> Option<Batch<Deposit>> {
        (!self.batch.is_empty()).then(|| std::mem::take(&mut self.batch))
    }
}
