//! Every way to get a cache.

use std::path::PathBuf;

use pillion::{Attach, CacheOptions, ConnectOptions, Durability, ErrorCode};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::cache::{Cache, duration};
use crate::errors::refuse;
use crate::shared::Shared;
use crate::waiting::{detached, interruptible};

/// Opens a cache directory and becomes its owner, or creates it.
///
/// Options, all by name: ``durability`` (``"interval"``, ``"always"``, ``"never"``, or a number of seconds), ``load_memory``,
/// ``query_memory``, ``query_threads``, ``result_cache``, ``spill_dir``, ``history``, ``disk_limit``, ``compaction_throughput`` and
/// ``refreshes_at_once``; memory and disk in bytes.
#[pyfunction]
#[pyo3(signature = (dir, **options))]
pub(crate) fn open(py: Python<'_>, dir: PathBuf, options: Option<&Bound<'_, PyDict>>) -> PyResult<Cache> {
    let options = cache_options(options)?;
    Ok(Cache::new(Shared::new(detached(py, || options.open(dir))?)))
}

/// Opens a cache directory for reading, whether or not another process owns it: its files are mapped, and nothing is written.
/// Options are those of :func:`open` that are about queries.
#[pyfunction]
#[pyo3(signature = (dir, **options))]
pub(crate) fn open_read_only(
    py: Python<'_>,
    dir: PathBuf,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<Cache> {
    let options = cache_options(options)?;
    Ok(Cache::new(Shared::new(detached(py, || options.open_read_only(dir))?)))
}

/// Connects to a sidecar: ``unix:SOCKET``, or the path of its socket.
///
/// Attaches if this process can read the directory of the sidecar: then reads are function calls on the same pages, and only
/// writes are sent. ``attach="require"`` fails where that is not possible, ``attach="never"`` sends every call. ``dir`` is the
/// directory as this process sees it, and ``deadline`` how long a call may take, in seconds. The other options are those of
/// :func:`open` that are about queries.
#[pyfunction]
#[pyo3(signature = (socket, *, attach = "if_possible", dir = None, deadline = None, **options))]
#[expect(clippy::needless_pass_by_value, reason = "arguments from Python are owned")]
pub(crate) fn connect(
    py: Python<'_>,
    socket: PathBuf,
    attach: &str,
    dir: Option<PathBuf>,
    deadline: Option<&Bound<'_, PyAny>>,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<Cache> {
    let text = socket.to_str().unwrap_or_default();
    let path = text.strip_prefix("unix:");
    if path.is_some_and(|path| path.contains('?')) {
        let message = "a URL with options is for from_url; here they are arguments, such as attach='never'";
        return Err(refuse(ErrorCode::InvalidArgument, message));
    }
    let path = path.map_or_else(|| socket.clone(), PathBuf::from);
    let attach = match attach {
        "if_possible" => Attach::IfPossible,
        "require" => Attach::Require,
        "never" => Attach::Never,
        other => {
            let message = format!("`{other}` is no way to attach; there are if_possible, require and never");
            return Err(refuse(ErrorCode::InvalidArgument, message));
        }
    };
    let mut connect = ConnectOptions::new().attach(attach).attached(cache_options(options)?);
    if let Some(dir) = dir {
        connect = connect.dir(dir);
    }
    if let Some(deadline) = deadline {
        connect = connect.deadline(duration(deadline, "`deadline`")?);
    }
    let cache = interruptible(py, move || connect.connect(path), || {})?;
    Ok(Cache::new(Shared::new(cache)))
}

/// Opens the cache that a URL names, so that a setting decides how a program reaches it: ``file:DIR``, ``file:DIR?mode=ro``,
/// ``unix:SOCKET``, ``unix:SOCKET?attach=never``.
#[pyfunction]
pub(crate) fn from_url(py: Python<'_>, url: String) -> PyResult<Cache> {
    let cache = interruptible(py, move || pillion::Cache::from_url(&url), || {})?;
    Ok(Cache::new(Shared::new(cache)))
}

/// Opens the cache that the environment variable ``PILLION_URL`` names.
#[pyfunction]
pub(crate) fn from_env(py: Python<'_>) -> PyResult<Cache> {
    let cache = interruptible(py, pillion::Cache::from_env, || {})?;
    Ok(Cache::new(Shared::new(cache)))
}

fn cache_options(given: Option<&Bound<'_, PyDict>>) -> PyResult<CacheOptions> {
    let mut options = CacheOptions::new();
    for (name, value) in given.into_iter().flatten() {
        let name: String = name.extract()?;
        options = match name.as_str() {
            "durability" => options.durability(durability(&value)?),
            "load_memory" => options.load_memory(count(&name, &value)?),
            "query_memory" => options.query_memory(count(&name, &value)?),
            "query_threads" => options.query_threads(count(&name, &value)?),
            "result_cache" => options.result_cache(count(&name, &value)?),
            "spill_dir" => options.spill_dir(value.extract::<PathBuf>()?),
            "history" => options.history(count(&name, &value)? as u64),
            "disk_limit" => options.disk_limit(count(&name, &value)? as u64),
            "compaction_throughput" => options.compaction_throughput(count(&name, &value)? as u64),
            "refreshes_at_once" => options.refreshes_at_once(count(&name, &value)?),
            unknown => {
                let hint = pillion::nearest(unknown, NAMES).map_or_else(
                    || format!("; there are {}", NAMES.join(", ")),
                    |name| format!("; did you mean `{name}`?"),
                );
                let message = format!("there is no option `{unknown}`{hint}");
                return Err(refuse(ErrorCode::InvalidArgument, message));
            }
        };
    }
    Ok(options)
}

const NAMES: [&str; 10] = [
    "durability",
    "load_memory",
    "query_memory",
    "query_threads",
    "result_cache",
    "spill_dir",
    "history",
    "disk_limit",
    "compaction_throughput",
    "refreshes_at_once",
];

fn count(name: &str, value: &Bound<'_, PyAny>) -> PyResult<usize> {
    value
        .extract::<usize>()
        .map_err(|_| refuse(ErrorCode::InvalidArgument, format!("`{name}` is a whole number of at least 0")))
}

fn durability(value: &Bound<'_, PyAny>) -> PyResult<Durability> {
    if value.is_instance_of::<PyString>() {
        return match value.extract::<String>()?.as_str() {
            "always" => Ok(Durability::Always),
            "never" => Ok(Durability::Never),
            "interval" => Ok(Durability::Interval(std::time::Duration::from_secs(1))),
            other => {
                let message =
                    format!("`{other}` is no durability; there are interval, always, never, or seconds");
                Err(refuse(ErrorCode::InvalidArgument, message))
            }
        };
    }
    Ok(Durability::Interval(duration(value, "`durability`")?))
}
