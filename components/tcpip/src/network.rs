//! The host's side of the network: addresses, routes, DHCP and router solicitation.

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::Device;
use smoltcp::socket::dhcpv4;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{
    EthernetAddress, HardwareAddress, IpAddress, IpCidr, Ipv4Cidr, Ipv6Address, Ipv6Cidr,
};

use crate::settings::{Ipv4Setting, Ipv6Setting, Settings};

/// Between two router solicitations, and how many there are (RFC 4861, section 10).
const SOLICITATION_INTERVAL: Duration = Duration::from_secs(4);
const SOLICITATIONS: u32 = 3;

/// smoltcp's interface with what belongs to the host rather than to a connection.
pub(crate) struct Network {
    interface: Interface,
    /// Answers only "when does this socket want to be polled": `Interface::poll_at` of smoltcp 0.14.0
    /// returns nothing at all once stateless address configuration has no deadline of its own.
    deadlines: Interface,
    hardware: EthernetAddress,
    /// The sockets of the host itself: the DHCP client's.
    own: SocketSet<'static>,
    dhcp: Option<SocketHandle>,
    /// For segments of no connection; smoltcp answers them with a reset.
    none: SocketSet<'static>,
    solicitations: Option<Solicitations>,
    /// When smoltcp wants to answer a query for multicast listeners; `poll_at` does not know.
    report_at: Option<Instant>,
}

/// smoltcp sends router solicitations when it is polled; these are the times to poll.
struct Solicitations {
    left: u32,
    next: Instant,
}

impl Network {
    /// # Panics
    /// If the hardware address is not unicast.
    pub fn new(
        settings: &Settings,
        hardware: EthernetAddress,
        seed: u64,
        device: &mut impl Device,
        now: Instant,
    ) -> Self {
        let automatic = settings.ipv6 == Ipv6Setting::Automatic;
        let mut config = Config::new(HardwareAddress::Ethernet(hardware));
        config.random_seed = seed;
        config.slaac = automatic;
        let mut network = Self {
            interface: Interface::new(config, device, now),
            deadlines: Interface::new(Config::new(hardware.into()), device, now),
            hardware,
            own: SocketSet::new(alloc::vec::Vec::new()),
            dhcp: None,
            none: SocketSet::new(alloc::vec::Vec::new()),
            solicitations: automatic.then_some(Solicitations {
                left: SOLICITATIONS - 1,
                next: now + SOLICITATION_INTERVAL,
            }),
            report_at: None,
        };
        network.set_up_ipv4(&settings.ipv4);
        network.set_up_ipv6(&settings.ipv6);
        network
    }

    /// The interface that connections use.
    pub fn interface(&mut self) -> &mut Interface {
        &mut self.interface
    }

    /// Whether this is one of the host's own addresses.
    pub fn is_own(&self, address: IpAddress) -> bool {
        self.interface.has_ip_addr(address)
    }

    /// The host's address for packets to `destination`, if it has one.
    pub fn source_for(&self, destination: IpAddress) -> Option<IpAddress> {
        // Without an IPv6 address smoltcp names the loopback address.
        self.interface
            .get_source_address(&destination)
            .filter(|source| self.is_own(*source))
    }

    /// The addresses that the host has now.
    pub fn addresses(&self) -> &[IpCidr] {
        self.interface.ip_addrs()
    }

    /// An interface like the real one whose first new connection gets the sequence number that `seed`
    /// stands for (see [`crate::sequence`]).
    pub fn with_seed(&self, seed: u64, device: &mut impl Device, now: Instant) -> Interface {
        let mut config = Config::new(HardwareAddress::Ethernet(self.hardware));
        config.random_seed = seed;
        let mut interface = Interface::new(config, device, now);
        interface.update_ip_addrs(|addresses| {
            addresses.extend(self.interface.ip_addrs().iter().copied());
        });
        interface
    }

    /// Hands smoltcp a frame that belongs to no connection. [`Network::maintain`] has to follow.
    pub fn receive(&mut self, device: &mut impl Device, now: Instant) {
        self.interface
            .poll_ingress_single(now, device, &mut self.own);
    }

