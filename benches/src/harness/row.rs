//! One row of a report: the same work, done by several contestants in turn.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::clock::nanoseconds;
use super::{Collect, Contestant, Forget, Histogram};
use crate::Result;

/// What a row is about.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Subject {
    /// Number of the figure that it belongs to; empty if it has none.
    pub figure: &'static str,
    /// What is done.
    pub name: &'static str,
    /// The state that it is done in.
    pub state: &'static str,
}

impl Subject {
    /// Figure and name.
    pub fn title(&self) -> String {
        format!("{} {}", self.figure, self.name).trim_start().to_owned()
    }
}

/// How long a row runs.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Plan {
    /// Calls whose answers are compared before anything is timed.
    pub checked_calls: u64,
    /// Rounds that are not counted.
    pub warm_up_rounds: usize,
    /// Rounds that are counted.
    pub rounds: usize,
    /// A contestant's share of a round ends with the first call that ends after this time, …
    pub round_time: Duration,
    /// … but not before this number of calls.
    pub round_calls_min: u64,
}

impl Plan {
    /// The shortest plan that still does everything once: a trial run.
    #[must_use]
    pub fn quick(self) -> Self {
        Self {
            checked_calls: self.checked_calls.min(20),
            warm_up_rounds: self.warm_up_rounds.min(1),
            rounds: self.rounds.min(2),
            round_time: self.round_time.min(Duration::from_millis(5)),
            round_calls_min: 1,
        }
    }
}

/// The same work, done by several contestants.
pub struct Row {
    subject: Subject,
    entries: Vec<Entry>,
}

struct Entry {
    name: &'static str,
    /// `None` if the contestant has no such operation.
    runner: Option<Box<dyn Runner>>,
    /// Whether its answers must equal those of the others.
    is_compared: bool,
    goal: Option<Goal>,
    histogram: Histogram,
    round_p50s: Vec<u64>,
    next_call: u64,
}

impl Row {
    /// A row without contestants.
    pub fn new(subject: Subject) -> Self {
        Self { subject, entries: Vec::new() }
    }

    /// Adds a contestant. The others are compared with the first.
    #[must_use]
    pub fn with(self, name: &'static str, contestant: impl Contestant + 'static) -> Self {
        self.add(name, Some(Box::new(contestant)), true)
    }

    /// Adds a contestant whose answers are not compared, such as a lower bound that the others should approach.
    #[must_use]
    pub fn beside(self, name: &'static str, contestant: impl Contestant + 'static) -> Self {
        self.add(name, Some(Box::new(contestant)), false)
    }

    /// Adds a contestant that has no such operation: its cells stay empty.
    #[must_use]
    pub fn without(self, name: &'static str) -> Self {
        self.add(name, None, false)
    }

    /// Sets the goal of the contestant with this name.
    #[must_use]
    pub fn goal(mut self, name: &str, goal: Goal) -> Self {
        self.entries.iter_mut().filter(|entry| entry.name == name).for_each(|entry| entry.goal = Some(goal));
        self
    }

    fn add(mut self, name: &'static str, runner: Option<Box<dyn Runner>>, is_compared: bool) -> Self {
        let (histogram, round_p50s) = (Histogram::new(), Vec::new());
        self.entries.push(Entry {
            name,
            runner,
            is_compared,
            goal: None,
            histogram,
            round_p50s,
            next_call: 0,
        });
        self
    }

    /// Compares the answers, then times the calls.
    ///
    /// # Errors
    /// Two contestants answer differently, or one fails.
    pub fn run(mut self, plan: &Plan) -> Result<Measured> {
        self.compare_answers(plan.checked_calls)?;
        for round in 0..plan.warm_up_rounds + plan.rounds {
            let counted = round >= plan.warm_up_rounds;
            for entry in &mut self.entries {
                let Some(runner) = &mut entry.runner else { continue };
                let histogram = runner
                    .run_round(plan, entry.next_call)
                    .map_err(|error| format!("{}, {}: {error}", self.subject.name, entry.name))?;
                entry.next_call += histogram.count();
                if counted {
                    entry.round_p50s.push(histogram.percentile(50.0));
                    entry.histogram.merge(&histogram);
                }
            }
        }
        let contestants = self.entries.iter().map(|entry| self.result(entry)).collect::<Result<_>>()?;
        Ok(Measured { subject: self.subject, plan: *plan, contestants })
    }

