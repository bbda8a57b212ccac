"""TCP: blind attacks (RFC 5961) and segments to closed ports (RFC 9293, section 3.10.7.1)."""

from scapy.all import TCP

from neighbour import Connection, Neighbour

SOURCE = "192.168.77.99"
ECHO = 7
CLOSED = 9


def neighbour(interface, guest):
    return Neighbour(interface, guest, [SOURCE])


def echo(interface, guest):
    connection = Connection(neighbour(interface, guest), SOURCE, ECHO)
    assert connection.echoes(), "no echo"
    connection.neighbour.drain()
    return connection


def reset_in_window(interface, guest):
    """a RST in the window gets a challenge ACK and changes nothing (RFC 5961, section 3.2)"""
    connection = echo(interface, guest)
    for offset in (1, 100, 1000):
        connection.neighbour.drain()
        connection.send("R", sequence=connection.sequence + offset)
        if offset == 1:
            assert connection.is_challenged()
        assert connection.echoes(), f"gone after a RST at RCV.NXT+{offset}"
    connection.reset()


def reset_outside_the_window(interface, guest):
    """a RST outside the window changes nothing"""
    connection = echo(interface, guest)
    for offset in (-1, -100, 1 << 30, 1 << 31):
        connection.send("R", sequence=connection.sequence + offset)
    assert connection.echoes()
    connection.reset()


def exact_reset(interface, guest):
    """a RST at RCV.NXT ends the connection"""
    connection = echo(interface, guest)
    connection.send("R")
    connection.neighbour.drain()
    connection.send("PA", b"late")
    answer = connection.answer()
    assert answer is not None and "R" in answer.flags, answer


def syn_in_window(interface, guest):
    """a SYN on an established connection gets a challenge ACK (RFC 5961, section 4.2)"""
    connection = echo(interface, guest)
    connection.send("S", sequence=connection.sequence + 50, options=[("MSS", 1460)])
    assert connection.is_challenged()
    assert connection.echoes()
    connection.reset()


def old_acknowledgement(interface, guest):
    """data with an ACK from before SND.UNA - MAX.SND.WND is dropped and answered (RFC 5961, section 5.2)"""
    connection = echo(interface, guest)
    connection.send("PA", b"old", acknowledgement=connection.acknowledgement - 200_000)
    assert connection.is_challenged()
    assert connection.echoes()
    connection.reset()


def future_acknowledgement(interface, guest):
    """data with an ACK beyond SND.NXT is dropped and answered (RFC 9293, section 3.10.7.4)"""
    connection = echo(interface, guest)
    connection.send("PA", b"new", acknowledgement=connection.acknowledgement + 100_000)
    assert connection.is_challenged()
    assert connection.echoes()
    connection.reset()


def challenge_limit(interface, guest):
    """challenge ACKs are limited (RFC 5961, section 7)"""
    connection = echo(interface, guest)
    for _ in range(200):
        connection.send("S", sequence=connection.sequence + 50)
    answers = [frame for frame in connection.neighbour.collect(1.0) if TCP in frame]
    assert 1 <= len(answers) <= 100, f"{len(answers)} answers to 200 segments"
    assert connection.echoes()
    connection.reset()


def closed_port(interface, guest):
    """a segment to a closed port gets the RST of RFC 9293, section 3.10.7.1; a RST gets nothing"""
    for flags in ("", "F", "FPU", "A", "S", "PA"):
        connection = Connection(neighbour(interface, guest), SOURCE, CLOSED, open=False)
        connection.acknowledgement = 4711
        connection.send(flags)
        answer = connection.answer()
        assert answer is not None and "R" in answer.flags, f"flags {flags or 'none'}: {answer}"
        if "A" in flags:
            assert answer.seq == 4711, f"flags {flags}: {answer}"
        else:
            length = sum(flag in flags for flag in "SF")
            expected = (connection.sequence + length) % (1 << 32)
            assert (answer.seq, answer.ack) == (0, expected), f"flags {flags or 'none'}: {answer}"
    for flags in ("R", "RA"):
        connection = Connection(neighbour(interface, guest), SOURCE, CLOSED, open=False)
        connection.send(flags)
        assert connection.answer(seconds=0.5) is None, f"an answer to {flags}"


CASES = [
    reset_in_window,
    reset_outside_the_window,
    exact_reset,
    syn_in_window,
    old_acknowledgement,
    future_acknowledgement,
    challenge_limit,
    closed_port,
]
