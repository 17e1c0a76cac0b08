//! The machine and the build that a report describes.

use std::time::{SystemTime, UNIX_EPOCH};

use arrow::datatypes::TimestampSecondType;
use arrow::temporal_conversions::as_datetime;
use serde::Serialize;

/// The machine and the build that a report describes.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Model of the processor.
    pub cpu: String,
    /// Processors that this process may use.
    pub cores: usize,
    /// Memory in GiB, rounded.
    pub memory_gib: u64,
    /// Operating system, its kernel's version and the architecture.
    pub kernel: String,
    /// The compiler.
    pub rustc: String,
    /// Profile and optimisation level.
    pub profile: String,
    /// The date of the report, in UTC.
    pub date: String,
}

impl Machine {
    /// Describes this machine, and the current date.
    pub fn describe() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let kernel = read("/proc/sys/kernel/osrelease");
        let system = [std::env::consts::OS, kernel.trim(), std::env::consts::ARCH];
        let cpu = field(&read("/proc/cpuinfo"), "model name");
        let memory =
            field(&read("/proc/meminfo"), "MemTotal").and_then(|text| text.split(' ').next()?.parse().ok());
        Self {
            cpu: cpu.unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().map_or(1, Into::into),
            memory_gib: memory.map_or(0, |kib: u64| (kib + (1 << 19)) >> 20),
            kernel: system.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" "),
            rustc: env!("PILLION_BENCHES_RUSTC").to_owned(),
            profile: concat!(
                env!("PILLION_BENCHES_PROFILE"),
                ", opt-level ",
                env!("PILLION_BENCHES_OPT_LEVEL")
            )
            .to_owned(),
            date: now(),
        }
    }
}

/// The first field of this name in a file of `name : value` lines.
fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found.trim() == name).then(|| value.trim().to_owned())
    })
}

fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let moment = i64::try_from(seconds).ok().and_then(as_datetime::<TimestampSecondType>);
    moment.map_or_else(|| "unknown".to_owned(), |moment| moment.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "model\t: 17\nmodel name\t: A: processor\nmodel name\t: Another\n";
        assert_eq!(field(text, "model name").as_deref(), Some("A: processor"));
        assert_eq!(field(text, "name"), None);
    }

    #[test]
    fn the_machine_is_described() {
        let machine = Machine::describe();
        assert!(machine.rustc.starts_with("rustc "), "{}", machine.rustc);
        assert!(machine.cores > 0);
        assert!(machine.date.starts_with("20"), "{}", machine.date);
    }
}
