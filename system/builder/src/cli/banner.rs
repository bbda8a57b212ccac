//! What each board gives and does not give: said at every start, so that nobody takes an evaluation board for
//! more than it is.

/// What `run` says about a board before it boots.
pub(super) fn lines(board: &str) -> &'static [&'static str] {
    match board {
        "pc99" => &[
            "gives: a real seL4 kernel that keeps the protection domains' address spaces apart",
            "lacks: this is seL4 5.0.0 of 2017, not verified for x86_64, without a no-execute bit and without \
             defences against Spectre and Meltdown: for evaluation, not for deployment",
            "trusts: no IOMMU confines the network card here, so its driver, which writes the card's \
             descriptors, could reach all memory",
        ],
        "qemu_virt_aarch64" | "qemu_virt_riscv64" => &[
            "gives: today's seL4 with scheduling contexts (MCS) from the Microkit SDK: address spaces kept apart, no code in \
             writable memory, processor time by budget",
            "lacks: no proof covers this configuration of the kernel as it stands; what is proved for which: docs/deployment.md",
            "trusts: QEMU's machine has no IOMMU in front of the network card, so its driver, which writes the card's \
             descriptors, could reach all memory",
        ],
        "x86_64_generic" => &[
            "gives: today's seL4 with scheduling contexts (MCS) from the Microkit SDK: address spaces kept apart, processor \
             time by budget, and an IOMMU that lets the network card reach its buffers and nothing else",
            "lacks: nothing is proved for x86_64 with MCS; this kernel sets no no-execute bit: what a protection domain may \
             read it may execute",
            "trusts: the firmware's description of the IOMMU, and the pci protection domain, which owns configuration space",
        ],
        _ => &[
            "lacks: what is proved for this kernel's configuration, and what is not: docs/deployment.md",
        ],
    }
}
