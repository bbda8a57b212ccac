//! What QEMU's user-mode network says of its connections (`info usernet`).

/// Whether a forwarded connection is established in the guest: QEMU accepts it before the guest does. It is known by
/// the port that the guest listens at and the client's own port.
///
/// A line is `TCP[STATE] FD SOURCE PORT DESTINATION PORT RECVQ SENDQ`, and the guest is the source.
pub(crate) fn is_established(text: &str, guest: u16, client: u16) -> bool {
    text.lines().any(|line| {
        let mut fields = line.split_ascii_whitespace();
        let mut next = || fields.next().unwrap_or_default();
        let (state, _fd, _source, source_port) = (next(), next(), next(), next());
        let (_destination, destination_port) = (next(), next());
        state == "TCP[ESTABLISHED]"
            && source_port.parse() == Ok(guest)
            && destination_port.parse() == Ok(client)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Hub -1 (net0):\r
  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r
  TCP[ESTABLISHED]   29       10.0.2.15  7777        10.0.2.2 50802     0     0\r
  TCP[SYN_SENT]      30       10.0.2.15  7777        10.0.2.2 50804     0     0\r
  TCP[HOST_FORWARD]  12       127.0.0.1 17777       10.0.2.15  7777     0     0\r
  UDP[236 sec]       31       10.0.2.15    68        10.0.2.2    67     0     0\r
";

    #[test]
    fn a_connection_is_known_by_both_ports_and_its_state() {
        assert!(is_established(TEXT, 7777, 50802));
        assert!(!is_established(TEXT, 7777, 50804));
        assert!(!is_established(TEXT, 443, 50802));
        assert!(!is_established(TEXT, 7777, 1));
        assert!(!is_established("", 7777, 50802));
    }
}
