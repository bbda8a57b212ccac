//! From the first instruction to the handler's loop.

use crate::Handler;

#[doc(hidden)]
pub fn run_main<T: Handler>(init: impl FnOnce() -> T) -> ! {
    match init().run() {
        Ok(never) => match never {},
        Err(error) => panic!("{error}"),
    }
}

/// Declares a PD; see `protection_domain`.
#[doc(hidden)]
#[macro_export]
macro_rules! declare_protection_domain {
    { init = $init:expr $(,)? } => {
        #[unsafe(no_mangle)]
        extern "Rust" fn __sel4_microkit__main() -> ! {
            $crate::_private::run_main($init)
        }
    };
    { init = $init:expr, stack_size = $stack_size:expr $(,)? } => {
        #[unsafe(no_mangle)]
        extern "Rust" fn __sel4_microkit__main() -> ! {
            static STACK: $crate::_private::StaticStack<{ $stack_size }> =
                $crate::_private::StaticStack::new();
            // SAFETY: the entry point runs once, so nothing else is on this stack.
            unsafe {
                $crate::_private::call_on_stack(STACK.top(), || $crate::_private::run_main($init))
            }
        }
    };
    { init = $init:expr, $(stack_size = $stack_size:expr,)? heap_size = $heap_size:expr $(,)? } => {
        const _: () = {
            #[global_allocator]
            static HEAP: $crate::_private::StaticHeap<{ $heap_size }> =
                $crate::_private::StaticHeap::new();
        };
        $crate::declare_protection_domain! { init = $init $(, stack_size = $stack_size)? }
    };
    { init = $init:expr, heap_size = $heap_size:expr, stack_size = $stack_size:expr $(,)? } => {
        $crate::declare_protection_domain! {
            init = $init, stack_size = $stack_size, heap_size = $heap_size
        }
    };
}

#[cfg(selkie_freestanding)]
mod freestanding {
    use crate::board;

    unsafe extern "Rust" {
        fn __sel4_microkit__main() -> !;
    }

    // The stack pointer is at the top of the stack, 16-aligned; a call leaves it as the ABI wants it at an entry. There
    // is nowhere to return to, and no frame before this one.
    #[cfg(target_arch = "x86_64")]
    core::arch::global_asm!(
        ".pushsection .text._start, \"ax\", @progbits",
        ".globl _start",
        "_start:",
        "xor ebp, ebp",
        "call {entry}",
        "ud2",
        ".popsection",
        entry = sym entry,
    );

    #[cfg(target_arch = "aarch64")]
    core::arch::global_asm!(
        ".pushsection .text._start, \"ax\", @progbits",
        ".globl _start",
        "_start:",
        "mov x29, xzr",
        "mov x30, xzr",
        "b {entry}",
        ".popsection",
        entry = sym entry,
    );

    // No symbol of the linker script serves for gp, and the linker is not asked to relax anything to it.
    #[cfg(target_arch = "riscv64")]
    core::arch::global_asm!(
        ".pushsection .text._start, \"ax\", @progbits",
        ".globl _start",
        "_start:",
        "li s0, 0",
        "li ra, 0",
        "tail {entry}",
        ".popsection",
        entry = sym entry,
    );

    extern "C" fn entry() -> ! {
        board::set_ipc_buffer();
        // SAFETY: `protection_domain` defines it with this signature; a PD without it does not link.
        unsafe { __sel4_microkit__main() }
    }
}
