//! Commands that answer calls: arguments on their standard input, the result on their standard
//! output, each in a process group of its own that does not outlive its call.
//!
//! Bounds: the time of a run, bytes of its output, runs at a time and calls that wait for one.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use stentor_client::CallError;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::text::safe;
use super::value::{Arguments, binary, typed};

/// How commands are run.
pub(crate) struct Exec {
    pub(crate) command: String,
    pub(crate) time_limit: Duration,
    pub(crate) output_bytes: usize,
    /// The error of a command that fails.
    pub(crate) error_uri: String,
    /// One permit for each that may run.
    pub(crate) runs: Semaphore,
    pub(crate) waiting: AtomicUsize,
}

/// What a run has left behind.
struct Left {
    status: ExitStatus,
    stdout: Vec<u8>,
    /// Its beginning.
    stderr: Vec<u8>,
}

impl Exec {
    /// Runs the command once. Dropping the future kills what runs.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        input: Vec<u8>,
        variables: &[(&str, String)],
    ) -> Result<Arguments, CallError> {
        let _waiting = Waiting::enter(&self.waiting).ok_or_else(|| {
            let words = format!("{MOST_WAITING} calls wait for the command already");
            CallError::new("wamp.error.unavailable").arg(words)
        })?;
        let fault = |words: String| CallError::new(&*self.error_uri).arg(words);
        let _permit = self.runs.acquire().await.map_err(|error| fault(error.to_string()))?;
        let limit = self.time_limit.as_secs_f64();
        let ran = timeout(self.time_limit, self.run(&input, variables)).await;
        let left = ran
            .map_err(|_| {
                let words = format!("the command has not ended within {limit} s");
                CallError::new("wamp.error.timeout").arg(words)
            })?
            .map_err(|error| fault(format!("the command cannot be run: {error}")))?;
        if left.stdout.len() > self.output_bytes {
            let most = self.output_bytes;
            return Err(fault(format!("the command has written more than {most} bytes")));
        }
        if left.status.success() {
            return Ok(result(left.stdout));
        }
        let stderr = String::from_utf8_lossy(&left.stderr);
        let words = match stderr.trim() {
            "" => left.status.to_string(),
            stderr => safe(stderr),
        };
        let code = left.status.code().and_then(|code| u64::try_from(code).ok());
        Err(code.into_iter().fold(fault(words), |error, code| error.kwarg("exit_code", code)))
    }

    async fn run(&self, input: &[u8], variables: &[(&str, String)]) -> io::Result<Left> {
        let mut command = Command::new("sh");
        command.arg("-c").arg(&self.command).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, value) in variables {
            command.env(name, value);
        }
        let mut child = command.spawn()?;
        let mut group = Group::of(child.id());
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let feeding = async {
            if let Some(mut stdin) = stdin {
                // A command need not read what it is given.
                let _ = stdin.write_all(input).await;
            }
            Ok(())
        };
        let reading = async {
            let read = tokio::try_join!(
                beginning(stdout, self.output_bytes + 1, Rest::Left),
                beginning(stderr, STDERR_BYTES, Rest::Read),
            )?;
            io::Result::Ok(read)
        };
        let ((stdout, stderr), ()) = tokio::try_join!(reading, feeding)?;
        if stdout.len() > self.output_bytes {
            // It may go on for ever.
            drop(group);
            return Ok(Left { status: child.wait().await?, stdout, stderr });
        }
        let status = child.wait().await?;
        group.is_over = true;
        Ok(Left { status, stdout, stderr })
    }
}

/// What is done with what comes after the beginning.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    Left,
    /// So that whoever writes it need not wait.
    Read,
}

async fn beginning(
    source: Option<impl AsyncRead + Unpin>,
    most: usize,
    rest: Rest,
) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let Some(mut source) = source else { return Ok(bytes) };
    (&mut source).take(most as u64).read_to_end(&mut bytes).await?;
    if rest == Rest::Read {
        tokio::io::copy(&mut source, &mut tokio::io::sink()).await?;
    }
    Ok(bytes)
}

/// What a command has written: JSON, or a text without its last line's end, or binary data. An
/// object of `args` and `kwargs` alone is a whole result, and nothing is one without arguments.
fn result(stdout: Vec<u8>) -> Arguments {
    let text = match String::from_utf8(stdout) {
        Ok(text) => text,
        Err(error) => return Arguments::of(vec![binary(error.as_bytes())]),
    };
    let line = text.strip_suffix('\n').unwrap_or(&text);
    if line.trim().is_empty() {
        return Arguments::default();
    }
    match typed(line.trim()) {
        Ok(value) if is_whole(&value) => {
            serde_json::from_value(value.clone()).unwrap_or_else(|_| Arguments::of(vec![value]))
        }
        Ok(value) if value != line.trim() => Arguments::of(vec![value]),
        _ => Arguments::of(vec![line.into()]),
    }
}

