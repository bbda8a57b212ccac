//! Faults in programs as they are shipped.

use std::fs;
use std::path::Path;

use object::{Object, ObjectSection, ObjectSymbol};
use selkie_qemu::{Function, Qmp, machine};

use crate::system::System;
use crate::{Failed, Outcome, ground};

/// How many bytes of a function tell its program from the others.
const SAMPLE: u64 = 32;

/// A program of a running system will fault at the beginning of a function.
#[derive(Debug)]
pub struct Trap(selkie_qemu::Trap);

impl Trap {
    /// The next time that this program begins the function whose name holds `function`. The system goes on.
    ///
    /// # Errors
    /// When there is no such function, or QEMU does not do what it is told.
    pub fn set(system: &System, program: &str, function: &str) -> Result<Self, Failed> {
        Self::set_in(
            &mut system.guest.qmp()?,
            &system.built.folder,
            program,
            function,
        )
    }

    /// As [`Trap::set`], in the machine that `qmp` controls, which runs the system that was built in this folder.
    ///
    /// # Errors
    /// As [`Trap::set`].
    pub fn set_in(
        qmp: &mut Qmp,
        built: &Path,
        program: &str,
        function: &str,
    ) -> Result<Self, Failed> {
        let function = find(&built.join(format!("pds/{program}.elf")), function)?;
        let machine = machine(&ground().board.name).ok_or("QEMU is not this board")?;
        Ok(Self(selkie_qemu::Trap::set(qmp, machine, function)?))
    }

    /// Waits until the program is there, and sends it to address 0. The debugger leaves.
    ///
    /// # Errors
    /// When it does not come there.
    pub fn spring(self) -> Outcome {
        Ok(self.0.spring()?)
    }
}

fn find(file: &Path, function: &str) -> Result<Function, Failed> {
    let bytes = fs::read(file)?;
    let elf = object::File::parse(&*bytes).map_err(|error| error.to_string())?;
    let named = elf.symbols().find(|symbol| {
        let name = symbol.name().map(rustc_demangle::demangle);
        symbol.is_definition() && name.is_ok_and(|name| format!("{name:#}").contains(function))
    });
    let none = || format!("{} has no function {function}", file.display());
    let address = named.ok_or_else(none)?.address();
    let mut sections = elf.sections();
    let code = sections.find_map(|s| s.data_range(address, SAMPLE).ok().flatten());
    Ok(Function {
        address,
        code: code.ok_or_else(none)?.to_vec(),
    })
}
