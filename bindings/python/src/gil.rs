//! Whether a thread holds the GIL.
#![expect(unsafe_code, reason = "Python answers that by a function of C, which pyo3 does not show")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

const NAME: &CStr = c"PyGILState_Check";

/// `int PyGILState_Check(void)`.
type Check = unsafe extern "C" fn() -> c_int;

unsafe extern "C" {
    /// Of the C library: the address of a name in what the process has loaded, or null.
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

static CHECK: OnceLock<Option<Check>> = OnceLock::new();

/// Whether this thread holds the GIL; `false` where Python does not say so.
pub(crate) fn holds_gil() -> bool {
    // Every CPython exports the function, but the stable ABI does not promise it. So it is looked up and not linked: one without it
    // can load the module too.
    let check = CHECK.get_or_init(|| {
        // SAFETY: the name is a C string; null stands for all that the process has loaded (`RTLD_DEFAULT` of Linux).
        let address = unsafe { dlsym(std::ptr::null_mut(), NAME.as_ptr()) };
        // SAFETY: a null pointer becomes `None`. Any other is the function of Python, whose signature has been the same since 3.4,
        // and which stays loaded as long as the process runs.
        unsafe { std::mem::transmute::<*mut c_void, Option<Check>>(address) }
    });
    // SAFETY: any thread may call it, whether or not it is known to Python.
    check.is_some_and(|check| unsafe { check() } == 1)
}
