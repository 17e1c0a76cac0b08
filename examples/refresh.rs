//! Refresh: a table that follows a PostgreSQL server, which is stopped and comes back while a thread looks rows up.
//!
//! ```sh
//! cargo run --release -p pillion-examples --example refresh
//! ```
//!
//! The server is a real one, in a temporary folder. It needs the programs of PostgreSQL (on Debian the package
//! `postgresql-15`), and no server of yours.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pillion::source::{Relation, TableSource};
use pillion::{Cache, Table, TableDefinition};
use pillion_postgres::Postgres;

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

const ROWS: i64 = 100_000;
/// How long the server may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let Some(mut server) = Server::create(&dir.path().join("server"))? else {
        println!("There is no PostgreSQL on this machine. On Debian: apt-get install postgresql-15");
        return Ok(());
    };
    server.start()?;
    server.run(&format!(
        "CREATE TABLE orders (id bigint PRIMARY KEY, status text NOT NULL, changed_at timestamptz NOT NULL);
         INSERT INTO orders SELECT id, 'placed', now() FROM generate_series(1, {ROWS}) AS id"
    ))?;

    let cache = Cache::open(dir.path().join("cache"))?;
    cache.add_source("shop", Postgres::from_url(&server.url())?)?;
    // Rows whose `changed_at` is new are fetched every second, and replace those with the same key.
    let orders = TableSource::new("shop", Relation::table("public.orders"))
        .append_by("changed_at", Duration::from_secs(5))
        .every(Duration::from_secs(1));
    let started = Instant::now();
    let definition = TableDefinition::from_source(orders).primary_key(["id"]);
    let orders = cache.define_table("orders", definition)?;
    println!("Loaded {} rows from PostgreSQL in {}", orders.info()?.rows, time(started.elapsed()));

    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| look_up_until(&orders, &stop));
        let followed = follow(&cache, &orders, &mut server);
        stop.store(true, Ordering::Relaxed);
        let (count, slowest) = reader.join().map_err(|_| "the reader panicked")??;
        println!(
            "Meanwhile a thread looked up {count} rows; none failed, the slowest took {}",
            time(slowest)
        );
        followed
    })
}

/// What happens to the server, and what the cache shows of it.
fn follow(cache: &Cache, orders: &Table, server: &mut Server) -> Result<()> {
    server.run("UPDATE orders SET status = 'packed', changed_at = now() WHERE id = 42")?;
    let started = Instant::now();
    wait_for(orders, "packed")?;
    println!("Order 42 is packed, says the server; here {} later", time(started.elapsed()));

    server.stop()?;
    let started = Instant::now();
    let reason = loop {
        if let Some(error) = cache.refreshes()?.into_iter().find_map(|status| status.last_error) {
            break error;
        }
        pause();
    };
    println!("The server is gone. After {} the status of the table says why:", time(started.elapsed()));
    println!("  {reason}");
    println!("  Order 42 is still {} here", status(orders)?);

    server.start()?;
    server.run("UPDATE orders SET status = 'shipped', changed_at = now() WHERE id = 42")?;
    let started = Instant::now();
    wait_for(orders, "shipped")?;
    println!("The server is back and order 42 is shipped; here {} later", time(started.elapsed()));
    Ok(())
}

fn status(orders: &Table) -> Result<String> {
    let row = orders.get(42)?.ok_or("there is no order 42")?;
    Ok(row.get::<&str>("status")?.to_owned())
}

fn wait_for(orders: &Table, wanted: &str) -> Result<()> {
    while status(orders)? != wanted {
        pause();
    }
    Ok(())
}

fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

/// Looks rows up one after another; returns how many, and the longest time that one took.
fn look_up_until(orders: &Table, stop: &AtomicBool) -> Result<(u64, Duration)> {
    let (mut count, mut slowest) = (0, Duration::ZERO);
    for id in (1..=ROWS).cycle() {
        let started = Instant::now();
        orders.get(id)?.ok_or("an order is missing")?;
        slowest = slowest.max(started.elapsed());
        count += 1;
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok((count, slowest))
}

/// A PostgreSQL server in a folder of its own. It ends with this.
struct Server {
    programs: PathBuf,
    dir: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl Server {
    /// Makes the folder; `None` if PostgreSQL is not installed.
    fn create(dir: &Path) -> Result<Option<Self>> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let installed = versions.map(|entry| entry.path().join("bin"));
        let Some(programs) = installed.filter(|dir| dir.join("initdb").exists()).max() else {
            return Ok(None);
        };
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        std::fs::create_dir(dir)?;
        if is_root() {
            // The folder above it is for its owner only.
            Command::new("chmod").arg("755").arg(dir.parent().unwrap_or(dir)).status()?;
            Command::new("chown").arg("nobody:nogroup").arg(dir).status()?;
        }
        let this = Self { programs, dir: dir.join("data"), port, process: None };
        let mut made = this.command("initdb");
        made.args(["-A", "trust", "-U", "postgres", "-D"]).arg(&this.dir).stdout(Stdio::null());
        if made.status()?.success() { Ok(Some(this)) } else { Err("initdb fails".into()) }
    }

    /// PostgreSQL refuses to run as root, so root runs it as somebody else.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if is_root() {
            command.args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]);
        }
        command.arg(self.programs.join(program)).current_dir("/");
        command
    }

    fn start(&mut self) -> Result<()> {
        let mut command = self.command("postgres");
        command.arg("-D").arg(&self.dir).args(["-p", &self.port.to_string(), "-k", ""]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(command.spawn()?);
        let started = Instant::now();
        while self.run("SELECT 1").is_err() {
            if started.elapsed() > PATIENCE {
                return Err("PostgreSQL does not start".into());
            }
            pause();
        }
        Ok(())
    }

    /// Stops it at once, as a crash would.
    fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            Command::new("kill").args(["-QUIT", &process.id().to_string()]).status()?;
            process.wait()?;
        }
        Ok(())
    }

    fn url(&self) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/postgres?sslmode=disable", self.port)
    }

    /// Runs statements.
    fn run(&self, statements: &str) -> Result<()> {
        let mut psql = Command::new("psql");
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", statements]).arg(self.url());
        let output = psql.stdin(Stdio::null()).output()?;
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into()) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It ends with this process in any case.
        let _ = self.stop();
    }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

/// A duration in a unit that fits it.
fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        _ if seconds < 1e-3 => format!("{:.1} µs", seconds * 1e6),
        _ if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        _ => format!("{seconds:.1} s"),
    }
}