    fn result(&self, entry: &Entry) -> Result<Measurement> {
        let Some(first) = self.entries.first().filter(|_| entry.histogram.count() > 0) else {
            return Ok(Measurement { name: entry.name, latency: None, goal: None });
        };
        let goal = match entry.goal {
            None => None,
            Some(Goal::Time { at_most }) => {
                let (low, high) = range(entry.round_p50s.iter().map(|&p50| p50 as f64));
                let (value, at_most) = (entry.p50_ns() as f64, at_most.as_nanos() as f64);
                Some(Reached { to: None, value, low, high, at_most })
            }
            Some(Goal::Ratio { to, at_most }) => {
                let base = self.entries.iter().find(|entry| entry.name == to && entry.histogram.count() > 0);
                let base = base.ok_or_else(|| format!("{}: {to} was not measured", self.subject.name))?;
                let (low, high) = entry.round_ratios(base);
                let value = ratio(entry.p50_ns(), base.p50_ns());
                Some(Reached { to: Some(to), value, low, high, at_most })
            }
        };
        Ok(Measurement { name: entry.name, latency: Some(entry.latency(first)), goal })
    }

    fn compare_answers(&mut self, calls: u64) -> Result<()> {
        let name = self.subject.name;
        for call in 0..calls {
            let mut expected: Option<(&str, Vec<String>)> = None;
            for entry in &mut self.entries {
                let Some(runner) = entry.runner.as_mut().filter(|_| entry.is_compared) else { continue };
                let rows = runner.answer(call).map_err(|error| format!("{name}, {}: {error}", entry.name))?;
                match &expected {
                    None if rows.is_empty() => {
                        return Err(format!("{name}, {}: no answer to compare", entry.name).into());
                    }
                    None => expected = Some((entry.name, rows)),
                    Some((_, first_rows)) if *first_rows == rows => {}
                    Some((first, first_rows)) => {
                        let (at, here, there) = first_difference(first_rows, &rows);
                        return Err(format!(
                            "{name}, call {call}: {first} and {} differ in row {at}: {here} and {there}",
                            entry.name
                        )
                        .into());
                    }
                }
            }
        }
        Ok(())
    }
}

impl Entry {
    fn p50_ns(&self) -> u64 {
        self.histogram.percentile(50.0)
    }

    /// The lowest and the highest ratio to another contestant within a round.
    fn round_ratios(&self, to: &Self) -> (f64, f64) {
        range(self.round_p50s.iter().zip(&to.round_p50s).map(|(&p50, &other)| ratio(p50, other)))
    }

    fn latency(&self, first: &Self) -> Latency {
        let histogram = &self.histogram;
        let (ratio_low, ratio_high) = self.round_ratios(first);
        Latency {
            p50_ns: self.p50_ns(),
            p99_ns: histogram.percentile(99.0),
            min_ns: histogram.min(),
            max_ns: histogram.max(),
            calls: histogram.count(),
            calls_per_second: ratio(histogram.count(), histogram.sum()) * 1e9,
            ratio: ratio(self.p50_ns(), first.p50_ns()),
            ratio_low,
            ratio_high,
        }
    }
}

/// How fast a contestant should be.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// In proportion to another contestant of its row.
    Ratio {
        /// The other's name.
        to: &'static str,
        /// The most that its p50 may be, divided by the p50 of the other.
        at_most: f64,
    },
    /// In time.
    Time {
        /// The most that its p50 may be.
        at_most: Duration,
    },
}

