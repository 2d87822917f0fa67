//! The views: what each asks for, in which orders, and its columns.

/// What fills the screen below the head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum View {
    #[default]
    Overview,
    Sessions,
    Slow,
    Ended,
    Topics,
    Procedures,
}

/// How a value is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Count,
    Rate,
    Bytes,
    Millis,
}

/// A head, the key in a row, how it is shown, and its width; 0: what is left.
pub(super) type Column = (&'static str, &'static str, Kind, u16);

impl View {
    pub(super) const ALL: [Self; 6] =
        [Self::Overview, Self::Sessions, Self::Slow, Self::Ended, Self::Topics, Self::Procedures];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Sessions => "Sessions",
            Self::Slow => "Slow",
            Self::Ended => "Ended",
            Self::Topics => "Topics",
            Self::Procedures => "Procedures",
        }
    }

    pub(super) fn next(self) -> Self {
        let at = Self::ALL.iter().position(|view| *view == self).unwrap_or_default();
        Self::ALL[(at + 1) % Self::ALL.len()]
    }

    /// The path that is asked, and the key of the rows in its answer.
    pub(super) const fn list(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Overview => None,
            Self::Sessions | Self::Slow => Some(("/api/sessions", "sessions")),
            Self::Ended => Some(("/api/sessions/closed", "sessions")),
            Self::Topics => Some(("/api/topics", "topics")),
            Self::Procedures => Some(("/api/procedures", "procedures")),
        }
    }

    /// The orders that `s` goes through.
    pub(super) const fn sorts(self) -> &'static [&'static str] {
        match self {
            Self::Sessions => &["pending", "messages", "sent", "age"],
            Self::Slow => &["pending", "oldest"],
            Self::Topics => &["rate", "events", "subscribers"],
            Self::Overview | Self::Ended | Self::Procedures => &[],
        }
    }

    /// Whether its rows are sessions that are open.
    pub(super) const fn has_open_sessions(self) -> bool {
        matches!(self, Self::Sessions | Self::Slow)
    }

    /// Whether the router filters; it does so with sessions.
    pub(super) const fn is_searched(self) -> bool {
        matches!(self, Self::Sessions | Self::Slow | Self::Ended)
    }

    pub(super) const fn columns(self) -> &'static [Column] {
        match self {
            Self::Overview => &[],
            Self::Sessions => OPEN,
            Self::Slow => SLOW,
            Self::Ended => ENDED,
            Self::Topics => TOPICS,
            Self::Procedures => PROCEDURES,
        }
    }
}

/// Those of the columns, from the left, that fit into so much width; the first ones in any case.
pub(super) fn fitting(columns: &'static [Column], width: u16) -> &'static [Column] {
    let mut taken = 0;
    let fits = |(.., width_of): &&Column| {
        taken += if *width_of == 0 { LEAST_WIDTH } else { *width_of };
        let fits = taken <= width;
        taken += GAP;
        fits
    };
    let count = columns.iter().take_while(fits).count();
    &columns[..count.max(2).min(columns.len())]
}

/// Of the column that takes what is left.
const LEAST_WIDTH: u16 = 11;

/// Between two columns.
const GAP: u16 = 1;

/// Of the shards in the overview; what stands in a cell is made where it is drawn.
pub(super) const SHARDS: &[Column] = &[
    ("SHARD", "shard", Kind::Text, 5),
    ("LOAD", "", Kind::Text, 16),
    ("SESSIONS", "", Kind::Count, 9),
    ("MAIL", "", Kind::Bytes, 9),
    ("PENDING", "", Kind::Bytes, 9),
    ("SILENT FOR S", "", Kind::Rate, 12),
];

const OPEN: &[Column] = &[
    ("SESSION", "session", Kind::Text, 16),
    ("AUTHID", "authid", Kind::Text, 0),
    ("PENDING", "pending_bytes", Kind::Bytes, 9),
    ("REFUSED", "refused_bytes", Kind::Bytes, 9),
    ("MESSAGES", "messages_received", Kind::Count, 11),
    ("SENT", "bytes_sent", Kind::Bytes, 9),
    ("AGE", "age_ms", Kind::Millis, 9),
];

const SLOW: &[Column] = &[
    ("SESSION", "session", Kind::Text, 16),
    ("AUTHID", "authid", Kind::Text, 0),
    ("PENDING", "pending_bytes", Kind::Bytes, 9),
    ("REFUSED", "refused_bytes", Kind::Bytes, 9),
    ("OLDEST", "oldest_ms", Kind::Millis, 9),
    ("DROPPED", "events_dropped", Kind::Count, 11),
    ("AGE", "age_ms", Kind::Millis, 9),
];

const ENDED: &[Column] = &[
    ("SESSION", "session", Kind::Text, 16),
    ("AUTHID", "authid", Kind::Text, 0),
    ("REASON", "reason", Kind::Text, 24),
    ("BY", "closed_by", Kind::Text, 8),
    ("LASTED", "duration_ms", Kind::Millis, 9),
];

const TOPICS: &[Column] = &[
    ("TOPIC", "uri", Kind::Text, 0),
    ("REALM", "realm", Kind::Text, 10),
    ("PER SECOND", "rate", Kind::Rate, 10),
    ("EVENTS/S", "event_rate", Kind::Rate, 8),
    ("SUBSCRIBERS", "subscribers", Kind::Count, 11),
];

const PROCEDURES: &[Column] = &[
    ("PROCEDURE", "uri", Kind::Text, 0),
    ("REALM", "realm", Kind::Text, 10),
    ("PER SECOND", "rate", Kind::Rate, 10),
    ("CALLS", "calls", Kind::Count, 13),
    ("CALLEES", "callees", Kind::Count, 7),
];
