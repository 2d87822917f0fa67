//! One run in its phases: open all clients, warm up, measure, drain, verify. Scenarios say who the
//! clients are and put the phases together.

use indicatif::{ProgressBar, ProgressStyle};

use super::accounts::{Mark, generator_use, router_use};
use super::fleet::Fleet;
use crate::cli::Common;
use crate::engine::Engine;
use crate::error::Result;
use crate::measure::SECOND_NS;
use crate::measure::board::{Board, Counts};
use crate::measure::fairness::Fairness;
use crate::measure::interval::{Intervals, Kind};
use crate::measure::recorder::{Latency, Recorder};
use crate::measure::series::Sample;
use crate::measure::window::Window;
use crate::procfs::{Meter, Reading};
use crate::report::{Report, command_line};
use crate::role::Role;
use crate::router::{Router, allow_connections};
use crate::wire::Serializer;

/// Who takes part, and how fast they send.
pub struct Plan<'a> {
    pub scenario: &'a str,
    pub common: &'a Common,
    pub clients: Vec<(Role, Serializer)>,
    /// One per publisher.
    pub windows: Vec<Window>,
    /// Open loop, messages per second; closed loop if absent.
    pub publish_rate: Option<f64>,
    pub call_rate: Option<f64>,
    /// Sessions opened per second; [`Common::connect_parallel`] at a time if absent.
    pub join_rate: Option<f64>,
    pub pacing: String,
    pub description: String,
    /// Whether calls and results come in parts, which the clients then announce.
    pub progressive: bool,
}

pub struct Run<'a> {
    pub fleet: Fleet,
    plan: PlanText<'a>,
    router: Option<Meter>,
    own: Meter,
    start: Mark,
    end: Mark,
    series: Vec<Sample>,
    /// Of phases that were taken for themselves.
    phases: Option<Recorders>,
    /// For a histogram log, if one is asked for.
    intervals: Option<Intervals>,
    closed_loop: bool,
}

/// Of events, of calls, and of how late the generator was.
pub(super) type Recorders = [Recorder; 3];

/// What stays of the plan once its clients live in the engine.
struct PlanText<'a> {
    scenario: &'a str,
    common: &'a Common,
    serializer: String,
    pacing: String,
    description: String,
    publish_rate: Option<f64>,
    call_rate: Option<f64>,
}

impl<'a> Run<'a> {
    /// Opens all clients of `plan`; the cost of that is what a report shows until
    /// [`Run::measure`] is called.
    pub fn open(mut plan: Plan<'a>, router: Option<&Router>) -> Result<Self> {
        let Plan { common, clients, .. } = &plan;
        allow_connections(clients.len())?;
        let steady = clients.iter().filter(|(role, _)| matches!(role, Role::Subscriber(_))).count();
        let mut serializer = match common.url.transport.language() {
            Some(language) => language.to_owned(),
            None => serializer_names(clients),
        };
        if common.deflate {
            serializer += ", compressed";
        }
        let parallel = common.connect_parallel;
        let mut run = Self {
            fleet: Fleet::new(&mut plan, if steady > 16 { EVENT_STRIDE } else { 1 })?,
            plan: PlanText {
                scenario: plan.scenario,
                common: plan.common,
                serializer,
                pacing: plan.pacing,
                description: plan.description,
                publish_rate: plan.publish_rate,
                call_rate: plan.call_rate,
            },
            router: router.map(Router::meter),
            own: Meter::of_self(),
            start: Mark::default(),
            end: Mark::default(),
            series: Vec::new(),
            phases: None,
            intervals: plan.common.output.hdr.is_some().then(Intervals::begin),
            closed_loop: [plan.publish_rate, plan.call_rate, plan.join_rate] == [None; 3],
        };
        run.start = run.mark();
        run.fleet.open_all(parallel, plan.join_rate)?;
        run.end = run.mark();
        run.fleet.engines_mut().for_each(Engine::set_running);
        Ok(run)
    }

    /// Traffic without measuring, after a moment without any.
    ///
    /// Linux takes a connection for an interactive one if it sent a request right after an answer,
    /// as joining does, and answers its segments late: it is the *router's* next write that makes
    /// it acknowledge two at once, and pays for that. A client that has been quiet for a moment
    /// acknowledges when it reads. Subscribers are quiet clients, so that is what is measured.
    pub fn warm_up(&mut self) -> Result<()> {
        self.fleet.run_until(self.fleet.now_ns() + SETTLING_NS)?;
        let now_ns = self.fleet.now_ns();
        self.begin_sending(self.plan.publish_rate, self.plan.call_rate);
        self.fleet.engines_mut().for_each(Engine::prime);
        let warmup_ns = self.plan.common.warmup.as_nanos() as u64;
        self.fleet.run_until(now_ns + warmup_ns)
    }

