//! The memory that a system needs on a machine for x86_64, where the kernel detects the memory at boot. Microkit's tool
//! cannot know the amount, and a release kernel that has too little halts without a message.

use object::{Object, ObjectSegment, ObjectSymbol};
use serde_json::Value;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Memory below the kernel, and the firmware's tables at the end of memory.
const FIRMWARE: u64 = MIB + 128 * KIB;

/// Tables of the IOMMU that the kernel makes for all 256 PCI buses.
const IOMMU: u64 = 257 * 4 * KIB;

/// Memory lost because free blocks have sizes of a power of two.
const BORDERS: u64 = 2 * MIB;

/// Returns the least memory, in bytes, that a machine must have. The estimate is on the high side.
///
/// `kernel` is the ELF file of the kernel and `config` its `gen_config.json`; `image` is the memory of the initialiser
/// and its contents in bytes, and `report` is the report of Microkit's tool.
pub fn needed(kernel: &[u8], config: &Value, image: u64, report: &str) -> Option<u64> {
    let cnode = config["ROOT_CNODE_SIZE_BITS"]
        .as_str()?
        .parse::<u32>()
        .ok()?;
    // 32 bytes per slot.
    let root = 1u64.checked_shl(cnode)?.checked_mul(32)?;
    let kernel = kernel_memory(kernel)?;
    let parts = [
        FIRMWARE,
        kernel,
        image,
        root,
        IOMMU,
        BORDERS,
        objects(report),
    ];
    parts.into_iter().try_fold(0u64, u64::checked_add)
}

/// Returns the memory that the kernel keeps: up to its end, without the part that it uses only during boot.
fn kernel_memory(elf: &[u8]) -> Option<u64> {
    let elf = object::File::parse(elf).ok()?;
    let address = |symbol: &str| {
        let mut symbols = elf.symbols();
        symbols
            .find(|s| s.name() == Ok(symbol))
            .map(|s| s.address())
    };
    let end = address("ki_end")?;
    let boot = address("ki_boot_end")?;
    let loaded: u64 = elf.segments().map(|segment| segment.size()).sum();
    // Both are addresses of the kernel's window.
    let kept = end.checked_sub(boot)?;
    (kept <= loaded.saturating_add(MIB)).then_some(kept)
}

/// Returns the memory of the kernel objects in the tool's report: lines `ID - KIND: 'NAME'`.
fn objects(report: &str) -> u64 {
    let list = report
        .split("# Kernel Objects Details")
        .nth(1)
        .unwrap_or_default();
    let kinds = list.lines().filter_map(|line| {
        let (id, rest) = line.trim().split_once(" - ")?;
        id.parse::<u64>().ok()?;
        rest.split_once(": ").map(|(kind, _)| kind)
    });
    let sizes = kinds.map(|kind| match kind {
        "Page(2 MiB)" => 2 * MIB,
        "CNode" => 16 * KIB,
        // Endpoints, notifications and replies are smaller, pages and tables as large.
        _ => 4 * KIB,
    });
    sizes.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const REPORT: &str = "# CNode Details\n\t- CNode: 'cnode_a'\n\n# Kernel Objects Details: ID, Type, Name\n\
                          \t0 - Page(4 KiB): 'frame_a'\n\t1 - Page(2 MiB): 'frame_b'\n\t2 - CNode: 'cnode_a'\n";

    #[test]
    fn objects_are_summed_by_their_kinds() {
        assert_eq!(objects(REPORT), 2 * MIB + 20 * KIB);
        assert_eq!(objects("nothing"), 0);
    }

    #[test]
    fn what_is_no_kernel_or_no_configuration_gives_no_number() {
        assert_eq!(
            needed(b"", &json!({"ROOT_CNODE_SIZE_BITS": "17"}), 0, REPORT),
            None
        );
        assert_eq!(needed(b"", &json!({}), 0, REPORT), None);
    }
}
