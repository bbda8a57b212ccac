//! The configuration of the stack, from the protection domain's wiring.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::host::{is_host_address, is_host_part_reserved};
use smoltcp::wire::{IpAddress, IpCidr, Ipv4Address, Ipv4Cidr, Ipv6Address, Ipv6Cidr};
use wiring::{Connection, Value, Wiring, WiringError};

/// How the host gets its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The IPv4 address.
    pub ipv4: Ipv4Setting,
    /// The IPv6 address.
    pub ipv6: Ipv6Setting,
    /// The check before an IPv4 address is used.
    pub conflict_detection: ConflictDetection,
    /// The host name in DHCP messages: the key `host_name`, or the system's name. At most 63 bytes;
    /// empty for none.
    pub host_name: String,
}

/// The check before an IPv4 address is used: the key `conflict_detection` (RFC 5227).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConflictDetection {
    /// `"announce"`: the address is announced and used at once. Conflicts are seen and defended against.
    #[default]
    Announce,
    /// `"probe"`: for 4 to 7 s other hosts may object; then as with `"announce"`.
    Probe,
}

/// Where the IPv4 address comes from: the key `address`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ipv4Setting {
    /// `"none"`: no IPv4.
    Off,
    /// `"dhcp"`: a lease (RFC 2131).
    Dhcp,
    /// `"10.0.0.2/24"`: this address; the key `gateway` names the router.
    Fixed {
        /// Address and length of the network's prefix.
        address: Ipv4Cidr,
        /// The router to other networks.
        gateway: Option<Ipv4Address>,
    },
}

/// Where the IPv6 address comes from: the key `address6`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ipv6Setting {
    /// `"none"`: no IPv6.
    Off,
    /// `"auto"`: a link-local address, and one in each prefix that a router advertises (RFC 4862).
    Automatic,
    /// `"fd00::2/64"`: a link-local address and this one; the key `gateway6` names the router.
    Fixed {
        /// Address and length of the network's prefix.
        address: Ipv6Cidr,
        /// The router to other networks.
        gateway: Option<Ipv6Address>,
    },
}

/// What one consumer of byte streams may do: the parameters of its connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Ports whose connections go to this consumer: the parameter `listen`, an integer or a list.
    pub listen: Vec<u16>,
    /// Whether it may open connections: the parameter `connect`, by default `false`.
    pub connect: bool,
}

/// A configuration that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingsError {
    /// A value is missing or of the wrong type.
    Wiring(WiringError),
    /// A text is not what its key needs.
    Invalid {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
    /// Two consumers listen on one port.
    PortTaken(u16),
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wiring(error) => error.fmt(f),
            Self::Invalid {
                key,
                value,
                expected,
            } => {
                write!(f, "`{key}` is \"{value}\"; expected {expected}")
            }
            Self::PortTaken(port) => write!(f, "two consumers listen on port {port}"),
        }
    }
}

impl core::error::Error for SettingsError {}

impl From<WiringError> for SettingsError {
    fn from(error: WiringError) -> Self {
        Self::Wiring(error)
    }
}

impl Settings {
    /// No addresses at all.
    pub const NONE: Self = Self {
        ipv4: Ipv4Setting::Off,
        ipv6: Ipv6Setting::Off,
        conflict_detection: ConflictDetection::Announce,
        host_name: String::new(),
    };

    /// Reads the keys `address`, `gateway`, `address6`, `gateway6`, `conflict_detection` and `host_name`.
    ///
    /// # Errors
    /// [`SettingsError`] names the key and what it should hold.
    pub fn from_wiring(wiring: &Wiring) -> Result<Self, SettingsError> {
        let gateway = optional(wiring, "gateway")?
            .map(|text| parse_gateway("gateway", text, "an IPv4 address, such as \"10.0.0.1\""))
            .transpose()?;
        let gateway6 = optional(wiring, "gateway6")?
            .map(|text| parse_gateway("gateway6", text, "an IPv6 address, such as \"fd00::1\""))
            .transpose()?;
        Ok(Self {
            ipv4: parse_ipv4(optional(wiring, "address")?.unwrap_or("dhcp"), gateway)?,
            ipv6: parse_ipv6(optional(wiring, "address6")?.unwrap_or("auto"), gateway6)?,
            conflict_detection: parse_conflict_detection(optional(wiring, "conflict_detection")?)?,
            host_name: match optional(wiring, "host_name")? {
                Some(text) => parse_host_name(text)?,
                None => host_name_of(&wiring.system),
            },
        })
    }
}

