//! Statics of a program with one thread.

use core::cell::{OnceCell, RefCell};

/// A value that is made once.
pub struct Once<T>(OnceCell<T>);

/// A value that one piece of code uses at a time.
pub struct Exclusive<T>(RefCell<T>);

// SAFETY: a PD has one thread, and no signal or interrupt runs its code.
unsafe impl<T> Sync for Once<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Exclusive<T> {}

impl<T> Once<T> {
    pub const fn new() -> Self {
        Self(OnceCell::new())
    }

    pub fn get(&self) -> Option<&T> {
        self.0.get()
    }

    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        self.0.get_or_init(make)
    }
}

impl<T> Exclusive<T> {
    pub const fn new(value: T) -> Self {
        Self(RefCell::new(value))
    }

    /// Runs the function on the value; `None` if it is in use, further up the call stack.
    pub fn try_with<R>(&self, function: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.0
            .try_borrow_mut()
            .ok()
            .map(|mut value| function(&mut value))
    }
}
