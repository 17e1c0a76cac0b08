//! Real faults: owners that are killed, stopped and forked, calls of the kernel that fail, disks that are full.

mod forks;
mod full_volume;
mod history;
mod kills;
mod readers;
mod short_writes;
mod stops;
mod syscalls;
