//! One connection of a stream, as a session sees it.

use channel::streams::{ConnectionId, Consumer, Provider};

use crate::{Above, Below};

/// The connection to the TCP stack.
pub(crate) struct Lower<'a> {
    pub(crate) stream: &'a mut Consumer,
    pub(crate) id: ConnectionId,
}

impl Below for Lower<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> usize {
        self.stream.read(self.id, buffer)
    }

    fn space(&mut self) -> usize {
        self.stream.writable(self.id)
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        self.stream.write(self.id, bytes)
    }

    fn wait_for_space(&mut self, count: usize) {
        self.stream.wait_for_room(self.id, count);
    }
}

/// The connection to the service, once there is one.
pub(crate) struct Upper<'a> {
    pub(crate) stream: &'a mut Provider,
    pub(crate) id: Option<ConnectionId>,
    /// The service has said that it writes no more.
    pub(crate) finished: bool,
}

impl Above for Upper<'_> {
    fn space(&mut self) -> usize {
        match self.id {
            Some(id) => self.stream.writable(id),
            None => 0,
        }
    }

    fn write(&mut self, bytes: &[u8]) -> usize {
        self.id.map_or(0, |id| self.stream.write(id, bytes))
    }

    fn wait_for_space(&mut self, count: usize) {
        if let Some(id) = self.id {
            self.stream.wait_for_room(id, count);
        }
    }

    fn pending(&mut self) -> [&[u8]; 2] {
        match self.id {
            Some(id) => [self.stream.peek(id), &[]],
            None => [&[], &[]],
        }
    }

    fn consume(&mut self, count: usize) {
        if let Some(id) = self.id {
            self.stream.consume(id, count);
        }
    }

    fn finished(&mut self) -> bool {
        match self.id {
            Some(id) => self.finished && self.stream.at_end(id),
            None => false,
        }
    }
}
