"""A neighbour on the link whose every frame is written by hand.

The host's own kernel would answer the guest by itself (a reset to a segment that it did not expect, for instance), so
the neighbour uses addresses that the kernel does not have, and answers ARP and neighbour solicitations for them here.
"""

import os
import random
import select
import socket
import time

from scapy.all import (
    ARP,
    IP,
    TCP,
    Ether,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    IPv6,
    Raw,
)

ETH_P_ALL = 3
# A packet socket also sees what this machine sends itself.
PACKET_OUTGOING = 4
MODULUS = 1 << 32


class Neighbour:
    """A link-layer address of its own on the guest's link, and the network addresses it answers for."""

    def __init__(self, interface, guest, addresses=(), hardware="02:00:00:00:00:63"):
        self.guest = guest
        self.hardware = hardware
        self.addresses = set(addresses)
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.bind((interface, 0))

    def ether(self, destination=None):
        """An Ethernet header from this neighbour, to the guest unless a destination is given."""
        return Ether(src=self.hardware, dst=destination or self.guest.hardware)

    def send(self, frame):
        self.socket.send(bytes(frame))

    def drain(self):
        """Forgets what has arrived so far."""
        while self.next(0) is not None:
            pass

    def next(self, seconds):
        """The next frame of the guest's within this time, or None. Address resolution is answered on the way."""
        end = time.monotonic() + seconds
        while True:
            left = max(0.0, end - time.monotonic())
            if not select.select([self.socket], [], [], left)[0]:
                return None
            data, address = self.socket.recvfrom(65535)
            if address[2] == PACKET_OUTGOING:
                continue
            frame = Ether(data)
            if frame.src != self.guest.hardware:
                continue
            self.resolve(frame)
            return frame

    def resolve(self, frame):
        """Answers a request for one of the neighbour's addresses."""
        if ARP in frame and frame[ARP].op == 1 and frame[ARP].pdst in self.addresses:
            request = frame[ARP]
            self.send(
                self.ether(frame.src)
                / ARP(op=2, hwsrc=self.hardware, psrc=request.pdst, hwdst=frame.src, pdst=request.psrc)
            )
        elif ICMPv6ND_NS in frame and frame[ICMPv6ND_NS].tgt in self.addresses:
            target = frame[ICMPv6ND_NS].tgt
            self.send(
                self.ether(frame.src)
                / IPv6(src=target, dst=frame[IPv6].src, hlim=255)
                / ICMPv6ND_NA(R=0, S=1, O=1, tgt=target)
                / ICMPv6NDOptDstLLAddr(lladdr=self.hardware)
            )

    def expect(self, wanted, seconds=2.0):
        """The first frame of the guest's within this time for which `wanted` holds, or None."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            frame = self.next(left)
            if frame is None:
                return None
            if wanted(frame):
                return frame
        return None

    def collect(self, seconds):
        """All frames of the guest's within this time."""
        frames = []
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            frame = self.next(left)
            if frame is not None:
                frames.append(frame)
        return frames


class Connection:
    """A TCP connection of a neighbour's, segment by segment."""

    def __init__(self, neighbour, source, port, version=4, open=True):
        self.neighbour, self.source, self.port, self.version = neighbour, source, port, version
        self.local = random.Random(os.urandom(8)).randint(20000, 60000)
        self.sequence = int.from_bytes(os.urandom(4), "big")
        self.acknowledgement = 0
        if open:
            self.send("S", options=[("MSS", 1460)])
            answer = self.answer(lambda segment: segment.flags == "SA")
            if answer is None:
                raise AssertionError("no SYN-ACK")
            self.sequence = (self.sequence + 1) % MODULUS
            self.acknowledgement = (answer.seq + 1) % MODULUS
            self.send("A")

    def network(self):
        if self.version == 4:
            return IP(src=self.source, dst=self.neighbour.guest.ipv4)
        return IPv6(src=self.source, dst=self.neighbour.guest.ipv6)

    def send(self, flags, data=b"", sequence=None, acknowledgement=None, options=()):
        """Sends a segment; without numbers it is the next one in order."""
        segment = TCP(
            sport=self.local,
            dport=self.port,
            flags=flags,
            seq=(self.sequence if sequence is None else sequence) % MODULUS,
            ack=(self.acknowledgement if acknowledgement is None else acknowledgement) % MODULUS,
            window=8192,
            options=list(options),
        )
        self.neighbour.send(self.neighbour.ether() / self.network() / segment / Raw(data))

    def answer(self, wanted=lambda segment: True, seconds=2.0):
        """The first segment to this connection within the time for which `wanted` holds, or None."""

        def ours(frame):
            return TCP in frame and frame[TCP].dport == self.local and wanted(frame[TCP])

        frame = self.neighbour.expect(ours, seconds)
        return None if frame is None else frame[TCP]

    def echoes(self, data=b"ping"):
        """Whether the echo service returns the data: whether the connection lives."""
        self.neighbour.drain()
        self.send("PA", data)
        answer = self.answer(lambda segment: len(bytes(segment.payload)) > 0)
        if answer is None or bytes(answer.payload) != data:
            return False
        self.sequence = (self.sequence + len(data)) % MODULUS
        self.acknowledgement = (answer.seq + len(data)) % MODULUS
        self.send("A")
        return True

    def is_challenged(self):
        """Whether the guest answers with a bare acknowledgement of what it has (a challenge ACK of RFC 5961)."""
        expected = self.sequence
        answer = self.answer(lambda segment: segment.flags == "A" and not bytes(segment.payload))
        return answer is not None and answer.ack == expected

    def reset(self):
        self.send("R")
