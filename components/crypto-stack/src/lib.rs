//! A stack of its own for cryptography, which can be wiped.
//!
//! ring leaves key schedules and intermediate values in the stack frames of its callees; nobody can wipe
//! those from outside, since nobody knows how deep they reached. So everything that handles secrets
//! runs on a stack whose memory is ours: [`CryptoStack::run`] switches to it, [`CryptoStack::wipe`] overwrites
//! all of it together with the vector registers.
//!
//! ```
//! let mut stack = crypto_stack::CryptoStack::new(64 * 1024);
//! let sum = stack.run(|| (1..=10u64).sum::<u64>());
//! stack.wipe();
//! assert_eq!(sum, 55);
//! ```
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::boxed::Box;
use core::arch::asm;
use core::mem::MaybeUninit;

use zeroize::{DefaultIsZeroes, Zeroize};

/// Words at the far end that no frame may reach. There is no guard page below a stack in the heap, so an
/// overflow is found after the fact, by these; 512 words (4 KiB) are more than any one frame of ring or
/// rustls skips without writing.
const CANARY_WORDS: usize = 512;

const CANARY: u64 = 0x7365_6c6b_6965_2121;

/// 16-byte alignment is what all three ABIs ask of a stack pointer at a call.
#[derive(Clone, Copy, Default)]
#[repr(align(16))]
struct Unit([u64; 2]);

impl DefaultIsZeroes for Unit {}

/// A stack in the heap.
pub struct CryptoStack {
    memory: Box<[Unit]>,
}

impl CryptoStack {
    /// A stack of `size` bytes (rounded up to 16). An ECDSA handshake of rustls with ring reaches
    /// about 20 KiB deep in a release build.
    ///
    /// # Panics
    /// When `size` is less than 16 KiB.
    pub fn new(size: usize) -> Self {
        assert!(
            size >= 16 * 1024,
            "a crypto stack of {size} bytes is too small"
        );
        let mut memory = alloc::vec![Unit([0; 2]); size.div_ceil(16)].into_boxed_slice();
        memory[..CANARY_WORDS / 2].fill(Unit([CANARY; 2]));
        Self { memory }
    }

    /// Calls the function on this stack.
    ///
    /// # Panics
    /// When the function came to the end of the stack. A panic within the function aborts.
    pub fn run<R>(&mut self, function: impl FnOnce() -> R) -> R {
        struct Task<F, R> {
            function: Option<F>,
            result: MaybeUninit<R>,
        }

        extern "C" fn enter<F: FnOnce() -> R, R>(task: *mut u8) {
            // SAFETY: `run` passes a pointer to its own `Task<F, R>`, which it does not touch until
            // this function has returned.
            let task = unsafe { &mut *task.cast::<Task<F, R>>() };
            if let Some(function) = task.function.take() {
                task.result.write(function());
            }
        }

        fn entry_of<F: FnOnce() -> R, R>(_: &F) -> extern "C" fn(*mut u8) {
            enter::<F, R>
        }

        let entry = entry_of(&function);
        let mut task = Task {
            function: Some(function),
            result: MaybeUninit::<R>::uninit(),
        };
        let top = self.memory.as_mut_ptr_range().end.cast::<u8>();
        // SAFETY: `top` is the 16-byte aligned end of memory that this value owns, that nothing
        // else refers to, and that lives through the call; `entry` was made for the type of `task`.
        unsafe { call_on(top, entry, (&raw mut task).cast()) };
        self.check();
        // SAFETY: `enter` took the function, which was there, and wrote its result.
        unsafe { task.result.assume_init() }
    }

    /// Overwrites the whole stack and the vector registers with zeros. The operating system may hold a copy of the
    /// registers, which is the caller's to deal with. Does nothing with `--cfg selkie_unwiped`, in the control build of
    /// `selkie audit secrets`.
    #[inline(never)]
    pub fn wipe(&mut self) {
        if cfg!(selkie_unwiped) {
            return;
        }
        self.memory[CANARY_WORDS / 2..].zeroize();
        clear_vector_registers();
    }

    fn check(&self) {
        let intact = self.memory[..CANARY_WORDS / 2]
            .iter()
            .all(|unit| unit.0 == [CANARY; 2]);
        assert!(intact, "the crypto stack overflowed");
    }
}

/// # Safety
/// `top` must be the 16-byte aligned end of writable memory that is large enough for what `entry`
/// does and that nothing else uses; `argument` must be what `entry` expects.
#[cfg(target_arch = "x86_64")]
unsafe fn call_on(top: *mut u8, entry: extern "C" fn(*mut u8), argument: *mut u8) {
    // SAFETY: the caller vouches for the stack and the argument; r12 is preserved by the callee
    // (System V ABI), so the old stack pointer comes back.
    unsafe {
        asm!(
            "mov r12, rsp",
            "mov rsp, {top}",
            "call {entry}",
            "mov rsp, r12",
            top = in(reg) top,
            entry = in(reg) entry,
            in("rdi") argument,
            out("r12") _,
            clobber_abi("C"),
        );
    }
}

/// # Safety
/// See the x86_64 version.
#[cfg(target_arch = "aarch64")]
unsafe fn call_on(top: *mut u8, entry: extern "C" fn(*mut u8), argument: *mut u8) {
    // SAFETY: the caller vouches for the stack and the argument; x20 is preserved by the callee
    // (AAPCS64), so the old stack pointer comes back.
    unsafe {
        asm!(
            "mov x20, sp",
            "mov sp, {top}",
            "blr {entry}",
            "mov sp, x20",
            top = in(reg) top,
            entry = in(reg) entry,
            in("x0") argument,
            out("x20") _,
            clobber_abi("C"),
        );
    }
}

