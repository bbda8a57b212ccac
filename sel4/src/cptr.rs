//! Capability pointers.

use core::fmt;
use core::hash::Hash;
use core::marker::PhantomData;

use crate::Word;

/// The bits of a capability pointer.
pub type CPtrBits = Word;

/// An address in the capability space of the running thread.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct CPtr {
    bits: CPtrBits,
}

impl CPtr {
    /// The pointer's bits.
    pub const fn bits(self) -> CPtrBits {
        self.bits
    }

    /// A pointer of these bits.
    pub const fn from_bits(bits: CPtrBits) -> Self {
        Self { bits }
    }

    /// The same pointer, taken to name a capability of type `T`.
    pub const fn cast<T: CapType>(self) -> Cap<T> {
        Cap::from_cptr(self)
    }
}

/// A capability pointer that is taken to name a capability of type `T`.
///
/// The kernel checks the type on every use; a wrong one is an error there, never undefined behaviour here.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Cap<T: CapType> {
    cptr: CPtr,
    phantom: PhantomData<T>,
}

impl<T: CapType> Cap<T> {
    /// The capability at this pointer.
    pub const fn from_cptr(cptr: CPtr) -> Self {
        Self {
            cptr,
            phantom: PhantomData,
        }
    }

    /// The capability at the pointer of these bits.
    pub const fn from_bits(bits: CPtrBits) -> Self {
        Self::from_cptr(CPtr::from_bits(bits))
    }

    /// Where the capability is.
    pub const fn cptr(&self) -> CPtr {
        self.cptr
    }

    /// The bits of where the capability is.
    pub const fn bits(&self) -> CPtrBits {
        self.cptr.bits()
    }

    /// The same pointer, taken to name a capability of type `U`.
    pub const fn cast<U: CapType>(self) -> Cap<U> {
        Cap::from_cptr(self.cptr)
    }
}

impl<T: CapType> fmt::Debug for Cap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple(T::NAME).field(&self.bits()).finish()
    }
}

/// A marker for a type of capability.
pub trait CapType: Copy + Eq + Ord + Hash {
    /// The type's name.
    const NAME: &'static str;
}

macro_rules! declare {
    ($($(#[$doc:meta])* $name:ident)*) => {
        /// Markers for the types of capabilities.
        pub mod cap_type {
            use crate::CapType;
            $(
                $(#[$doc])*
                #[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
                pub struct $name;
                impl CapType for $name {
                    const NAME: &'static str = stringify!($name);
                }
            )*
        }

        /// Pointers to the types of capabilities.
        pub mod cap {
            use crate::{Cap, cap_type};
            $(
                $(#[$doc])*
                pub type $name = Cap<cap_type::$name>;
            )*
        }
    };
}

declare! {
    /// An endpoint: synchronous messages and calls.
    Endpoint
    /// A notification: a word of bits that signals set.
    Notification
    /// Whom to answer (MCS kernels).
    Reply
    /// A thread.
    Tcb
    /// The authority to receive one interrupt.
    IrqHandler
    /// The authority to claim interrupts.
    IrqControl
    /// A range of x86 I/O ports.
    IoPort
    /// Memory that can be made into other objects.
    Untyped
    /// A table of capabilities.
    CNode
    /// A 4 KiB or 2 MiB frame of memory.
    Frame
    /// The root of an address space.
    VSpace
    /// A paging structure below the root.
    TranslationTable
    /// A pool of address space identifiers.
    AsidPool
    /// Any capability.
    Unspecified
}
