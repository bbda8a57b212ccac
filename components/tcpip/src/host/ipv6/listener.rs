//! Multicast Listener Discovery (RFC 3810): reports to routers and switches which groups the host
//! listens to. Its groups are the solicited-node groups of its addresses, from any source; a switch
//! that follows reports would otherwise keep neighbours' solicitations from the host.
//!
//! Routers that use version 1 (RFC 2710) are answered in version 1 (RFC 3810, section 8.2.1).

use alloc::vec::Vec;

use smoltcp::time::{Duration, Instant};
use smoltcp::wire::Ipv6Address;

use super::super::random::Random;
use super::address::{ALL_MLDV2_ROUTERS, ALL_ROUTERS, is_link_local};
use super::headers::address_at;
use super::message::{
    Envelope, LISTENER_DONE_V1, LISTENER_QUERY, LISTENER_REPORT_V1, LISTENER_REPORT_V2,
};

/// How often a change is reported: the robustness variable (RFC 3810, section 9.1).
const REPORTS: u8 = 2;
/// Between two reports of a change, at most (RFC 3810, section 9.11).
const UNSOLICITED_INTERVAL: Duration = Duration::from_secs(1);
/// How long routers of version 1 are taken to be there after a query of theirs: robustness variable times query interval,
/// and the longest response delay (RFC 3810, section 9.12).
const OLD_ROUTERS: Duration = Duration::from_secs(2 * 125 + 10);
/// Lengths of queries in bytes (RFC 3810, section 8.1).
const QUERY_V1: usize = 24;
const QUERY_V2: usize = 28;
/// Kinds of records (RFC 3810, section 5.2.12).
const IS_EXCLUDE: u8 = 2;
const TO_INCLUDE: u8 = 3;
const TO_EXCLUDE: u8 = 4;

/// The groups of the host.
pub(crate) struct Listener {
    groups: Vec<Group>,
    /// When all groups are to be reported because a router asked.
    answer: Option<Instant>,
    old_routers: Option<Instant>,
    random: Random,
}

struct Group {
    address: Ipv6Address,
    /// Whether the host listens; if not, the entry is here until that is reported.
    member: bool,
    /// Reports of a change that are due, and when the next one is.
    left: u8,
    next: Instant,
    /// When the group is to be reported because a router asked for it.
    answer: Option<Instant>,
}

/// A message to send, with hop limit 1 and a Router Alert option (RFC 3810, section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// Where it goes.
    pub destination: Ipv6Address,
    /// The message.
    pub message: Vec<u8>,
}

impl Listener {
    /// Returns a listener without groups.
    pub fn new(random: Random) -> Self {
        Self {
            groups: Vec::new(),
            answer: None,
            old_routers: None,
            random,
        }
    }

    /// Listens to exactly these groups, of which there are as many as the host has addresses at most.
    pub fn set(&mut self, groups: impl Iterator<Item = Ipv6Address> + Clone, now: Instant) {
        for group in &mut self.groups {
            let member = groups.clone().any(|address| address == group.address);
            if group.member != member {
                (group.member, group.left, group.next) = (member, REPORTS, now);
                group.answer = None;
            }
        }
        for address in groups {
            if !self.groups.iter().any(|it| it.address == address) {
                self.groups.push(Group {
                    address,
                    member: true,
                    left: REPORTS,
                    next: now,
                    answer: None,
                });
            }
        }
    }

    /// Whether the host listens to this group.
    pub fn contains(&self, group: Ipv6Address) -> bool {
        self.groups
            .iter()
            .any(|it| it.member && it.address == group)
    }

    /// Reports all groups again: the host may be connected to another switch.
    pub fn report_all(&mut self, now: Instant) {
        self.groups.retain(|it| it.member);
        self.old_routers = None;
        for group in &mut self.groups {
            (group.left, group.next) = (REPORTS, now);
        }
    }

    /// Takes a query (RFC 3810, section 6.2). Those that no router of this link has sent are ignored.
    pub fn query(&mut self, envelope: &Envelope, router_alert: bool, message: &[u8], now: Instant) {
        let old = message.len() == QUERY_V1;
        let valid = is_link_local(envelope.source) && envelope.hop_limit == 1 && router_alert;
        if !valid || (!old && message.len() < QUERY_V2) || message[0] != LISTENER_QUERY {
            return;
        }
        let Some(group) = address_at(message, 8) else {
            return;
        };
        let code = u16::from_be_bytes([message[4], message[5]]);
        let longest = match old {
            true => Duration::from_millis(u64::from(code)),
            false => response_delay(code),
        };
        if old {
            self.old_routers = Some(now + OLD_ROUTERS);
        }
        let answer = now + self.random.between(Duration::ZERO, longest);
        let sooner = |known: Option<Instant>| Some(known.map_or(answer, |it| it.min(answer)));
        if group.is_unspecified() {
            self.answer = sooner(self.answer);
        } else if let Some(group) = self
            .groups
            .iter_mut()
            .find(|it| it.member && it.address == group)
        {
            group.answer = sooner(group.answer);
        }
    }

