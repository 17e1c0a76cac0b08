//! Async handles, in every way in.

use std::time::Duration;

use arrow::array::RecordBatch;
use futures::executor::block_on;
use futures::{FutureExt, StreamExt, TryStreamExt};
use pillion::{
    AsyncCache, Attach, CacheOptions, ConnectOptions, ErrorCode, RefreshState, ServerOptions,
    TableDefinition, Way,
};

use crate::support::numbered;
use crate::support::scripted_source::{Mood, ROWS, Scripted, by_call, keyed, open};

async fn use_everything(cache: AsyncCache, table_name: &str) -> pillion::Result<()> {
    let definition = TableDefinition::new(numbered(0..1000)).primary_key(["id"]);
    let table = cache.define_table(table_name, definition).await?;
    assert_eq!((table.name(), table.schema().fields().len()), (table_name, 2));
    let row = table.get(7).await?.unwrap();
    assert_eq!(row.to_batch()?, numbered([7]));
    assert!(table.get(1000).await?.is_none());
    assert_eq!(table.get("seven").await.unwrap_err().code(), ErrorCode::InvalidKey);
    let many = table.get_many(&[3, 5000, 4]).await?;
    assert_eq!(many.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    let held = cache.snapshot().await?;
    let version = table.append(numbered(1000..1010)).await?;
    assert_eq!(held.version().await?.includes(version), Some(false));
    assert!(held.tables().await?.iter().any(|table| (table.name.as_str(), table.rows) == (table_name, 1000)));
    assert_eq!(cache.version().await?.includes(version), Some(true));
    assert_eq!(table.info().await?.rows, 1010);
    let batches: Vec<RecordBatch> = table.scan().await?.try_collect().await?;
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 1010);
    let mut names = table.scan_columns(["name"]).await?;
    assert_eq!(names.next().await.unwrap()?.num_columns(), 1);
    drop(names);
    let before = held.table(table_name).await?;
    assert!(before.get(1005).await?.is_none() && table.get(1005).await?.is_some());
    assert_eq!(before.get_many(&[1]).await?.len(), 1);
    assert_eq!(
        before.scan().await?.try_fold(0, |rows, batch| async move { Ok(rows + batch.num_rows()) }).await?,
        1000
    );
    #[cfg(feature = "sql")]
    {
        let text = format!("SELECT count(*) FROM {table_name} WHERE id < $1");
        let prepared = cache.prepare(&text).await?;
        assert_eq!(prepared.parameters(), 1);
        for answer in [cache.sql(&text, &[5.into()]).await?, prepared.execute(&[5.into()]).await?] {
            let batches: Vec<RecordBatch> = answer.try_collect().await?;
            assert_eq!(batches[0].num_rows(), 1);
        }
        if cache.blocking().way() != Way::Attached {
            drop(prepared.execute_at(&held, &[5.into()]).await?);
        }
        drop(held.sql(&format!("SELECT * FROM {table_name}"), &[]).await?);
        assert_eq!(cache.sql("SELEC 1", &[]).await.unwrap_err().code(), ErrorCode::InvalidSql);
    }
    let since = cache.version().await?;
    let mut subscription = table.subscribe(since);
    assert!(subscription.next(Duration::ZERO).await?.is_none());
    let transaction = cache.transaction().upsert(&table, numbered([2000])).delete(&table, &[5, 6])?;
    let version = transaction.source_position(table_name, "1").commit().await?;
    assert_eq!(cache.source_position(table_name).await?.as_deref(), Some("1".as_bytes()));
    // Changes that a dropped call would have returned come with the next call.
    let given_up = subscription.next(Duration::from_secs(10)).now_or_never();
    let mut changed = match given_up {
        Some(done) => done?.map_or(0, |changes| changes.num_rows()),
        None => 0,
    };
    while let Some(changes) = subscription.next(Duration::from_millis(200)).await? {
        changed += changes.num_rows();
    }
    assert_eq!((changed, subscription.version().includes(version)), (3, Some(true)));
    table.delete(7).await?;
    table.invalidate(&[8]).await?;
    cache.compact().await?;
    assert_eq!(table.info().await?.rows, 1007);
    table.replace(numbered([1])).await?;
    assert_eq!(cache.tables().await?.iter().find(|table| table.name == table_name).unwrap().rows, 1);
    cache.sync().await?;
    assert!(cache.status().await?.damage.is_none());
    cache.drop_table(table_name).await?;
    assert_eq!(cache.table(table_name).await.unwrap_err().code(), ErrorCode::TableNotFound);
    Ok(())
}

#[test]
fn every_call_in_every_way_in() {
    let dir = tempfile::tempdir().unwrap();
    // Other tasks compact while a subscription is read.
    let owner = CacheOptions::new().history(1 << 30).open(dir.path().join("cache")).unwrap();
    let socket = dir.path().join("pillion.sock");
    let _server = owner.serve(ServerOptions::new(&socket)).unwrap();
    block_on(async {
        let connect = |attach| AsyncCache::connect(ConnectOptions::new().attach(attach), &socket);
        let remote = connect(Attach::Never).await.unwrap();
        let attached = connect(Attach::Require).await.unwrap();
        assert_eq!((remote.blocking().way(), attached.blocking().way()), (Way::Remote, Way::Attached));
        let all = [owner.clone().into_async(), remote, attached];
        let works = all
            .into_iter()
            .enumerate()
            .map(|(number, cache)| async move { use_everything(cache, &format!("t{number}")).await });
        futures::future::try_join_all(works).await.unwrap();
    });
}

