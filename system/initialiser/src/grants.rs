//! The capabilities that protection domains (PDs) get.

use initialiser_spec::{CNODE_BITS, Grant, Object, Rights, Spec};
use sel4::pc99::root::{CapRights, IoApicPin, initial, port_range};
use sel4::{WORD_SIZE, cap};

use crate::domains::Domains;
use crate::failure::Failure;
use crate::machine::Machine;

/// Puts every capability into its PD's table. Returns the slots that were needed meanwhile.
pub(crate) fn give(
    machine: &mut Machine<'_>,
    spec: &Spec<'static>,
    domains: &Domains,
) -> Result<core::ops::Range<u64>, Failure> {
    let is_interrupt = |grant: &Grant| matches!(grant.object, Object::Interrupt { .. });
    // For each interrupt its handler and the notification that it signals.
    let count = 2 * spec.grants().filter(is_interrupt).count() as u64;
    let first = machine.slots(count)?;
    let mut free = first..first + count;
    for grant in spec.grants() {
        put(&grant, domains, &mut free).map_err(|reason| Failure::Refused {
            what: what(&grant),
            name: spec.name(spec.domain(grant.domain).name),
            at: u64::from(grant.slot),
            reason,
        })?;
    }
    Ok(first..first + count)
}

fn put(grant: &Grant, domains: &Domains, free: &mut core::ops::Range<u64>) -> sel4::Result<()> {
    let table = domains.cnode(grant.domain);
    let slot = u64::from(grant.slot);
    match grant.object {
        Object::Notification { of, badge, rights } => {
            let source = domains.notification(of);
            table.mint(slot, CNODE_BITS, source, cap_rights(rights), badge)
        }
        Object::Endpoint { of, badge, rights } => {
            let source = domains.endpoint(of);
            table.mint(slot, CNODE_BITS, source, cap_rights(rights), badge)
        }
        Object::Thread { of } => table.copy(slot, CNODE_BITS, domains.thread(of), CapRights::ALL),
        Object::IoPorts { first, last } => table.mint(
            slot,
            CNODE_BITS,
            initial::IO_PORTS,
            CapRights::ALL,
            port_range(first, last),
        ),
        Object::Interrupt {
            ioapic,
            pin,
            level,
            active_low,
            vector,
            badge,
        } => {
            let pin = IoApicPin {
                ioapic: ioapic.into(),
                pin: pin.into(),
                level,
                active_low,
                vector: vector.into(),
            };
            let notification = domains.notification(grant.domain);
            let handler = interrupt(pin, notification, badge, free)?;
            table.copy(slot, CNODE_BITS, handler, CapRights::ALL)
        }
    }
}

/// Claims an interrupt and has it delivered with this badge.
fn interrupt(
    pin: IoApicPin,
    notification: cap::Notification,
    badge: u64,
    free: &mut core::ops::Range<u64>,
) -> sel4::Result<cap::IrqHandler> {
    let mut next = || free.next().ok_or(sel4::Error::NotEnoughMemory);
    let (handler, signal) = (next()?, next()?);
    initial::IRQ_CONTROL.irq_control_get_ioapic(pin, handler)?;
    let rights = cap_rights(Rights::Send);
    initial::CNODE.mint(signal, WORD_SIZE as u8, notification, rights, badge)?;
    let handler = cap::IrqHandler::from_bits(handler);
    handler.irq_handler_set_notification(cap::Notification::from_bits(signal))?;
    Ok(handler)
}

fn cap_rights(rights: Rights) -> CapRights {
    match rights {
        Rights::Receive => CapRights::new(false, true, false),
        Rights::Send => CapRights::new(false, false, true),
        Rights::Call => CapRights::new(true, false, true),
    }
}

fn what(grant: &Grant) -> &'static str {
    match grant.object {
        Object::Notification { .. } => "notification in slot",
        Object::Endpoint { .. } => "endpoint in slot",
        Object::Thread { .. } => "thread of a child in slot",
        Object::Interrupt { .. } => "interrupt in slot",
        Object::IoPorts { .. } => "I/O ports in slot",
    }
}
