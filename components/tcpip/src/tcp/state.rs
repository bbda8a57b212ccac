//! The states of a connection (RFC 9293, section 3.3.2).

/// Where a connection is. LISTEN is not here: a listening port is an entry of the stack and has no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No connection.
    Closed,
    /// A SYN was sent, none was received.
    SynSent,
    /// SYNs were sent and received; the own one is not acknowledged.
    SynReceived,
    /// Data flows both ways.
    Established,
    /// The own side has closed; its FIN is not acknowledged.
    FinWait1,
    /// The own FIN is acknowledged; the peer still sends.
    FinWait2,
    /// The peer has closed; the own side still sends.
    CloseWait,
    /// Both have closed at the same time; the own FIN is not acknowledged.
    Closing,
    /// Both have closed, the peer first; the own FIN is not acknowledged.
    LastAck,
    /// Both have closed; repeated FINs are still answered.
    TimeWait,
}

impl State {
    /// Whether both SYNs are acknowledged (RFC 9293, section 3.5.2).
    pub fn is_synchronized(self) -> bool {
        !matches!(self, Self::Closed | Self::SynSent | Self::SynReceived)
    }

    /// Whether data from the peer is expected.
    pub fn receives_data(self) -> bool {
        matches!(self, Self::Established | Self::FinWait1 | Self::FinWait2)
    }

    /// Whether data or FIN may have to be sent.
    pub fn sends_data(self) -> bool {
        matches!(
            self,
            Self::Established | Self::CloseWait | Self::FinWait1 | Self::Closing | Self::LastAck
        )
    }

    /// Returns the state once the own side has closed.
    pub fn closed_here(self) -> Self {
        match self {
            Self::Established => Self::FinWait1,
            Self::CloseWait => Self::LastAck,
            other => other,
        }
    }

    /// Returns the state once the peer's FIN has arrived.
    pub fn closed_there(self) -> Self {
        match self {
            Self::Established => Self::CloseWait,
            Self::FinWait1 => Self::Closing,
            Self::FinWait2 => Self::TimeWait,
            other => other,
        }
    }

    /// Returns the state once the own FIN is acknowledged.
    pub fn close_acknowledged(self) -> Self {
        match self {
            Self::FinWait1 => Self::FinWait2,
            Self::Closing => Self::TimeWait,
            Self::LastAck => Self::Closed,
            other => other,
        }
    }
}
