//! The `stentor` command: arguments, configuration, log, start.
//!
//! Runs on the main thread, and decides nothing about clients: `stentor::config` says what is
//! valid, and the router does the rest.

mod command;
mod shell;

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Parser;
use crossbeam_channel::{Receiver, bounded, never, select};
use stentor::config::{self, Config, ConfigError, DEFAULT_FILE, Environment, Loader};
use stentor::control::{Control, Order};
use stentor::net::{self, Inherited, Server, StartError, Vigil};
use tracing::{error, info, warn};

use command::cli::{self, CertCommand, Cli, Command, ConfigCommand};
use command::explain::{self, Verdict};
use command::logging::Log;
use command::operator::OperatorError;
use command::reload::Reload;
use command::service::Manager;
use command::signals::{self, Orders, Stop};
use command::stopping::Stopping;
use command::{
    busiest, cert, changing, explain_live, health, import, nodes, secrets, sessions, standing, top,
    trace,
};

/// Gives memory back after a burst, on a thread of its own; see PERFORMANCE.md.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        None => start(&cli.run),
        Some(Command::Run(flags)) => start(&flags),
        Some(Command::Check { file, connect }) => check(&file, connect),
        Some(Command::Cert { command: CertCommand::Fingerprint { file } }) => {
            print_or_fail(cert::names(&file))
        }
        Some(Command::Cert { command: CertCommand::Dev { dir, name } }) => {
            print_or_fail(cert::make(&dir, &name))
        }
        Some(Command::Passwd(flags)) => print_or_fail(secrets::passwd(&flags)),
        Some(Command::Keygen(flags)) => print_or_fail(secrets::keygen(&flags)),
        Some(Command::Health(flags)) => match health::health(&flags) {
            Ok(text) => print(&text),
            Err(unhealthy) => {
                fail(&unhealthy);
                ExitCode::from(unhealthy.exit_code())
            }
        },
        Some(Command::Sessions(flags)) => answer(sessions::sessions(&flags)),
        Some(Command::Topics(flags)) => answer(busiest::topics(&flags)),
        Some(Command::Procedures(flags)) => answer(busiest::procedures(&flags)),
        Some(Command::Roles(flags)) => answer(standing::roles(&flags)),
        Some(Command::Shards(flags)) => answer(standing::shards(&flags)),
        Some(Command::Nodes(flags)) => answer(nodes::nodes(&flags)),
        Some(Command::Explain(flags)) if flags.live.live => explain_now(&flags),
        Some(Command::Top(flags)) => match top::top(flags) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                fail(&error);
                ExitCode::from(NO_ANSWER)
            }
        },
        Some(Command::Reload(flags)) => answer(changing::reload(&flags)),
        Some(Command::Kick(flags)) => answer(changing::kick(&flags)),
        Some(Command::Drain(flags)) => answer(changing::drain(&flags)),
        Some(Command::LogLevel(flags)) => answer(changing::log_level(&flags)),
        Some(Command::Trace(flags)) => {
            answer(trace::trace(&flags, &mut io::stdout().lock()).map(|()| String::new()))
        }
        Some(Command::Changes(flags)) => answer(changing::changes(&flags)),
        Some(Command::Explain(flags)) => explain(&flags),
        Some(Command::Shell(command)) => shell::run(&command),
        Some(Command::Config { command: ConfigCommand::Default }) => print(DEFAULT_FILE),
        Some(Command::Config { command: ConfigCommand::Schema }) => print(&config::schema()),
        Some(Command::Config { command: ConfigCommand::ImportCrossbar(flags) }) => {
            import_crossbar(&flags)
        }
        Some(Command::Config { command: ConfigCommand::Show(flags) }) => {
            print_or_fail(flags.show())
        }
    }
}

fn start(flags: &cli::RunFlags) -> ExitCode {
    let config = match flags.load() {
        Ok(config) => config,
        Err(error) => return fail(&error),
    };
    // Before there are threads.
    let passed = match Inherited::from_env() {
        Ok(passed) => passed,
        Err(error) => return fail(&error),
    };
    let log = match Log::start(&config.log, config.is_observed()) {
        Ok(log) => log,
        Err(fault) => return fail(&fault),
    };
    match run(config, passed, flags, &log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log.print(&last_words(&*error));
            ExitCode::FAILURE
        }
    }
}

/// What ended the router besides an error of its own.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error("the thread {0} has ended although nobody had told the router to stop; this is a bug")]
    LostThread(String),
    #[error("the start had not ended {0} ms after the signal to stop, and was given up")]
    SlowStart(u64),
    #[error("the start had not ended at the second signal to stop, and was given up")]
    Hurried,
}