/// How a contestant compares with its [`Goal`].
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Reached {
    /// The contestant that it was compared with; `None` if the goal is a time.
    pub to: Option<&'static str>,
    /// Its p50 divided by that of the other, or in nanoseconds.
    pub value: f64,
    /// The lowest such value within a round.
    pub low: f64,
    /// The highest such value within a round.
    pub high: f64,
    /// The most that this may be.
    pub at_most: f64,
}

impl Reached {
    /// Whether the goal is met.
    pub fn is_met(&self) -> bool {
        self.value <= self.at_most
    }
}

/// The measurements of a row.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// What the row is about.
    #[serde(flatten)]
    pub subject: Subject,
    /// How long it ran.
    pub plan: Plan,
    /// Its contestants, in the order of the row.
    pub contestants: Vec<Measurement>,
}

/// The measurements of a contestant.
#[derive(Clone, Debug, Serialize)]
pub struct Measurement {
    /// Its name.
    pub name: &'static str,
    /// `None` if it has no such operation.
    pub latency: Option<Latency>,
    /// How it compares with its goal; `None` if it has none.
    pub goal: Option<Reached>,
}

/// Latencies of the calls of a contestant; each includes one reading of the clock.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Half of the calls took no longer.
    pub p50_ns: u64,
    /// 99 % of the calls took no longer.
    pub p99_ns: u64,
    /// The shortest.
    pub min_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// Number of calls.
    pub calls: u64,
    /// Calls divided by the time spent in them.
    pub calls_per_second: f64,
    /// Its p50 divided by the p50 of the row's first contestant.
    pub ratio: f64,
    /// The lowest such ratio within a round.
    pub ratio_low: f64,
    /// The highest such ratio within a round.
    pub ratio_high: f64,
}

/// A contestant behind dynamic dispatch; the timed loop still knows its type.
trait Runner {
    fn answer(&mut self, call: u64) -> Result<Vec<String>>;
    fn run_round(&mut self, plan: &Plan, first_call: u64) -> Result<Histogram>;
}

impl<C: Contestant> Runner for C {
    fn answer(&mut self, call: u64) -> Result<Vec<String>> {
        let mut sink = Collect::default();
        self.prepare(call)?;
        self.check(call, &mut sink)?;
        self.finish()?;
        Ok(sink.into_rows())
    }

    fn run_round(&mut self, plan: &Plan, first_call: u64) -> Result<Histogram> {
        let mut histogram = Histogram::new();
        self.begin_round()?;
        let started = Instant::now();
        loop {
            let call = first_call + histogram.count();
            self.prepare(call)?;
            let before = Instant::now();
            self.call(call, &mut Forget)?;
            let after = Instant::now();
            histogram.record(nanoseconds(before, after));
            self.finish()?;
            if after.duration_since(started) >= plan.round_time && histogram.count() >= plan.round_calls_min {
                self.end_round()?;
                return Ok(histogram);
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "times and counts are far below 2^53")]
pub(super) fn ratio(of: u64, to: u64) -> f64 {
    of as f64 / to.max(1) as f64
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), value| (low.min(value), high.max(value)))
}

