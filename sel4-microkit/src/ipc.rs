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

#[cfg(any(selkie_board = "microkit", test))]
impl Source {
    /// Microkit's badges: bit 63 marks a call, bit 62 a fault; the rest is the channel or the child, or a bit for each
    /// channel that was signalled.
    pub(crate) fn of_microkit(badge: sel4::Badge) -> Self {
        const CALL: sel4::Badge = 1 << 63;
        const FAULT: sel4::Badge = 1 << 62;
        const CHANNEL: sel4::Badge = 0x3f;
        const CHILD: sel4::Badge = 0xff;
        if badge & FAULT != 0 {
            Self::Fault(badge & CHILD)
        } else if badge & CALL != 0 {
            Self::Call(badge & CHANNEL)
        } else {
            Self::Signals(badge)
        }
    }
}

/// Waits for the first event, after the PD's `init`.
pub(crate) fn receive_first(action: Option<DeferredAction>) -> Event {
    event(board::receive_first(action))
}

/// Answers the last call if there is an answer, does `action`, and waits for the next event.
pub(crate) fn receive(reply: Option<MessageInfo>, action: Option<DeferredAction>) -> Event {
    event(board::receive(reply.map(MessageInfo::into_inner), action))
}

fn event((info, badge): (sel4::MessageInfo, sel4::Badge)) -> Event {
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
    fn microkits_badges_tell_signals_calls_and_faults_apart() {
        assert_eq!(
            Source::of_microkit(1 << 61 | 1),
            Source::Signals(1 << 61 | 1)
        );
        assert_eq!(Source::of_microkit(1 << 63 | 61), Source::Call(61));
        assert_eq!(Source::of_microkit(1 << 62 | 61), Source::Fault(61));
    }

    #[test]
    fn a_set_lists_its_channels() {
        let set = ChannelSet(1 << 61 | 1 << 3 | 1);
        let indices: Vec<usize> = set.iter().map(|channel| channel.index()).collect();
        assert_eq!(indices, [0, 3, 61]);
        assert_eq!(set.display().to_string(), "{0, 3, 61}");
        assert!(set.contains(Channel::new(3)) && !set.contains(Channel::new(4)));
    }
}