/// Starts, and serves until told to stop.
fn run(
    mut config: Config,
    passed: Inherited,
    flags: &cli::RunFlags,
    log: &Log,
) -> Result<(), Box<dyn Error>> {
    // Whoever tries the router out by flags alone wants it to be gone.
    let orders = signals::watch(!config.development)?;
    info!(version = env!("CARGO_PKG_VERSION"), shards = config.shard_count(), "starting");
    for warning in config.warnings() {
        warn!("{warning}");
    }
    if let Some(few) = net::fit_to_descriptors(&mut config) {
        warn!("{few}");
    }
    let manager = Manager::from_env();
    let config = Arc::new(config);
    let (go_on, given_up) = bounded(0);
    let started = start_server(Arc::clone(&config), passed, given_up)?;
    select! {
        recv(started) -> server => {
            let server = server.map_err(|_| Stopped::LostThread("start".to_owned()))??;
            announce(&config, &server);
            let control = Control::start(&config, server.view())?;
            if let Some(control) = &control {
                log.tail().into_iter().for_each(|tail| control.show_log(tail));
                if let Some(url) = control.url() {
                    info!(url, "listening for operators");
                }
            }
            let _beats = manager.follow(Vigil::new(server.view()))?;
            let reload = Reload::new(flags, log, config.warnings());
            serve(server, control, &orders, reload, &manager)
        }
        recv(orders.stop) -> _ => {
            manager.stopping();
            drop(go_on);
            let wait_ms = config.timeouts.close_ms;
            let server = select! {
                recv(started) -> server => server.map_err(|_| Stopped::LostThread("start".into()))?,
                recv(orders.stop) -> _ => return Err(Stopped::Hurried.into()),
                default(Duration::from_millis(wait_ms)) => {
                    return Err(Stopped::SlowStart(wait_ms).into());
                }
            };
            match server {
                Err(StartError::Stopped) => Ok(()),
                server => Ok(server?.stop()?),
            }
        }
    }
}

/// Starts on a thread of its own, which can be left if it waits for a disk that does not answer.
fn start_server(
    config: Arc<Config>,
    passed: Inherited,
    given_up: Receiver<()>,
) -> io::Result<Receiver<Result<Server, StartError>>> {
    let (sender, started) = bounded(1);
    let start = move || {
        // Nobody waits for it any more if the process is about to end.
        let _ = sender.send(Server::start_until(&config, passed, &given_up));
    };
    thread::Builder::new().name("start".to_owned()).spawn(start)?;
    Ok(started)
}

fn serve(
    server: Server,
    control: Option<Control>,
    orders: &Orders,
    mut reload: Reload<'_>,
    manager: &Manager,
) -> Result<(), Box<dyn Error>> {
    let set_ready = |is_ready| control.iter().for_each(|control| control.set_ready(is_ready));
    set_ready(true);
    manager.ready();
    let mut operators = control.as_ref().map_or_else(never, |control| control.orders().clone());
    let mut lost = None;
    let mut stopping = Stopping::new();
    loop {
        select! {
            recv(orders.stop) -> order => {
                set_ready(false);
                manager.stopping();
                // Without the thread of the signals nobody could stop it later.
                if stopping.follow(order.unwrap_or(Stop::Now), &server) {
                    break;
                }
            }
            recv(stopping.begin) -> _ => stopping.go_on(&server),
            recv(stopping.drained) -> _ => {
                info!("drained: no session is left");
                break;
            }
            recv(orders.reload) -> _ => {
                manager.reloading();
                // Said in the log, and on the admin listener.
                drop(reload.run(&server, control.as_ref()));
                manager.ready();
            }
            recv(operators) -> order => match order {
                Ok(Order::Drain(within_ms, answer)) => {
                    set_ready(false);
                    manager.stopping();
                    answer.give(stopping.drain_within(within_ms, &server));
                }
                Ok(Order::Reload(answer)) => {
                    manager.reloading();
                    answer.give(reload.run(&server, control.as_ref()));
                    manager.ready();
                }
                Ok(Order::LogLevel(level, answer)) => answer.give(reload.set_level(level)),
                // The thread `control` has gone, which was logged; the router goes on without it.
                Err(_) => operators = never(),
            },
            recv(server.ended_threads()) -> name => {
                let thread = name.unwrap_or_default();
                error!(thread, "a thread of the router has ended, stopping");
                lost = Some(Stopped::LostThread(thread));
                break;
            }
        }
    }
    set_ready(false);
    control.iter().for_each(Control::set_ending);
    manager.stopping();
    manager.ending();
    server.stop()?;
    lost.map_or(Ok(()), |lost| Err(lost.into()))
}

/// One line for each listener, with the addresses that clients connect to.
pub(crate) fn announce(config: &Config, server: &Server) {
    for (listener, address) in config.listeners.iter().zip(server.current_addresses()) {
        let bound = listener.bound_to(address);
        // Only said where it is no matter of course.
        let networks = config.networks(&listener.address);
        let urls = [bound.urls(), bound.web_urls()].concat().join(" ");
        info!(listener = bound.label(), urls, networks, "listening");
    }
}