fn first_difference<'a>(here: &'a [String], there: &'a [String]) -> (usize, &'a str, &'a str) {
    let at = here.iter().zip(there).position(|(here, there)| here != there);
    let at = at.unwrap_or_else(|| here.len().min(there.len()));
    let row = |rows: &'a [String]| rows.get(at).map_or("no such row", String::as_str);
    (at, row(here), row(there))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::harness::Sink;

    const SUBJECT: Subject = Subject { figure: "P0", name: "count", state: "in memory" };
    const PLAN: Plan = Plan {
        checked_calls: 10,
        warm_up_rounds: 1,
        rounds: 3,
        round_time: Duration::ZERO,
        round_calls_min: 20,
    };

    /// Answers with the number of the call and `offset`; writes down who ran.
    struct Count {
        offset: i64,
        letter: u64,
        order: Arc<AtomicU64>,
        prepared: Option<u64>,
    }

    impl Count {
        fn new(offset: i64, letter: u64, order: &Arc<AtomicU64>) -> Self {
            Self { offset, letter, order: order.clone(), prepared: None }
        }
    }

    impl Contestant for Count {
        fn prepare(&mut self, call: u64) -> Result<()> {
            assert_eq!(self.prepared.replace(call), None, "finish was not called");
            Ok(())
        }

        fn call(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
            assert_eq!(self.prepared, Some(call));
            sink.int(call.cast_signed() + self.offset);
            sink.text("x");
            sink.end_row();
            Ok(())
        }

        fn finish(&mut self) -> Result<()> {
            self.prepared = None;
            let order = self.order.load(Ordering::Relaxed);
            if order % 10 != self.letter {
                self.order.store(order * 10 + self.letter, Ordering::Relaxed);
            }
            Ok(())
        }
    }

    #[test]
    fn contestants_take_turns_and_every_call_is_counted() {
        let order = Arc::new(AtomicU64::new(0));
        let row = Row::new(SUBJECT)
            .with("one", Count::new(0, 1, &order))
            .with("two", Count::new(0, 2, &order))
            .without("three");
        let measured = row.run(&Plan { checked_calls: 1, ..PLAN }).unwrap();
        // Compared once, warmed up once, then three rounds.
        assert_eq!(order.load(Ordering::Relaxed), 12_12_12_12_12);
        let latencies: Vec<_> = measured.contestants.iter().map(|contestant| contestant.latency).collect();
        let (Some(one), Some(two), None) = (latencies[0], latencies[1], latencies[2]) else {
            panic!("{latencies:?}");
        };
        assert_eq!((one.calls, two.calls), (60, 60));
        assert!(measured.contestants.iter().all(|contestant| contestant.goal.is_none()));
        assert!(one.min_ns <= one.p50_ns && one.p50_ns <= one.p99_ns && one.p99_ns <= one.max_ns);
        assert!((one.ratio - 1.0).abs() < 1e-9 && one.ratio_low <= one.ratio_high);
        assert!(two.ratio_low <= two.ratio_high && two.calls_per_second > 0.0);
    }

    #[test]
    fn goals_are_judged_by_what_was_measured() {
        let order = Arc::new(AtomicU64::new(0));
        let row = |to| {
            Row::new(SUBJECT)
                .with("one", Count::new(0, 1, &order))
                // It would answer differently.
                .beside("floor", Count::new(5, 2, &order))
                .goal("one", Goal::Time { at_most: Duration::from_secs(3600) })
                .goal("floor", Goal::Ratio { to, at_most: 1e-9 })
        };
        let measured = row("one").run(&PLAN).unwrap();
        let [one, floor] = [0, 1].map(|at| measured.contestants[at].goal.unwrap());
        assert!(one.is_met() && one.to.is_none() && one.value >= 0.0, "{one:?}");
        assert!(!floor.is_met() && floor.to == Some("one"), "{floor:?}");
        let ratio = measured.contestants[1].latency.unwrap().ratio;
        assert!((floor.value - ratio).abs() < 1e-9, "{floor:?} and {ratio}");
        assert!(one.low <= one.high && floor.low <= floor.high, "{one:?} {floor:?}");
        let message = row("nobody").run(&PLAN).unwrap_err().to_string();
        assert_eq!(message, "count: nobody was not measured");
    }

    #[test]
    fn different_answers_end_the_row() {
        let order = Arc::new(AtomicU64::new(0));
        let row =
            Row::new(SUBJECT).with("one", Count::new(0, 1, &order)).with("two", Count::new(1, 2, &order));
        let message = row.run(&PLAN).unwrap_err().to_string();
        assert_eq!(message, r#"count, call 0: one and two differ in row 0: 0, "x" and 1, "x""#);
    }

    #[test]
    fn an_answer_without_rows_is_no_answer() {
        struct Silent;
        impl Contestant for Silent {
            fn call(&mut self, _: u64, _: &mut impl Sink) -> Result<()> {
                Ok(())
            }
        }
        let message = Row::new(SUBJECT).with("silent", Silent).run(&PLAN).unwrap_err().to_string();
        assert_eq!(message, "count, silent: no answer to compare");
    }
}
