//! Leaves what is logged in the tail that operators see, besides the lines themselves.

use std::fmt::{self, Debug, Write};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use stentor::control::{HIDDEN, LogLine, LogTail, QUOTING};
use stentor::wamp::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// On whichever thread logs.
pub(super) struct Tail(pub(super) Arc<LogTail>);

impl<S: Subscriber> Layer<S> for Tail {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        let Said { message, fields } = said;
        let message = if target == QUOTING { HIDDEN.to_owned() } else { message };
        self.0.push(LogLine { time: now(), level, target, message, fields });
    }
}

/// What an event says, in texts.
#[derive(Default)]
struct Said {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Said {
    fn take(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if field.name() == "message" {
            // Into a string.
            let _ = self.message.write_fmt(value);
        } else {
            self.fields.push((field.name(), value.to_string()));
        }
    }
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.take(field, format_args!("{value:?}"));
    }
}

fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "when a line was logged")]
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
