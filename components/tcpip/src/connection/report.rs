//! The events of a connection for its consumer.

use channel::streams::{ConnectionId, Opened, Refusal};

use super::{CONFIRMATION, Connection, Context, Origin, Stage};
use crate::tcp::{End, State};

impl Connection {
    /// Reports changes of the connection to the consumer.
    pub(super) fn report(&mut self, cx: &mut Context<'_>) {
        match self.stage {
            Stage::Opening => self.report_opening(cx),
            Stage::Open => self.report_open(cx),
            Stage::Idle | Stage::Over | Stage::Released => {}
        }
    }

    fn report_opening(&mut self, cx: &mut Context<'_>) {
        match self.tcb.state() {
            State::SynSent | State::SynReceived => {}
            State::Closed => self.fail(cx),
            _ => self.open(cx),
        }
    }

    fn open(&mut self, cx: &mut Context<'_>) {
        let Some((local, remote)) = self.endpoints else {
            return;
        };
        let opened = Opened {
            peer: (core::net::IpAddr::from(remote.addr), remote.port).into(),
            local_port: local.port,
            token: match self.origin {
                Origin::Accepted => None,
                Origin::Asked(token) => Some(token),
            },
            identity: None,
            // Encryption is the job of the layer above.
            confidential: false,
        };
        let Ok(id) = cx.provider.open(self.slot, &opened) else {
            // The consumer is restarting; or it holds a slot that it released, which its port reports.
            return self.abort(cx.counters);
        };
        self.id = Some(id);
        self.stage = Stage::Open;
        self.moved = cx.now;
        cx.counters.connections_open += 1;
        cx.counters.connections_total += 1;
        self.report_open(cx);
    }

    pub(super) fn fail(&mut self, cx: &mut Context<'_>) {
        if let Origin::Asked(token) = self.origin {
            cx.provider.answer(token, Err(Refusal::Unreachable));
        }
        cx.counters.handshakes_failed += 1;
        self.discard();
    }

    fn report_open(&mut self, cx: &mut Context<'_>) {
        let Some(id) = self.id else {
            return;
        };
        self.report_bytes(id, cx);
        if self.tcb.is_finished() && !self.finished {
            self.finished = true;
            cx.provider.finish(id);
        }
        match self.tcb.state() {
            State::TimeWait => self.over(true, id, cx),
            State::Closed => self.over(self.tcb.end() == Some(End::Orderly), id, cx),
            _ => {}
        }
    }

    fn report_bytes(&mut self, id: ConnectionId, cx: &mut Context<'_>) {
        let received = self.tcb.take_received();
        let acknowledged = self.tcb.take_acknowledged();
        if received > 0 {
            cx.provider.commit(id, received);
            cx.counters.payload_received += received as u64;
            cx.counters.copied_in += received as u64;
        }
        if acknowledged > 0 {
            cx.provider.free(id, acknowledged);
            cx.counters.payload_sent += acknowledged as u64;
            self.confirm(cx);
        }
        if received + acknowledged > 0 {
            self.moved = cx.now;
        }
    }

    fn confirm(&mut self, cx: &mut Context<'_>) {
        if let Some((_, remote)) = self.endpoints
            && self.confirmed + CONFIRMATION <= cx.now
        {
            self.confirmed = cx.now;
            cx.host.confirm(remote.addr, cx.now);
        }
    }

    fn over(&mut self, orderly: bool, id: ConnectionId, cx: &mut Context<'_>) {
        if orderly {
            cx.provider.closed(id);
        } else {
            cx.provider.reset(id);
            cx.counters.connections_reset += 1;
        }
        cx.counters.connections_open -= 1;
        self.stage = Stage::Over;
    }
}
