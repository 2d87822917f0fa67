//! The header that a listed proxy puts before everything else, TLS included.
//!
//! It is looked at while it lies in the kernel, and taken out when it is whole: nothing of it is
//! kept here, and not one byte of what follows is taken with it.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use super::socket::Socket;
use super::tls::TlsContext;
use crate::shard::{LayerFault, LayerNews, LayerReport};
use crate::transport::{MAX_PROXY_BYTES, decode_proxy_header};

/// A connection whose header has not come whole.
#[derive(Debug)]
pub(super) struct Preface {
    /// What follows the header.
    pub(super) tls: Option<Arc<TlsContext>>,
}

impl Preface {
    /// Whether the header was there, and has been taken; `report` has what it says. `scratch`
    /// holds [`MAX_PROXY_BYTES`] at least.
    ///
    /// # Errors
    /// Those of the socket, and `UnexpectedEof` at its end. `WouldBlock` if the header has not come
    /// whole.
    pub(super) fn read(
        &self,
        socket: &mut Socket,
        scratch: &mut [u8],
        report: &mut LayerReport,
    ) -> io::Result<()> {
        report.units = PEEK_UNITS;
        let peeked = socket.peek(&mut scratch[..MAX_PROXY_BYTES])?;
        if peeked == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        report.units += peeked / PEEKED_PER_UNIT;
        match decode_proxy_header(&scratch[..peeked]) {
            Ok(None) => Err(ErrorKind::WouldBlock.into()),
            Ok(Some(header)) => {
                let mut left = header.length;
                while left > 0 {
                    left -= socket.read(&mut scratch[..left])?;
                }
                report.has_more = true;
                report.news = header.origin.map(|origin| Box::new(LayerNews::Origin(origin)));
                Ok(())
            }
            Err(fault) => {
                report.fault = Some(LayerFault::Proxy(fault));
                Err(ErrorKind::InvalidData.into())
            }
        }
    }
}

/// What a look costs, in units of work.
const PEEK_UNITS: usize = 4;
const PEEKED_PER_UNIT: usize = 64;
