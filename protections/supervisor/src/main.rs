//! The parent of all other protection domains (PDs): names each fault, and decides what becomes of who faulted.
//!
//! It is told of a fault by the kernel, through the endpoint at which it waits. It stops the thread, reads where it stood,
//! and writes one line to the log: PD, kind of fault, address, instruction and the function that it lies in. Then it
//! sends the thread to an entry that answers a stranded caller, wipes the PD's memory (crate `pd`, module `restart`)
//! and starts over, if the description lets it and it has not done so too often; otherwise to one that wipes and then
//! refuses every call.
//!
//! It must never call another PD or wait for one: that PD could be the one that faulted. So its
//! only ports are the log, which never blocks, and memory that the clock writes (`uptime`). Its
//! only clock is the processor's counter. It must never reply to a fault: the thread would continue
//! at the instruction that faulted. It must never trust the memory of a faulted PD: the entries are
//! in the supervisor's own wiring.
//!
//! On pc99 a PD holds the capability that its faults are sent through, so it can send a message that looks like
//! one. It is believed in one respect only, that it wants to be stopped: the instruction in the log is read from the
//! thread, and from then on it runs the entry.
#![no_std]
#![no_main]

extern crate alloc;

mod counter;

use alloc::vec::Vec;

use pd::{error, info};
use restart_policy::{Next, RestartPolicy};
use sel4::UserContext;
use sel4_microkit::{Child, Handler, Infallible, MessageInfo, get_mr, protection_domain};
use symbols::{Access, Fault, Message, Processor, Report, Table};
use wiring::Domain;

#[protection_domain]
fn init() -> Supervisor {
    pd::time_log_by_uptime();
    let symbols = pd::wiring().data("symbols").ok();
    let symbols = symbols.and_then(|_| Table::new(pd::data("symbols")).ok());
    let limit = pd::wiring().integer("restarts").unwrap_or(0);
    let limit = u32::try_from(limit).unwrap_or(0);
    let policy = RestartPolicy::new(limit, counter::window());
    let policies: Vec<RestartPolicy> = children().map(|_| policy.clone()).collect();
    info!("watching {} protection domains", policies.len());
    Supervisor { symbols, policies }
}

struct Supervisor {
    symbols: Option<Table<'static>>,
    /// By child identifier, which the builder counts from 0.
    policies: Vec<RestartPolicy>,
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
        let domain = children().find(|domain| is(domain, child));
        let name = domain.map_or("?", |domain| domain.name.as_str());
        match child.tcb().tcb_read_all_registers(true) {
            Ok(registers) => {
                let report = Report {
                    domain: name,
                    fault: with_access(fault, *registers.pc()),
                    instruction: *registers.pc(),
                    stack: *registers.sp(),
                    symbols: self.symbols,
                };
                let next = self.next(domain, child);
                let forged = match instruction == *registers.pc() {
                    true => "",
                    false => ". It sent this itself: its thread stands elsewhere",
                };
                if pd::wiring()
                    .connection("log")
                    .is_ok_and(|log| log.peer == name)
                {
                    pd::reset_log_for_next_reader();
                }
                error!("{report}; {next}{forged}");
                send_to(child, next);
            }
            // The capability to the thread is the builder's to give; without it there is nothing to stop it with.
            Err(reason) => error!("{name} faulted, and its thread cannot be read: {reason}"),
        }
        Ok(None)
    }
}

impl Supervisor {
    fn next(&mut self, domain: Option<&Domain>, child: Child) -> Next {
        let entries = domain.and_then(|domain| domain.entries);
        match (entries, self.policies.get_mut(child.index())) {
            (Some(entries), Some(policy)) => {
                let restart = domain.is_some_and(|domain| domain.restart);
                policy.next(entries, restart, pd::processor_counter())
            }
            _ => Next::Stay,
        }
    }
}

/// The thread is stopped. With all registers zero nothing of what it did goes into what it does next.
fn send_to(child: Child, next: Next) {
    let Some(entry) = next.entry() else {
        return;
    };
    let mut registers = UserContext::default();
    *registers.pc_mut() = entry;
    if let Err(reason) = child.tcb().tcb_write_all_registers(true, &mut registers) {
        error!("its registers cannot be set: {reason}");
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

fn children() -> impl Iterator<Item = &'static Domain> {
    let domains = pd::wiring().domains.iter();
    domains.filter(|domain| domain.child.is_some())
}

fn is(domain: &Domain, child: Child) -> bool {
    domain.child.map(usize::from) == Some(child.index())
}