impl Policy {
    /// Reads the parameters `listen` and `connect` of a consumer's connection.
    ///
    /// # Errors
    /// [`SettingsError`] if one has the wrong type or a port is not in 1 to 65535.
    pub fn from_connection(connection: &Connection) -> Result<Self, SettingsError> {
        let mut policy = Self::default();
        for (key, value) in &connection.parameters {
            match (key.as_str(), value) {
                ("listen", Value::List(ports)) => {
                    policy.listen = ports.iter().map(port).collect::<Result<_, _>>()?;
                }
                ("listen", value) => policy.listen = [port(value)?].into(),
                ("connect", Value::Boolean(allowed)) => policy.connect = *allowed,
                ("connect", _) => return Err(WiringError::WrongType(key.clone()).into()),
                _ => {}
            }
        }
        Ok(policy)
    }
}

fn port(value: &Value) -> Result<u16, SettingsError> {
    match value {
        Value::Integer(number @ 1..=65535) => Ok(*number as u16),
        _ => Err(WiringError::WrongType("listen".to_string()).into()),
    }
}

/// A text that may be absent or empty.
fn optional<'a>(wiring: &'a Wiring, key: &str) -> Result<Option<&'a str>, SettingsError> {
    match wiring.text(key) {
        Ok("") | Err(WiringError::NoKey(_)) => Ok(None),
        Ok(text) => Ok(Some(text)),
        Err(error) => Err(error.into()),
    }
}

fn parse_ipv4(text: &str, gateway: Option<Ipv4Address>) -> Result<Ipv4Setting, SettingsError> {
    match text {
        "none" => Ok(Ipv4Setting::Off),
        "dhcp" => Ok(Ipv4Setting::Dhcp),
        _ => match parse_cidr(text) {
            Some(IpCidr::Ipv4(address)) if is_usable(address) => {
                Ok(Ipv4Setting::Fixed { address, gateway })
            }
            _ => Err(SettingsError::Invalid {
                key: "address",
                value: text.to_string(),
                expected: "\"dhcp\", \"none\" or an IPv4 address with its prefix length, such as \"10.0.0.2/24\"",
            }),
        },
    }
}

/// Whether a host can have the address: it is not a network, broadcast or reserved address.
fn is_usable(address: Ipv4Cidr) -> bool {
    is_host_address(address.address())
        && !is_host_part_reserved(address.prefix_len(), address.address())
}

fn parse_ipv6(text: &str, gateway: Option<Ipv6Address>) -> Result<Ipv6Setting, SettingsError> {
    match text {
        "none" => Ok(Ipv6Setting::Off),
        "auto" => Ok(Ipv6Setting::Automatic),
        _ => match parse_cidr(text) {
            Some(IpCidr::Ipv6(address)) => Ok(Ipv6Setting::Fixed { address, gateway }),
            _ => Err(SettingsError::Invalid {
                key: "address6",
                value: text.to_string(),
                expected: "\"auto\", \"none\" or an IPv6 address with its prefix length, such as \"fd00::2/64\"",
            }),
        },
    }
}

fn parse_conflict_detection(text: Option<&str>) -> Result<ConflictDetection, SettingsError> {
    match text {
        None | Some("announce") => Ok(ConflictDetection::Announce),
        Some("probe") => Ok(ConflictDetection::Probe),
        Some(text) => Err(SettingsError::Invalid {
            key: "conflict_detection",
            value: text.to_string(),
            expected: "\"announce\" or \"probe\"",
        }),
    }
}

/// Returns the system's name as a label of a domain name, which has no underscores.
fn host_name_of(system: &str) -> String {
    system.replace('_', "-").trim_matches('-').to_string()
}

/// Reads a label of a domain name (RFC 1123, section 2.1).
fn parse_host_name(text: &str) -> Result<String, SettingsError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let edges = text.starts_with('-') || text.ends_with('-');
    match text.len() <= 63 && text.bytes().all(allowed) && !edges {
        true => Ok(text.to_string()),
        false => Err(SettingsError::Invalid {
            key: "host_name",
            value: text.to_string(),
            expected: "1 to 63 letters, digits and hyphens",
        }),
    }
}

/// An address that a host can have, and its prefix length.
fn parse_cidr(text: &str) -> Option<IpCidr> {
    let (address, length) = text.split_once('/')?;
    let address: core::net::IpAddr = address.parse().ok()?;
    let length: u8 = length.parse().ok()?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let usable = IpAddress::from(address).is_unicast() && !address.is_loopback() && length <= bits;
    usable.then(|| IpCidr::new(address.into(), length))
}