    /// Returns the next message that is due.
    pub fn poll(&mut self, now: Instant) -> Option<Report> {
        let due = |time: Option<Instant>| time.is_some_and(|time| time <= now);
        let old = self.old_routers.is_some_and(|until| until > now);
        if due(self.answer) {
            self.answer = None;
            // Version 1 has one message a group.
            if !old {
                return self.answer_all();
            }
            for group in self.groups.iter_mut().filter(|it| it.member) {
                group.answer = Some(now);
            }
        }
        let at = self.groups.iter().position(|it| due(it.deadline()))?;
        let group = &mut self.groups[at];
        let answered = due(group.answer);
        group.answer = group.answer.filter(|time| *time > now);
        let (address, member) = (group.address, group.member);
        if !answered {
            group.left -= 1;
            group.next = now + self.random.between(Duration::ZERO, UNSOLICITED_INTERVAL);
            if group.left == 0 && !member {
                self.groups.remove(at);
            }
        }
        let kind = match (answered, member) {
            (true, _) => IS_EXCLUDE,
            (false, true) => TO_EXCLUDE,
            (false, false) => TO_INCLUDE,
        };
        Some(match old {
            true => report_v1(address, member),
            false => report_v2([(kind, address)].into_iter()),
        })
    }

    /// Returns when [`Listener::poll`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let groups = self.groups.iter().filter_map(Group::deadline);
        groups.chain(self.answer).min()
    }

    fn answer_all(&self) -> Option<Report> {
        let members = self.groups.iter().filter(|it| it.member);
        let mut records = members.map(|it| (IS_EXCLUDE, it.address)).peekable();
        records.peek()?;
        Some(report_v2(records))
    }
}

impl Group {
    fn deadline(&self) -> Option<Instant> {
        let change = (self.left > 0).then_some(self.next);
        change.into_iter().chain(self.answer).min()
    }
}

/// Returns the longest delay of an answer: a number of milliseconds, or one with an exponent (RFC
/// 3810, section 5.1.3).
fn response_delay(code: u16) -> Duration {
    let milliseconds = match code {
        0..0x8000 => u64::from(code),
        _ => u64::from(code & 0xfff | 0x1000) << ((code >> 12 & 7) + 3),
    };
    Duration::from_millis(milliseconds)
}

/// Writes a report of version 2 (RFC 3810, section 5.2).
fn report_v2(records: impl Iterator<Item = (u8, Ipv6Address)>) -> Report {
    let mut message = alloc::vec![LISTENER_REPORT_V2, 0, 0, 0, 0, 0, 0, 0];
    for (kind, group) in records {
        // No auxiliary data and no sources.
        message.extend_from_slice(&[kind, 0, 0, 0]);
        message.extend_from_slice(&group.octets());
        message[7] += 1;
    }
    Report {
        destination: ALL_MLDV2_ROUTERS,
        message,
    }
}

