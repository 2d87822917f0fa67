//! What the server's tests cannot set up: files that change while they are sent or found, and a
//! directory that is gone.

use std::fs;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use hyper::Request;
use hyper::body::Body;

use super::*;

fn ask(path: &str) -> Ask {
    let (head, ()) = Request::builder().uri(path).body(()).unwrap().into_parts();
    Ask::new(&head, path, &Disk::default())
}

fn files(folder: &Path) -> Files {
    Files::new(folder, None, &None)
}

/// What was just written may be written again at the same time.
#[test]
fn a_tag_is_weak_while_its_file_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    fs::write(&path, "1").unwrap();
    let tag = |answer: &Response<Content>| answer.headers()[ETAG].to_str().unwrap().to_owned();
    let new = files(folder.path()).answer(&ask("/a.txt"));
    assert!(tag(&new).starts_with("W/"));
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let file = File::options().write(true).open(&path).unwrap();
    file.set_modified(at(1_000)).unwrap();
    let old = files(folder.path()).answer(&ask("/a.txt"));
    assert!(!tag(&old).starts_with("W/"));
    fs::write(&path, "22").unwrap();
    file.set_modified(at(1_000)).unwrap();
    assert_ne!(tag(&old), tag(&files(folder.path()).answer(&ask("/a.txt"))), "another length");
    // A clock that is wrong makes no date that HTTP does not have.
    for modified in [at(1 << 40), SystemTime::UNIX_EPOCH - Duration::from_secs(9)] {
        file.set_modified(modified).unwrap();
        assert_eq!(files(folder.path()).answer(&ask("/a.txt")).status(), 200);
    }
}

/// What was promised cannot be sent: the connection is to break off, and not to be filled up.
#[test]
fn a_file_that_becomes_shorter_is_an_error() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.bin");
    fs::write(&path, vec![7; 3 * PIECE_BYTES]).unwrap();
    let mut answer = files(folder.path()).answer(&ask("/a.bin"));
    fs::write(&path, vec![7; PIECE_BYTES]).unwrap();
    let content = answer.body_mut();
    assert_eq!(content.size_hint().exact(), Some(3 * PIECE_BYTES as u64));
    let sent = runtime.block_on(async {
        let mut sent = 0;
        loop {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut *content).poll_frame(cx)).await;
            match frame {
                Some(Ok(frame)) => sent += frame.into_data().unwrap().len(),
                Some(Err(error)) => {
                    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
                    return sent;
                }
                None => panic!("it has ended in order"),
            }
        }
    });
    assert_eq!(sent, PIECE_BYTES);
    let mut cx = Context::from_waker(Waker::noop());
    let again = Pin::new(content).poll_frame(&mut cx);
    assert!(matches!(again, Poll::Ready(Some(Err(_)))), "and stays one");
}

#[test]
fn a_directory_that_is_gone_is_no_404() {
    let folder = tempfile::tempdir().unwrap();
    let files = files(&folder.path().join("gone"));
    for _ in 0..3 {
        assert_eq!(files.answer(&ask("/a")).status(), 503);
    }
    assert_eq!(files.answer(&ask("/.env")).status(), 404);
}
