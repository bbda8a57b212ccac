"""ARP (RFC 826, RFC 5227), ICMP and what a host must not answer (RFC 1122)."""

from scapy.all import ARP, ICMP, IP, TCP, UDP, IPOption_LSRR, Raw

from neighbour import Neighbour

SOURCE = "192.168.77.98"
BROADCAST = "ff:ff:ff:ff:ff:ff"


def resolved(interface, guest, source=SOURCE):
    """A neighbour that the guest knows."""
    neighbour = Neighbour(interface, guest, [source])
    ask(neighbour, source, guest)
    return neighbour


def ask(neighbour, source, guest):
    neighbour.drain()
    request = ARP(op=1, hwsrc=neighbour.hardware, psrc=source, pdst=guest.ipv4)
    neighbour.send(neighbour.ether(BROADCAST) / request)
    return neighbour.expect(lambda frame: ARP in frame and frame[ARP].op == 2)


def probe(interface, guest):
    """an ARP probe is answered, so that nobody takes the address (RFC 5227, section 2.1.1)"""
    answer = ask(Neighbour(interface, guest), "0.0.0.0", guest)
    assert answer is not None and answer[ARP].psrc == guest.ipv4


def off_link_sender(interface, guest):
    """an ARP request from an address outside the subnet is answered (RFC 826)"""
    answer = ask(Neighbour(interface, guest), "192.0.2.9", guest)
    assert answer is not None and answer[ARP].psrc == guest.ipv4


def defence(interface, guest):
    """the address is defended against a neighbour that announces it (RFC 5227, section 2.4)"""
    neighbour = Neighbour(interface, guest)
    neighbour.drain()
    announcement = ARP(op=1, hwsrc=neighbour.hardware, psrc=guest.ipv4, pdst=guest.ipv4)
    neighbour.send(neighbour.ether(BROADCAST) / announcement)
    answer = neighbour.expect(lambda frame: ARP in frame and frame[ARP].psrc == guest.ipv4)
    assert answer is not None


def port_unreachable(interface, guest):
    """UDP to a closed port gets port unreachable (RFC 1122, section 4.1.3.1)"""
    neighbour = resolved(interface, guest)
    neighbour.drain()
    neighbour.send(neighbour.ether() / IP(src=SOURCE, dst=guest.ipv4) / UDP(sport=4000, dport=4001) / Raw(b"x"))
    answer = neighbour.expect(lambda frame: ICMP in frame)
    assert answer is not None and (answer[ICMP].type, answer[ICMP].code) == (3, 3), answer


def error_limit(interface, guest):
    """ICMP errors are limited (RFC 1812, section 4.3.2.8)"""
    neighbour = resolved(interface, guest)
    neighbour.drain()
    for port in range(500):
        datagram = UDP(sport=4000, dport=10000 + port) / Raw(b"x")
        neighbour.send(neighbour.ether() / IP(src=SOURCE, dst=guest.ipv4) / datagram)
    answers = [frame for frame in neighbour.collect(1.0) if ICMP in frame]
    assert 1 <= len(answers) <= 250, f"{len(answers)} errors for 500 datagrams"


def silent(interface, guest):
    """what a host must not answer gets no answer"""
    neighbour = resolved(interface, guest)
    broadcast = "192.168.77.255"
    ping = ICMP(type=8) / Raw(b"x" * 32)
    syn = TCP(sport=4000, dport=80, flags="S")
    datagram = UDP(sport=4000, dport=4001) / Raw(b"x")
    source_route = IPOption_LSRR(routers=["192.168.77.50"])
    frames = {
        "a datagram to the broadcast address": neighbour.ether(BROADCAST) / IP(src=SOURCE, dst=broadcast) / datagram,
        "a SYN to the broadcast address": neighbour.ether(BROADCAST) / IP(src=SOURCE, dst=broadcast) / syn,
        "a SYN in a link-layer broadcast": neighbour.ether(BROADCAST) / IP(src=SOURCE, dst=guest.ipv4) / syn,
        "a broadcast source": neighbour.ether() / IP(src="255.255.255.255", dst=guest.ipv4) / ping,
        "a multicast source": neighbour.ether() / IP(src="224.0.0.1", dst=guest.ipv4) / ping,
        "a loopback source": neighbour.ether() / IP(src="127.0.0.1", dst=guest.ipv4) / ping,
        "its own address as the source": neighbour.ether() / IP(src=guest.ipv4, dst=guest.ipv4) / ping,
        "a packet for another host": neighbour.ether() / IP(src=SOURCE, dst="192.168.77.50") / ping,
        "an error about an ICMP error": neighbour.ether()
        / IP(src=SOURCE, dst=guest.ipv4)
        / ICMP(type=3, code=3)
        / IP(src=guest.ipv4, dst=SOURCE)
        / ICMP(type=3, code=3),
        "a later fragment": neighbour.ether() / IP(src=SOURCE, dst=guest.ipv4, frag=100) / datagram,
        "a source route": neighbour.ether() / IP(src=SOURCE, dst=guest.ipv4, options=[source_route]) / ping,
        "a bad IP checksum": neighbour.ether() / IP(src=SOURCE, dst=guest.ipv4, chksum=1) / ping,
    }
    for name, frame in frames.items():
        neighbour.drain()
        neighbour.send(frame)
        answers = [answer for answer in neighbour.collect(0.4) if IP in answer and answer[IP].dst == SOURCE]
        assert not answers, f"{name}: {answers[0].summary()}"


CASES = [probe, off_link_sender, defence, port_unreachable, error_limit, silent]
