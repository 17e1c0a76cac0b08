//! The tables in DataFusion contexts of programs that reach the cache through a sidecar.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::prelude::SessionContext;
use pillion::{Attach, Cache, ConnectOptions, ErrorCode, ServerOptions, Way};

use crate::support::{define, numbered};

fn count(context: &SessionContext) -> i64 {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let rows = runtime.block_on(async {
        let text =
            "SELECT count(*) FROM cache.public.t a JOIN cache.public.t b ON a.id = b.id WHERE a.id >= 3";
        context.sql(text).await?.collect().await
    });
    rows.unwrap()[0].column(0).as_primitive::<Int64Type>().value(0)
}

#[test]
fn an_attached_process_plans_on_the_files_and_a_remote_one_says_that_it_cannot() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("sock");
    let owner = Cache::open(dir.path().join("cache")).unwrap();
    define(&owner, "t", 0..10).unwrap();
    let server = owner.serve(ServerOptions::new(&socket)).unwrap();

    let attached = ConnectOptions::new().attach(Attach::Require).connect(&socket).unwrap();
    assert_eq!(attached.way(), Way::Attached);
    let context = SessionContext::new();
    context.register_catalog("cache", Arc::new(attached.datafusion_catalog().unwrap()));
    let asked = attached.messages_sent();
    assert_eq!(count(&context), 7);
    owner.table("t").unwrap().append(numbered(10..15)).unwrap();
    assert_eq!(count(&context), 12);
    assert_eq!(attached.messages_sent(), asked, "the files say everything");

    let remote = ConnectOptions::new().attach(Attach::Never).connect(&socket).unwrap();
    assert_eq!(remote.datafusion_catalog().unwrap_err().code(), ErrorCode::Unsupported);
    assert_eq!(remote.snapshot().unwrap().datafusion_catalog().unwrap_err().code(), ErrorCode::Unsupported);
    drop((context, attached, remote, server));
    owner.close().unwrap();
}
