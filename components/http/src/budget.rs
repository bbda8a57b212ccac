//! The memory that all connections share.

use alloc::rc::Rc;
use core::cell::Cell;

/// Bytes of memory that connections may still take.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Rc<Cell<usize>>);

/// A share of the budget; returned when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Rc::new(Cell::new(bytes)))
    }

    pub(crate) fn take(&self, bytes: usize) -> Option<Share> {
        self.0.set(self.0.get().checked_sub(bytes)?);
        Some(Share {
            budget: self.clone(),
            bytes,
        })
    }

    #[cfg(test)]
    pub(crate) fn left(&self) -> usize {
        self.0.get()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.set(self.budget.0.get() + self.bytes);
    }
}
