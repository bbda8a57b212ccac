//! The programs of the protection domains (PDs), with their symbols patched.

use std::io;
use std::path::Path;

use microkit_sdf::{Interrupt, ProtectionDomain, System};

use super::ImageError;
use crate::elf::{ElfError, Executable};

/// Bytes of the variable that holds a PD's name.
const NAME_BYTES: u64 = 64;

/// What the board does not do of what the description says.
///
/// # Errors
/// When the system would not be the described one.
pub(super) fn warnings(system: &System) -> Result<Vec<String>, ImageError> {
    let unsupported = |what: String, why| Err(ImageError::Unsupported(what, why));
    if let Some(space) = system.io_address_spaces.first() {
        return unsupported(
            format!("I/O address space `{}`", space.name),
            "the kernel runs without an IOMMU there",
        );
    }
    let mut warnings = Vec::new();
    for (domain, _) in system.domains() {
        let msi = |source: Interrupt| matches!(source, Interrupt::Msi { .. });
        if domain.irqs.iter().any(|irq| msi(irq.source)) {
            return unsupported(
                format!("{}: a message-signalled interrupt", domain.name),
                "its devices signal by the pins of the I/O APIC",
            );
        }
        if domain.budget.is_some() || domain.period.is_some() {
            warnings.push(format!(
                "{}: budget and period are ignored: this kernel has no scheduling contexts",
                domain.name
            ));
        }
        if !domain.fpu {
            warnings.push(format!(
                "{}: fpu=\"false\" is ignored: this kernel gives every thread the floating-point unit",
                domain.name
            ));
        }
    }
    Ok(warnings)
}

/// The programs in the order of [`System::domains`], patched.
pub(super) fn programs(
    system: &System,
    read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Vec<Executable>, ImageError> {
    system
        .domains()
        .iter()
        .map(|(domain, _)| program(system, domain, read))
        .collect()
}

fn program(
    system: &System,
    domain: &ProtectionDomain,
    read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Executable, ImageError> {
    let unfit = |error: ElfError| ImageError::Program {
        domain: domain.name.clone(),
        error,
    };
    let open = |path: &Path| {
        let bytes = super::layout::read_file(&domain.name, path, read)?;
        Executable::new(bytes, super::TARGET.architecture).map_err(unfit)
    };
    let mut program = open(&domain.program_image)?;
    if let Some(path) = &domain.program_image_for_symbols {
        program.take_symbols_of(open(path)?);
    }
    let name = &domain.name.as_bytes()[..domain.name.len().min(NAME_BYTES as usize)];
    program
        .patch("microkit_name", name, NAME_BYTES)
        .and_then(|()| program.patch("microkit_passive", &[domain.passive.into()], 1))
        .map_err(unfit)?;
    for (symbol, value) in masks(system, domain)
        .into_iter()
        .chain(variables(system, domain, read)?)
    {
        program.patch_word(&symbol, value).map_err(unfit)?;
    }
    Ok(program)
}

/// The variables by which the runtime knows which identifiers are valid.
fn masks(system: &System, domain: &ProtectionDomain) -> [(String, u64); 4] {
    let ends = || {
        system
            .channels
            .iter()
            .flat_map(|channel| &channel.ends)
            .filter(|end| end.domain == domain.name)
    };
    let mask = |ids: &mut dyn Iterator<Item = u8>| ids.fold(0, |mask, id| mask | 1 << id);
    [
        (
            "microkit_irqs",
            mask(&mut domain.irqs.iter().map(|irq| irq.id)),
        ),
        (
            "microkit_notifications",
            mask(&mut ends().filter(|end| end.notify).map(|end| end.id)),
        ),
        (
            "microkit_pps",
            mask(&mut ends().filter(|end| end.call).map(|end| end.id)),
        ),
        (
            "microkit_ioports",
            mask(&mut domain.io_ports.iter().map(|port| port.id)),
        ),
    ]
    .map(|(symbol, value)| (symbol.to_owned(), value))
}

/// The variables that the description sets (Microkit manual, `setvar`).
fn variables(
    system: &System,
    domain: &ProtectionDomain,
    read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Vec<(String, u64)>, ImageError> {
    let mut variables = Vec::new();
    let mut set = |symbol: &Option<String>, value: u64| {
        variables.extend(symbol.clone().map(|symbol| (symbol, value)));
    };
    for map in &domain.maps {
        let region = system.region(&map.region);
        set(&map.setvar_vaddr, map.vaddr);
        set(&map.setvar_size, region.map_or(0, |region| region.size));
        if map.setvar_prefill_size.is_some()
            && let Some(path) = region.and_then(|region| region.prefill.as_ref())
        {
            let content = super::layout::read_file(&map.region, path, read)?;
            set(&map.setvar_prefill_size, content.len() as u64);
        }
    }
    for irq in &domain.irqs {
        set(&irq.setvar_id, irq.id.into());
    }
    for port in &domain.io_ports {
        set(&port.setvar_id, port.id.into());
        set(&port.setvar_addr, port.address.into());
    }
    for child in domain
        .children
        .iter()
        .filter_map(|child| child.child.as_ref())
    {
        set(&child.setvar_id, child.id.into());
    }
    for end in system.channels.iter().flat_map(|channel| &channel.ends) {
        if end.domain == domain.name {
            set(&end.setvar_id, end.id.into());
        }
    }
    for setvar in &domain.setvars {
        let region = system.region(&setvar.region);
        let physical = region.and_then(|region| region.phys_addr);
        set(&Some(setvar.symbol.clone()), physical.unwrap_or(0));
    }
    Ok(variables)
}
