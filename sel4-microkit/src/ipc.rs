//! The receive point: what came, from whom.

use core::fmt;

use crate::{Channel, Child, DeferredAction, MessageInfo, board};

/// What a PD's receive point delivers.
#[derive(Debug, Clone)]
pub enum Event {
    /// Signals.
    Notified(ChannelSet),
    /// A protected procedure call.
    Protected(Channel, MessageInfo),
    /// A child's fault.
    Fault(Child, MessageInfo),
}

/// Where an event comes from, as the badge tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Signals on these channels, one bit each.
    Signals(u64),
    /// A call on this channel.
    Call(u64),
    /// A fault of this child.
    Fault(u64),
}

/// Answers the last call if there is an answer, does `action`, and waits for the next event.
pub(crate) fn receive(reply: Option<MessageInfo>, action: Option<DeferredAction>) -> Event {
    let (info, badge) = board::receive(reply.map(MessageInfo::into_inner), action);
    match board::source(badge) {
        Source::Signals(bits) => Event::Notified(ChannelSet(bits)),
        Source::Call(index) => {
            Event::Protected(Channel::new(index as usize), MessageInfo::from_inner(info))
        }
        Source::Fault(index) => {
            Event::Fault(Child::new(index as usize), MessageInfo::from_inner(info))
        }
    }
}

/// The channels of one wake-up.
#[derive(Debug, Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelSet(u64);

impl ChannelSet {
    /// Whether the channel was signalled.
    pub fn contains(&self, channel: Channel) -> bool {
        self.0 & (1 << channel.index()) != 0
    }

    /// The channels, by ascending identifier.
    pub fn iter(&self) -> impl Iterator<Item = Channel> + use<> {
        let bits = self.0;
        (0..62)
            .filter(move |index| bits & (1 << index) != 0)
            .map(Channel::new)
    }

    /// The identifiers as text, such as `{0, 3}`.
    pub fn display(&self) -> DisplayChannelSet<'_> {
        DisplayChannelSet(self)
    }
}

/// See [`ChannelSet::display`].
pub struct DisplayChannelSet<'a>(&'a ChannelSet);

impl fmt::Display for DisplayChannelSet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (position, channel) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            write!(f, "{separator}{}", channel.index())?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_lists_its_channels() {
        let set = ChannelSet(1 << 61 | 1 << 3 | 1);
        let indices: Vec<usize> = set.iter().map(|channel| channel.index()).collect();
        assert_eq!(indices, [0, 3, 61]);
        assert_eq!(set.display().to_string(), "{0, 3, 61}");
        assert!(set.contains(Channel::new(3)) && !set.contains(Channel::new(4)));
    }
}
