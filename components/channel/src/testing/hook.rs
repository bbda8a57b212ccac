//! What runs before each load of a peer's word.

use std::boxed::Box;
use std::cell::RefCell;

type Hook = Box<dyn FnMut()>;

std::thread_local! {
    static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
}

pub(crate) fn before_load() {
    HOOK.with(|hook| {
        // A load inside the hook itself finds it borrowed and runs no hook.
        if let Ok(mut hook) = hook.try_borrow_mut()
            && let Some(hook) = hook.as_mut()
        {
            hook();
        }
    });
}

/// Runs `body` with a hook before every load of a peer's word by this thread.
pub fn with_hook<R>(hook: impl FnMut() + 'static, body: impl FnOnce() -> R) -> R {
    /// Takes the hook away, also if `body` panics.
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            HOOK.with(|cell| cell.borrow_mut().take());
        }
    }
    HOOK.with(|cell| *cell.borrow_mut() = Some(Box::new(hook)));
    let _guard = Guard;
    body()
}
