//! The guarantees of each board and their limits. They are printed at every start, so that no user relies on an
//! evaluation board. A protection domain (PD) that the system does not have is not mentioned.

use super::make::Built;

/// What `run` says about a board before it boots.
pub(super) fn lines(built: &Built) -> Vec<String> {
    let runs = |program: &str| {
        let mut domains = built.domains.iter();
        built.is_described && domains.any(|domain| domain.program == program)
    };
    let devices = Devices {
        network: runs("net-driver"),
        pci: runs("pci"),
        known: built.is_described,
    };
    board(&built.board, devices)
}

/// The PDs of a system on which a board's guarantees depend.
#[derive(Clone, Copy)]
struct Devices {
    /// A driver of a network device.
    network: bool,
    /// The owner of PCI configuration space.
    pci: bool,
    /// True if the PDs' programs are known. A hand-written system file does not name them.
    known: bool,
}

fn board(board: &str, devices: Devices) -> Vec<String> {
    let (gives, lacks) = kernel(board);
    let iommu = devices.network && board == "x86_64_generic";
    let gives = gives.map(|gives| match iommu {
        true => format!(
            "gives: {gives}, and an IOMMU that lets the network card reach its buffers and nothing else"
        ),
        false => format!("gives: {gives}"),
    });
    let lacks = format!("lacks: {lacks}");
    let trusts = trusts(board, devices).map(|trusts| format!("trusts: {trusts}"));
    gives.into_iter().chain([lacks]).chain(trusts).collect()
}

/// Returns the guarantees of a board's kernel, and those that it lacks.
fn kernel(board: &str) -> (Option<&'static str>, &'static str) {
    match board {
        "pc99" => (
            Some("a real seL4 kernel that keeps the protection domains' address spaces apart"),
            "this is seL4 5.0.0 of 2017, not verified for x86_64, without a no-execute bit and without \
             defences against Spectre and Meltdown: for evaluation, not for deployment",
        ),
        "qemu_virt_aarch64" | "qemu_virt_riscv64" => (
            Some(
                "today's seL4 with scheduling contexts (MCS) from the Microkit SDK: address spaces kept apart, no code in \
                 writable memory, processor time by budget",
            ),
            "no proof covers this configuration of the kernel as it stands; what is proved for which: docs/deployment.md",
        ),
        "x86_64_generic" => (
            Some(
                "today's seL4 with scheduling contexts (MCS) from the Microkit SDK: address spaces kept apart, processor \
                 time by budget",
            ),
            "nothing is proved for x86_64 with MCS; this kernel sets no no-execute bit: what a protection domain may \
             read it may execute",
        ),
        _ => (
            None,
            "what is proved for this kernel's configuration, and what is not: docs/deployment.md",
        ),
    }
}

/// Returns the trusted components of a system besides the kernel.
fn trusts(board: &str, devices: Devices) -> Option<String> {
    let no_iommu = matches!(board, "pc99" | "qemu_virt_aarch64" | "qemu_virt_riscv64");
    if !devices.known {
        return Some(match no_iommu {
            true => "no IOMMU confines devices here: a protection domain that drives one which transfers data by \
                     itself could reach all memory"
                .into(),
            false => "the protection domains that map devices' registers; whether an IOMMU confines a device is for \
                      the system file to say"
                .into(),
        });
    }
    match board {
        "x86_64_generic" if devices.pci => Some(
            "the firmware's description of the IOMMU, and the pci protection domain, which owns configuration space"
                .into(),
        ),
        _ if no_iommu && devices.network => Some(
            "no IOMMU confines the network card here, so its driver, which writes the card's descriptors, could reach \
             all memory"
                .into(),
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOARDS: [&str; 4] = [
        "pc99",
        "qemu_virt_aarch64",
        "qemu_virt_riscv64",
        "x86_64_generic",
    ];

    fn said(name: &str, network: bool, pci: bool, known: bool) -> String {
        let devices = Devices {
            network,
            pci,
            known,
        };
        board(name, devices).join("\n")
    }

    #[test]
    fn nothing_is_claimed_of_domains_that_are_not_there() {
        for board in BOARDS {
            for text in [
                said(board, false, false, true),
                said(board, false, false, false),
            ] {
                assert!(!text.contains("network card"), "{board}: {text}");
                assert!(!text.contains("pci protection domain"), "{board}: {text}");
            }
        }
    }

    #[test]
    fn what_a_described_system_relies_on_is_named() {
        for board in &BOARDS[..3] {
            let text = said(board, true, true, true);
            assert!(
                text.contains("no IOMMU confines the network card"),
                "{board}"
            );
        }
        let text = said("x86_64_generic", true, true, true);
        assert!(text.contains("an IOMMU that lets the network card reach"));
        assert!(text.contains("trusts: the firmware's description of the IOMMU, and the pci"));
    }
}
