//! Bugs of seL4 5.0.0 on x86_64, and their corrections.
//!
//! A correction replaces a piece of text that must occur exactly once. Where it does not, the source is
//! not the one that the correction was made for, and the build stops.

use std::fmt;
use std::fs;
use std::path::Path;

use crate::error::{IoContext, KernelError};

/// A correction of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fix {
    /// Handles a pending interrupt on the kernel's stack, and not above it.
    ///
    /// An interrupt that arrives during a long system call (`Revoke`, or a `Retype` that clears memory) is
    /// handled when the kernel is about to return to the user. There the kernel starts again at the top of its
    /// stack, which it computes by rounding the stack pointer to the stack's size. But nothing aligns the
    /// stack to that size, so the result lies up to a page above the stack, and what lies there is
    /// overwritten (the interrupt descriptor table among it). The correction takes the top's address from the
    /// linker, as the kernel's entry does. It also loads the two arguments in an order in which the
    /// first does not overwrite the register that the compiler may have chosen for the second.
    StackReset,

    /// Unmaps a page when the capability that mapped it is deleted.
    ///
    /// A frame capability that is not the last one of its frame was deleted without unmapping the page: the
    /// thread kept its access to memory for which it had no capability any more. Upstream corrected it
    /// in 7.0.0.
    UnmapOnDelete,

    /// Reports the whole address of a page fault.
    ///
    /// The fault message held its lower 32 bits only.
    FaultAddress,
}

struct Replacement {
    file: &'static str,
    expected: &'static str,
    new: &'static str,
}

impl Fix {
    /// Every fix, in the order in which they are applied.
    pub const ALL: [Self; 3] = [Self::StackReset, Self::UnmapOnDelete, Self::FaultAddress];

    /// A short name, usable in file names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StackReset => "stack-reset",
            Self::UnmapOnDelete => "unmap-on-delete",
            Self::FaultAddress => "fault-address",
        }
    }

    const fn replacement(self) -> Replacement {
        match self {
            Self::StackReset => Replacement {
                file: "src/arch/x86/64/c_traps.c",
                expected: concat!(
                    "            \"andq %[stack_mask], %%rsp\\n\"\n",
                    "            \"addq %[stack_size], %%rsp\\n\"\n",
                    "            \"movq %[syscall], %%rsi\\n\"\n",
                    "            \"movq %[irq], %%rdi\\n\"\n",
                ),
                new: concat!(
                    "            \"leaq kernel_stack_alloc + %c[stack_size], %%rsp\\n\"\n",
                    "            \"movq %[irq], %%rdi\\n\"\n",
                    "            \"movq %[syscall], %%rsi\\n\"\n",
                ),
            },
            Self::UnmapOnDelete => Replacement {
                file: "src/arch/x86/64/object/objecttype.c",
                expected: "if (final && cap_frame_cap_get_capFMappedASID(cap))",
                new: "if (cap_frame_cap_get_capFMappedASID(cap))",
            },
            Self::FaultAddress => Replacement {
                file: "src/arch/x86/kernel/vspace.c",
                expected: "    uint32_t addr;\n    uint32_t fault;\n",
                new: "    word_t addr;\n    uint32_t fault;\n",
            },
        }
    }

    /// What the fix does to the source, as text: part of what a kernel is built from.
    pub(crate) fn description(self) -> String {
        let Replacement {
            file,
            expected,
            new,
        } = self.replacement();
        format!("{file}\n{expected}\n{new}")
    }

    /// Applies the fix to the source in the folder `tree`.
    pub(crate) fn apply(self, tree: &Path) -> Result<(), KernelError> {
        let replacement = self.replacement();
        let file = tree.join(replacement.file);
        let text = fs::read_to_string(&file).at("read", &file)?;
        let occurrences = text.matches(replacement.expected).count();
        if occurrences != 1 {
            return Err(KernelError::FixDoesNotApply {
                fix: self,
                file,
                occurrences,
            });
        }
        let text = text.replace(replacement.expected, replacement.new);
        fs::write(&file, text).at("write", &file)
    }
}

impl fmt::Display for Fix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the kernel fix `{}`", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree with the file of the fix, its text once for each count.
    fn tree(fix: Fix, count: usize) -> std::path::PathBuf {
        let Replacement { file, expected, .. } = fix.replacement();
        let tree = std::env::temp_dir().join(format!(
            "selkie-fix-{}-{count}-{}",
            fix.name(),
            std::process::id()
        ));
        let path = tree.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, expected.repeat(count)).unwrap();
        tree
    }

    #[test]
    fn a_text_that_occurs_once_is_replaced() {
        for fix in Fix::ALL {
            let tree = tree(fix, 1);
            fix.apply(&tree).unwrap();
            let Replacement { file, new, .. } = fix.replacement();
            assert_eq!(fs::read_to_string(tree.join(file)).unwrap(), new);
            fs::remove_dir_all(tree).unwrap();
        }
    }

    #[test]
    fn another_source_is_refused() {
        for fix in Fix::ALL {
            for count in [0, 2] {
                let tree = tree(fix, count);
                let error = fix.apply(&tree).unwrap_err().to_string();
                assert!(error.contains(fix.name()), "{error}");
                assert!(error.contains(&format!("{count} times")), "{error}");
                fs::remove_dir_all(tree).unwrap();
            }
        }
    }
}