fn is_whole(value: &Value) -> bool {
    let keys = value.as_object().map(|object| object.keys());
    keys.is_some_and(|mut keys| keys.len() > 0 && keys.all(|key| key == "args" || key == "kwargs"))
}

/// The processes of a run, which are killed when this is dropped before the run is over.
struct Group {
    id: Option<Pid>,
    is_over: bool,
}

impl Group {
    fn of(id: Option<u32>) -> Self {
        let id = id.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Self { id, is_over: false }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let (Some(id), false) = (self.id, self.is_over) {
            // They may have ended by themselves.
            let _ = kill_process_group(id, Signal::KILL);
        }
    }
}

/// One call more that waits or runs.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Option<Self> {
        let entered = Self(count);
        let before = count.fetch_add(1, Ordering::Relaxed);
        (before < MOST_WAITING).then_some(entered)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Of what a command that fails says.
const STDERR_BYTES: usize = 4 * 1024;

/// Calls that wait or run; more are refused.
const MOST_WAITING: usize = 1_024;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn exec(command: &str, seconds: f64) -> Arc<Exec> {
        Arc::new(Exec {
            command: command.to_owned(),
            time_limit: Duration::from_secs_f64(seconds),
            output_bytes: 1_000,
            error_uri: "com.failed".to_owned(),
            runs: Semaphore::new(1),
            waiting: AtomicUsize::new(0),
        })
    }

    fn run(command: &str, seconds: f64, input: &str) -> Result<Arguments, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let exec = exec(command, seconds);
        let variables = [("STENTOR_PROCEDURE", "com.x".to_owned())];
        let answer = exec.answer(input.into(), &variables);
        runtime.block_on(answer).map_err(|error| format!("{error:?}"))
    }

    fn arguments(args: Value, kwargs: Value) -> Arguments {
        serde_json::from_value(json!({"args": args, "kwargs": kwargs})).unwrap()
    }

    #[test]
    fn what_is_written_is_the_result() {
        for (stdout, args, kwargs) in [
            ("", json!([]), json!({})),
            ("\n", json!([]), json!({})),
            ("5\n", json!([5]), json!({})),
            ("\"5\"", json!(["5"]), json!({})),
            (" two words \n", json!([" two words "]), json!({})),
            ("{\"a\": 1}\n", json!([{"a": 1}]), json!({})),
            ("{}", json!([{}]), json!({})),
            ("{\"args\": [1, 2], \"kwargs\": {\"b\": 3}}", json!([1, 2]), json!({"b": 3})),
            ("{\"args\": 5}", json!([{"args": 5}]), json!({})),
            ("{no json}\n", json!(["{no json}"]), json!({})),
        ] {
            assert_eq!(result(stdout.into()), arguments(args, kwargs), "{stdout:?}");
        }
        assert_eq!(result(vec![0xff]), arguments(json!(["\0/w=="]), json!({})));
    }

    #[test]
    fn a_command_reads_its_arguments_and_may_leave_them() {
        let echoed = run("cat; echo \" $STENTOR_PROCEDURE\"", 30.0, "in").unwrap();
        assert_eq!(echoed, Arguments::of(vec!["in com.x".into()]));
        // More than a pipe holds, which nobody reads.
        let unread = run("echo 1", 30.0, &"x".repeat(1 << 20)).unwrap();
        assert_eq!(unread, Arguments::of(vec![1.into()]));
    }

    #[test]
    fn failures_and_bounds_are_errors() {
        assert!(run("echo no >&2; exit 3", 30.0, "").unwrap_err().contains("com.failed"));
        assert!(run("kill -9 $$", 30.0, "").unwrap_err().contains("com.failed"));
        assert!(run("yes", 30.0, "").unwrap_err().contains("com.failed"), "endless output");
        let flood = "i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901 >&2; \
                     i=$((i+1)); done; echo 1";
        assert_eq!(run(flood, 60.0, "").unwrap(), Arguments::of(vec![1.into()]));
        // What a command leaves running is over with it.
        let late = run("sleep 1000 & sleep 1000", 0.2, "").unwrap_err();
        assert!(late.contains("wamp.error.timeout"), "{late}");
    }

    #[test]
    fn calls_that_wait_are_bounded() {
        let count = AtomicUsize::new(MOST_WAITING - 1);
        let last = Waiting::enter(&count).unwrap();
        assert!(Waiting::enter(&count).is_none());
        drop(last);
        assert_eq!(count.load(Ordering::Relaxed), MOST_WAITING - 1, "all have left");
    }
}
