//! The one function of the compiler's library that riscv64's prebuilt library has for another floating-point ABI, which the
//! linker refuses: compiled C code calls it where the processor has no instruction for it.

/// The bytes of a word in the opposite order.
// SAFETY: no other function has this name: the archive with the prebuilt one is only searched for what is missing.
#[unsafe(no_mangle)]
extern "C" fn __bswapsi2(word: u32) -> u32 {
    word.swap_bytes()
}
