//! The objects that every protection domain (PD) has, and its thread.

use initialiser_spec::{CNODE_BITS, Level, Spec, slot};
use sel4::pc99::root::{self, CapRights, ObjectType, ThreadSetup, initial};
use sel4::{UserContext, WORD_SIZE, cap};

use crate::failure::Failure;
use crate::machine::Machine;

/// The slots of the PDs' objects: of each kind one for each PD, side by side.
pub(crate) struct Domains {
    vspaces: u64,
    cnodes: u64,
    threads: u64,
    notifications: u64,
    endpoints: u64,
    ipc_buffers: u64,
    /// The number of PDs.
    count: u64,
}

impl Domains {
    pub(crate) fn vspace(&self, domain: u32) -> cap::VSpace {
        cap::VSpace::from_bits(self.vspaces + u64::from(domain))
    }

    pub(crate) fn cnode(&self, domain: u32) -> cap::CNode {
        cap::CNode::from_bits(self.cnodes + u64::from(domain))
    }

    pub(crate) fn thread(&self, domain: u32) -> cap::Tcb {
        cap::Tcb::from_bits(self.threads + u64::from(domain))
    }

    pub(crate) fn notification(&self, domain: u32) -> cap::Notification {
        cap::Notification::from_bits(self.notifications + u64::from(domain))
    }

    pub(crate) fn endpoint(&self, domain: u32) -> cap::Endpoint {
        cap::Endpoint::from_bits(self.endpoints + u64::from(domain))
    }

    fn ipc_buffer(&self, domain: u32) -> cap::Frame {
        cap::Frame::from_bits(self.ipc_buffers + u64::from(domain))
    }

    /// The slots of everything that lives on in the PDs' own tables and threads. Frames are not among them: a mapping
    /// ends with its capability.
    pub(crate) fn temporary(&self) -> [core::ops::Range<u64>; 4] {
        [
            self.vspaces,
            self.cnodes,
            self.notifications,
            self.endpoints,
        ]
        .map(|first| first..first + self.count)
    }
}

/// Makes the PDs' objects and paging structures.
pub(crate) fn create(machine: &mut Machine<'_>, spec: &Spec<'static>) -> Result<Domains, Failure> {
    const ALL: &str = "protection domains";
    let count = spec.domains().len() as u64;
    let domains = Domains {
        cnodes: machine.make(ObjectType::CNode(CNODE_BITS), count, ALL)?,
        vspaces: machine.make(ObjectType::VSpace, count, ALL)?,
        ipc_buffers: machine.make(ObjectType::Frame4K, count, ALL)?,
        threads: machine.make(ObjectType::Tcb, count, ALL)?,
        notifications: machine.make(ObjectType::Notification, count, ALL)?,
        endpoints: machine.make(ObjectType::Endpoint, count, ALL)?,
        count,
    };
    for (index, domain) in (0..).zip(spec.domains()) {
        initial::ASID_POOL
            .asid_pool_assign(domains.vspace(index))
            .map_err(|reason| Failure::Refused {
                what: "address space",
                name: spec.name(domain.name),
                at: 0,
                reason,
            })?;
    }
    for level in Level::ALL {
        create_tables(machine, spec, &domains, level)?;
    }
    map_ipc_buffers(spec, &domains)?;
    Ok(domains)
}

fn create_tables(
    machine: &mut Machine<'_>,
    spec: &Spec<'static>,
    domains: &Domains,
    level: Level,
) -> Result<(), Failure> {
    let (object, root_level) = match level {
        Level::Pdpt => (ObjectType::Pdpt, root::Level::Pdpt),
        Level::PageDirectory => (ObjectType::PageDirectory, root::Level::PageDirectory),
        Level::PageTable => (ObjectType::PageTable, root::Level::PageTable),
    };
    let tables = spec.tables().filter(|table| table.level == level);
    let first = machine.make(object, tables.clone().count() as u64, "paging structures")?;
    for (slot, table) in (first..).zip(tables) {
        cap::TranslationTable::from_bits(slot)
            .table_map(root_level, domains.vspace(table.domain), table.address)
            .map_err(|reason| Failure::Refused {
                what: "paging structure",
                name: spec.name(spec.domain(table.domain).name),
                at: table.address,
                reason,
            })?;
    }
    Ok(())
}

fn map_ipc_buffers(spec: &Spec<'static>, domains: &Domains) -> Result<(), Failure> {
    for (index, domain) in (0..).zip(spec.domains()) {
        domains
            .ipc_buffer(index)
            .frame_map(
                domains.vspace(index),
                domain.ipc_buffer,
                CapRights::new(false, true, true),
                true,
            )
            .map_err(|reason| Failure::Refused {
                what: "IPC buffer",
                name: spec.name(domain.name),
                at: domain.ipc_buffer,
                reason,
            })?;
    }
    Ok(())
}

/// Sets the threads up.
pub(crate) fn configure(spec: &Spec<'static>, domains: &Domains) -> Result<(), Failure> {
    for (index, domain) in (0..).zip(spec.domains()) {
        let thread = domains.thread(index);
        let setup = ThreadSetup {
            fault_endpoint: slot::FAULT_ENDPOINT,
            priority: domain.priority,
            cspace: domains.cnode(index),
            guard_bits: WORD_SIZE - usize::from(CNODE_BITS),
            vspace: domains.vspace(index),
            ipc_buffer: domain.ipc_buffer,
            ipc_buffer_frame: domains.ipc_buffer(index),
        };
        thread
            .tcb_configure(setup)
            .and_then(|()| thread.tcb_bind_notification(domains.notification(index)))
            .map_err(|reason| refused(spec, index, reason))?;
        root::debug_name_thread(thread, spec.name(domain.name));
    }
    Ok(())
}

/// Lets the threads run, once the initialiser stops.
pub(crate) fn resume(spec: &Spec<'static>, domains: &Domains) -> Result<(), Failure> {
    for (index, domain) in (0..).zip(spec.domains()) {
        let mut registers = UserContext::default();
        *registers.pc_mut() = domain.entry;
        *registers.sp_mut() = domain.stack_top;
        domains
            .thread(index)
            .tcb_write_all_registers(true, &mut registers)
            .map_err(|reason| refused(spec, index, reason))?;
    }
    Ok(())
}

fn refused(spec: &Spec<'static>, domain: u32, reason: sel4::Error) -> Failure {
    let domain = spec.domain(domain);
    Failure::Refused {
        what: "thread",
        name: spec.name(domain.name),
        at: domain.entry,
        reason,
    }
}
