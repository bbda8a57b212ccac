//! What a connection needs of its transport.

/// The transport's side of one connection.
pub trait Stream {
    /// Copies received bytes to private memory and takes them off: how many.
    fn read(&mut self, to: &mut [u8]) -> usize;
    /// Received bytes where they lie, none if there are none. They may change while they are looked at,
    /// if the peer can write their memory.
    fn received(&mut self) -> &[u8];
    /// Takes the first bytes of [`Stream::received`] off, at most as many as there are.
    fn consume(&mut self, length: usize);
    /// Space for bytes to send, empty if there is none now.
    fn free(&mut self) -> &mut [u8];
    /// Sends the first bytes of [`Stream::free`], at most as many as there are.
    fn commit(&mut self, length: usize);
    /// Whether the peer has finished sending and all of it was read.
    fn has_ended(&mut self) -> bool;
    /// Says that nothing more will be sent, once all that was committed is sent.
    fn finish(&mut self);
}
