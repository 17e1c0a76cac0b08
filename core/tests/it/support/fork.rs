//! A fork without an exec, as programs do that load first and then split.
#![expect(unsafe_code, reason = "nothing safe forks")]

/// Runs `child` in a forked child of this process, and returns its exit code.
pub(crate) fn fork(child: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child has only this thread. It may allocate, as the C library keeps its allocator usable across a
    // fork. Locks that other threads of this process hold are never released in the child, so callers must have no
    // other threads at work.
    let process = unsafe { libc::fork() };
    assert!(process >= 0, "{}", std::io::Error::last_os_error());
    if process == 0 {
        let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(101);
        // SAFETY: ends the child at once, without cleaning up: what there is belongs to its parent.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: waits for the child that was just made; `status` is valid memory for the result.
    let waited = unsafe { libc::waitpid(process, &raw mut status, 0) };
    assert_eq!(waited, process);
    assert!(libc::WIFEXITED(status), "the child was killed");
    libc::WEXITSTATUS(status)
}
