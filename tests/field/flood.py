"""Many neighbours at once: real ones are answered whatever forged ones send (RFC 4987, RFC 6583)."""

import random

from scapy.all import ARP, IP, TCP

from neighbour import Connection, Neighbour

HTTP = 80


def syn(neighbour, guest, source, port, sequence=1):
    segment = TCP(sport=port, dport=HTTP, flags="S", seq=sequence, options=[("MSS", 1460)])
    return neighbour.ether() / IP(src=source, dst=guest.ipv4) / segment


def forged_neighbours(interface, guest):
    """a client connects while 150 forged neighbours never answer address resolution"""
    forger = Neighbour(interface, guest, hardware="02:00:00:00:01:01")
    for round in range(4):
        for last in range(100, 250):
            forger.send(syn(forger, guest, f"192.168.77.{last}", 2000 + round))
        source = f"192.168.77.{60 + round}"
        client = Neighbour(interface, guest, [source], f"02:00:00:00:02:{round:02x}")
        Connection(client, source, HTTP).reset()


def crowd(interface, guest):
    """40 neighbours that connect at once are all answered"""
    sources = {f"192.168.77.{last}": 30000 + last for last in range(100, 140)}
    neighbour = Neighbour(interface, guest, sources, hardware="02:00:00:00:03:01")
    neighbour.drain()
    for source, port in sources.items():
        neighbour.send(syn(neighbour, guest, source, port))
    answered = set()
    for frame in neighbour.collect(3.0):
        if TCP in frame and frame[TCP].flags == "SA":
            answered.add(frame[IP].dst)
    assert answered == sources.keys(), f"{len(answered)} of {len(sources)}"


def syn_flood(interface, guest):
    """clients connect and stay connected during a flood of SYNs from forged sources beyond the router"""
    router = Neighbour(interface, guest, ["192.168.77.1"], hardware="02:00:00:00:04:01")
    # The guest learns the router's address from its request.
    request = ARP(op=1, hwsrc=router.hardware, psrc="192.168.77.1", pdst=guest.ipv4)
    router.send(router.ether("ff:ff:ff:ff:ff:ff") / request)
    numbers = random.Random(1)
    client = Neighbour(interface, guest, ["192.168.77.90"], "02:00:00:00:04:02")
    before = [Connection(client, "192.168.77.90", 7) for _ in range(3)]
    frames = [
        bytes(syn(router, guest, f"203.0.{numbers.randrange(256)}.{numbers.randrange(1, 255)}", numbers.randrange(1024, 65536)))
        for _ in range(1500)
    ]
    for count, frame in enumerate(frames):
        router.socket.send(frame)
        if count % 500 == 250:
            connection = Connection(client, "192.168.77.90", 7)
            assert connection.echoes(), "a client that connects during the flood gets no answer"
            connection.reset()
    for connection in before:
        assert connection.echoes(), "a client that was connected before the flood lost its connection"
        connection.reset()


CASES = [crowd, forged_neighbours, syn_flood]