    /// Sends at another rate from now on, in open loop.
    pub fn set_pace(&mut self, rate: f64) {
        let of = |planned: Option<f64>| planned.map(|_| rate);
        self.begin_sending(of(self.plan.publish_rate), of(self.plan.call_rate));
    }

    fn begin_sending(&mut self, publish_rate: Option<f64>, call_rate: Option<f64>) {
        let now_ns = self.fleet.now_ns();
        for engine in self.fleet.engines_mut() {
            engine.set_pace(now_ns, publish_rate, call_rate);
            engine.board.sending = true;
        }
    }

    /// Measures for `duration_ns`, with a sample for the series each interval.
    pub fn measure(&mut self, duration_ns: u64) -> Result<()> {
        self.begin_shares();
        self.start = self.measure_more(duration_ns, None)?;
        Ok(())
    }

    /// Measures another part of the run: where it began. What is due since `since_ns` counts, or
    /// what is due from now on.
    pub(super) fn measure_more(&mut self, duration_ns: u64, since_ns: Option<u64>) -> Result<Mark> {
        let start = self.mark();
        let (start_ns, end_ns) = (start.at_ns, start.at_ns + duration_ns);
        self.set_measured((since_ns.unwrap_or(start_ns), end_ns));
        let interval_ns = self.plan.common.output.interval_ns(duration_ns);
        let progress = self.progress_bar(duration_ns);
        let mut before = start.clone();
        let first = self.series.last().map_or(0.0, |sample| sample.at_s);
        for tick in 1.. {
            let until_ns = end_ns.min(start_ns + tick * interval_ns);
            self.fleet.run_until(until_ns)?;
            let now = self.mark();
            let sample = self.sample(first + seconds(start_ns, now.at_ns), &before, &now);
            show_progress(&progress, now.at_ns - start_ns, &sample);
            self.series.push(sample);
            before = now;
            if until_ns == end_ns {
                break;
            }
        }
        progress.finish_and_clear();
        self.end = before;
        Ok(start)
    }

    /// Lets the report begin at an earlier mark.
    pub(super) fn begin_at(&mut self, start: Mark) {
        self.start = start;
    }

    /// Where the measured part, or the last of several, begins.
    pub(super) const fn start(&self) -> &Mark {
        &self.start
    }

    /// Where the measured part ends.
    pub(super) const fn end(&self) -> &Mark {
        &self.end
    }

    /// Measures until `done` says so, which is asked every [`TICK_NS`] and told what the router's
    /// process used so far; `None` if that has ended, or is not known.
    pub fn measure_while(&mut self, done: impl FnMut(Option<Reading>) -> bool) -> Result<()> {
        self.begin_measuring();
        self.tick_while(self.start.clone(), done)?;
        self.end_measuring();
        Ok(())
    }

    /// The same of a part that is held against the measured one: no count of the report and no
    /// log has it. What was due in it, and came no later than [`ASIDE_NS`] after it.
    pub(super) fn measure_aside(
        &mut self,
        done: impl FnMut(Option<Reading>) -> bool,
    ) -> Result<Recorders> {
        let start = self.mark();
        self.set_measured((start.at_ns, u64::MAX));
        let end = self.tick_while(start, done)?;
        self.fleet.boards_mut().for_each(|board| board.measured_ns.1 = end.at_ns);
        self.carry_on(ASIDE_NS)?;
        for kind in [Kind::Event, Kind::Call, Kind::Published] {
            self.fleet.merge_interval(|board| of_kind(board, kind)).take_interval();
        }
        Ok(self.take_recorders())
    }

    fn tick_while(
        &mut self,
        mut now: Mark,
        mut done: impl FnMut(Option<Reading>) -> bool,
    ) -> Result<Mark> {
        while !done(now.router) {
            self.fleet.run_until(now.at_ns + TICK_NS)?;
            now = self.mark();
        }
        Ok(now)
    }

    /// The measured part begins, and lasts until [`Run::end_measuring`].
    pub fn begin_measuring(&mut self) {
        self.begin_shares();
        self.start = self.mark();
        self.set_measured((self.start.at_ns, u64::MAX));
    }

    pub fn end_measuring(&mut self) {
        let end = self.mark();
        self.fleet.boards_mut().for_each(|board| board.measured_ns.1 = end.at_ns);
        for kind in [Kind::Event, Kind::Call, Kind::Published] {
            self.take_interval(kind, (self.start.at_ns, end.at_ns));
        }
        self.end = end;
    }

