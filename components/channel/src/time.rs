//! The `time` interface: the clock PD's monotonic time, wall-clock time and alarms.

use alloc::boxed::Box;

use crate::call::{Call, CallError, Repeated, arguments, exact};

const NOW: u64 = 1;
const WALL: u64 = 2;
const SET_ALARM: u64 = 3;
/// The deadline that means "no alarm": it would be 584 years after the start.
const NEVER: u64 = u64::MAX;

/// The client's end.
pub struct Time {
    server: Box<dyn Call>,
}

impl Time {
    /// A client of the server that `call` reaches.
    pub fn new(call: impl Call + 'static) -> Self {
        Self {
            server: Box::new(Repeated(call)),
        }
    }

    /// Nanoseconds since the system's start; never goes back.
    ///
    /// # Errors
    /// When the server does not answer as asked.
    pub fn now(&self) -> Result<u64, CallError> {
        exact(&*self.server, NOW, &[]).map(|[time]| time)
    }

    /// Nanoseconds since 1970-01-01 00:00 UTC.
    ///
    /// # Errors
    /// [`CallError::Unavailable`] when the board has no clock that knows the date.
    pub fn wall(&self) -> Result<u64, CallError> {
        exact(&*self.server, WALL, &[]).map(|[time]| time)
    }

    /// Asks for one notification at `deadline` (as [`Time::now`] counts), which may have passed already;
    /// replaces the alarm that was set before. `None` takes it back.
    ///
    /// # Errors
    /// When the server does not answer as asked.
    pub fn set_alarm(&self, deadline: Option<u64>) -> Result<(), CallError> {
        let deadline = deadline.map_or(NEVER, |time| time.min(NEVER - 1));
        exact(&*self.server, SET_ALARM, &[deadline]).map(|[]| ())
    }
}

/// A request as the server sees it.
///
/// [`Request::Now`] and [`Request::Wall`] are answered with one word of nanoseconds, the alarm with none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Asks for the monotonic time.
    Now,
    /// Asks for the wall-clock time.
    Wall,
    /// Sets the caller's alarm, or takes it back.
    SetAlarm(Option<u64>),
}

impl Request {
    /// Checks a request.
    ///
    /// # Errors
    /// [`CallError::BadRequest`] for another label or word count.
    pub fn decode(label: u64, words: &[u64]) -> Result<Self, CallError> {
        match label {
            NOW => arguments(words).map(|[]| Self::Now),
            WALL => arguments(words).map(|[]| Self::Wall),
            SET_ALARM => arguments(words)
                .map(|[deadline]| Self::SetAlarm((deadline != NEVER).then_some(deadline))),
            _ => Err(CallError::BadRequest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OK, Reply};

    struct Server;

    impl Call for Server {
        fn call(&self, label: u64, request: &[u64], reply: &mut [u64]) -> Reply {
            let (answer, count) = match Request::decode(label, request) {
                Ok(Request::Now) => (5, 1),
                Ok(Request::Wall) => {
                    return Reply {
                        label: CallError::Unavailable.label(),
                        count: 0,
                    };
                }
                Ok(Request::SetAlarm(Some(7) | None)) => (0, 0),
                other => panic!("{other:?}"),
            };
            reply[..count].fill(answer);
            Reply { label: OK, count }
        }
    }

    #[test]
    fn every_request_is_understood() {
        let time = Time::new(Server);
        assert_eq!(time.now(), Ok(5));
        assert_eq!(time.wall(), Err(CallError::Unavailable));
        assert_eq!(time.set_alarm(Some(7)), Ok(()));
        assert_eq!(time.set_alarm(None), Ok(()));
        assert_eq!(Request::decode(NOW, &[1]), Err(CallError::BadRequest));
        assert_eq!(Request::decode(9, &[]), Err(CallError::BadRequest));
    }
}
