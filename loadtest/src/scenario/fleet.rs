//! The generator threads of a run: one [`Engine`] each, with its part of the clients. Between two
//! tasks all engines are here, so what they counted is read without locks; the first works on the
//! calling thread, the others on threads of their own.

use std::mem;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use rustix::thread::gettid;

use super::run::Plan;
use crate::engine::exchange::{Exchange, Part};
use crate::engine::{Access, Engine};
use crate::error::{Context, Error, Result};
use crate::measure::Clock;
use crate::measure::board::{Board, Counts};
use crate::measure::recorder::Recorder;
use crate::measure::window::Window;
use crate::role::Role;
use crate::router::pin;
use crate::wire::Serializer;

pub struct Fleet {
    /// Never empty.
    engines: Vec<Engine>,
    /// One for each engine but the first.
    workers: Vec<Worker>,
    /// Of all threads, in the order of the engines.
    thread_ids: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
enum Task {
    /// Opens all clients: so many at a time, or so many per second.
    Open { parallel: usize, per_second: Option<f64> },
    /// Lets traffic flow until then.
    Run { until_ns: u64 },
    /// Lets subscribers lose their connections and connect again.
    ComeAgain { since_ns: u64 },
    /// Takes leave of all connections, for so many seconds at most.
    Leave { seconds: u64 },
}

/// A thread that does what it is told with the engine it is given, and gives it back.
struct Worker {
    /// `None` once there will be no more tasks.
    tasks: Option<SyncSender<(Engine, Task)>>,
    done: Receiver<(Engine, Result<()>)>,
    thread: Option<JoinHandle<()>>,
}

type Client = (Role, Serializer);

impl Fleet {
    /// Shares the clients of `plan` out to its threads. One in `event_stride` events gives a
    /// latency.
    pub fn new(plan: &mut Plan<'_>, event_stride: u32) -> Result<Self> {
        let common = plan.common;
        let threads = common.threads.get();
        let clients = deal(mem::take(&mut plan.clients), threads);
        let windows = share(mem::take(&mut plan.windows), &clients);
        let callers = clients.iter().flatten().filter(|(role, _)| is_caller(role)).count();
        let clock = Clock::start();
        let mut engines = Vec::new();
        for (thread, (clients, windows)) in clients.into_iter().zip(windows).enumerate() {
            let part = Part { thread, threads, publishers: windows.len(), callers };
            let mut board = Board::new(clock, part, windows, event_stride);
            common.payload().text().clone_into(&mut board.text);
            let access = Access { progressive: plan.progressive, ..common.access()? };
            let mut engine = Engine::new(access, clients, board)?;
            if common.spin {
                engine.spin();
            }
            engines.push(engine);
        }
        if threads > 1 {
            let wakers: Result<Vec<_>> = engines.iter().map(Engine::make_waker).collect();
            let exchange = Exchange::new(wakers?);
            engines.iter_mut().for_each(|engine| engine.join_exchange(exchange.clone()));
        }
        let mut fleet = Self { engines, workers: Vec::new(), thread_ids: vec![own_thread_id()] };
        for number in 1..threads {
            let cores = &common.generator_core;
            let core = cores.get(number % cores.len().max(1)).filter(|_| cores.len() > 1);
            let (worker, id) = Worker::start(number, core.copied())?;
            fleet.workers.push(worker);
            fleet.thread_ids.push(id);
        }
        Ok(fleet)
    }

    /// Opens all clients and waits until they are ready for traffic: `parallel` are under way at a
    /// time, or `per_second` are opened.
    pub fn open_all(&mut self, parallel: usize, per_second: Option<f64>) -> Result<()> {
        let threads = self.engines.len();
        let parallel = parallel.div_ceil(threads);
        self.run(Task::Open { parallel, per_second: per_second.map(|rate| rate / threads as f64) })
    }

    /// Lets traffic flow until `until_ns`.
    pub fn run_until(&mut self, until_ns: u64) -> Result<()> {
        self.run(Task::Run { until_ns })
    }

    /// Lets traffic flow until `until_ns`, or until `done` says so, which is asked now and then.
    pub fn run_while(&mut self, until_ns: u64, done: impl Fn(&Self) -> bool) -> Result<()> {
        while self.now_ns() < until_ns && !done(self) {
            self.run_until(until_ns.min(self.now_ns() + SLICE_NS))?;
        }
        Ok(())
    }

    /// Cuts all returning subscribers off and lets them connect again; their time counts from
    /// `since_ns`.
    pub fn come_again(&mut self, since_ns: u64) -> Result<()> {
        self.run(Task::ComeAgain { since_ns })
    }

    /// Says GOODBYE on all connections, waits for the answers for `seconds` at most, and closes
    /// them: how many were answered.
    pub fn leave_all(&mut self, seconds: u64) -> Result<u64> {
        let before = self.counts().left;
        self.run(Task::Leave { seconds })?;
        Ok(self.counts().left - before)
    }

    pub fn now_ns(&self) -> u64 {
        self.engines[0].board.now_ns()
    }

    /// What all threads counted.
    pub fn counts(&self) -> Counts {
        self.boards().map(|board| board.counts).sum()
    }

    /// True when nothing is under way any more.
    pub fn is_drained(&self) -> bool {
        self.boards().all(Board::is_drained)
    }

    /// CPU time so far that each thread had nothing to do with, nanoseconds.
    pub fn idle_ns(&self) -> impl Iterator<Item = u64> {
        self.engines.iter().map(Engine::idle_ns)
    }

    pub fn thread_ids(&self) -> &[u32] {
        &self.thread_ids
    }

    pub fn boards(&self) -> impl Iterator<Item = &Board> {
        self.engines.iter().map(|engine| &engine.board)
    }

