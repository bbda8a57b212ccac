//! The capabilities that each protection domain (PD) gets, in Microkit's slots.

use std::collections::HashMap;

use initialiser_spec::{Grant, Object, Rights, badge, slot};
use microkit_sdf::{End, Interrupt, Irq, Polarity, ProtectionDomain, System, Trigger};

use super::ImageError;

/// All capabilities of all PDs.
pub(super) fn grants(system: &System) -> Result<Vec<Grant>, ImageError> {
    let domains = system.domains();
    let index: HashMap<&str, u32> = (0..)
        .zip(&domains)
        .map(|(index, (domain, _))| (domain.name.as_str(), index))
        .collect();
    let mut grants = Vec::new();
    for (of, (domain, parent)) in (0..).zip(&domains) {
        let mut give = |to: u32, slot: u64, object| {
            grants.push(Grant {
                domain: to,
                slot: slot as u32,
                object,
            });
        };
        give(of, slot::INPUT, input(system, domain, of));
        if let (Some(parent), Some(child)) = (parent, &domain.child) {
            let parent = *parent as u32;
            let faults = Object::Endpoint {
                of: parent,
                badge: badge::fault(child.id),
                rights: Rights::Call,
            };
            give(of, slot::FAULT_ENDPOINT, faults);
            give(
                parent,
                slot::CHILDREN + u64::from(child.id),
                Object::Thread { of },
            );
        }
        for irq in &domain.irqs {
            give(
                of,
                slot::IRQS + u64::from(irq.id),
                interrupt(&domain.name, irq)?,
            );
        }
        for port in &domain.io_ports {
            let last = u32::from(port.address) + port.size - 1;
            let ports = Object::IoPorts {
                first: port.address,
                last: u16::try_from(last).unwrap_or(u16::MAX),
            };
            give(of, slot::IO_PORTS + u64::from(port.id), ports);
        }
    }
    for channel in &system.channels {
        let [a, b] = &channel.ends;
        grants.extend(outgoing(&index, a, b));
        grants.extend(outgoing(&index, b, a));
    }
    Ok(grants)
}

/// Whether a PD receives messages: calls, or the faults of children.
fn has_endpoint(system: &System, domain: &ProtectionDomain) -> bool {
    let called = system.channels.iter().any(|channel| {
        let [a, b] = &channel.ends;
        (b.call && a.domain == domain.name) || (a.call && b.domain == domain.name)
    });
    called || !domain.children.is_empty()
}

/// What a PD receives from. Signals arrive at the endpoint as well, since the notification is bound to the thread.
fn input(system: &System, domain: &ProtectionDomain, of: u32) -> Object {
    let rights = Rights::Receive;
    if has_endpoint(system, domain) {
        Object::Endpoint {
            of,
            badge: 0,
            rights,
        }
    } else {
        Object::Notification {
            of,
            badge: 0,
            rights,
        }
    }
}

/// What one end may do to the other. The badge says which channel it is *there*.
fn outgoing(index: &HashMap<&str, u32>, from: &End, to: &End) -> Vec<Grant> {
    // `System::check` has refused ends at PDs that do not exist.
    let (Some(domain), Some(of)) = (
        index.get(from.domain.as_str()).copied(),
        index.get(to.domain.as_str()).copied(),
    ) else {
        return Vec::new();
    };
    let grant = |base: u64, object| Grant {
        domain,
        slot: (base + u64::from(from.id)) as u32,
        object,
    };
    let notify = from.notify.then(|| {
        let object = Object::Notification {
            of,
            badge: badge::signal(to.id),
            rights: Rights::Send,
        };
        grant(slot::OUTPUT_NOTIFICATIONS, object)
    });
    let call = from.call.then(|| {
        let object = Object::Endpoint {
            of,
            badge: badge::call(to.id),
            rights: Rights::Call,
        };
        grant(slot::OUTPUT_ENDPOINTS, object)
    });
    notify.into_iter().chain(call).collect()
}

fn interrupt(domain: &str, irq: &Irq) -> Result<Object, ImageError> {
    let unsupported = |why| ImageError::Unsupported(format!("{domain}: interrupt {}", irq.id), why);
    match irq.source {
        Interrupt::IoApic {
            ioapic,
            pin,
            trigger,
            polarity,
            vector,
        } => Ok(Object::Interrupt {
            ioapic: ioapic
                .try_into()
                .map_err(|_| unsupported("no such I/O APIC"))?,
            pin: pin.try_into().map_err(|_| unsupported("no such pin"))?,
            level: trigger == Trigger::Level,
            active_low: polarity == Polarity::Low,
            vector,
            badge: badge::signal(irq.id),
        }),
        Interrupt::Number { .. } | Interrupt::Msi { .. } => {
            Err(unsupported("only pins of the I/O APIC can be received"))
        }
    }
}