    /// Hands smoltcp a segment that belongs to no connection: it answers with a reset.
    pub fn refuse(&mut self, device: &mut impl Device, now: Instant) {
        self.interface
            .poll_ingress_single(now, device, &mut self.none);
    }

    /// Does what is due. Returns whether the addresses changed.
    pub fn maintain(&mut self, device: &mut impl Device, now: Instant) -> bool {
        let updated = self.interface.slaac_updated_at();
        self.interface.poll_maintenance(now);
        self.interface.poll_egress(now, device, &mut self.own);
        self.advance(now);
        self.configure() || updated != self.interface.slaac_updated_at()
    }

    /// A router asks which multicast groups the host listens to; smoltcp answers within `delay`.
    pub fn expect_report(&mut self, now: Instant, delay: Duration) {
        self.report_at = Some(now + delay);
    }

    /// When [`Network::maintain`] has something to do.
    pub fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let own = self.deadlines.poll_at(now, &self.own);
        let solicitation = self.solicitations.as_ref().map(|s| s.next);
        [own, solicitation, self.report_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// When a connection's socket wants to be polled.
    pub fn deadline_of(&mut self, sockets: &SocketSet<'_>, now: Instant) -> Option<Instant> {
        self.deadlines.poll_at(now, sockets)
    }

    fn set_up_ipv4(&mut self, setting: &Ipv4Setting) {
        match *setting {
            Ipv4Setting::Off => {}
            Ipv4Setting::Dhcp => self.dhcp = Some(self.own.add(dhcpv4::Socket::new())),
            Ipv4Setting::Fixed { address, gateway } => {
                self.add(address.into());
                if let Some(gateway) = gateway {
                    // There is room: it is the first route.
                    let _ = self.interface.routes_mut().add_default_ipv4_route(gateway);
                }
            }
        }
    }

    fn set_up_ipv6(&mut self, setting: &Ipv6Setting) {
        if *setting == Ipv6Setting::Off {
            return;
        }
        let prefix = Ipv6Cidr::new(Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 64);
        if let Some(address) = Ipv6Cidr::from_link_prefix(&prefix, self.hardware.into()) {
            self.add(address.into());
        }
        if let Ipv6Setting::Fixed { address, gateway } = *setting {
            self.add(address.into());
            if let Some(gateway) = gateway {
                // There is room: it is the second route at most.
                let _ = self.interface.routes_mut().add_default_ipv6_route(gateway);
            }
        }
    }

    fn add(&mut self, address: IpCidr) {
        // There is room for 8 addresses: link-local, configured, leased, and two that routers advertise.
        self.interface.update_ip_addrs(|addresses| {
            let _ = addresses.push(address);
        });
    }

    fn advance(&mut self, now: Instant) {
        if self.report_at.is_some_and(|at| at <= now) {
            self.report_at = None;
        }
        let answered = self.interface.slaac_updated_at() != Instant::ZERO;
        if let Some(solicitations) = &mut self.solicitations
            && (solicitations.next <= now || answered)
        {
            solicitations.left = solicitations.left.saturating_sub(1);
            solicitations.next = now + SOLICITATION_INTERVAL;
            if solicitations.left == 0 || answered {
                self.solicitations = None;
            }
        }
    }

    /// Takes over what the DHCP client learned.
    fn configure(&mut self) -> bool {
        let Some(handle) = self.dhcp else {
            return false;
        };
        let (address, router) = match self.own.get_mut::<dhcpv4::Socket<'_>>(handle).poll() {
            None => return false,
            Some(dhcpv4::Event::Deconfigured) => (None, None),
            Some(dhcpv4::Event::Configured(config)) => (Some(config.address), config.router),
        };
        self.set_lease(
            address,
            router.filter(|router| IpAddress::from(*router).is_unicast()),
        );
        true
    }