/// Answers that nobody waits for any more.
#[cfg(feature = "sql")]
mod given_up {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use std::time::{Duration, Instant};

    use pillion::Cache;

    use super::*;

    /// Runs for minutes if nothing ends it.
    const ENDLESS: &str = "SELECT count(*) FROM t a, t b, t c WHERE a.id + b.id + c.id = -1";

    /// Longer than anything in these tests takes.
    const PATIENCE: Duration = Duration::from_secs(120);

    /// Dropping a future ends its query in the sidecar: there is room for only a few calls at a time, so otherwise
    /// later ones would never be answered.
    #[test]
    fn a_dropped_future_ends_its_query() {
        let dir = tempfile::tempdir().unwrap();
        let owner = Cache::open(dir.path().join("cache")).unwrap();
        owner.define_table("t", TableDefinition::new(numbered(0..20_000)).primary_key(["id"])).unwrap();
        let socket = dir.path().join("pillion.sock");
        let server = owner.serve(ServerOptions::new(&socket)).unwrap();
        let options = ConnectOptions::new().attach(Attach::Never).deadline(PATIENCE);
        let remote = block_on(AsyncCache::connect(options, &socket)).unwrap();
        for round in 0..40 {
            let mut query = pin!(remote.sql(ENDLESS, &[]));
            let mut context = Context::from_waker(Waker::noop());
            let started = Instant::now();
            // Some are dropped before they are sent, and some while they run.
            while started.elapsed() < Duration::from_millis(round) {
                assert!(matches!(query.as_mut().poll(&mut context), Poll::Pending));
                std::thread::yield_now();
            }
        }
        let table = block_on(remote.table("t")).unwrap();
        assert!(block_on(table.get(7)).unwrap().is_some());
        // This would wait for the queries if they still ran.
        let started = Instant::now();
        server.stop();
        assert!(started.elapsed() < PATIENCE, "a query ran on");
    }

    /// Dropping a stream while it waits ends its query too; a cancelled stream reports that.
    #[test]
    fn a_waiting_answer_can_be_cancelled() {
        let dir = tempfile::tempdir().unwrap();
        let owner = Cache::open(dir.path().join("cache")).unwrap();
        owner.define_table("t", TableDefinition::new(numbered(0..20_000)).primary_key(["id"])).unwrap();
        let socket = dir.path().join("pillion.sock");
        let server = owner.serve(ServerOptions::new(&socket)).unwrap();
        let mut batches = owner.sql(ENDLESS, &[]).unwrap();
        let canceller = batches.canceller();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(move || batches.next());
            std::thread::sleep(Duration::from_millis(50));
            canceller.cancel();
            let error = waiting.join().unwrap().unwrap().unwrap_err();
            assert_eq!(error.code(), ErrorCode::Cancelled);
        });
        let mut answer = block_on(owner.into_async().sql(ENDLESS, &[])).unwrap();
        let canceller = answer.canceller();
        canceller.cancel();
        assert_eq!(block_on(answer.next()).unwrap().unwrap_err().code(), ErrorCode::Cancelled);
        assert!(block_on(answer.next()).is_none());
        // A deadline that passes ends the query in the sidecar.
        let options = ConnectOptions::new().attach(Attach::Never).deadline(Duration::from_millis(200));
        let impatient = options.connect(&socket).unwrap();
        assert_eq!(impatient.sql(ENDLESS, &[]).unwrap_err().code(), ErrorCode::Timeout);
        assert!(impatient.table("t").unwrap().get(1).unwrap().is_some());
        server.stop();
    }
}

#[test]
fn refreshes_are_awaited() -> pillion::Result<()> {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let cache = open(&dir, &source);
    cache.define_table("orders", keyed(by_call()))?;
    let sockets = tempfile::tempdir().unwrap();
    let socket = sockets.path().join("s");
    let server = cache.serve(ServerOptions::new(&socket))?;
    block_on(async {
        let client = AsyncCache::connect(ConnectOptions::new().attach(Attach::Never), &socket).await?;
        for (number, cache) in [cache.clone().into_async(), client].into_iter().enumerate() {
            let table = cache.table("orders").await?;
            source.set_rows(&[(7 + number as i64, 7, "seven")]);
            let version = cache.refresh("orders").await?;
            assert!(table.get(7 + number as i64).await?.is_some());
            assert_eq!(version.includes(cache.version().await?), Some(true));
            source.set(Mood::Fails(ErrorCode::SourceRefused));
            assert_eq!(table.refresh().await.unwrap_err().code(), ErrorCode::SourceRefused);
            source.set(Mood::Answers);
            cache.pause_refreshes("orders").await?;
            assert_eq!(cache.refreshes().await?[0].state, RefreshState::Paused);
            cache.resume_refreshes("orders").await?;
            assert!(!cache.cancel_refresh("orders").await?);
            assert_eq!(cache.refresh("nothing").await.unwrap_err().code(), ErrorCode::InvalidArgument);
            table.refresh().await?;
        }
        Ok::<(), pillion::Error>(())
    })?;
    drop(server);
    Ok(())
}
