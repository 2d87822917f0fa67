//! What is left of a TLS stream whose handshake is over, for who goes on with it elsewhere than on
//! a shard. Knows no socket: records come in and go out by buffers.

use std::fmt;

use rustls::unbuffered::EncryptError;

use super::channel::Channel;
use super::records::first_record;
use super::stream::feed;

/// What is left of a stream whose handshake is over, for who goes on with it elsewhere.
pub(in crate::net) struct OpenTls {
    pub(super) channel: Box<Channel>,
    /// As those of a [`TlsStream`].
    pub(in crate::net) inbox: Vec<u8>,
    pub(super) held: usize,
    pub(in crate::net) unsent: Vec<u8>,
    pub(in crate::net) left: Vec<u8>,
    pub(in crate::net) has_peer_closed: bool,
}

impl OpenTls {
    /// Deals with the next record of `inbox`, if one is whole: `false` if none is. Plaintext comes
    /// to `left`, and what is to be answered to `unsent`.
    ///
    /// # Errors
    /// What the peer did wrong, of which `unsent` tells it.
    pub(in crate::net) fn take_record(&mut self) -> Result<bool, &'static str> {
        let Some(length) = first_record(&self.inbox[self.held..]) else { return Ok(false) };
        let offered = self.held + length;
        let record = &mut self.inbox[..offered];
        let fed = feed(&mut self.channel, record, &mut [], &mut self.left, &mut self.unsent)?;
        if fed.used == self.inbox.len() {
            self.inbox = Vec::new();
        } else {
            self.inbox.drain(..fed.used);
        }
        self.held = offered - fed.used;
        self.has_peer_closed = fed.is_last;
        Ok(true)
    }

    /// Encrypts bytes to the end of `unsent`, which must be empty.
    ///
    /// # Errors
    /// If the keys have served for as much as they may.
    pub(in crate::net) fn seal(&mut self, bytes: &[u8]) -> Result<(), EncryptError> {
        debug_assert!(self.unsent.is_empty());
        let length = self.channel.seal(&mut self.inbox[..self.held], bytes, &mut self.unsent)?;
        self.unsent.truncate(length);
        Ok(())
    }

    /// Says to the end of `unsent` that nothing follows.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub(in crate::net) fn seal_close_notify(&mut self) -> Result<(), EncryptError> {
        let mut alert = Vec::new();
        let held = &mut self.inbox[..self.held];
        let length = self.channel.seal_close_notify(held, &mut alert)?;
        self.unsent.extend_from_slice(&alert[..length]);
        Ok(())
    }
}

impl fmt::Debug for OpenTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenTls").finish_non_exhaustive()
    }
}
