//! A fork without an exec, as programs do that load first and then split.
#![expect(unsafe_code, reason = "nothing safe forks")]

/// Runs `child` in a forked child of this process, and gives the code that it returns.
pub(crate) fn fork(child: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child has this thread only. It may need memory, whose allocator the C library keeps usable across a
    // fork, and locks that other threads of this process held are never given back in it: callers have no other threads
    // at work.
    let process = unsafe { libc::fork() };
    assert!(process >= 0, "{}", std::io::Error::last_os_error());
    if process == 0 {
        let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(101);
        // SAFETY: ends the child at once: what would be tidied up is its parent's.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: waits for the child that was just made; `status` is a place for the answer.
    let waited = unsafe { libc::waitpid(process, &raw mut status, 0) };
    assert_eq!(waited, process);
    assert!(libc::WIFEXITED(status), "the child was killed");
    libc::WEXITSTATUS(status)
}