fn parse_gateway<A>(
    key: &'static str,
    text: &str,
    expected: &'static str,
) -> Result<A, SettingsError>
where
    A: core::str::FromStr + Copy + Into<IpAddress>,
{
    text.parse()
        .ok()
        .filter(|address: &A| (*address).into().is_unicast())
        .ok_or_else(|| SettingsError::Invalid {
            key,
            value: text.to_string(),
            expected,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wiring(config: &[(&str, &str)]) -> Wiring {
        let mut wiring = Wiring::new("tcpip");
        for (key, value) in config {
            wiring
                .config
                .push((key.to_string(), Value::Text(value.to_string())));
        }
        wiring
    }

    #[test]
    fn without_keys_addresses_are_automatic() {
        let settings = Settings::from_wiring(&wiring(&[("gateway", "")])).unwrap();
        assert_eq!(settings.ipv4, Ipv4Setting::Dhcp);
        assert_eq!(settings.ipv6, Ipv6Setting::Automatic);
    }

    #[test]
    fn fixed_addresses_are_read() {
        let settings = Settings::from_wiring(&wiring(&[
            ("address", "10.0.0.2/24"),
            ("gateway", "10.0.0.1"),
            ("address6", "fd00::2/64"),
            ("gateway6", "fe80::1"),
        ]));
        let expected = Settings {
            ipv4: Ipv4Setting::Fixed {
                address: Ipv4Cidr::new(Ipv4Address::new(10, 0, 0, 2), 24),
                gateway: Some(Ipv4Address::new(10, 0, 0, 1)),
            },
            ipv6: Ipv6Setting::Fixed {
                address: Ipv6Cidr::new("fd00::2".parse().unwrap(), 64),
                gateway: Some("fe80::1".parse().unwrap()),
            },
            ..Settings::NONE
        };
        assert_eq!(settings, Ok(expected));
    }

    #[test]
    fn addresses_of_two_and_of_one_have_no_broadcast_address() {
        for text in ["10.0.0.0/31", "10.0.0.255/32"] {
            let settings = Settings::from_wiring(&wiring(&[("address", text)])).unwrap();
            assert!(matches!(settings.ipv4, Ipv4Setting::Fixed { .. }), "{text}");
        }
    }

    #[test]
    fn the_host_name_is_the_systems_or_the_keys() {
        let mut of_system = Wiring::new("tcpip");
        of_system.system = "web_server-".into();
        let name = |wiring: &Wiring| Settings::from_wiring(wiring).unwrap().host_name;
        assert_eq!(name(&of_system), "web-server");
        assert_eq!(name(&wiring(&[("host_name", "front")])), "front");
    }

    #[test]
    fn conflicts_are_looked_for_before_or_after_use() {
        let detection = |text| {
            Settings::from_wiring(&wiring(&[("conflict_detection", text)]))
                .unwrap()
                .conflict_detection
        };
        assert_eq!(detection("announce"), ConflictDetection::Announce);
        assert_eq!(detection("probe"), ConflictDetection::Probe);
        assert_eq!(detection(""), ConflictDetection::Announce);
    }

    #[test]
    fn wrong_texts_name_their_key() {
        for (key, value) in [
            ("address", "10.0.0.2"),
            ("address", "10.0.0.2/33"),
            ("address", "224.0.0.1/4"),
            ("address", "127.0.0.1/8"),
            ("address", "10.0.0.0/24"),
            ("address", "10.0.0.255/24"),
            ("address", "0.1.2.3/8"),
            ("address", "250.0.0.1/8"),
            ("conflict_detection", "never"),
            ("host_name", "-web"),
            ("host_name", "web server"),
            ("address", "fd00::2/64"),
            ("gateway", "255.255.255.255"),
            ("gateway", "router"),
            ("address6", "fd00::2/129"),
            ("address6", "ff02::1/64"),
            ("gateway6", "10.0.0.1"),
        ] {
            match Settings::from_wiring(&wiring(&[(key, value)])) {
                Err(SettingsError::Invalid { key: named, .. }) => assert_eq!(named, key),
                other => panic!("{key} = {value}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_consumer_listens_on_one_port_or_several() {
        let policy = |value: Value| {
            Policy::from_connection(&Connection {
                port: "clients".into(),
                peer: "echo".into(),
                interface: "streams".into(),
                role: wiring::Role::Provider,
                channel: None,
                own: None,
                peers: None,
                pool: None,
                parameters: alloc::vec![("listen".into(), value)],
            })
            .map(|policy| policy.listen)
        };
        assert_eq!(policy(Value::Integer(7)), Ok(alloc::vec![7]));
        let list = Value::List([Value::Integer(80), Value::Integer(8080)].into());
        assert_eq!(policy(list), Ok(alloc::vec![80, 8080]));
        for wrong in [
            Value::Integer(0),
            Value::Integer(65536),
            Value::Boolean(true),
        ] {
            assert!(policy(wrong).is_err());
        }
    }
}
