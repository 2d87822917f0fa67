//! TLS that goes on elsewhere, with clients of rustls over sockets: whatever lay where when it was
//! handed over.

use std::io::{Read, Write};
use std::thread;

use rustls::{ClientConnection, StreamOwned};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;

use super::*;
use crate::net::tls::tests::{localhost, opened};

type Client = StreamOwned<ClientConnection, std::net::TcpStream>;

/// The client's end on a thread of its own, and the router's handed over after `first` was read of
/// what the client had sent.
fn check<T: Send + 'static>(
    sent: &[u8],
    first: usize,
    client: impl FnOnce(&mut Client) -> T + Send + 'static,
    serve: impl AsyncFnOnce(&mut TlsIo<TcpStream>),
) -> T {
    let (socket, tls, read, stream) = opened(&localhost(), sent, first);
    assert_eq!(read, sent[..first], "what was read before");
    let mut stream = stream;
    let client = thread::spawn(move || client(&mut stream));
    Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let socket = TcpStream::from_std(socket).unwrap();
        let mut io = TlsIo::new(socket, tls);
        serve(&mut io).await;
    });
    client.join().unwrap()
}

#[test]
fn what_lies_in_the_buffers_is_not_lost() {
    let sent: Vec<u8> = (0..50_000u32).map(|n| ((n * 7) >> 1) as u8).collect();
    for first in [1, 100, 16_000, 40_000, 50_000] {
        let rest = sent[first..].to_vec();
        let echoed = check(
            &sent,
            first,
            |client| {
                let mut answer = vec![0; 200_000];
                client.read_exact(&mut answer).unwrap();
                client.write_all(b"thanks").unwrap();
                client.flush().unwrap();
                answer.iter().all(|byte| *byte == 9)
            },
            async |io| {
                let mut read = vec![0; rest.len()];
                io.read_exact(&mut read).await.unwrap();
                assert!(read == rest, "{first}");
                io.write_all(&vec![9; 200_000]).await.unwrap();
                io.flush().await.unwrap();
                let mut thanks = [0; 6];
                io.read_exact(&mut thanks).await.unwrap();
                assert_eq!(&thanks, b"thanks");
                assert_eq!(io.tls.inbox.capacity() + io.tls.left.capacity(), 0, "idle");
            },
        );
        assert!(echoed);
    }
}

#[test]
fn both_ends_say_that_nothing_follows() {
    let ends = check(
        b"x",
        1,
        |client| {
            client.conn.send_close_notify();
            client.flush().unwrap();
            let mut rest = Vec::new();
            // An error if the router had not said so.
            client.read_to_end(&mut rest).unwrap()
        },
        async |io| {
            let mut rest = Vec::new();
            io.read_to_end(&mut rest).await.unwrap();
            io.write_all(b"last").await.unwrap();
            io.shutdown().await.unwrap();
        },
    );
    assert_eq!(ends, 4);
}

#[test]
fn an_end_without_a_word_is_an_error() {
    check(
        b"x",
        1,
        |client| client.sock.shutdown(std::net::Shutdown::Both).unwrap(),
        async |io| {
            let error = io.read_u8().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        },
    );
}

/// New keys, asked for again and again, and no answer to that is read: nothing piles up.
#[test]
fn who_asks_for_keys_and_reads_nothing_is_not_read() {
    check(
        b"x",
        1,
        |client| {
            for _ in 0..20_000 {
                client.conn.refresh_traffic_keys().unwrap();
                if client.conn.write_tls(&mut client.sock).is_err() {
                    return;
                }
            }
        },
        async |io| {
            for _ in 0..2_000 {
                let mut byte = [0];
                let read =
                    tokio::time::timeout(std::time::Duration::from_millis(1), io.read(&mut byte));
                let _ = read.await;
                assert!(io.tls.unsent.len() - io.sent < 2 * MOST_ANSWER_BYTES);
                if io.tls.unsent.len() - io.sent > MOST_ANSWER_BYTES {
                    break;
                }
            }
        },
    );
}
