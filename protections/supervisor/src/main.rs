//! The parent of all other protection domains (PDs): names each fault, and keeps who faulted stopped.
//!
//! It is told of a fault by the kernel, through the endpoint at which it waits. It stops the thread, reads where it stood,
//! and writes one line to the log: PD, kind of fault, address, instruction and the function that it lies in.
//!
//! What it must never do: call another PD, or wait for one. Whom it called could be the one that faulted; so it has no
//! port but the log, which never blocks. It must never answer a fault either: the thread would go on at the
//! instruction that faulted.
//!
//! On pc99 a PD holds the capability that its faults are sent through, so it can send a message that looks like
//! one. It is believed in one respect only, that it wants to be stopped: the instruction in the log is read from the
//! thread, and a stopped thread sends nothing more.
#![no_std]
#![no_main]

use core::fmt::Display;

use pd::{error, info};
use sel4_microkit::{Child, Handler, Infallible, MessageInfo, get_mr, protection_domain};
use symbols::{Access, Fault, Message, Processor, Report, Table};

#[protection_domain]
fn init() -> Supervisor {
    let symbols = pd::wiring().data("symbols").ok();
    let symbols = symbols.and_then(|_| Table::new(pd::data("symbols")).ok());
    info!("watching {} protection domains", children().count());
    Supervisor { symbols }
}

struct Supervisor {
    symbols: Option<Table<'static>>,
}

impl Handler for Supervisor {
    type Error = Infallible;

    fn fault(
        &mut self,
        child: Child,
        message: MessageInfo,
    ) -> Result<Option<MessageInfo>, Infallible> {
        // Before the registers are read: that takes the message registers.
        let (fault, instruction) = describe(&message);
        let name = name(child);
        match child.tcb().tcb_read_all_registers(true) {
            Ok(registers) => {
                let report = Report {
                    domain: name,
                    fault: with_access(fault, *registers.pc()),
                    instruction: *registers.pc(),
                    stack: *registers.sp(),
                    symbols: self.symbols,
                };
                tell(&report, instruction == *registers.pc());
            }
            // The capability to the thread is the builder's to give; without it there is nothing to stop it with.
            Err(reason) => error!("{name} faulted, and its thread cannot be read: {reason}"),
        }
        Ok(None)
    }
}

/// One line; the thread is stopped already.
fn tell(report: &dyn Display, from_kernel: bool) {
    if from_kernel {
        error!("{report}; stopped");
    } else {
        error!("{report}; stopped. It sent this itself: its thread stands elsewhere");
    }
}

/// What a fault message says: the fault, and the instruction.
fn describe(message: &MessageInfo) -> (Fault, u64) {
    let kind = match message.fault() {
        sel4::Fault::VmFault(_) => Message::Memory,
        sel4::Fault::UserException(_) => Message::Exception,
        sel4::Fault::CapFault(_) => Message::Capability,
        sel4::Fault::UnknownSyscall(_) => Message::SystemCall,
        _ => Message::Unknown(message.label()),
    };
    Processor::CURRENT.fault(kind, get_mr)
}

/// Without an NX bit the processor does not say that it fetched an instruction; but then the address is the instruction's.
fn with_access(fault: Fault, instruction: u64) -> Fault {
    match fault {
        Fault::Memory {
            address,
            access: Access::Read,
            mapped,
        } if address == instruction => Fault::Memory {
            address,
            access: Access::Execute,
            mapped,
        },
        other => other,
    }
}

fn children() -> impl Iterator<Item = &'static str> {
    let domains = pd::wiring().domains.iter();
    domains
        .filter(|domain| domain.child.is_some())
        .map(|domain| domain.name.as_str())
}

fn name(child: Child) -> &'static str {
    pd::wiring()
        .domains
        .iter()
        .find(|domain| {
            domain
                .child
                .is_some_and(|id| usize::from(id) == child.index())
        })
        .map_or("?", |domain| domain.name.as_str())
}
