"""Neighbour discovery (RFC 4861, 4862), router advertisements and extension headers (RFC 8200)."""

import socket

from scapy.all import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6NDOptMTU,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6ParamProblem,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    PadN,
    TCP,
)

from neighbour import Neighbour

ROUTER = "fe80::63"
ALL_NODES = ("33:33:00:00:00:01", "ff02::1")
HTTP = 80


def packed(address):
    return socket.inet_pton(socket.AF_INET6, address)


def derived(prefix, guest):
    """The guest's address in a prefix of 64 bits: its link-local address has the same interface identifier."""
    return socket.inet_ntop(socket.AF_INET6, packed(prefix)[:8] + packed(guest.ipv6)[8:])


def prefix(network, length=64, on_link=1, autonomous=1, valid=3600, preferred=1800):
    return ICMPv6NDOptPrefixInfo(
        prefix=network,
        prefixlen=length,
        L=on_link,
        A=autonomous,
        validlifetime=valid,
        preferredlifetime=preferred,
    )


def router(interface, guest, *addresses):
    return Neighbour(interface, guest, [ROUTER, *addresses])


def advertise(neighbour, *options, lifetime=1800):
    hardware, group = ALL_NODES
    message = ICMPv6ND_RA(routerlifetime=lifetime) / ICMPv6NDOptSrcLLAddr(lladdr=neighbour.hardware)
    for option in options:
        message /= option
    neighbour.send(neighbour.ether(hardware) / IPv6(src=ROUTER, dst=group, hlim=255) / message)


def solicit(neighbour, target, source=ROUTER, seconds=2.0):
    """The guest's advertisement of an address, or None."""
    tail = packed(target)[13:]
    group = socket.inet_ntop(socket.AF_INET6, packed("ff02::1:ff00:0")[:13] + tail)
    frame = neighbour.ether("33:33:ff:%02x:%02x:%02x" % tuple(tail))
    frame /= IPv6(src=source, dst=group, hlim=255) / ICMPv6ND_NS(tgt=target)
    if source != "::":
        frame /= ICMPv6NDOptSrcLLAddr(lladdr=neighbour.hardware)
    neighbour.drain()
    neighbour.send(frame)

    def wanted(frame):
        return ICMPv6ND_NA in frame and packed(frame[ICMPv6ND_NA].tgt) == packed(target)

    return neighbour.expect(wanted, seconds)


def has(neighbour, target):
    """Whether the guest gets this address within a few seconds."""
    return any(solicit(neighbour, target) is not None for _ in range(3))


def several_prefixes(interface, guest):
    """one advertisement with several prefixes gives an address in each (RFC 4862, section 5.5.3)"""
    neighbour = router(interface, guest)
    networks = ["2001:db8:1::", "2001:db8:2::", "fd00:1::", "fd00:2::"]
    advertise(neighbour, *map(prefix, networks))
    for network in networks:
        assert has(neighbour, derived(network, guest)), network


def unusable_prefix(interface, guest):
    """a prefix that makes no address does not spoil those beside it (RFC 4861, section 6.3.4)"""
    neighbour = router(interface, guest)
    advertise(neighbour, prefix("fd00:a::", 48, autonomous=0), prefix("2001:db8:3::"))
    assert has(neighbour, derived("2001:db8:3::", guest))


def two_hours(interface, guest):
    """a valid lifetime of 0 does not take an address away at once (RFC 4862, section 5.5.3 e)"""
    neighbour = router(interface, guest)
    advertise(neighbour, prefix("2001:db8:4::"))
    address = derived("2001:db8:4::", guest)
    assert has(neighbour, address), "no address"
    advertise(neighbour, prefix("2001:db8:4::", valid=0, preferred=0))
    neighbour.collect(0.5)
    assert has(neighbour, address)


def expiry(interface, guest):
    """an address is gone when its valid lifetime has passed, on a silent link too (RFC 4862, section 5.5.4)"""
    neighbour = router(interface, guest)
    advertise(neighbour, prefix("2001:db8:5::", valid=6, preferred=3))
    address = derived("2001:db8:5::", guest)
    assert has(neighbour, address), "no address"
    neighbour.collect(10.0)
    assert solicit(neighbour, address) is None


def duplicate_detection(interface, guest):
    """a probe for the guest's address is answered to all nodes (RFC 4861, section 7.2.4)"""
    neighbour = router(interface, guest)
    answer = solicit(neighbour, guest.ipv6, source="::")
    assert answer is not None, "no answer"
    advertisement = answer[ICMPv6ND_NA]
    assert answer[IPv6].dst == "ff02::1" and (advertisement.S, advertisement.O) == (0, 1)
    answer = solicit(neighbour, guest.ipv6)
    assert answer is not None and (answer[ICMPv6ND_NA].S, answer[ICMPv6ND_NA].O) == (1, 1)