    /// Stops sending and waits until nothing moves, for subscribers that no window counts.
    pub fn settle(&mut self) -> Result<()> {
        self.drain()?;
        let mut progress = self.fleet.counts().progress();
        loop {
            self.fleet.run_until(self.fleet.now_ns() + QUIET_NS)?;
            let now = self.fleet.counts().progress();
            if now == progress {
                return Ok(());
            }
            progress = now;
        }
    }

    /// Stops sending and waits until everything owed has arrived, or nothing moves any more.
    pub fn drain(&mut self) -> Result<()> {
        self.fleet.boards_mut().for_each(|board| board.sending = false);
        let mut progress = self.fleet.counts().progress();
        loop {
            let deadline_ns = self.fleet.now_ns() + DRAIN_PATIENCE_NS;
            self.fleet.run_while(deadline_ns, Fleet::is_drained)?;
            let now = self.fleet.counts().progress();
            if self.fleet.is_drained() || now == progress {
                break;
            }
            progress = now;
        }
        // What is doubled or stray may still come.
        self.fleet.run_until(self.fleet.now_ns() + AFTERMATH_NS)
    }

    /// What was due in the measured part may have come later.
    fn end_intervals(&mut self) {
        let rest_ns = (self.end.at_ns, self.fleet.now_ns());
        for kind in [Kind::Event, Kind::Call, Kind::Published] {
            self.take_interval(kind, rest_ns);
        }
        self.take_interval(Kind::Join, (0, rest_ns.1));
    }

    /// Verifies what is left to verify and writes the report.
    pub fn report(mut self) -> Report {
        self.end_intervals();
        let Self { fleet, plan, start, end, closed_loop, series, intervals, phases, .. } = self;
        let (mut board, roles, inflated) = fleet.into_parts();
        board.tally.lost += roles.iter().map(|role| lost(role, &board)).sum::<u64>();
        board.tally.unacknowledged += roles.iter().map(unacknowledged).sum::<u64>();
        if let Some([events, calls, lag]) = &phases {
            board.events.add(events);
            board.calls.add(calls);
            board.lag.add(lag);
        }
        let fairness = fairness(&roles);
        let wall_ns = end.at_ns - start.at_ns;
        let difference = |of: fn(&Counts) -> u64| of(&end.counts) - of(&start.counts);
        let per_second = |count: u64| count as f64 * 1e9 / wall_ns.max(1) as f64;
        let (publications, events) = (difference(|c| c.publications), difference(|c| c.events));
        let (calls, received) = (difference(|c| c.results), difference(|c| c.received_bytes));
        let router = router_use(&start, &end, events, calls);
        let generator = generator_use(&start, &end, closed_loop, router.as_ref());
        let mut report = Report {
            scenario: plan.scenario.to_owned(),
            label: plan.common.label.clone().unwrap_or_default(),
            url: plan.common.url.to_string(),
            serializer: plan.serializer,
            pacing: plan.pacing,
            clients: plan.description,
            payload_bytes: plan.common.payload_bytes,
            delivery_bytes: board.delivery_bytes,
            seconds: wall_ns as f64 / 1e9,
            publications,
            events,
            calls,
            joins: difference(|c| c.joined),
            publications_per_s: per_second(publications),
            events_per_s: per_second(events),
            calls_per_s: per_second(calls),
            received_bytes_per_s: per_second(received),
            event_latency: board.events.latency(),
            call_latency: board.calls.latency(),
            acknowledge_latency: board.acknowledgements.latency(),
            join_latency: board.joins.latency(),
            return_latency: board.returns.latency(),
            send_lag: board.lag.latency(),
            fairness,
            router,
            generator,
            verified: board.tally,
            steps: Vec::new(),
            knee_rate: None,
            turns: None,
            figures: Vec::new(),
            failures: Vec::new(),
            clean: board.tally.is_clean(),
            thresholds: Vec::new(),
            series,
            intervals,
            command: command_line(),
        };
        add_figures(&mut report, &start.counts, &end.counts);
        if plan.common.deflate {
            report.add_figure("different messages inflated", inflated as f64, "");
        }
        if let Some(error) = board.last_error {
            report.fail(format!("the router said: {error}"));
        }
        report
    }

    /// Lets `duration_ns` pass without sending: how many cores the router used meanwhile.
    pub fn idle(&mut self, duration_ns: u64) -> Result<Option<f64>> {
        let before = self.mark();
        self.fleet.run_until(before.at_ns + duration_ns)?;
        let after = self.mark();
        Ok(router_use(&before, &after, 0, 0).map(|usage| usage.cores))
    }

