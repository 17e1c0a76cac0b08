//! A program that runs rows and reports them.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use crate::Result;
use crate::harness::{Plan, Row, Subject};
use crate::options::Options;
use crate::report::{Headline, Report};

/// A program that runs rows and reports them.
#[derive(Debug)]
pub struct Bench {
    options: Options,
    report: Report,
    headlines: Vec<(&'static str, Headline)>,
}

impl Bench {
    /// A bench with these options.
    pub fn new(title: &str, options: Options) -> Self {
        let report = Report::new(title, options.quick);
        Self { options, report, headlines: Vec::new() }
    }

    /// Adds a size, a seed or a version to the report.
    pub fn set(&mut self, name: &str, value: &impl ToString) {
        self.report.set(name, value);
    }

    /// Adds a chart of one row, which is written as `NAME.svg` if that row is measured.
    pub fn headline(&mut self, name: &'static str, headline: Headline) {
        self.headlines.push((name, headline));
    }

    /// Whether any of these rows is asked for, so that what they need must be made.
    pub fn wants(&self, subjects: &[Subject]) -> bool {
        subjects.iter().any(|subject| self.options.wants(subject.figure, subject.name))
    }

    /// Runs a row if the options select it; `enter` adds the contestants.
    ///
    /// # Errors
    /// A contestant cannot be made or fails, or two of them answer differently.
    pub fn row(
        &mut self,
        subject: Subject,
        plan: Plan,
        enter: impl FnOnce(Row) -> Result<Row>,
    ) -> Result<()> {
        if !self.wants(&[subject]) {
            return Ok(());
        }
        eprintln!("running {}", subject.title());
        let plan = if self.options.quick { plan.quick() } else { plan };
        self.report.rows.push(enter(Row::new(subject))?.run(&plan)?);
        Ok(())
    }

    /// Adds a measured row.
    pub fn measured(&mut self, row: crate::harness::Measured) {
        self.report.rows.push(row);
    }

    /// Whether this is a trial run.
    pub fn is_quick(&self) -> bool {
        self.options.quick
    }

    /// Prints the table and writes the other forms.
    ///
    /// # Errors
    /// The options select no row, or a file cannot be written.
    pub fn finish(self, name: &str) -> Result<[PathBuf; 3]> {
        if self.report.rows.is_empty() {
            return Err("there is no such row".into());
        }
        println!("{}", self.report.to_table());
        let paths = self.report.write(&self.options.out, name)?;
        for (name, headline) in &self.headlines {
            if let Some(svg) = self.report.to_headline(headline) {
                File::create(self.options.out.join(name).with_extension("svg"))?.write_all(svg.as_bytes())?;
            }
        }
        println!("written: {}, and the same as .svg and .txt", paths[0].display());
        Ok(paths)
    }
}

#[cfg(all(test, feature = "ways"))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::data::{Keys, Points};
    use crate::report::{Bar, Figure};
    use crate::workload::{self, Get, GetAbsent, GetEach, GetMany, PointText, PreparedPoint, Stored};

    const PLAN: Plan = Plan {
        checked_calls: 50,
        warm_up_rounds: 0,
        rounds: 1,
        round_time: Duration::ZERO,
        round_calls_min: 5,
    };

    #[test]
    fn lookups_and_queries_of_a_cache_agree_and_are_reported() {
        let points = Points::new(3_000);
        let keys = Keys::new(points);
        let stored = Stored::create().unwrap();
        let table = stored.load_points(points.batches().unwrap()).unwrap();
        let out = tempfile::tempdir().unwrap();
        let arguments = ["--out", out.path().to_str().unwrap()].map(str::to_owned);
        let mut bench = Bench::new("test", Options::parse(arguments).unwrap());
        bench.set("rows", &points.rows());
        let rows = bench.row(workload::POINT_TEXT, PLAN, |row| {
            Ok(row
                .with("get", Get::new(table.clone(), keys))
                .with("prepared", PreparedPoint::new(stored.cache(), keys)?)
                .with("text", PointText::new(stored.cache(), keys)))
        });
        rows.unwrap();
        let many = bench.row(workload::GET_MANY, Plan { checked_calls: 2, ..PLAN }, |row| {
            Ok(row
                .with("many", GetMany::new(table.clone(), keys))
                .with("each", GetEach::new(table.clone(), keys)))
        });
        many.unwrap();
        let absent =
            bench.row(workload::GET_ABSENT, PLAN, |row| Ok(row.with("get", GetAbsent::new(table, keys))));
        absent.unwrap();
        let headline = |row| Headline {
            title: "one row",
            row,
            bars: &[Bar { label: "a lookup", figure: Figure::Ours("get") }],
        };
        bench.headline("first", headline(workload::POINT_TEXT.name));
        bench.headline("second", headline("a row that nobody measured"));
        let [json, ..] = bench.finish("test").unwrap();
        assert!(std::fs::read_to_string(out.path().join("first.svg")).unwrap().contains(">a lookup<"));
        assert!(!out.path().join("second.svg").exists());
        let report: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
        assert_eq!(report["rows"].as_array().unwrap().len(), 3);
        assert_eq!(report["rows"][0]["contestants"][2]["latency"]["calls"], 5);
    }

    #[test]
    fn rows_that_nobody_asked_for_are_left_out() {
        let mut bench = Bench::new("test", Options::parse(["--only", "P5"].map(str::to_owned)).unwrap());
        assert!(bench.wants(&[workload::GET_MANY]) && !bench.wants(&[workload::GET, workload::OPEN]));
        bench.row(workload::GET, PLAN, |_| Err("not to be made".into())).unwrap();
        assert_eq!(bench.finish("test").unwrap_err().to_string(), "there is no such row");
    }
}
