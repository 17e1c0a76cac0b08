//! Which tables are refreshed when, over hours of a clock that the tests move.

use super::*;
use crate::source::{Capabilities, Description, Fetch, Fetched};
use crate::test_random::Random;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// A source of which nothing is asked.
#[derive(Debug)]
struct Silent;

impl Source for Silent {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn relations(&self, _: &Call) -> Result<Vec<String>> {
        unreachable!()
    }

    fn describe(&self, _: &Relation, _: &Call) -> Result<Description> {
        unreachable!()
    }

    fn fetch(&self, _: &Fetch, _: &Call) -> Result<Fetched> {
        unreachable!()
    }
}

/// A state and a clock; refreshes run until the test ends them.
struct Hours {
    state: State,
    now: Now,
    running: Vec<Origin>,
}

impl Hours {
    fn new(seed: u64, places: usize) -> Self {
        let mut random = Random::new(&[seed]);
        let share = move || random.below(1 << 20) as f64 / f64::from(1 << 20);
        let wall = SystemTime::UNIX_EPOCH + 20_000 * DAY;
        let now = Now { steady: Instant::now(), wall };
        Self { state: State::new(places, Chance::of(share)), now, running: Vec::new() }
    }

    fn source(&mut self, name: &str) {
        self.state.add_source(name, Arc::new(Silent));
    }

    fn table(&mut self, table: &str, origin: TableSource) {
        self.state.follow(table, origin, TableRules::default(), Due::now(self.now));
    }

    fn pass(&mut self, time: Duration) {
        self.now.steady += time;
        self.now.wall += time;
    }

    /// Begins what can begin, as the scheduler does. Returns the tables.
    fn begin(&mut self) -> Vec<String> {
        self.state.heed_clock(self.now);
        let tables = self.state.startable(self.now);
        for table in &tables {
            let followed = &self.state.tables[table];
            self.running.push(Origin {
                table: table.clone(),
                number: followed.number,
                source: followed.origin.source.clone(),
                began: self.now,
            });
            self.state.began(table, Call::new(), Arc::new(Progress::new()), self.now);
        }
        tables
    }

    /// Ends the refreshes of some tables.
    fn end(&mut self, which: impl Fn(&Origin) -> bool, mut result: impl FnMut() -> Result<Version>) {
        let (ended, running) = std::mem::take(&mut self.running).into_iter().partition(which);
        self.running = running;
        let ended: Vec<Origin> = ended;
        for origin in ended {
            self.state.ended(&origin, result(), self.now);
        }
    }

    fn running_of(&self, source: &str) -> usize {
        self.running.iter().filter(|origin| origin.source == source).count()
    }
}

fn of(source: &str) -> TableSource {
    TableSource::new(source, Relation::table("t"))
}

fn failed(code: ErrorCode) -> Result<Version> {
    Err(Error::new(code, "as the test said"))
}

#[test]
fn a_slow_source_leaves_places_to_others() {
    let mut hours = Hours::new(1, 4);
    hours.source("slow");
    hours.source("quick");
    for number in 0..10 {
        hours.table(&format!("a{number}"), of("slow").every(MINUTE));
        hours.table(&format!("b{number}"), of("quick").every(MINUTE));
    }
    let mut refreshed = 0;
    for _ in 0..600 {
        hours.begin();
        assert_eq!(hours.running_of("slow"), 2, "they never end");
        assert!(hours.running_of("quick") <= 2);
        refreshed += hours.running_of("quick");
        hours.pass(Duration::from_secs(1));
        hours.end(|origin| origin.source == "quick", || Ok(Version::default()));
    }
    assert!(refreshed >= 90, "ten tables, every minute for ten minutes: {refreshed}");
}