    fn set_lease(&mut self, address: Option<Ipv4Cidr>, router: Option<smoltcp::wire::Ipv4Address>) {
        self.interface.update_ip_addrs(|addresses| {
            addresses.retain(|address| matches!(address, IpCidr::Ipv6(_)));
            if let Some(address) = address {
                let _ = addresses.push(address.into());
            }
        });
        let routes = self.interface.routes_mut();
        routes.remove_default_ipv4_route();
        if let Some(router) = router {
            let _ = routes.add_default_ipv4_route(router);
        }
    }
}

#[cfg(test)]
mod tests {
    use smoltcp::socket::tcp;
    use smoltcp::wire::{Ipv4Packet, TcpPacket};

    use super::*;
    use crate::sequence::seed_for;
    use crate::settings::Settings;
    use crate::testing::{PEER_MAC, Queues, STACK, STACK_MAC, frames};

    fn fixed() -> Settings {
        Settings {
            ipv4: Ipv4Setting::Fixed {
                address: Ipv4Cidr::new(STACK, 24),
                gateway: None,
            },
            ipv6: Ipv6Setting::Automatic,
            ..Settings::NONE
        }
    }

    /// The sequence number on the wire is the one that the seed was made for: smoltcp's generator is
    /// what `sequence` takes it for.
    #[test]
    fn a_seeded_interface_gives_its_first_connection_the_wanted_number() {
        let mut queues = Queues::default();
        let now = Instant::from_secs(1);
        let mut network = Network::new(&fixed(), STACK_MAC, 1, &mut queues, now);
        for number in [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x1357_9bdf] {
            let mut sockets = SocketSet::new(vec![]);
            let buffer = || tcp::SocketBuffer::new(vec![0; 4096]);
            let mut socket = tcp::Socket::new(buffer(), buffer());
            socket.listen(80).unwrap();
            sockets.add(socket);

            let mut seeded = network.with_seed(seed_for(number), &mut queues, now);
            queues.inbox.push_back(frames::syn(40000, 80));
            seeded.poll_ingress_single(now, &mut queues, &mut sockets);
            queues.outbox.clear();
            queues.inbox.push_back(frames::arp_reply(PEER_MAC));
            network.receive(&mut queues, now);
            network
                .interface()
                .poll_egress(now, &mut queues, &mut sockets);

            let segment = queues.outbox.iter().find_map(|frame| {
                let packet = Ipv4Packet::new_checked(&frame[14..]).ok()?;
                let segment = TcpPacket::new_checked(packet.payload()).ok()?;
                segment
                    .syn()
                    .then_some((segment.seq_number(), segment.ack()))
            });
            assert_eq!(
                segment,
                Some((smoltcp::wire::TcpSeqNumber(number as i32), true))
            );
        }
    }

    #[test]
    fn routers_are_asked_three_times_and_then_no_more() {
        let mut queues = Queues::default();
        let mut network = Network::new(&fixed(), STACK_MAC, 1, &mut queues, Instant::ZERO);
        network.maintain(&mut queues, Instant::ZERO);
        let mut times = vec![];
        while let Some(deadline) = network.deadline(Instant::ZERO) {
            times.push(deadline.secs());
            network.maintain(&mut queues, deadline);
        }
        assert_eq!(times, [4, 8]);
        let solicitations = queues
            .outbox
            .iter()
            .filter(|frame| frame[20] == 58 && frame[54] == 133);
        assert_eq!(solicitations.count(), 3);
    }

    #[test]
    fn an_advertised_prefix_gives_an_address() {
        let mut queues = Queues::default();
        let mut network = Network::new(&fixed(), STACK_MAC, 1, &mut queues, Instant::ZERO);
        network.maintain(&mut queues, Instant::ZERO);
        let prefix = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        queues
            .inbox
            .push_back(frames::router_advertisement(prefix, 64));
        network.receive(&mut queues, Instant::from_secs(1));
        assert!(network.maintain(&mut queues, Instant::from_secs(1)));
        let address: Ipv6Address = "2001:db8::5054:ff:fe12:3456".parse().unwrap();
        assert!(network.is_own(address.into()), "{:?}", network.addresses());
        assert_eq!(network.deadline(Instant::from_secs(1)), None);
    }
}