    /// The router's resident memory before the first connection, bytes; valid until
    /// [`Run::measure`].
    pub fn opening_rss(&self) -> Option<u64> {
        self.start.router.map(|reading| reading.rss)
    }

    /// The latency of events since the measured part began; what comes is another phase.
    pub fn take_event_phase(&mut self) -> Option<Latency> {
        let phase = self.fleet.recorder(|board| &board.events).latency();
        self.fleet.boards_mut().for_each(|board| board.events.begin_phase());
        phase
    }

    /// The latency of events, or of calls, and how late the generator was, since the last phase
    /// or the beginning. The report has them all.
    pub fn take_phase(&mut self) -> (Option<Latency>, Option<Latency>) {
        let recorders = self.take_recorders();
        let [events, calls, lag] = &recorders;
        let found = (events.latency().or_else(|| calls.latency()), lag.latency());
        self.keep(recorders);
        found
    }

    /// Events, calls and lag since they were last taken, which the report does not have then.
    pub(super) fn take_recorders(&mut self) -> Recorders {
        let of: [fn(&mut Board) -> &mut Recorder; 3] =
            [|board| &mut board.events, |board| &mut board.calls, |board| &mut board.lag];
        of.map(|of| self.fleet.take_phase(of))
    }

    /// Lets the report have what was taken.
    pub(super) fn keep(&mut self, recorders: Recorders) {
        match &mut self.phases {
            None => self.phases = Some(recorders),
            Some(all) => all.iter_mut().zip(recorders).for_each(|(sum, one)| sum.add(&one)),
        }
    }

    /// The router's resident memory now, bytes.
    pub fn router_rss(&mut self) -> Option<u64> {
        Some(self.router_reading()?.rss)
    }

    /// What the router's process has used so far.
    pub fn router_reading(&mut self) -> Option<Reading> {
        self.router.as_mut()?.read()
    }

    /// Lets traffic go on without measuring.
    pub fn carry_on(&mut self, duration_ns: u64) -> Result<()> {
        self.fleet.run_until(self.fleet.now_ns() + duration_ns)
    }

    /// Lets the router's highest memory count from now on.
    pub fn reset_peak(&self) {
        if let Some(meter) = &self.router {
            meter.reset_peak();
        }
    }

    /// Latencies of what should be sent in this span count, and what subscribers receive of it.
    fn set_measured(&mut self, span_ns: (u64, u64)) {
        self.fleet.boards_mut().for_each(|board| board.measured_ns = span_ns);
    }

    /// What subscribers receive counts from now on.
    pub fn begin_shares(&mut self) {
        for engine in self.fleet.engines_mut() {
            for role in &mut engine.roles {
                if let Role::Subscriber(subscriber) = role {
                    subscriber.begin_share();
                }
            }
        }
    }

    fn mark(&mut self) -> Mark {
        let mut own = self.own.read().unwrap_or_default();
        own.run_ns = own.run_ns.saturating_sub(self.fleet.idle_ns().sum());
        let times = self.fleet.thread_ids().iter().zip(self.fleet.idle_ns());
        let threads = times.map(|(id, idle_ns)| self.own.thread(*id).without(idle_ns)).collect();
        Mark {
            router: self.router.as_mut().and_then(Meter::read),
            own,
            threads,
            at_ns: self.fleet.now_ns(),
            counts: self.fleet.counts(),
        }
    }

    fn sample(&mut self, at_s: f64, before: &Mark, now: &Mark) -> Sample {
        let wall_ns = (now.at_ns - before.at_ns).max(1) as f64;
        let rate =
            |of: fn(&Counts) -> u64| (of(&now.counts) - of(&before.counts)) as f64 * 1e9 / wall_ns;
        let span_ns = (before.at_ns, now.at_ns);
        let events = self.take_interval(Kind::Event, span_ns);
        let calls = self.take_interval(Kind::Call, span_ns);
        self.take_interval(Kind::Published, span_ns);
        let cpu = |before: &Reading, now: &Reading| {
            now.run_ns.saturating_sub(before.run_ns) as f64 / wall_ns
        };
        Sample {
            at_s,
            publications_per_s: rate(|c| c.publications),
            events_per_s: rate(|c| c.events),
            calls_per_s: rate(|c| c.results),
            event_p50: events.map(|(p50, _)| p50),
            event_p99: events.map(|(_, p99)| p99),
            call_p50: calls.map(|(p50, _)| p50),
            call_p99: calls.map(|(_, p99)| p99),
            router_rss: now.router.map(|reading| reading.rss),
            router_cpu: before.router.zip(now.router).map(|(before, now)| cpu(&before, &now)),
            generator_cpu: cpu(&before.own, &now.own),
        }
    }

