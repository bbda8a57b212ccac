//! What wipes secrets is in the programs: the compiler, which sees nobody read the zeros, has left none of it out.
//!
//! Looks at the machine code of the programs that handle secrets. Whether nothing is left in memory is another
//! question; this one says where to look when something is.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use libtest_mimic::{Completion, Trial};
use microkit_sdf::Architecture;
use object::{Object, ObjectSection, ObjectSymbol};
use selkie_tests::system::built;
use selkie_tests::{Failed, Outcome, ensure, ground};

/// The functions that overwrite memory, and the programs that must have them.
const OVERWRITE: &[(&str, &[&str])] = &[
    (
        "tls",
        &[
            "pd::heap::overwrite",
            "crypto_stack::CryptoStack::wipe",
            "channel::memory::wipe",
            "channel::memory::wipe_spent",
        ],
    ),
    (
        "vault",
        &["pd::heap::overwrite", "crypto_stack::CryptoStack::wipe"],
    ),
    (
        "http",
        &["pd::heap::overwrite", "channel::memory::wipe_spent"],
    ),
    ("entropy", &["pd::heap::overwrite"]),
];

/// What every program that starts over has besides.
const RESTART: &[&str] = &["pd::restart::wipe_words", "pd::restart::entry::wipe_stack"];

/// The functions that zero the vector registers.
const REGISTERS: &[&str] = &[
    "crypto_stack::clear_vector_registers",
    "pd::restart::entry::clear_vector_registers",
];

/// Who must call whom, or have taken it in.
const CALLS: &[(&str, &str)] = &[
    ("dealloc", "pd::heap::overwrite"),
    (
        "crypto_stack::CryptoStack::wipe",
        "crypto_stack::clear_vector_registers",
    ),
    ("pd::restart::rebuild", "pd::restart::wipe_words"),
    (
        "pd::restart::rebuild",
        "pd::restart::entry::clear_vector_registers",
    ),
    ("pd::restart::rebuild", "pd::restart::entry::wipe_stack"),
];

pub fn trials() -> Vec<Trial> {
    let name = "wiping::is_in_the_generated_code";
    vec![Trial::ignorable_test(name, || {
        if ground().board.target.architecture != Architecture::X86_64 {
            let reason = "the check reads x86_64 instructions only";
            return Ok(Completion::ignored_with(reason));
        }
        wipes().map(|()| Completion::Completed)
    })]
}

fn wipes() -> Outcome {
    let folder = built("https")?.folder.join("pds");
    for (program, functions) in OVERWRITE {
        let program = Program::read(&folder.join(format!("{program}.elf")))?;
        for name in functions.iter().chain(RESTART) {
            let code = program.function(name)?;
            ensure(program.overwrites(&code), || {
                format!("{name} overwrites nothing")
            })?;
        }
    }
    let tls = Program::read(&folder.join("tls.elf"))?;
    for name in REGISTERS {
        let code = tls.function(name)?;
        ensure(zeroes_registers(&code), || {
            format!("{name} leaves registers")
        })?;
        // The check can fail: this one writes no memory.
        ensure(!tls.overwrites(&code), || format!("{name} writes memory"))?;
    }
    for (caller, callee) in CALLS {
        tls.check_call(caller, callee)?;
    }
    Ok(())
}

/// A program's functions by name, without their hashes.
struct Program {
    code: Vec<u8>,
    base: u64,
    constants: Vec<u8>,
    constants_base: u64,
    /// Address and size.
    functions: BTreeMap<String, (u64, u64)>,
}

impl Program {
    fn read(path: &Path) -> Result<Self, Failed> {
        let bytes = fs::read(path)?;
        let file = object::File::parse(&*bytes).map_err(|error| error.to_string())?;
        let text = file.section_by_name(".text").ok_or("no code")?;
        let constants = file.section_by_name(".rodata").ok_or("no constants")?;
        let data = |section: &object::Section<'_, '_>| {
            let data = section.data().map_err(|error| error.to_string());
            data.map(<[u8]>::to_vec)
        };
        let functions = file.symbols().filter(|symbol| symbol.is_definition());
        let functions = functions.filter_map(|symbol| {
            let name = format!("{:#}", rustc_demangle::demangle(symbol.name().ok()?));
            let name = name.replace("<crypto_stack::CryptoStack>", "crypto_stack::CryptoStack");
            Some((name, (symbol.address(), symbol.size())))
        });
        Ok(Self {
            functions: functions.collect(),
            base: text.address(),
            code: data(&text)?,
            constants_base: constants.address(),
            constants: data(&constants)?,
        })
    }

