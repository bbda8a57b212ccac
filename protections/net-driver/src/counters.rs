//! The counters on the status page.

use channel::status::{Counter, Publisher};
use virtio_net::Counters;

/// Counters that a status page reads.
pub struct Published {
    received: Counter,
    sent: Counter,
    dropped: Counter,
    interrupts: Counter,
    notifications: Counter,
    resets: Counter,
    _publisher: Publisher,
}

impl Published {
    /// Publishes the counters, if somebody reads them.
    pub fn new() -> Option<Self> {
        let mut publisher = pd::status("status")?;
        let mut counter = |name| publisher.counter(name);
        Some(Self {
            received: counter("frames_received")?,
            sent: counter("frames_sent")?,
            dropped: counter("frames_dropped")?,
            interrupts: counter("interrupts")?,
            notifications: counter("device_notifications")?,
            resets: counter("device_resets")?,
            _publisher: publisher,
        })
    }

    /// Sets them.
    pub fn publish(&mut self, now: &Counters) {
        self.received.set(now.received);
        self.sent.set(now.sent);
        self.dropped.set(now.dropped);
        self.interrupts.set(now.interrupts);
        self.notifications.set(now.notifications);
        self.resets.set(now.resets);
    }
}
