//! Connections of QEMU's user-mode network (`info usernet`).

use crate::Forward;

/// Whether a connection that came through a forward is established in the guest: QEMU accepts it before the guest does.
///
/// A line is `TCP[STATE] FD SOURCE PORT DESTINATION PORT RECVQ SENDQ`. The source of such a connection is the forwarded
/// port of this machine, the destination the guest's; the client's own port is not shown.
pub(crate) fn is_established(text: &str, forward: Forward) -> bool {
    text.lines().any(|line| {
        let mut fields = line.split_ascii_whitespace();
        let mut next = || fields.next().unwrap_or_default();
        let (state, _fd, source, source_port) = (next(), next(), next(), next());
        let (_destination, destination_port) = (next(), next());
        state == "TCP[ESTABLISHED]"
            && source == "127.0.0.1"
            && source_port.parse() == Ok(forward.host)
            && destination_port.parse() == Ok(forward.guest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Hub -1 (net0):\r
  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r
  TCP[ESTABLISHED]   29       127.0.0.1 17777       10.0.2.15  7777     0     0\r
  TCP[SYN_SENT]      30       127.0.0.1  8443       10.0.2.15   443     0     0\r
  TCP[HOST_FORWARD]  12       127.0.0.1 17777       10.0.2.15  7777     0     0\r
  TCP[HOST_FORWARD]  13       127.0.0.1  8443       10.0.2.15   443     0     0\r
  TCP[ESTABLISHED]   14       10.0.2.15 49152        10.0.2.2   443     0     0\r
  UDP[236 sec]       31       10.0.2.15    68        10.0.2.2    67     0     0\r
";

    #[test]
    fn a_connection_is_known_by_its_forward_and_its_state() {
        let established = |host, guest| is_established(TEXT, Forward { host, guest });
        assert!(established(17777, 7777));
        assert!(!established(8443, 443));
        assert!(!established(17777, 443));
        // A connection that the guest opened.
        assert!(!established(49152, 443));
        let forward = Forward { host: 1, guest: 1 };
        assert!(!is_established("", forward));
    }
}
