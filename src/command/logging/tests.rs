//! What the log's thread does with a stream that fails, and what is left of a panic.

use std::io::{Error, ErrorKind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// A stream that can be told to fail.
#[derive(Clone, Default)]
struct Stream {
    fails: Arc<AtomicBool>,
    text: Arc<Mutex<Vec<u8>>>,
}

impl Stream {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.text.lock().unwrap())).unwrap()
    }

    fn dispatch(&self) -> Dispatch {
        let stream = self.clone();
        dispatch(LogFormat::Json, EnvFilter::new("warn"), move || stream.clone(), None).0
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(Error::from(ErrorKind::WouldBlock));
        }
        self.text.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn output(stream: &Stream) -> Output<Stream> {
    Output::new(stream.clone(), Arc::default(), Arc::default(), stream.dispatch())
}

#[test]
fn lines_wait_for_each_other_and_stay_whole() {
    let stream = Stream::default();
    let mut output = output(&stream);
    let line = format!("{}\n", "x".repeat(WRITE_BYTES / 2));
    output.write_all(line.as_bytes()).unwrap();
    assert_eq!(stream.take(), "");
    output.write_all(line.as_bytes()).unwrap();
    assert_eq!(stream.take(), line, "two are more than one write takes");
    output.flush().unwrap();
    assert_eq!(stream.take(), line);
}

#[test]
fn lines_that_a_stream_refuses_are_told_once_it_takes_some() {
    let stream = Stream::default();
    let mut output = output(&stream);
    let line = format!("{}\n", "x".repeat(WRITE_BYTES / 2));
    stream.fails.store(true, Ordering::SeqCst);
    for _ in 0..4 {
        output.write_all(line.as_bytes()).unwrap();
    }
    output.flush().unwrap();
    assert_eq!(stream.take(), "");
    stream.fails.store(false, Ordering::SeqCst);
    output.flush().unwrap();
    let text = stream.take();
    let notice = text.strip_prefix(&line).expect("the first line was gathered, the others lost");
    assert!(notice.contains("\"lines\":3"), "{notice}");
    output.flush().unwrap();
    assert_eq!(stream.take(), "", "told once");
}

#[test]
fn losses_are_told_while_the_queue_never_runs_empty() {
    let stream = Stream::default();
    let mut output = output(&stream);
    output.failed.store(7, Ordering::Relaxed);
    for _ in 1..QUEUE_LINES {
        output.write_all(b"x\n").unwrap();
    }
    assert!(!stream.take().contains("lost"));
    output.write_all(b"x\n").unwrap();
    assert!(stream.take().contains("\"lines\":7"));
}

#[test]
fn a_panic_is_a_line_of_the_log() {
    let stream = Stream::default();
    let own = thread::current().id();
    let usual = Arc::new(panic::take_hook());
    let others = Arc::clone(&usual);
    panic::set_hook(Box::new(move |panic| {
        // Tests that fail meanwhile speak for themselves.
        if thread::current().id() == own { tell_panic(panic) } else { others(panic) }
    }));
    dispatcher::with_default(&stream.dispatch(), || {
        panic::catch_unwind(|| panic!("out of {}", "ink")).unwrap_err();
    });
    panic::set_hook(Box::new(move |panic| usual(panic)));
    let line = stream.take();
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.contains("\"ERROR\"") && line.contains("panicked: out of ink"), "{line}");
    assert!(line.contains("a_panic_is_a_line") && line.contains("logging/tests.rs:"), "{line}");
}