/// Writes a report, or the message that ends a membership, of version 1 (RFC 2710, sections 3 and
/// 4).
fn report_v1(group: Ipv6Address, member: bool) -> Report {
    let (kind, destination) = match member {
        true => (LISTENER_REPORT_V1, group),
        false => (LISTENER_DONE_V1, ALL_ROUTERS),
    };
    let mut message = alloc::vec![kind, 0, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(&group.octets());
    Report {
        destination,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(number: u16) -> Ipv6Address {
        Ipv6Address::new(0xff02, 0, 0, 0, 0, 1, 0xff00, number)
    }

    fn at(milliseconds: i64) -> Instant {
        Instant::from_millis(milliseconds)
    }

    fn listening(groups: &[u16]) -> Listener {
        let mut listener = Listener::new(Random::new([5; 16]));
        listener.set(groups.iter().map(|number| group(*number)), at(0));
        listener
    }

    fn query(listener: &mut Listener, of: Ipv6Address, code: u16, length: usize, now: Instant) {
        let envelope = Envelope {
            source: Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 0, 2),
            destination: super::super::address::ALL_NODES,
            hop_limit: 1,
        };
        let mut message = vec![0; length];
        message[0] = LISTENER_QUERY;
        message[4..6].copy_from_slice(&code.to_be_bytes());
        message[8..24].copy_from_slice(&of.octets());
        for (hop_limit, alert) in [(2, true), (1, false)] {
            let before = listener.deadline();
            let wrong = Envelope {
                hop_limit,
                ..envelope
            };
            listener.query(&wrong, alert, &message, now);
            assert_eq!(listener.deadline(), before, "ignored");
        }
        listener.query(&envelope, true, &message, now);
    }

    /// Lets time pass; returns type of message, kinds of records and groups.
    fn run(listener: &mut Listener) -> Vec<(Instant, Vec<u8>, Ipv6Address)> {
        let mut sent = vec![];
        while let Some(now) = listener.deadline() {
            while let Some(report) = listener.poll(now) {
                let mut kinds = vec![report.message[0]];
                if report.message[0] == LISTENER_REPORT_V2 {
                    kinds.extend(report.message[8..].iter().step_by(20));
                }
                sent.push((now, kinds, report.destination));
            }
        }
        sent
    }

    fn kinds(sent: &[(Instant, Vec<u8>, Ipv6Address)]) -> Vec<Vec<u8>> {
        sent.iter().map(|(_, kinds, _)| kinds.clone()).collect()
    }

    #[test]
    fn joining_and_leaving_is_reported_twice() {
        let mut listener = listening(&[1]);
        assert!(listener.contains(group(1)) && !listener.contains(group(2)));
        let sent = run(&mut listener);
        assert_eq!(kinds(&sent), [[143, 4], [143, 4]]);
        assert_eq!((sent[0].0, sent[0].2), (at(0), ALL_MLDV2_ROUTERS));
        assert!(sent[1].0 < at(1000), "{sent:?}");

        listener.set([group(2)].into_iter(), at(5000));
        assert!(!listener.contains(group(1)) && listener.contains(group(2)));
        let mut sent = kinds(&run(&mut listener));
        sent.sort();
        assert_eq!(sent, [[143, 3], [143, 3], [143, 4], [143, 4]]);
        assert_eq!(listener.groups.len(), 1);
    }

    #[test]
    fn a_general_query_is_answered_with_all_groups_in_time() {
        let mut listener = listening(&[1, 2]);
        run(&mut listener);
        query(
            &mut listener,
            Ipv6Address::UNSPECIFIED,
            2000,
            28,
            at(10_000),
        );
        let sent = run(&mut listener);
        assert_eq!(kinds(&sent), [[143, 2, 2]]);
        assert!((at(10_000)..at(12_000)).contains(&sent[0].0), "{sent:?}");
    }

    #[test]
    fn a_query_for_a_group_is_answered_by_its_members() {
        let mut listener = listening(&[1, 2]);
        run(&mut listener);
        query(&mut listener, group(2), 2000, 28, at(10_000));
        query(&mut listener, group(3), 2000, 28, at(10_000));
        assert_eq!(kinds(&run(&mut listener)), [[143, 2]]);
    }

    #[test]
    fn routers_of_version_1_are_answered_in_version_1() {
        let mut listener = listening(&[1, 2]);
        run(&mut listener);
        query(
            &mut listener,
            Ipv6Address::UNSPECIFIED,
            1000,
            24,
            at(10_000),
        );
        let sent = run(&mut listener);
        assert_eq!(kinds(&sent), [[131], [131]]);
        assert_eq!([sent[0].2, sent[1].2], [group(1), group(2)]);
        listener.set([group(1)].into_iter(), at(20_000));
        assert_eq!(kinds(&run(&mut listener)), [[132], [132]]);
        query(
            &mut listener,
            Ipv6Address::UNSPECIFIED,
            1000,
            28,
            at(300_000),
        );
        assert_eq!(kinds(&run(&mut listener)), [[143, 2]], "they are gone");
    }

    #[test]
    fn another_link_hears_all_reports_again() {
        let mut listener = listening(&[1, 2]);
        run(&mut listener);
        listener.report_all(at(5000));
        assert_eq!(run(&mut listener).len(), 4);
    }

    #[test]
    fn delays_with_exponents_are_read() {
        assert_eq!(response_delay(1000), Duration::from_millis(1000));
        assert_eq!(response_delay(0x7fff), Duration::from_millis(32767));
        assert_eq!(response_delay(0x8000), Duration::from_millis(32768));
        assert_eq!(response_delay(0xffff), Duration::from_millis(0x1fff << 10));
    }

    #[test]
    fn short_queries_are_ignored() {
        let mut listener = listening(&[1]);
        run(&mut listener);
        let envelope = Envelope {
            source: Ipv6Address::new(0xfe80, 0, 0, 0, 0, 0, 0, 2),
            destination: super::super::address::ALL_NODES,
            hop_limit: 1,
        };
        for length in [0, 4, 23, 25, 27] {
            listener.query(&envelope, true, &vec![LISTENER_QUERY; length], at(0));
        }
        assert_eq!(listener.deadline(), None);
    }
}