    /// Percentiles 50 and 99 since the last interval of `kind`, whose latencies go into the log if
    /// there is one.
    fn take_interval(&mut self, kind: Kind, span_ns: (u64, u64)) -> Option<(u64, u64)> {
        let recorder = self.fleet.merge_interval(|board| of_kind(board, kind));
        if let Some(intervals) = &mut self.intervals {
            intervals.add(kind, span_ns.0, span_ns.1, recorder.interval_counts());
        }
        recorder.take_interval()
    }

    fn progress_bar(&self, duration_ns: u64) -> ProgressBar {
        if self.plan.common.output.quiet || duration_ns < 2 * SECOND_NS {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("  {bar:30} {percent:>3} %  {msg}")
            .expect("the template is constant");
        ProgressBar::new(duration_ns / 1_000_000).with_style(style)
    }
}

const fn of_kind(board: &mut Board, kind: Kind) -> &mut Recorder {
    match kind {
        Kind::Event => &mut board.events,
        Kind::Call => &mut board.calls,
        Kind::Published => &mut board.acknowledgements,
        Kind::Join => &mut board.joins,
    }
}

fn fairness(roles: &[Role]) -> Option<Fairness> {
    let share = |role: &Role| match role {
        Role::Subscriber(subscriber) => subscriber.share(),
        _ => None,
    };
    Fairness::of(&roles.iter().filter_map(share).collect::<Vec<_>>())
}

/// What never arrived at a client.
fn lost(role: &Role, board: &Board) -> u64 {
    match role {
        Role::Subscriber(subscriber) => subscriber.lost(board),
        Role::Caller(caller) => caller.lost(),
        Role::Latecomer(latecomer) => latecomer.lost(),
        _ => 0,
    }
}

fn unacknowledged(role: &Role) -> u64 {
    match role {
        Role::Publisher(publisher) => publisher.unacknowledged(),
        _ => 0,
    }
}

/// What came besides, between two marks.
fn add_figures(report: &mut Report, start: &Counts, end: &Counts) {
    if report.events > 0 {
        let bytes = (end.event_bytes - start.event_bytes) as f64 / report.events as f64;
        report.add_figure("bytes per event on the wire", bytes, "B");
    }
    let progressive = end.progressive_results - start.progressive_results;
    if progressive > 0 {
        let per_second = progressive as f64 / report.seconds.max(1e-9);
        report.add_figure("progressive results", per_second, "/s");
    }
}

fn show_progress(progress: &ProgressBar, done_ns: u64, sample: &Sample) {
    use crate::report::table::{bytes, duration, grouped};
    progress.set_position(done_ns / 1_000_000);
    let p99 = sample.event_p99.or(sample.call_p99).map_or(String::new(), duration);
    let memory = sample.router_rss.map_or(String::new(), |rss| format!(", router {}", bytes(rss)));
    progress.set_message(format!(
        "{} events/s, {} calls/s, p99 {p99}{memory}",
        grouped(sample.events_per_s as u64),
        grouped(sample.calls_per_s as u64)
    ));
}

fn serializer_names(clients: &[(Role, Serializer)]) -> String {
    let used = |wanted: &&Serializer| clients.iter().any(|(_, serializer)| serializer == *wanted);
    Serializer::ALL.iter().filter(used).map(|one| one.name()).collect::<Vec<_>>().join("+")
}

fn seconds(from_ns: u64, to_ns: u64) -> f64 {
    (to_ns - from_ns) as f64 / 1e9
}

/// With many subscribers one event in so many gives a latency; a prime, to meet all of them.
const EVENT_STRIDE: u32 = 13;
/// Longer than Linux ever delays an acknowledgement (`TCP_DELACK_MAX`, 200 ms).
const SETTLING_NS: u64 = SECOND_NS / 4;
/// Short, for a router that grows by gigabytes per second is to be seen before it dies.
pub const TICK_NS: u64 = SECOND_NS / 20;
/// What comes later after a part that was measured aside gives no latency.
pub(super) const ASIDE_NS: u64 = SECOND_NS / 2;
const DRAIN_PATIENCE_NS: u64 = 3 * SECOND_NS;
/// Without an event for so long, nothing more is under way.
const QUIET_NS: u64 = SECOND_NS / 2;
const AFTERMATH_NS: u64 = SECOND_NS / 10;
