//! The table on the terminal.

use std::fmt::Write;

use super::units::{rate, three_digits, time};
use super::{Machine, Report};
use crate::harness::Reached;

const HEADER: [&str; 6] = ["", "p50", "p99", "rate", "ratio", "calls"];
/// Header of the last column, whose cells are of any length.
const GOAL: &str = "goal";
const GAP: &str = "  ";

pub(super) fn render(report: &Report) -> String {
    let mut groups = Vec::new();
    for row in &report.rows {
        let subject = row.subject;
        let lines = row.contestants.iter().map(|contestant| {
            let cells = match contestant.latency {
                Some(latency) => [
                    contestant.name.to_owned(),
                    time(latency.p50_ns),
                    time(latency.p99_ns),
                    rate(latency.calls_per_second),
                    ratio(latency.ratio, latency.ratio_low, latency.ratio_high),
                    latency.calls.to_string(),
                ],
                None => [contestant.name, "-", "-", "-", "-", "-"].map(str::to_owned),
            };
            (cells, contestant.goal.as_ref().map(goal_with_range).unwrap_or_default())
        });
        groups.push((format!("{}: {}", subject.title(), subject.state), lines.collect::<Vec<_>>()));
    }
    let all = groups.iter().flat_map(|(_, lines)| lines);
    let widths = all.fold(HEADER.map(width), |mut widths, (line, _)| {
        widths.iter_mut().zip(line).for_each(|(widest, cell)| *widest = width(cell).max(*widest));
        widths
    });
    let mut text = String::new();
    let mut push = |line: &str| {
        text.push_str(line.trim_end());
        text.push('\n');
    };
    push(&report.title);
    describe(report).iter().for_each(|line| push(line));
    push("");
    let has_goals = report.rows.iter().flat_map(|row| &row.contestants).any(|one| one.goal.is_some());
    let goals = if has_goals { GOAL } else { "" };
    push(&format!("{GAP}{}{GAP}{goals}", align(&HEADER.map(str::to_owned), &widths)));
    for (heading, lines) in &groups {
        push(heading);
        lines.iter().for_each(|(line, goal)| push(&format!("{GAP}{}{GAP}{goal}", align(line, &widths))));
    }
    text
}

/// Machine, build, clock and settings in a few lines.
pub(super) fn describe(report: &Report) -> Vec<String> {
    let clock = report.clock;
    let settings = report.settings.iter().map(|(name, value)| format!("{name} {value}"));
    let mut lines = vec![
        machine(&report.machine),
        format!(
            "latencies include one reading of the clock, {:.0} ns, in steps of {} ns; \
             ratio: p50 to that of the row's first line (lowest and highest of a round)",
            clock.reading_ns, clock.step_ns
        ),
        settings.collect::<Vec<_>>().join("; "),
    ];
    if report.quick {
        lines.push("a quick trial run: the figures below say nothing about speed".to_owned());
    }
    lines
}

/// When, where and how it was built.
pub(super) fn machine(machine: &Machine) -> String {
    let Machine { cpu, cores, memory_gib, kernel, rustc, profile, date } = machine;
    format!("{date} UTC; {cpu}, {cores} cores, {memory_gib} GiB; {kernel}; {rustc}, {profile}")
}

/// A ratio with its range over the rounds; the first line of a row has none.
fn ratio(ratio: f64, low: f64, high: f64) -> String {
    let mut text = three_digits(ratio);
    if low < high {
        // Writing to a string cannot fail.
        let _ = write!(text, " ({}-{})", three_digits(low), three_digits(high));
    }
    text
}

/// How a contestant compares with its goal, and the range over the rounds.
fn goal_with_range(reached: &Reached) -> String {
    match reached.to {
        Some(_) if reached.low < reached.high => {
            format!("{} ({}-{})", goal(reached), three_digits(reached.low), three_digits(reached.high))
        }
        _ => goal(reached),
    }
}

/// How a contestant compares with its goal.
pub(super) fn goal(reached: &Reached) -> String {
    let judged = if reached.is_met() { "met" } else { "missed" };
    match reached.to {
        Some(to) => format!(
            "{judged}: {} × {to}, at most {}",
            three_digits(reached.value),
            three_digits(reached.at_most)
        ),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "they were whole numbers"
        )]
        None => {
            format!("{judged}: {}, at most {}", time(reached.value as u64), time(reached.at_most as u64))
        }
    }
}

/// Names to the left, numbers to the right.
fn align(cells: &[String; 6], widths: &[usize; 6]) -> String {
    let padded = cells.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
        // `format!` counts characters, which here are as wide as columns of a terminal.
        if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
    });
    padded.collect::<Vec<_>>().join(GAP)
}

fn width(text: impl AsRef<str>) -> usize {
    text.as_ref().chars().count()
}

#[cfg(test)]
mod tests {
    use super::super::tests::sample;
    use super::*;

    #[test]
    fn columns_are_aligned_and_empty_cells_are_dashes() {
        let table = render(&sample());
        let lines: Vec<&str> = table.lines().skip_while(|line| !line.contains("p50  ")).collect();
        assert_eq!(
            lines,
            [
                "                p50      p99      rate             ratio  calls  goal",
                "P1 get: warm, \"random\" keys",
                "  ours       400 ns   800 ns  2.50 M/s  1.00 (0.90-1.10)   1000",
                "  <theirs>  6.12 µs  12.2 µs  2.50 M/s  15.3 (13.8-16.8)   1000  missed: 15.3 × ours, at most 10.0 (13.8-16.8)",
                "  neither         -        -         -                 -      -",
            ]
        );
    }

    #[test]
    fn goals_are_written_out() {
        assert_eq!(
            goal(&Reached { to: None, value: 912_345.0, low: 8e5, high: 1e6, at_most: 1e6 }),
            "met: 912 µs, at most 1.00 ms"
        );
        assert_eq!(
            goal(&Reached { to: Some("x"), value: 1.1, low: 1.0, high: 1.2, at_most: 1.15 }),
            "met: 1.10 × x, at most 1.15"
        );
    }

    #[test]
    fn the_head_names_machine_and_settings_and_warns_of_a_trial_run() {
        let mut report = sample();
        let head = render(&report);
        assert!(head.starts_with("Ours & <theirs>\n"));
        assert!(head.contains("rows 1000000") && head.contains(&report.machine.cpu));
        assert!(!head.contains("trial"));
        report.quick = true;
        assert!(render(&report).contains("trial"));
    }
}