def off_link_prefix(interface, guest):
    """addresses of a prefix that is not on link are reached through the router (RFC 5942, section 4)"""
    neighbour = router(interface, guest)
    advertise(neighbour, prefix("2001:db8:6::", on_link=0))
    address, peer = derived("2001:db8:6::", guest), "2001:db8:6::99"
    assert has(neighbour, address), "no address"
    neighbour.drain()
    neighbour.send(neighbour.ether() / IPv6(src=peer, dst=address) / TCP(sport=4444, dport=HTTP, flags="S"))
    frames = neighbour.collect(2.0)
    assert any(TCP in frame and frame[IPv6].dst == peer for frame in frames), "no answer"
    asked = [frame[ICMPv6ND_NS].tgt for frame in frames if ICMPv6ND_NS in frame]
    assert peer not in asked, asked


def mtu(interface, guest):
    """the MTU option bounds what the guest sends (RFC 4861, section 6.3.4)"""
    neighbour = router(interface, guest)
    advertise(neighbour, ICMPv6NDOptMTU(mtu=1280))
    answer = syn_behind(neighbour, guest)
    advertise(neighbour, ICMPv6NDOptMTU(mtu=1500))
    assert answer is not None and dict(answer[TCP].options)["MSS"] <= 1220, answer


def syn_behind(neighbour, guest, *headers, source=ROUTER):
    """The SYN-ACK to a SYN with these extension headers, or None."""
    packet = IPv6(src=source, dst=guest.ipv6)
    for header in headers:
        packet /= header
    port = 20000 + int.from_bytes(packed(guest.ipv6)[:1], "big") + syn_behind.count
    syn_behind.count += 1
    neighbour.drain()
    syn = TCP(sport=port, dport=HTTP, flags="S", options=[("MSS", 1460)])
    neighbour.send(neighbour.ether() / packet / syn)
    return neighbour.expect(lambda frame: TCP in frame and frame[TCP].dport == port and frame[TCP].flags == "SA")


syn_behind.count = 0


def extension_headers(interface, guest):
    """a SYN is answered behind every header that a host processes (RFC 8200, section 4; RFC 6946, section 4)"""
    neighbour = router(interface, guest)
    padding = PadN(optdata=b"\0" * 4)
    headers = {
        "none": [],
        "Hop-by-Hop Options": [IPv6ExtHdrHopByHop(options=[padding])],
        "Destination Options": [IPv6ExtHdrDestOpt(options=[padding])],
        "an atomic Fragment header": [IPv6ExtHdrFragment(offset=0, m=0, id=7)],
        "all three": [
            IPv6ExtHdrHopByHop(options=[padding]),
            IPv6ExtHdrFragment(offset=0, m=0, id=8),
            IPv6ExtHdrDestOpt(options=[padding]),
        ],
    }
    for name, chain in headers.items():
        assert syn_behind(neighbour, guest, *chain) is not None, f"no answer behind {name}"


def unknown_header(interface, guest):
    """an unknown next header gets a Parameter Problem of code 1 (RFC 8200, section 4)"""
    neighbour = router(interface, guest)
    neighbour.drain()
    neighbour.send(neighbour.ether() / IPv6(src=ROUTER, dst=guest.ipv6, nh=253) / b"x")
    answer = neighbour.expect(lambda frame: ICMPv6ParamProblem in frame)
    assert answer is not None and answer[ICMPv6ParamProblem].code == 1, answer


def spoofed_advertisement(interface, guest):
    """an advertisement that passed a router is ignored (RFC 4861, section 6.1.2)"""
    neighbour = router(interface, guest)
    hardware, group = ALL_NODES
    for source, limit in ((ROUTER, 254), ("2001:db8::1", 255)):
        message = ICMPv6ND_RA(routerlifetime=1800) / prefix("fd00:bad::")
        neighbour.send(neighbour.ether(hardware) / IPv6(src=source, dst=group, hlim=limit) / message)
    neighbour.collect(0.5)
    assert solicit(neighbour, derived("fd00:bad::", guest), seconds=1.0) is None


CASES = [
    duplicate_detection,
    several_prefixes,
    unusable_prefix,
    two_hours,
    off_link_prefix,
    mtu,
    extension_headers,
    unknown_header,
    spoofed_advertisement,
    expiry,
]
