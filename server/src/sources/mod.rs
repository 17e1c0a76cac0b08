//! The sources of a configuration: the only place that knows the connectors.

mod check;

use pillion::source::Source;
use pillion::{Cache, Error, ErrorCode};

pub use self::check::{SourcesArgs, SourcesCommand, sources};
use crate::config::{Config, SourceConfig};
use crate::failure::Failure;

/// What stands before the scheme of a URL whose folders are tables of Delta Lake.
const DELTA: &str = "delta+";

/// Makes the sources of a configuration known to a cache.
///
/// # Errors
/// Those of making them; nothing is connected yet.
pub(crate) fn add_all(cache: &Cache, config: &Config) -> Result<(), Failure> {
    for source in &config.sources {
        add(cache, source, false)?;
    }
    Ok(())
}

/// Makes a source known to a cache, in the place of one of its name if it `replaces` that.
///
/// # Errors
/// As [`add_all`].
pub(crate) fn add(cache: &Cache, source: &SourceConfig, replaces: bool) -> Result<(), Failure> {
    let (name, opened) = (&source.name, open(source)?);
    let added = if replaces { cache.replace_source(name, opened) } else { cache.add_source(name, opened) };
    added.map_err(|error| named(source, error))
}

/// The source that a section describes.
pub(crate) fn open(config: &SourceConfig) -> Result<Box<dyn Source>, Failure> {
    let scheme = config.url.split_once("://").map_or("file", |(scheme, _)| scheme);
    let source = match scheme {
        "postgresql" | "postgres" => postgres(config),
        "mysql" | "mariadb" => mysql(config),
        "grpc" | "grpc+tcp" | "grpc+tls" | "grpc+unix" => flight_sql(config),
        "sqlite" => sqlite(config),
        "file" | "s3" | "gs" | "az" | "http" | "https" => files(config),
        scheme if scheme.starts_with(DELTA) => delta(config),
        _ => Err(Error::new(
            ErrorCode::InvalidArgument,
            "`url` has an unknown scheme; there are postgresql, mysql, mariadb, grpc, grpc+tls, grpc+unix, sqlite, s3, gs, az, http, https, file, delta+s3, delta+gs, delta+az and delta+file",
        )),
    };
    source.map_err(|error| named(config, error))
}

fn named(config: &SourceConfig, error: Error) -> Failure {
    Failure::from(error).context(format_args!("source `{}`", config.name))
}

#[cfg(feature = "postgres")]
fn postgres(config: &SourceConfig) -> Result<Box<dyn Source>, Error> {
    use pillion_postgres::PostgresOptions;

    if let Some((name, _)) = config.options.first() {
        let message =
            format!("write `{name}` into `url`, as in `?{name}=…`: a PostgreSQL source has no `options`");
        return Err(Error::new(ErrorCode::InvalidArgument, message));
    }
    let mut options = PostgresOptions::from_url(&config.url)?;
    for (name, secret) in &config.secrets {
        if name != "password" {
            let message = format!("a PostgreSQL source has no secret `{name}`, only `password`");
            return Err(Error::new(ErrorCode::InvalidArgument, message));
        }
        options = options.password(secret.clone());
    }
    Ok(Box::new(options.build()?))
}

#[cfg(feature = "mysql")]
fn mysql(config: &SourceConfig) -> Result<Box<dyn Source>, Error> {
    use pillion_mysql::MySqlOptions;

    if let Some((name, _)) = config.options.first() {
        let message =
            format!("write `{name}` into `url`, as in `?{name}=…`: a MySQL source has no `options`");
        return Err(Error::new(ErrorCode::InvalidArgument, message));
    }
    let mut options = MySqlOptions::from_url(&config.url)?;
    for (name, secret) in &config.secrets {
        if name != "password" {
            let message = format!("a MySQL source has no secret `{name}`, only `password`");
            return Err(Error::new(ErrorCode::InvalidArgument, message));
        }
        options = options.password(secret.clone());
    }
    Ok(Box::new(options.build()?))
}

#[cfg(feature = "flight-sql")]
fn flight_sql(config: &SourceConfig) -> Result<Box<dyn Source>, Error> {
    use pillion_flight_sql::FlightSqlOptions;

    let mut options = FlightSqlOptions::from_url(&config.url)?;
    for (name, value) in &config.options {
        options = options.option(name, value)?;
    }
    for (name, secret) in &config.secrets {
        options = options.secret(name, secret.clone())?;
    }
    Ok(Box::new(options.build()?))
}

#[cfg(feature = "sqlite")]
fn sqlite(config: &SourceConfig) -> Result<Box<dyn Source>, Error> {
    if let Some((name, _)) = config.options.first() {
        let message =
            format!("write `{name}` into `url`, as in `?{name}=…`: a SQLite source has no `options`");
        return Err(Error::new(ErrorCode::InvalidArgument, message));
    }
    if let Some((name, _)) = config.secrets.first() {
        let message = format!("a SQLite source has no secret `{name}`: encrypted files cannot be read");
        return Err(Error::new(ErrorCode::InvalidArgument, message));
    }
    Ok(Box::new(pillion_sqlite::Sqlite::from_url(&config.url)?))
}

#[cfg(feature = "object-store")]
fn files(config: &SourceConfig) -> Result<Box<dyn Source>, Error> {
    Ok(Box::new(pillion_object_store::ObjectStoreSource::new(location(config, &config.url))?))
}

#[cfg(feature = "delta")]
fn delta(config: &SourceConfig) -> Result<Box<dyn Source>, Error> {
    let url = config.url.strip_prefix(DELTA).unwrap_or(&config.url);
    Ok(Box::new(pillion_delta::DeltaSource::new(location(config, url))?))
}

/// The files at a URL, with the options and secrets of a section.
#[cfg(feature = "object-store")]
fn location(config: &SourceConfig, url: &str) -> pillion_object_store::Location {
    use pillion_object_store::Location;

    let mut location = Location::new(url);
    for (name, value) in &config.options {
        location = location.option(name, value);
    }
    for (name, secret) in &config.secrets {
        location = location.secret(name, secret.clone());
    }
    location
}

#[cfg(not(feature = "postgres"))]
fn postgres(_: &SourceConfig) -> Result<Box<dyn Source>, Error> {
    Err(not_built_in("postgres"))
}

#[cfg(not(feature = "mysql"))]
fn mysql(_: &SourceConfig) -> Result<Box<dyn Source>, Error> {
    Err(not_built_in("mysql"))
}

#[cfg(not(feature = "flight-sql"))]
fn flight_sql(_: &SourceConfig) -> Result<Box<dyn Source>, Error> {
    Err(not_built_in("flight-sql"))
}

#[cfg(not(feature = "object-store"))]
fn files(_: &SourceConfig) -> Result<Box<dyn Source>, Error> {
    Err(not_built_in("object-store"))
}

#[cfg(not(feature = "delta"))]
fn delta(_: &SourceConfig) -> Result<Box<dyn Source>, Error> {
    Err(not_built_in("delta"))
}

#[cfg(not(feature = "sqlite"))]
fn sqlite(_: &SourceConfig) -> Result<Box<dyn Source>, Error> {
    Err(not_built_in("sqlite"))
}

#[cfg(not(all(
    feature = "postgres",
    feature = "mysql",
    feature = "object-store",
    feature = "delta",
    feature = "flight-sql",
    feature = "sqlite"
)))]
fn not_built_in(feature: &str) -> Error {
    Error::new(ErrorCode::Unsupported, format!("this pillion was built without the feature `{feature}`"))
}