/// # Safety
/// See the x86_64 version.
#[cfg(target_arch = "riscv64")]
unsafe fn call_on(top: *mut u8, entry: extern "C" fn(*mut u8), argument: *mut u8) {
    // SAFETY: the caller vouches for the stack and the argument; s2 is preserved by the callee
    // (RISC-V psABI), so the old stack pointer comes back.
    unsafe {
        asm!(
            "mv s2, sp",
            "mv sp, {top}",
            "jalr {entry}",
            "mv sp, s2",
            top = in(reg) top,
            entry = in(reg) entry,
            in("a0") argument,
            out("s2") _,
            clobber_abi("C"),
        );
    }
}

/// Zeroes the vector registers: AES round keys and GHASH state pass through them. riscv64's baseline has none, and
/// portable C does its arithmetic in the general registers.
#[inline(never)]
fn clear_vector_registers() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the registers are declared as clobbered, and their contents are nobody's.
    unsafe {
        asm!(
            "pxor xmm0, xmm0", "pxor xmm1, xmm1", "pxor xmm2, xmm2", "pxor xmm3, xmm3",
            "pxor xmm4, xmm4", "pxor xmm5, xmm5", "pxor xmm6, xmm6", "pxor xmm7, xmm7",
            "pxor xmm8, xmm8", "pxor xmm9, xmm9", "pxor xmm10, xmm10", "pxor xmm11, xmm11",
            "pxor xmm12, xmm12", "pxor xmm13, xmm13", "pxor xmm14, xmm14", "pxor xmm15, xmm15",
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
            out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
            out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
            out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
            options(nomem, nostack, preserves_flags),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the registers are declared as clobbered, and their contents are nobody's; of v8 to v15 the compiler
    // saves the low halves, as the ABI asks, and restoring them clears the high ones.
    unsafe {
        asm!(
            "movi v0.2d, #0", "movi v1.2d, #0", "movi v2.2d, #0", "movi v3.2d, #0",
            "movi v4.2d, #0", "movi v5.2d, #0", "movi v6.2d, #0", "movi v7.2d, #0",
            "movi v8.2d, #0", "movi v9.2d, #0", "movi v10.2d, #0", "movi v11.2d, #0",
            "movi v12.2d, #0", "movi v13.2d, #0", "movi v14.2d, #0", "movi v15.2d, #0",
            "movi v16.2d, #0", "movi v17.2d, #0", "movi v18.2d, #0", "movi v19.2d, #0",
            "movi v20.2d, #0", "movi v21.2d, #0", "movi v22.2d, #0", "movi v23.2d, #0",
            "movi v24.2d, #0", "movi v25.2d, #0", "movi v26.2d, #0", "movi v27.2d, #0",
            "movi v28.2d, #0", "movi v29.2d, #0", "movi v30.2d, #0", "movi v31.2d, #0",
            out("v0") _, out("v1") _, out("v2") _, out("v3") _,
            out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            out("v8") _, out("v9") _, out("v10") _, out("v11") _,
            out("v12") _, out("v13") _, out("v14") _, out("v15") _,
            out("v16") _, out("v17") _, out("v18") _, out("v19") _,
            out("v20") _, out("v21") _, out("v22") _, out("v23") _,
            out("v24") _, out("v25") _, out("v26") _, out("v27") _,
            out("v28") _, out("v29") _, out("v30") _, out("v31") _,
            options(nomem, nostack, preserves_flags),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::hint::black_box;

    const SECRET: u64 = 0xfeed_face_cafe_f00d;

    #[inline(never)]
    fn leave_a_secret() -> u64 {
        let secrets = black_box([SECRET; 100]);
        secrets.iter().fold(0, |sum, word| sum ^ word)
    }

    fn found(stack: &CryptoStack) -> usize {
        stack
            .memory
            .iter()
            .flat_map(|unit| unit.0)
            .filter(|word| *word == SECRET)
            .count()
    }

    #[test]
    fn what_a_function_leaves_on_the_stack_is_wiped() {
        let mut stack = CryptoStack::new(64 * 1024);
        assert_eq!(stack.run(leave_a_secret), 0);
        assert!(
            found(&stack) >= 100,
            "the function did not run on this stack"
        );
        stack.wipe();
        assert_eq!(found(&stack), 0);
        assert_eq!(stack.run(leave_a_secret), 0);
    }

    #[test]
    fn results_and_captures_pass_through() {
        let mut stack = CryptoStack::new(16 * 1024);
        let mut text = String::from("a");
        let boxed = stack.run(|| {
            text.push('b');
            Box::new((text.len(), 0.5f64))
        });
        assert_eq!((text.as_str(), *boxed), ("ab", (2, 0.5)));
    }

    #[test]
    #[should_panic(expected = "overflowed")]
    fn an_overflow_is_found() {
        let mut stack = CryptoStack::new(16 * 1024);
        let last = stack.memory[..CANARY_WORDS / 2].as_mut_ptr_range().end as usize - 8;
        // What a frame that reaches too deep would do, without harm to the rest of the heap.
        // SAFETY: the address is that of a word of `stack.memory`, which is alive.
        stack.run(|| unsafe { (last as *mut u64).write_volatile(0) });
    }
}
