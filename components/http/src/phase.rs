//! What a connection is busy with.

use alloc::boxed::Box;

use crate::access_log::Note;
use crate::body::BodyReader;
use crate::budget::Share;
use crate::connection::Outcome;
use crate::framing::{BodyLength, Framing, Persistence};
use crate::limits::Limits;
use crate::outgoing::Outgoing;
use crate::router::Upload;

pub(crate) enum Phase {
    Head,
    Upload {
        upload: Box<dyn Upload>,
        body: BodyReader,
        /// Bytes of the interim response that are still to be written.
        interim: &'static [u8],
        keep: Persistence,
        /// The fields from the request for the access log.
        note: Option<Note>,
    },
    Respond {
        outgoing: Outgoing,
        then: Then,
        _memory: Option<Share>,
    },
    Skip(BodyReader),
    Linger,
    Over(Outcome),
}

/// What follows a response.
pub(crate) enum Then {
    Next(Persistence),
    Skip(Persistence, BodyReader),
    Close,
}

impl Then {
    /// What to do with the body of a request that was answered without it. After an answered
    /// `100-continue` the client may or may not send it, so the connection ends.
    pub(crate) fn after(limits: &Limits, framing: Framing) -> Self {
        let body = BodyReader::new(framing.body, limits.skipped_body);
        match framing.body {
            _ if framing.keep == Persistence::Close => Self::Close,
            BodyLength::None | BodyLength::Known(0) => Self::Next(framing.keep),
            _ if framing.expects_continue => Self::Close,
            BodyLength::Known(length) if length > limits.skipped_body => Self::Close,
            BodyLength::Known(_) | BodyLength::Chunked => Self::Skip(framing.keep, body),
        }
    }

    pub(crate) fn next(keep: Persistence) -> Self {
        match keep {
            Persistence::Close => Self::Close,
            keep => Self::Next(keep),
        }
    }

    pub(crate) fn keep(&self) -> Persistence {
        match self {
            Self::Next(keep) | Self::Skip(keep, _) => *keep,
            Self::Close => Persistence::Close,
        }
    }
}

impl core::fmt::Debug for Phase {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Head => "Head",
            Self::Upload { .. } => "Upload",
            Self::Respond { .. } => "Respond",
            Self::Skip(_) => "Skip",
            Self::Linger => "Linger",
            Self::Over(_) => "Over",
        })
    }
}
