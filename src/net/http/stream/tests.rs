//! Streams in memory: what comes first, and who is given up when.

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::runtime::Builder;
use tokio::time::sleep;

use super::*;

fn run(test: impl Future<Output = ()>) {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

#[test]
fn what_was_read_comes_before_what_is_to_come() {
    run(async {
        let (mut peer, inner) = duplex(64);
        peer.write_all(b"later").await.unwrap();
        let mut stream = Begun::new(b"sooner, ".to_vec(), inner);
        let mut some = [0; 3];
        stream.read_exact(&mut some).await.unwrap();
        assert_eq!(&some, b"soo");
        drop(peer);
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "ner, later");
    });
}

#[test]
fn who_takes_nothing_is_given_up() {
    run(async {
        let (_peer, inner) = duplex(64);
        let mut stream = Patient::new(inner, Duration::from_millis(20));
        let error = stream.write_all(&[0; 100]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    });
}

/// However slowly, as long as it is some bytes in a while.
#[test]
fn who_takes_enough_is_waited_for() {
    run(async {
        let (mut peer, inner) = duplex(LEAST_BYTES);
        let reading = tokio::spawn(async move {
            let mut taken = 0;
            let mut buffer = vec![0; LEAST_BYTES];
            while taken < 4 * LEAST_BYTES {
                sleep(Duration::from_millis(2)).await;
                taken += peer.read(&mut buffer).await.unwrap();
            }
            peer
        });
        // Its time is over several times: a wait of an hour would hang here.
        let mut stream = Patient::new(inner, Duration::from_millis(500));
        stream.write_all(&vec![7; 4 * LEAST_BYTES]).await.unwrap();
        stream.flush().await.unwrap();
        assert!(stream.deadline.is_none(), "nothing is refused any more");
        drop(reading.await.unwrap());
    });
}

/// Bytes now and then are not enough: they keep a place for ever.
#[test]
fn who_takes_a_little_is_given_up() {
    run(async {
        let (mut peer, inner) = duplex(64);
        tokio::spawn(async move {
            while peer.read_u8().await.is_ok() {
                sleep(Duration::from_millis(1)).await;
            }
        });
        let mut stream = Patient::new(inner, Duration::from_millis(30));
        let error = stream.write_all(&vec![7; 2 * LEAST_BYTES]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    });
}
