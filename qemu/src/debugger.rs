//! Faults in programs as they are: QEMU's debugger interface stops the machine where a program begins a function, and sends it
//! to an address where nothing is mapped.
//!
//! The protocol is GDB's (GDB manual, appendix "GDB Remote Serial Protocol"), as far as QEMU's stub needs it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use crate::{Error, Machine, Qmp, free_port};

/// Within this time a program must come to the function. The machine stops and goes on for each other program that comes
/// to the same address.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longest packet in bytes that is taken; QEMU's own buffer holds as many.
const MAX_PACKET: usize = 4096;

/// Where a function of a program begins, and with which bytes: these tell its program from the others, which lie at the
/// same addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its virtual address.
    pub address: u64,
    /// Some of its first bytes; 32 are enough.
    pub code: Vec<u8>,
}

/// A program of a running machine will fault at the beginning of a function.
#[derive(Debug)]
pub struct Trap {
    debugger: Debugger<TcpStream>,
    /// The number of the program counter in the stub's list of registers.
    counter: u8,
    function: Function,
}

impl Trap {
    /// The next time that the program begins the function. The machine goes on.
    ///
    /// # Errors
    /// When QEMU does not do what it is told.
    pub fn set(qmp: &mut Qmp, machine: &Machine, function: Function) -> Result<Self, Error> {
        // The order of registers is that of GDB's target descriptions.
        let counter = match machine.program {
            "qemu-system-x86_64" => 16,
            _ => 32,
        };
        let mut debugger = Debugger::attach(qmp)?;
        debugger
            .breakpoint(function.address, true)
            .and_then(|()| debugger.send("c"))
            .map_err(failed())?;
        Ok(Self {
            debugger,
            counter,
            function,
        })
    }

    /// Waits until the program is there, and sends it to address 0. The debugger leaves.
    ///
    /// # Errors
    /// When it does not come there.
    pub fn spring(mut self) -> Result<(), Error> {
        let (debugger, function) = (&mut self.debugger, &self.function);
        debugger
            .reach(function)
            .and_then(|()| debugger.breakpoint(function.address, false))
            .and_then(|()| debugger.accepted(&format!("P{:x}=0000000000000000", self.counter)))
            .and_then(|()| debugger.accepted("D"))
            .map_err(failed())
    }
}

fn failed() -> impl FnOnce(io::Error) -> Error {
    Error::io("QEMU's debugger interface")
}

/// A connection to the debugger interface.
#[derive(Debug)]
struct Debugger<S> {
    stream: S,
}

impl Debugger<TcpStream> {
    /// Connecting stops the machine.
    fn attach(qmp: &mut Qmp) -> Result<Self, Error> {
        let port = free_port().map_err(failed())?;
        // QEMU does not open it twice.
        qmp.monitor("gdbserver none")?;
        qmp.monitor(&format!("gdbserver tcp:{}:{port}", Ipv4Addr::LOCALHOST))?;
        let connect = || {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_nodelay(true)?;
            let mut debugger = Self { stream };
            // QEMU writes single registers only for those who have asked for their description.
            debugger.ask("qXfer:features:read:target.xml:0,ffb")?;
            Ok(debugger)
        };
        connect().map_err(failed())
    }
}

impl<S: Read + Write> Debugger<S> {
    /// Goes on until the program stands at the function.
    fn reach(&mut self, function: &Function) -> io::Result<()> {
        let Function { address, code } = function;
        let begin = Instant::now();
        loop {
            self.stopped()?;
            // An address space may have nothing there but what it was about to run.
            if self.memory(*address, code.len()).ok().as_ref() == Some(code) {
                return Ok(());
            }
            if begin.elapsed() >= PATIENCE {
                let message = format!("the program does not come to {address:#x}");
                return Err(io::Error::new(ErrorKind::TimedOut, message));
            }
            self.breakpoint(*address, false)?;
            self.send("s")?;
            self.stopped()?;
            self.breakpoint(*address, true)?;
            self.send("c")?;
        }
    }