    pub fn boards_mut(&mut self) -> impl Iterator<Item = &mut Board> {
        self.engines.iter_mut().map(|engine| &mut engine.board)
    }

    pub fn engines_mut(&mut self) -> impl Iterator<Item = &mut Engine> {
        self.engines.iter_mut()
    }

    /// What one kind of latency was over all threads.
    pub fn recorder(&self, of: impl Fn(&Board) -> &Recorder) -> Recorder {
        let mut boards = self.boards().map(of);
        let mut all = boards.next().cloned().expect("a fleet has engines");
        boards.for_each(|other| all.add(other));
        all
    }

    /// What one kind of latency was over all threads, and is no longer.
    pub fn take_phase(&mut self, of: fn(&mut Board) -> &mut Recorder) -> Recorder {
        let mut boards = self.boards_mut().map(of);
        let first = boards.next().expect("a fleet has engines");
        let mut all = first.clone();
        first.begin_phase();
        for other in boards {
            all.add(other);
            other.begin_phase();
        }
        all
    }

    /// The recorder that holds what all threads recorded since their last interval was taken.
    pub fn merge_interval(&mut self, of: impl Fn(&mut Board) -> &mut Recorder) -> &mut Recorder {
        let (first, others) = self.engines.split_first_mut().expect("a fleet has engines");
        let first = of(&mut first.board);
        others.iter_mut().for_each(|engine| first.take_interval_of(of(&mut engine.board)));
        first
    }

    /// Ends the threads: the board that all of them would have written together, what each client
    /// was, and how many messages were inflated.
    pub fn into_parts(mut self) -> (Board, Vec<Role>, u64) {
        let inflated = self.engines.iter().map(Engine::inflated).sum();
        let mut engines = mem::take(&mut self.engines).into_iter();
        let first = engines.next().expect("a fleet has engines");
        let (mut board, mut roles) = (first.board, first.roles);
        for engine in engines {
            board.add(engine.board);
            roles.extend(engine.roles);
        }
        (board, roles, inflated)
    }

    fn run(&mut self, task: Task) -> Result<()> {
        for (worker, engine) in self.workers.iter().zip(self.engines.drain(1..)) {
            if let Some(tasks) = &worker.tasks {
                tasks.send((engine, task)).map_err(|_| Error::GeneratorThread)?;
            }
        }
        let mut outcome = task.perform(&mut self.engines[0]);
        for worker in &self.workers {
            let (engine, own) = worker.done.recv().map_err(|_| Error::GeneratorThread)?;
            self.engines.push(engine);
            outcome = outcome.and(own);
        }
        outcome
    }
}

impl Task {
    fn perform(self, engine: &mut Engine) -> Result<()> {
        match self {
            Self::Open { parallel, per_second } => engine.open_all(parallel, per_second),
            Self::Run { until_ns } => engine.run_until(until_ns, |_| false),
            Self::ComeAgain { since_ns } => engine.come_again(since_ns),
            Self::Leave { seconds } => engine.leave_all(seconds),
        }
    }
}

impl Worker {
    /// Starts a thread, on `core` if given: the worker and the thread's id.
    fn start(number: usize, core: Option<usize>) -> Result<(Self, u32)> {
        let (tasks, inbox) = sync_channel::<(Engine, Task)>(1);
        let (outbox, done) = sync_channel(1);
        let (say_ready, ready) = sync_channel(1);
        let work = move || {
            let pinned = core.map_or(Ok(()), pin);
            if say_ready.send(pinned.map(|()| own_thread_id())).is_err() {
                return;
            }
            for (mut engine, task) in inbox {
                let outcome = task.perform(&mut engine);
                if outbox.send((engine, outcome)).is_err() {
                    return;
                }
            }
        };
        let named = thread::Builder::new().name(format!("generator-{number}"));
        let thread = named.spawn(work).context("starting a generator thread")?;
        let id = ready.recv().map_err(|_| Error::GeneratorThread)??;
        Ok((Self { tasks: Some(tasks), done, thread: Some(thread) }, id))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            // If it panicked, that was an error of the run.
            let _ = thread.join();
        }
    }
}

/// Who is in which thread: the clients of one kind in turn, so that publisher or caller `n` is in
/// thread `n % threads`.
fn deal(clients: Vec<Client>, threads: usize) -> Vec<Vec<Client>> {
    let mut parts: Vec<Vec<Client>> = (0..threads).map(|_| Vec::new()).collect();
    let mut next = [0; Role::KINDS];
    for client in clients {
        let next = &mut next[client.0.kind()];
        parts[*next % threads].push(client);
        *next += 1;
    }
    parts
}

/// Each thread's windows, by the subscribers that it has.
fn share(windows: Vec<Window>, clients: &[Vec<Client>]) -> Vec<Vec<Window>> {
    if let [_] = clients {
        return vec![windows];
    }
    let mut receivers = vec![vec![0; clients.len()]; windows.len()];
    for (thread, clients) in clients.iter().enumerate() {
        for number in clients.iter().flat_map(|(role, _)| role.counted_publishers()) {
            receivers[number as usize][thread] += 1;
        }
    }
    let mut parts: Vec<Vec<Window>> = clients.iter().map(|_| Vec::new()).collect();
    for (window, receivers) in windows.iter().zip(&receivers) {
        for (part, own) in parts.iter_mut().zip(window.split(receivers)) {
            part.push(own);
        }
    }
    parts
}

const fn is_caller(role: &Role) -> bool {
    matches!(role, Role::Caller(_))
}

fn own_thread_id() -> u32 {
    gettid().as_raw_nonzero().get().unsigned_abs()
}

/// How often a condition on all threads is looked at.
const SLICE_NS: u64 = 5_000_000;
