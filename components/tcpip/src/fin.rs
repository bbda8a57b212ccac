//! The end of a peer's stream, taken apart from the data in front of it.
//!
//! smoltcp 0.14 cuts off what of a segment lies beyond the window and yet takes the segment's FIN: the stream would
//! seem to end early, whole, with its last bytes lost. RFC 9293, section 3.10.7.4, wants the FIN cut off with them.
//! Shown the data first and then the FIN alone, smoltcp takes the FIN only if everything in front of it has arrived;
//! otherwise the peer repeats it.

use smoltcp::wire::{
    EthernetFrame, EthernetProtocol, IpAddress, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket,
};

use crate::inspect::hop_by_hop;

/// Takes the FIN out of a segment. Leaves a segment with a wrong checksum alone and returns `false`.
pub(crate) fn take_off(frame: &mut [u8]) -> bool {
    segment(frame, |source, destination, bytes| {
        let mut packet = TcpPacket::new_checked(bytes).ok()?;
        if !packet.verify_checksum(&source, &destination) {
            return None;
        }
        packet.set_fin(false);
        packet.fill_checksum(&source, &destination);
        Some(())
    })
    .is_some()
}

/// Makes of a segment whose FIN was taken off one that is nothing but that FIN; its length in bytes.
pub(crate) fn alone(frame: &mut [u8]) -> Option<usize> {
    let (header, payload) = segment(frame, |source, destination, bytes| {
        let mut packet = TcpPacket::new_checked(&mut *bytes).ok()?;
        let (header, payload) = (usize::from(packet.header_len()), packet.payload_mut().len());
        packet.set_seq_number(packet.seq_number() + payload);
        packet.set_fin(true);
        TcpPacket::new_checked(&mut bytes[..header])
            .ok()?
            .fill_checksum(&source, &destination);
        Some((header, payload))
    })?;
    let mut ethernet = EthernetFrame::new_checked(frame).ok()?;
    match ethernet.ethertype() {
        EthernetProtocol::Ipv4 => {
            let mut packet = Ipv4Packet::new_checked(ethernet.payload_mut()).ok()?;
            let length = usize::from(packet.header_len()) + header;
            packet.set_total_len(length as u16);
            packet.fill_checksum();
            Some(EthernetFrame::<&[u8]>::header_len() + length)
        }
        _ => {
            let mut packet = Ipv6Packet::new_checked(ethernet.payload_mut()).ok()?;
            let length = usize::from(packet.payload_len()) - payload;
            packet.set_payload_len(length as u16);
            Some(EthernetFrame::<&[u8]>::header_len() + packet.header_len() + length)
        }
    }
}

/// Lets `f` change the TCP segment of a frame, given its source and destination address.
fn segment<R>(
    frame: &mut [u8],
    f: impl FnOnce(IpAddress, IpAddress, &mut [u8]) -> Option<R>,
) -> Option<R> {
    let mut ethernet = EthernetFrame::new_checked(frame).ok()?;
    match ethernet.ethertype() {
        EthernetProtocol::Ipv4 => {
            let mut packet = Ipv4Packet::new_checked(ethernet.payload_mut()).ok()?;
            let (source, destination) = (packet.src_addr(), packet.dst_addr());
            f(source.into(), destination.into(), packet.payload_mut())
        }
        EthernetProtocol::Ipv6 => {
            let mut packet = Ipv6Packet::new_checked(ethernet.payload_mut()).ok()?;
            let (source, destination) = (packet.src_addr(), packet.dst_addr());
            let start = match packet.next_header() {
                IpProtocol::HopByHop => hop_by_hop(packet.payload_mut())?.1,
                _ => 0,
            };
            let bytes = packet.payload_mut().get_mut(start..)?;
            f(source.into(), destination.into(), bytes)
        }
        _ => None,
    }
}
