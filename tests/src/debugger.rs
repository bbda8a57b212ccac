//! Faults in programs as they are shipped: QEMU's debugger interface stops the machine where a program begins a
//! function, and sends it to an address where nothing is mapped.
//!
//! The protocol is GDB's (GDB manual, appendix "GDB Remote Serial Protocol"), as far as QEMU's stub needs it.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use microkit_sdf::Architecture;
use object::{Object, ObjectSection, ObjectSymbol};
use selkie_qemu::{Qmp, free_port};

use crate::system::System;
use crate::{Failed, Outcome, ensure, ground};

/// Within this time a program must come to the function. The machine stops and goes on for each other program that comes
/// to the same address.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many bytes of a function tell its program from the others, which lie at the same addresses.
const SAMPLE: usize = 32;

/// A program of a running system will fault at the beginning of a function.
#[derive(Debug)]
pub struct Trap {
    debugger: Debugger,
    place: Place,
}

/// Where a function begins, and with which bytes.
#[derive(Debug)]
struct Place {
    address: u64,
    code: Vec<u8>,
}

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
        let place = Place::find(&built.join(format!("pds/{program}.elf")), function)?;
        let mut debugger = Debugger::attach(qmp)?;
        debugger.breakpoint(place.address, true)?;
        debugger.send("c")?;
        Ok(Self { debugger, place })
    }

    /// Waits until the program is there, and sends it to address 0. The debugger leaves.
    ///
    /// # Errors
    /// When it does not come there.
    pub fn spring(mut self) -> Outcome {
        let Place { address, code } = &self.place;
        let begin = Instant::now();
        loop {
            self.debugger.stopped()?;
            // An address space may have nothing there but what it was about to run.
            if self.debugger.memory(*address, code.len()).ok().as_ref() == Some(code) {
                break;
            }
            ensure(begin.elapsed() < PATIENCE, || {
                format!("the program does not come to {address:#x}")
            })?;
            self.debugger.breakpoint(*address, false)?;
            self.debugger.send("s")?;
            self.debugger.stopped()?;
            self.debugger.breakpoint(*address, true)?;
            self.debugger.send("c")?;
        }
        self.debugger.breakpoint(*address, false)?;
        self.debugger.jump_to_nowhere()?;
        self.debugger.accepted("D")
    }
}

impl Place {
    fn find(file: &Path, function: &str) -> Result<Self, Failed> {
        let bytes = fs::read(file)?;
        let elf = object::File::parse(&*bytes).map_err(|error| error.to_string())?;
        let named = elf.symbols().find(|symbol| {
            let name = symbol.name().map(rustc_demangle::demangle);
            symbol.is_definition() && name.is_ok_and(|name| format!("{name:#}").contains(function))
        });
        let none = || format!("{} has no function {function}", file.display());
        let address = named.ok_or_else(none)?.address();
        let mut sections = elf.sections();
        let code = sections.find_map(|s| s.data_range(address, SAMPLE as u64).ok().flatten());
        Ok(Self {
            address,
            code: code.ok_or_else(none)?.to_vec(),
        })
    }
}

/// A connection to the debugger interface.
#[derive(Debug)]
struct Debugger {
    stream: TcpStream,
}

impl Debugger {
    /// Connecting stops the machine.
    fn attach(qmp: &mut Qmp) -> Result<Self, Failed> {
        let port = free_port()?;
        // QEMU does not open it twice.
        qmp.monitor("gdbserver none")?;
        let said = qmp.monitor(&format!("gdbserver tcp:{}:{port}", Ipv4Addr::LOCALHOST))?;
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .map_err(|error| format!("no debugger interface: {error}; {said}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut debugger = Self { stream };
        // QEMU writes single registers only for those who have asked for their description.
        debugger.ask("qXfer:features:read:target.xml:0,ffb")?;
        Ok(debugger)
    }

    fn breakpoint(&mut self, address: u64, set: bool) -> Outcome {
        let action = if set { 'Z' } else { 'z' };
        self.accepted(&format!("{action}1,{address:x},1"))
    }

    fn memory(&mut self, address: u64, length: usize) -> Result<Vec<u8>, Failed> {
        let answer = self.ask(&format!("m{address:x},{length:x}"))?;
        let digits = answer.as_bytes().chunks(2);
        let bytes: Option<Vec<u8>> = digits
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        bytes.ok_or_else(|| format!("no memory at {address:#x}: {answer}").into())
    }

    fn jump_to_nowhere(&mut self) -> Outcome {
        let counter = match ground().board.target.architecture {
            Architecture::X86_64 => 16,
            Architecture::Aarch64 | Architecture::Riscv64 => 32,
        };
        self.accepted(&format!("P{counter:x}=0000000000000000"))
    }

    fn stopped(&mut self) -> Outcome {
        let answer = self.receive()?;
        let trapped = answer.starts_with("T05") || answer.starts_with("S05");
        ensure(trapped, || format!("stopped otherwise: {answer}"))
    }

    fn accepted(&mut self, packet: &str) -> Outcome {
        let answer = self.ask(packet)?;
        ensure(answer == "OK", || {
            format!("the debugger interface answers {packet} with `{answer}`")
        })
    }

    /// The answer; QEMU may tell unasked that the machine has stopped.
    fn ask(&mut self, packet: &str) -> Result<String, Failed> {
        self.send(packet)?;
        loop {
            let answer = self.receive()?;
            if !answer.starts_with(['T', 'S']) {
                return Ok(answer);
            }
        }
    }

    fn send(&mut self, packet: &str) -> Outcome {
        let sum = packet.bytes().fold(0, u8::wrapping_add);
        Ok(write!(self.stream, "${packet}#{sum:02x}")?)
    }

    /// The next packet, which is confirmed; confirmations are passed over.
    fn receive(&mut self) -> Result<String, Failed> {
        while self.byte()? != b'$' {}
        let mut packet = Vec::new();
        loop {
            match self.byte()? {
                b'#' => break,
                byte => packet.push(byte),
            }
        }
        // The checksum: the connection is reliable.
        self.stream.read_exact(&mut [0; 2])?;
        self.stream.write_all(b"+")?;
        Ok(String::from_utf8_lossy(&packet).into_owned())
    }

    fn byte(&mut self) -> Result<u8, Failed> {
        let mut byte = [0];
        match self.stream.read_exact(&mut byte) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                Err("the machine does not stop".into())
            }
            read => Ok(read.map(|()| byte[0])?),
        }
    }
}