    fn function(&self, name: &str) -> Result<Vec<Instruction>, Failed> {
        let (address, size) = *self
            .functions
            .get(name)
            .ok_or_else(|| format!("there is no function {name}"))?;
        let start = (address - self.base) as usize;
        // A function in assembly has no size: it ends where it goes elsewhere.
        let end = match size {
            0 => self.code.len(),
            size => start + size as usize,
        };
        let bytes = self
            .code
            .get(start..end)
            .ok_or("a function outside the code")?;
        let mut code = Vec::new();
        for instruction in Decoder::with_ip(64, bytes, address, DecoderOptions::NONE) {
            code.push(instruction);
            let ends = matches!(instruction.mnemonic(), Mnemonic::Ret | Mnemonic::Jmp);
            if size == 0 && ends {
                break;
            }
        }
        Ok(code)
    }

    /// Whether it fills memory: with `rep stos`, by `memset`, in a loop, or in a loop that was unrolled.
    fn overwrites(&self, code: &[Instruction]) -> bool {
        let memset = self.functions.get("memset").map(|(address, _)| *address);
        let stores = |i: &Instruction| {
            let moves = matches!(
                i.mnemonic(),
                Mnemonic::Mov | Mnemonic::Movups | Mnemonic::Movaps | Mnemonic::Movdqu
            );
            moves && i.op0_kind() == OpKind::Memory && i.memory_base() != Register::RSP
        };
        let loops = |i: &Instruction| {
            let back = i.is_jcc_short_or_near() && i.near_branch_target() <= i.ip();
            back && code.iter().any(|other| {
                (i.near_branch_target()..i.ip()).contains(&other.ip()) && stores(other)
            })
        };
        let unrolled = code.iter().filter(|i| stores(i)).count() >= 32;
        unrolled
            || code.iter().any(|i| {
                let stos =
                    matches!(i.mnemonic(), Mnemonic::Stosq | Mnemonic::Stosb) && i.has_rep_prefix();
                stos || loops(i) || memset.is_some_and(|memset| self.goes_to(i, memset))
            })
    }

    /// Whether it calls or jumps there, perhaps through the table of addresses, which lies among the constants.
    fn goes_to(&self, i: &Instruction, target: u64) -> bool {
        if i.near_branch_target() == target {
            return true;
        }
        let indirect = i.is_call_near_indirect() || i.is_jmp_near_indirect();
        if !indirect || !i.is_ip_rel_memory_operand() {
            return false;
        }
        let place = i.ip_rel_memory_address().checked_sub(self.constants_base);
        let word = place.and_then(|place| self.constants.get(place as usize..)?.first_chunk());
        word.is_some_and(|word| u64::from_le_bytes(*word) == target)
    }

    fn check_call(&self, caller: &str, callee: &str) -> Outcome {
        let (target, _) = *self
            .functions
            .get(callee)
            .ok_or_else(|| format!("there is no function {callee}"))?;
        let callers = self.functions.keys().filter(|name| name.ends_with(caller));
        for name in callers {
            let code = self.function(name)?;
            if code.iter().any(|i| self.goes_to(i, target)) {
                return Ok(());
            }
        }
        Err(format!("no {caller} calls {callee}").into())
    }
}

/// Whether each of the sixteen is exclusively or'ed with itself.
fn zeroes_registers(code: &[Instruction]) -> bool {
    (0..16).all(|number| {
        let register = Register::XMM0 + number;
        code.iter().any(|i| {
            let zeroes = matches!(i.mnemonic(), Mnemonic::Pxor | Mnemonic::Xorps);
            zeroes && i.op0_register() == register && i.op1_register() == register
        })
    })
}