#[test]
fn many_slow_sources_leave_half_of_the_places() {
    let mut hours = Hours::new(2, 4);
    for number in 0..8 {
        hours.source(&format!("slow{number}"));
        for table in 0..3 {
            hours.table(&format!("a{number}-{table}"), of(&format!("slow{number}")).every(MINUTE));
        }
    }
    hours.begin();
    assert_eq!(hours.running.len(), 4, "nobody knows yet that they are slow");
    hours.pass(Duration::from_secs(90));
    hours.end(|_| true, || failed(ErrorCode::SourceInvalid));
    hours.source("quick");
    hours.table("z", of("quick").every(MINUTE));
    let mut refreshed = 0;
    // Each refresh of a slow source takes two minutes. Some sources have shown that already, others have not.
    for second in 0..3600 {
        refreshed += u32::from(hours.begin().contains(&"z".to_owned()));
        hours.pass(Duration::from_secs(1));
        hours.end(|origin| origin.source == "quick", || Ok(Version::default()));
        let now = hours.now.steady;
        let is_over = |origin: &Origin| now - origin.began.steady >= 2 * MINUTE;
        hours.end(is_over, || Ok(Version::default()));
        let slow = hours.running.len() - hours.running_of("quick");
        assert!(slow <= 4, "at {second} s");
        if second > 1200 {
            assert!(slow <= 2, "all are known to be slow: {slow} at {second} s");
        }
    }
    assert!(refreshed >= 40, "about once a minute: {refreshed}");
    let tries: Vec<u64> = hours.state.tables.values().map(|table| table.began).collect();
    assert!(tries.iter().all(|tries| *tries > 0), "every table has its turn: {tries:?}");
}

#[test]
fn tables_take_turns_whatever_their_names_are() {
    let mut hours = Hours::new(3, 2);
    hours.source("shop");
    for number in 0..20 {
        hours.table(&format!("t{number:02}"), of("shop").every(Duration::from_millis(1)).jitter(0.0));
    }
    for _ in 0..200 {
        hours.begin();
        hours.pass(Duration::from_secs(1));
        hours.end(|_| true, || Ok(Version::default()));
    }
    let tries: Vec<u64> = hours.state.tables.values().map(|table| table.began).collect();
    assert!(tries.iter().all(|tries| (9..=11).contains(tries)), "{tries:?}");
}

/// A source fails most of the time, without being out of reach, and feeds many tables.
#[test]
fn retries_are_a_tenth_of_the_tries() {
    for seed in 0..6 {
        let mut hours = Hours::new(seed, 8);
        hours.source("shop");
        let tables = 40;
        for number in 0..tables {
            let origin = match number % 3 {
                0 => of("shop").every(MINUTE),
                1 => of("shop").every(10 * MINUTE),
                _ => of("shop").on_call(),
            };
            hours.table(&format!("t{number}"), origin);
        }
        let mut random = Random::new(&[seed, 7]);
        let (mut tries, mut retries) = (0, 0);
        for _ in 0..6 * 3600 {
            let due: Vec<String> = hours.state.startable(hours.now);
            retries += due.iter().filter(|table| hours.state.tables[*table].is_retry).count();
            tries += hours.begin().len();
            hours.pass(Duration::from_secs(1));
            hours.end(
                |_| true,
                || if random.percent(70) { failed(ErrorCode::SourceInvalid) } else { Ok(Version::default()) },
            );
        }
        let first = tries - retries;
        assert!(retries * 10 <= first + 100, "seed {seed}: {retries} of {tries}");
        assert!(retries > 50, "seed {seed}: they are used: {retries} of {tries}");
        let called: Vec<_> =
            hours.state.tables.values().filter(|table| table.origin == of("shop").on_call()).collect();
        assert!(called.iter().all(|table| table.succeeded > 0), "seed {seed}: nothing is given up");
    }
}

#[test]
fn clocks_that_jump_neither_stop_nor_flood() {
    let mut hours = Hours::new(4, 4);
    hours.source("shop");
    hours.table("nightly", of("shop").cron("0 3 * * *", "UTC").unwrap());
    let run = |hours: &mut Hours, time: Duration| {
        let mut count = 0;
        for _ in 0..time.as_secs() / 15 {
            count += hours.begin().len();
            hours.pass(Duration::from_secs(15));
            hours.end(|_| true, || Ok(Version::default()));
        }
        count
    };
    assert_eq!(run(&mut hours, DAY), 2, "at the start, and at three");
    hours.now.wall += 30 * DAY;
    assert_eq!(run(&mut hours, DAY), 2, "once for the thirty nights that passed at once, and at three");
    hours.now.wall -= 300 * DAY;
    assert_eq!(run(&mut hours, 3 * DAY), 3, "every night");
    for _ in 0..20 {
        hours.now.wall -= Duration::from_secs(5);
        assert!(run(&mut hours, Duration::from_secs(60)) <= 1);
    }
    assert_eq!(hours.state.patience(hours.now), Some(CLOCK_INTERVAL), "the clock is looked at");
}