/// Says which permission decides about a request. The exit code says what it decides: 0 if it is
/// allowed, 1 if it is denied, 2 if there is no answer, or an authorizer has it.
fn explain(flags: &cli::ExplainFlags) -> ExitCode {
    let loader = Loader::in_environment(flags.config.as_deref(), &Environment::of_process());
    let config = match loader.and_then(Loader::finish) {
        Ok(config) => config,
        Err(error) => {
            fail(&error);
            return ExitCode::from(NO_ANSWER);
        }
    };
    let file = flags.config.as_deref().map(|file| file.display().to_string());
    match explain::explain(&config, &file.unwrap_or_default(), &flags.question()) {
        Ok(answer) => {
            let printed = print(&answer.text);
            match answer.verdict {
                Verdict::Allowed => printed,
                Verdict::Denied => ExitCode::FAILURE,
                Verdict::Asks(_) => ExitCode::from(NO_ANSWER),
            }
        }
        Err(error) => {
            fail(&error);
            ExitCode::from(NO_ANSWER)
        }
    }
}

/// The same of a running router; whoever cannot be asked, or refuses, has the exit codes of the
/// other commands, but for 1.
fn explain_now(flags: &cli::ExplainFlags) -> ExitCode {
    match explain_live::explain_live(&flags.live_question()) {
        Ok(answer) => {
            let printed = print(&answer.text);
            match answer.is_allowed {
                Some(true) => printed,
                Some(false) => ExitCode::FAILURE,
                None => ExitCode::from(NO_ANSWER),
            }
        }
        Err(error) => {
            fail(&error);
            match error.code() {
                shell::fault::ERROR => ExitCode::from(NO_ANSWER),
                code => code.into(),
            }
        }
    }
}

/// Makes a configuration from crossbar's, and says on standard error what is to be said of it.
fn import_crossbar(flags: &import::ImportFlags) -> ExitCode {
    match import::import(flags) {
        Ok(outcome) => {
            // Without standard error the exit code alone has to tell.
            let _ = io::stderr().lock().write_all(outcome.notes.as_bytes());
            let printed = print(&outcome.text);
            if outcome.is_partial { ExitCode::FAILURE } else { printed }
        }
        Err(error) => {
            fail(&error);
            ExitCode::from(NO_ANSWER)
        }
    }
}

/// Says what a router with this file would run, or what is wrong with it.
fn check(file: &Path, connects: bool) -> ExitCode {
    let config = match load(file) {
        Ok(config) => config,
        Err(error) => return fail(&error),
    };
    if config.cluster.name.is_some() && !cfg!(feature = "cluster") {
        return fail(&StartError::NoClusters);
    }
    if let Err(error) = net::check_certificates(&config) {
        return fail(&error);
    }
    if let Err(error) = net::check_clients(&config) {
        return fail(&error);
    }
    let mut text = format!("{}: ok\n{}", file.display(), config.summary());
    for warning in config.warnings() {
        text.push_str(&format!("warning: {warning}\n"));
    }
    if connects {
        match connect(&config) {
            Ok(found) => text.push_str(&found),
            Err(error) => return fail(&error),
        }
    }
    print(&text)
}

#[cfg(feature = "cluster")]
fn connect(config: &Config) -> Result<String, command::connect::ConnectError> {
    command::connect::connect(config)
}

/// A file with a cluster does not come so far.
#[cfg(not(feature = "cluster"))]
const fn connect(_: &Config) -> Result<String, StartError> {
    Err(StartError::NoClusters)
}

/// The configuration of a file, with the environment over it.
fn load(file: &Path) -> Result<Config, ConfigError> {
    Loader::in_environment(Some(file), &Environment::of_process()).and_then(Loader::finish)
}

fn print_or_fail(made: Result<String, impl Display>) -> ExitCode {
    match made {
        Ok(text) => print(&text),
        Err(error) => fail(&error),
    }
}

/// What a running router has answered. The exit codes are those of the shell's commands.
fn answer(made: Result<String, OperatorError>) -> ExitCode {
    match made {
        Ok(text) => print(&text),
        Err(error) => {
            fail(&error);
            error.code().into()
        }
    }
}

fn print(text: &str) -> ExitCode {
    // The reader may have gone, as in `stentor config default | head`.
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Ends a command that has no log.
fn fail(error: &dyn Display) -> ExitCode {
    // Without standard error the exit code alone has to tell.
    let _ = io::stderr().lock().write_all(last_words(error).as_bytes());
    ExitCode::FAILURE
}

fn last_words(error: &(impl Display + ?Sized)) -> String {
    format!("{}\n", error.to_string().trim_end())
}

/// The exit code of `explain` where a question has no answer, of `top` without a terminal, and of
/// an import that finds no configuration; that of a wrong command line.
const NO_ANSWER: u8 = 2;
