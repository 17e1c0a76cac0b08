//! The results of a bench, and the forms in which they are shown.

mod chart;
mod headline;
mod machine;
mod svg;
mod table;
mod units;

pub use headline::{Bar, Figure, Headline};
pub use machine::Machine;

use std::fs::{File, create_dir_all};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::Result;
use crate::harness::{Clock, Measured};

/// The results of a bench.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was compared.
    pub title: String,
    /// Whether this was a trial run, which says nothing about speed.
    pub quick: bool,
    /// The machine.
    pub machine: Machine,
    /// The clock.
    pub clock: Clock,
    /// Sizes, seeds and versions, in words.
    pub settings: Vec<(String, String)>,
    /// The rows.
    pub rows: Vec<Measured>,
}

impl Report {
    /// A report without rows, of this machine.
    pub fn new(title: impl Into<String>, quick: bool) -> Self {
        Self {
            title: title.into(),
            quick,
            machine: Machine::describe(),
            clock: Clock::measure(),
            settings: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Adds a size, a seed or a version.
    pub fn set(&mut self, name: &str, value: &impl ToString) {
        self.settings.push((name.to_owned(), value.to_string()));
    }

    /// The report as a table for a terminal.
    pub fn to_table(&self) -> String {
        table::render(self)
    }

    /// The report as a chart.
    pub fn to_svg(&self) -> String {
        chart::render(self)
    }

    /// The chart of one of its rows, or `None` if that was not measured.
    pub fn to_headline(&self, headline: &Headline) -> Option<String> {
        headline::render(self, headline)
    }

    /// Writes `NAME.json`, `NAME.svg` and `NAME.txt` into a folder, which is created, and returns their paths.
    ///
    /// # Errors
    /// The folder or a file cannot be written.
    pub fn write(&self, dir: &Path, name: &str) -> Result<[PathBuf; 3]> {
        create_dir_all(dir)?;
        let [json, svg, txt] = ["json", "svg", "txt"].map(|form| dir.join(name).with_extension(form));
        let mut file = BufWriter::new(File::create(&json)?);
        serde_json::to_writer_pretty(&mut file, self)?;
        file.write_all(b"\n")?;
        file.flush()?;
        File::create(&svg)?.write_all(self.to_svg().as_bytes())?;
        File::create(&txt)?.write_all(self.to_table().as_bytes())?;
        Ok([json, svg, txt])
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::harness::{Latency, Measurement, Plan, Reached, Subject};

    /// A report with numbers that are easy to find again.
    pub(crate) fn sample() -> Report {
        let latency = |p50_ns, ratio| Latency {
            p50_ns,
            p99_ns: p50_ns * 2,
            min_ns: p50_ns / 2,
            max_ns: p50_ns * 10,
            calls: 1000,
            calls_per_second: 2_500_000.0,
            ratio,
            ratio_low: ratio * 0.9,
            ratio_high: ratio * 1.1,
        };
        let mut report = Report::new("Ours & <theirs>", false);
        report.set("rows", &1_000_000);
        report.rows.push(Measured {
            subject: Subject { figure: "P1", name: "get", state: "warm, \"random\" keys" },
            plan: Plan {
                checked_calls: 1,
                warm_up_rounds: 0,
                rounds: 1,
                round_time: Duration::from_millis(1),
                round_calls_min: 1,
            },
            contestants: vec![
                Measurement { name: "ours", latency: Some(latency(400, 1.0)), goal: None },
                Measurement {
                    name: "<theirs>",
                    latency: Some(latency(6_120, 15.3)),
                    goal: Some(Reached {
                        to: Some("ours"),
                        value: 15.3,
                        low: 13.8,
                        high: 16.8,
                        at_most: 10.0,
                    }),
                },
                Measurement { name: "neither", latency: None, goal: None },
            ],
        });
        report
    }

    #[test]
    fn a_report_is_written_in_all_forms() {
        let dir = tempfile::tempdir().unwrap();
        let report = sample();
        let [json, svg, txt] = report.write(&dir.path().join("new"), "sample").unwrap();
        let value: serde_json::Value = serde_json::from_reader(File::open(json).unwrap()).unwrap();
        let row = &value["rows"][0];
        assert_eq!((row["figure"].as_str(), row["name"].as_str()), (Some("P1"), Some("get")));
        assert_eq!(row["contestants"][1]["latency"]["p50_ns"], 6120);
        assert!(row["contestants"][2]["latency"].is_null());
        assert!(value["machine"]["cores"].as_u64().unwrap() > 0);
        assert_eq!(row["contestants"][1]["goal"]["to"], "ours");
        assert_eq!(std::fs::read_to_string(svg).unwrap(), report.to_svg());
        assert_eq!(std::fs::read_to_string(txt).unwrap(), report.to_table());
    }
}
