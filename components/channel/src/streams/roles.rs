//! The methods that providers and consumers have alike.

/// Gives a role its data methods, which its port implements.
macro_rules! both_roles {
    ($role:ident) => {
        impl $role {
            /// Bytes that can be read now. For this and everything below, a connection that is gone has none.
            pub fn readable(&mut self, id: ConnectionId) -> usize {
                self.port.readable(id)
            }

            /// Copies bytes out, frees their place, and says how many.
            pub fn read(&mut self, id: ConnectionId, target: &mut [u8]) -> usize {
                self.port.read(id, target)
            }

            /// The readable bytes that lie together, in the peer's memory: to be read in one pass as
            /// [`memory`](crate::memory) says, then [consumed](Self::consume).
            pub fn peek(&mut self, id: ConnectionId) -> &[u8] {
                self.port.peek(id)
            }

            /// Frees the place of the first `bytes` readable bytes, or of all if they are fewer; says how many.
            pub fn consume(&mut self, id: ConnectionId, bytes: usize) -> usize {
                self.port.consume(id, bytes)
            }

            /// Whether the other end has sent its last byte and all of them were read.
            pub fn at_end(&mut self, id: ConnectionId) -> bool {
                self.port.at_end(id)
            }

            /// Bytes that can be written now; none after this direction's end.
            pub fn writable(&mut self, id: ConnectionId) -> usize {
                self.port.writable(id)
            }

            /// Copies as many bytes in as there is room for, and says how many. If that is not all, a `Writable` event
            /// comes when there is room for the rest, or in half of the ring.
            pub fn write(&mut self, id: ConnectionId, bytes: &[u8]) -> usize {
                self.port.write(id, bytes)
            }

            /// The room that lies together, to be filled and [committed](Self::commit) before any other call for
            /// this connection.
            pub fn free_slice_mut(&mut self, id: ConnectionId) -> &mut [u8] {
                self.port.free_slice_mut(id)
            }

            /// Sends the first `bytes` bytes of the room, or all if it is less; says how many. What lies in the room behind
            /// them is not wiped when the connection ends, so nothing confidential may.
            pub fn commit(&mut self, id: ConnectionId, bytes: usize) -> usize {
                self.port.commit(id, bytes)
            }

            /// Asks for one `Writable` event once `bytes` bytes (1 to the ring's size) are free.
            pub fn wait_for_room(&mut self, id: ConnectionId, bytes: usize) {
                self.port.wait_for_room(id, bytes);
            }

            /// Notifies the peer if it sleeps and something of interest was published since the last flush.
            pub fn flush(&mut self) {
                self.port.flush();
            }

            /// Ends a round: flushes, sets the sleep flag and looks once more. `true`: nothing is left to do, return
            /// to the receive point. `false`: there are further events.
            pub fn sleep(&mut self) -> bool {
                self.port.sleep()
            }
        }
    };
}

pub(super) use both_roles;
