//! Lifetimes that routers advertise (RFC 4861, section 4.6.2).

use smoltcp::time::{Duration, Instant};

use super::message::Lifetime;

/// The value that means no end.
const INFINITY: Lifetime = u32::MAX;

/// When a lifetime ends; `None`: never.
pub(crate) type End = Option<Instant>;

/// Returns the end of a lifetime in seconds that begins now.
pub(crate) fn end(lifetime: Lifetime, now: Instant) -> End {
    (lifetime != INFINITY).then(|| now + Duration::from_secs(u64::from(lifetime)))
}

/// Whether a lifetime is over.
pub(crate) fn is_over(end: End, now: Instant) -> bool {
    end.is_some_and(|end| end <= now)
}

/// Whether the first lifetime ends later than the second.
pub(crate) fn is_later(first: End, second: End) -> bool {
    match (first, second) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(first), Some(second)) => first > second,
    }
}