    fn breakpoint(&mut self, address: u64, set: bool) -> io::Result<()> {
        let action = if set { 'Z' } else { 'z' };
        self.accepted(&format!("{action}1,{address:x},1"))
    }

    fn memory(&mut self, address: u64, length: usize) -> io::Result<Vec<u8>> {
        let answer = self.ask(&format!("m{address:x},{length:x}"))?;
        hex::decode(&answer)
            .map_err(|_| io::Error::other(format!("no memory at {address:#x}: {answer}")))
    }

    fn stopped(&mut self) -> io::Result<()> {
        let answer = self.receive()?;
        match answer.starts_with("T05") || answer.starts_with("S05") {
            true => Ok(()),
            false => Err(io::Error::other(format!("stopped otherwise: {answer}"))),
        }
    }

    fn accepted(&mut self, packet: &str) -> io::Result<()> {
        match self.ask(packet)?.as_str() {
            "OK" => Ok(()),
            answer => {
                let message = format!("{packet} is answered with `{answer}`");
                Err(io::Error::other(message))
            }
        }
    }

    /// The answer; QEMU may tell unasked that the machine has stopped.
    fn ask(&mut self, packet: &str) -> io::Result<String> {
        self.send(packet)?;
        loop {
            let answer = self.receive()?;
            if !answer.starts_with(['T', 'S']) {
                return Ok(answer);
            }
        }
    }

    fn send(&mut self, packet: &str) -> io::Result<()> {
        let sum = packet.bytes().fold(0, u8::wrapping_add);
        self.stream
            .write_all(format!("${packet}#{sum:02x}").as_bytes())
    }

    /// The next packet, which is confirmed; confirmations are passed over.
    fn receive(&mut self) -> io::Result<String> {
        while self.byte()? != b'$' {}
        let mut packet = Vec::new();
        loop {
            match self.byte()? {
                b'#' => break,
                byte => packet.push(byte),
            }
            if packet.len() > MAX_PACKET {
                return Err(ErrorKind::InvalidData.into());
            }
        }
        // The checksum: the connection is reliable.
        self.stream.read_exact(&mut [0; 2])?;
        self.stream.write_all(b"+")?;
        Ok(String::from_utf8_lossy(&packet).into_owned())
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        match self.stream.read_exact(&mut byte) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(io::Error::new(
                ErrorKind::TimedOut,
                "the machine does not stop",
            )),
            read => read.map(|()| byte[0]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the stub answers, and what it was sent.
    struct Script(&'static [u8], Vec<u8>);

    impl Read for Script {
        fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
            self.0.read(target)
        }
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn debugger(answers: &'static [u8]) -> Debugger<Script> {
        Debugger {
            stream: Script(answers, Vec::new()),
        }
    }

    fn function() -> Function {
        Function {
            address: 0x20_1000,
            code: vec![0x0f, 0x0b],
        }
    }

    #[test]
    fn another_program_at_the_address_is_passed_over() {
        // Stopped, other bytes, three times done; stopped, nothing there, as before; stopped, and it is there.
        let mut debugger = debugger(
            b"$T05#b9+$9090#d2+$OK#9a+$T05#b9+$OK#9a+\
              $T05#b9+$E14#aa+$OK#9a+$T05#b9+$OK#9a+\
              $T05#b9+$0f0b#58",
        );
        debugger.reach(&function()).unwrap();
        let sent = String::from_utf8(debugger.stream.1).unwrap();
        assert!(
            sent.starts_with("+$m201000,2#ee+$z1,201000,1#57+$s#73+$Z1,201000,1#37+$c#63"),
            "{sent}"
        );
        assert_eq!(sent.matches("$c#").count(), 2);
    }

    #[test]
    fn refusals_other_stops_and_ends_are_errors() {
        let refused = debugger(b"+$E22#a9").accepted("Z1,0,1").unwrap_err();
        assert!(refused.to_string().contains("E22"), "{refused}");
        assert!(debugger(b"$T0b#e6").reach(&function()).is_err());
        assert!(debugger(b"$T05").reach(&function()).is_err());
    }
}
