//! The trace of a run, its digest, and how often each thing happened.

use std::collections::BTreeMap;

use super::Report;

/// How often each action was taken and each outcome was seen.
pub(crate) type Tally = BTreeMap<String, u64>;

pub(crate) struct Log {
    printed: bool,
    digest: u64,
    tally: Tally,
}

impl Log {
    pub(crate) const fn new(printed: bool) -> Self {
        Self { printed, digest: FNV_BASIS, tally: Tally::new() }
    }

    pub(crate) fn line(&mut self, line: &str) {
        for byte in line.bytes().chain([b'\n']) {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
        }
        if self.printed {
            eprintln!("{line}");
        }
    }

    pub(crate) fn count(&mut self, what: &str) {
        match self.tally.get_mut(what) {
            Some(count) => *count += 1,
            None => {
                self.tally.insert(what.to_owned(), 1);
            }
        }
    }

    pub(crate) fn report(self) -> Report {
        Report { digest: self.digest, tally: self.tally }
    }
}

const FNV_BASIS: u64 = 0xCBF2_9CE4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01B3;
