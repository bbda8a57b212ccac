//! The interfaces between protection domains: who writes which memory, who calls, who notifies.

use channel::{log, packets, status, streams, uptime};
use wiring::Value;

/// An interface that ports have.
#[derive(Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name in manifests.
    pub name: &'static str,
    /// Whether a consumer that a description leaves out is connected to the only provider.
    pub common: bool,
    /// Whether the consumer makes protected calls, so that the provider's priority must be higher.
    pub calls: bool,
    /// Whether the provider notifies the consumer.
    pub provider_notifies: bool,
    /// Whether the consumer notifies the provider.
    pub consumer_notifies: bool,
    /// What a description may say of a connection.
    pub parameters: &'static [Parameter],
    /// Whether the provider gets more priority than the consumer where a description gives none.
    pub above: bool,
    /// The bus that it is about: a consumer whose device is not on it stays unconnected.
    pub bus: Option<&'static str>,
}

/// What a description may say of a connection.
#[derive(Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its key.
    pub name: &'static str,
    /// What may be said.
    pub kind: ParameterKind,
}

/// What may be said under a parameter's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    /// A TCP or UDP port, a list of several, or nothing.
    Ports,
    /// A whole number from the first to the second, the third by default.
    Number(i64, i64, i64),
    /// A power of two from the first to the second, the third by default.
    PowerOfTwo(i64, i64, i64),
    /// A truth value, `false` by default.
    Flag,
}

impl ParameterKind {
    /// Its value when the description gives none.
    pub fn default(self) -> Option<Value> {
        match self {
            Self::Ports => None,
            Self::Number(_, _, default) | Self::PowerOfTwo(_, _, default) => {
                Some(Value::Integer(default))
            }
            Self::Flag => Some(Value::Boolean(false)),
        }
    }
}

const fn parameter(name: &'static str, kind: ParameterKind) -> Parameter {
    Parameter { name, kind }
}

/// Sizes of a connection's regions in bytes, not yet rounded up to pages; 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// What the provider writes.
    pub provider: u64,
    /// What the consumer writes.
    pub consumer: u64,
    /// Memory for a device's transfers, which both write.
    pub pool: u64,
}

const fn calls(name: &'static str) -> Interface {
    Interface {
        name,
        common: true,
        calls: true,
        provider_notifies: false,
        consumer_notifies: false,
        parameters: &[],
        above: true,
        bus: None,
    }
}

/// All interfaces, as in section 4 of `docs/design.md`.
pub static INTERFACES: [Interface; 9] = [
    Interface {
        common: false,
        calls: false,
        provider_notifies: true,
        consumer_notifies: true,
        parameters: &[
            parameter("buffers", ParameterKind::PowerOfTwo(2, 1024, 256)),
            parameter("buffer_size", ParameterKind::PowerOfTwo(2048, 65536, 2048)),
        ],
        ..calls("packets")
    },
    Interface {
        common: false,
        calls: false,
        provider_notifies: true,
        consumer_notifies: true,
        parameters: &[
            parameter("listen", ParameterKind::Ports),
            parameter("connect", ParameterKind::Flag),
            parameter("connections", ParameterKind::Number(1, 1024, 256)),
            parameter("buffer", ParameterKind::PowerOfTwo(512, 1 << 20, 8192)),
        ],
        ..calls("streams")
    },
    Interface {
        calls: false,
        consumer_notifies: true,
        ..calls("log")
    },
    calls("random"),
    Interface {
        provider_notifies: true,
        ..calls("time")
    },
    Interface {
        bus: Some("pci"),
        ..calls("pci")
    },
    Interface {
        common: false,
        provider_notifies: true,
        parameters: &[
            parameter("rate", ParameterKind::Number(1, 1_000_000, 1000)),
            parameter("client", ParameterKind::Flag),
        ],
        ..calls("sign")
    },
    Interface {
        common: false,
        calls: false,
        above: false,
        ..calls("status")
    },
    Interface {
        calls: false,
        above: false,
        ..calls("uptime")
    },
];

impl Interface {
    /// The interface of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        INTERFACES.iter().find(|interface| interface.name == name)
    }

    /// Whether a connection needs a Microkit channel.
    pub fn has_channel(&self) -> bool {
        self.calls || self.provider_notifies || self.consumer_notifies
    }

    /// The sizes of a connection's regions.
    ///
    /// # Errors
    /// Why these parameters do not go together.
    pub fn sizes(&self, parameter: impl Fn(&str) -> usize) -> Result<Sizes, String> {
        match self.name {
            "packets" => {
                let layout = packets::Layout::new(parameter("buffers"), parameter("buffer_size"))
                    .map_err(|error| error.to_string())?;
                Ok(Sizes {
                    provider: layout.provider_size() as u64,
                    consumer: layout.consumer_size() as u64,
                    pool: layout.pool_size() as u64,
                })
            }
            "streams" => {
                let layout = streams::Layout::new(parameter("connections"), parameter("buffer"))
                    .map_err(|error| error.to_string())?;
                Ok(Sizes {
                    provider: layout.provider_size() as u64,
                    consumer: layout.consumer_size() as u64,
                    pool: 0,
                })
            }
            "log" => Ok(Sizes {
                provider: log::PROVIDER_SIZE as u64,
                consumer: log::CONSUMER_SIZE as u64,
                pool: 0,
            }),
            "uptime" => Ok(Sizes {
                provider: uptime::PROVIDER_SIZE as u64,
                ..Sizes::default()
            }),
            "status" => Ok(Sizes {
                provider: status::PROVIDER_SIZE as u64,
                ..Sizes::default()
            }),
            _ => Ok(Sizes::default()),
        }
    }
}
