//! What a failure of the client or the server means to whoever asked.

use std::error::Error as StdError;

use mysql_async::{DriverError, Error as ClientError, ServerError, TlsError};
use pillion::{Error, ErrorCode};

/// The error of a session that was made. `place` says where, such as `MySQL at db:3306`.
pub(crate) fn of_session(place: &str, error: ClientError) -> Error {
    match error {
        ClientError::Server(reported) => {
            Error::new(code_of(&reported), format!("{place}: {}", reported.message))
        }
        ClientError::Driver(DriverError::ConnectionClosed) => {
            Error::new(ErrorCode::SourceUnavailable, format!("{place}: the connection was closed"))
        }
        // The library shows bytes of packets, which say nothing to a person.
        ClientError::Driver(error) => Error::new(
            ErrorCode::SourceInvalid,
            format!("{place}: the server answered what the client does not understand: {error}"),
        ),
        error => {
            Error::new(ErrorCode::SourceUnavailable, format!("{place}: the connection ended in the middle"))
                .with_source(error)
        }
    }
}

/// The error of making a session.
pub(crate) fn of_connecting(place: &str, error: ClientError) -> Error {
    if let Some(why) = tls_failure(&error) {
        return Error::new(
            ErrorCode::SourceUnavailable,
            format!("{place}: there is no encrypted connection: {why}"),
        );
    }
    match error {
        ClientError::Server(_) => of_session(place, error),
        ClientError::Driver(DriverError::NoClientSslFlagFromServer) => Error::new(
            ErrorCode::SourceUnavailable,
            format!("{place} offers no encrypted connection; `ssl-mode=disable` does without, unprotected"),
        ),
        ClientError::Driver(
            error @ (DriverError::UnknownAuthPlugin { .. }
            | DriverError::MysqlOldPasswordDisabled
            | DriverError::CleartextPluginDisabled),
        ) => Error::new(
            ErrorCode::SourceRefused,
            format!("{place}: the server wants the user to log in as the client cannot: {error}"),
        ),
        ClientError::Driver(_) => of_session(place, error),
        error => {
            Error::new(ErrorCode::SourceUnavailable, format!("{place} cannot be reached")).with_source(error)
        }
    }
}

/// The error for a text that the server does not understand, or that it understands and cannot execute.
pub(crate) fn of_text(place: &str, what: &str, error: ClientError) -> Error {
    match error {
        ClientError::Server(reported) if code_of(&reported) == ErrorCode::InvalidArgument => Error::new(
            ErrorCode::InvalidArgument,
            format!("{place}: {what} cannot be used: {}", reported.message),
        ),
        error => of_session(place, error).context(what.to_owned()),
    }
}

/// Numbers are those of the lists of errors in the manuals of MariaDB and MySQL.
pub(crate) fn code_of(reported: &ServerError) -> ErrorCode {
    match reported.code {
        // Access to the server, a database, a table, a column, a routine; plugins, locked and expired accounts.
        1044 | 1045 | 1130 | 1142 | 1143 | 1227 | 1251 | 1370 | 1698 | 1820 | 1862 | 3118 | 4151 => {
            ErrorCode::SourceRefused
        }
        1049 | 1109 | 1146 => ErrorCode::SourceNotFound,
        // A view over what is gone, damaged tables, values out of range.
        126 | 127 | 144 | 145 | 1034 | 1035 | 1194 | 1356 | 1690 => ErrorCode::SourceInvalid,
        // A statement that is none, that writes, that needs what the server does not have.
        1046 | 1064 | 1065 | 1111 | 1140 | 1235 | 1241 | 1295 | 1305 | 1314 | 1792 | 1172 => {
            ErrorCode::InvalidArgument
        }
        _ => match reported.state.get(..2).unwrap_or_default() {
            "42" | "21" | "25" | "0A" => ErrorCode::InvalidArgument,
            "28" => ErrorCode::SourceRefused,
            "22" | "23" => ErrorCode::SourceInvalid,
            _ => ErrorCode::SourceUnavailable,
        },
    }
}

/// What TLS complains of, where that is the cause.
fn tls_failure(error: &ClientError) -> Option<String> {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<TlsError>() {
            return Some(tls.to_string());
        }
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls.to_string());
        }
        // An error of input and output hides what it was made of from `source`.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(tls) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Some(tls.to_string());
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_states_have_codes() {
        for (code, state, expected) in [
            (1045, "28000", ErrorCode::SourceRefused),
            (1142, "42000", ErrorCode::SourceRefused),
            (1049, "42000", ErrorCode::SourceNotFound),
            (1146, "42S02", ErrorCode::SourceNotFound),
            (1064, "42000", ErrorCode::InvalidArgument),
            (1054, "42S22", ErrorCode::InvalidArgument),
            (1792, "25006", ErrorCode::InvalidArgument),
            (1690, "22003", ErrorCode::SourceInvalid),
            (1040, "08004", ErrorCode::SourceUnavailable),
            (1213, "40001", ErrorCode::SourceUnavailable),
            (1317, "70100", ErrorCode::SourceUnavailable),
            (1412, "HY000", ErrorCode::SourceUnavailable),
        ] {
            let reported = ServerError { code, message: String::new(), state: state.to_owned() };
            assert_eq!(code_of(&reported), expected, "{code}");
        }
    }
}
