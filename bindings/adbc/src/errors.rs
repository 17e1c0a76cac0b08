//! Errors of the cache as those of ADBC, and panics as errors.

use std::ffi::c_char;

use adbc_core::error::{Error, Result, Status};
use pillion::ErrorCode;
use pillion_rows::{contained, kind_name, words};

/// Does what a driver manager asks for. A panic becomes an error: `adbc_ffi` would refuse every later call of the process.
///
/// # Errors
/// Those of the work; [`Status::Internal`].
pub(crate) fn answered<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    contained(|| Ok(work())).unwrap_or_else(|error| Err(told(&error)))
}

/// An error of this crate.
pub(crate) fn refusal(status: Status, message: impl Into<String>) -> Error {
    let mut error = Error::with_message_and_status(message, status);
    error.sqlstate = sqlstate(match status {
        Status::NotImplemented => "0A000",
        Status::InvalidArguments => "22023",
        Status::InvalidState => "55000",
        Status::NotFound => "42704",
        Status::AlreadyExists => "42P07",
        Status::Cancelled => "57014",
        _ => "XX000",
    });
    error
}

/// An error of the cache: its number is the vendor code, and its name, its kind and its number are details.
pub(crate) fn told(error: &pillion::Error) -> Error {
    let code = error.code();
    let (status, state) = status(code);
    let details = [
        ("pillion.code", format!("{code:?}")),
        ("pillion.number", code.number().to_string()),
        ("pillion.kind", kind_name(code.kind()).to_owned()),
    ];
    Error {
        message: words(error),
        status,
        vendor_code: code.number().into(),
        sqlstate: sqlstate(state),
        details: Some(details.map(|(key, value)| (key.to_owned(), value.into_bytes())).into()),
    }
}

fn sqlstate(text: &str) -> [c_char; 5] {
    let mut state = [0; 5];
    for (place, letter) in state.iter_mut().zip(text.bytes()) {
        // Letters and digits, which are the same whether `c_char` has a sign or not.
        *place = letter as c_char;
    }
    state
}

/// The status of ADBC and the SQLSTATE of a code. States that SQL does not have are those of PostgreSQL.
fn status(code: ErrorCode) -> (Status, &'static str) {
    use ErrorCode as C;
    match code {
        C::InvalidArgument | C::InvalidKey | C::NotACache => (Status::InvalidArguments, "22023"),
        C::TableNotFound => (Status::NotFound, "42P01"),
        C::ColumnNotFound => (Status::NotFound, "42703"),
        C::TableExists => (Status::AlreadyExists, "42P07"),
        C::NoPrimaryKey => (Status::InvalidArguments, "42P10"),
        C::DuplicateKey => (Status::Integrity, "23505"),
        C::NullKey => (Status::Integrity, "23502"),
        C::SchemaMismatch | C::TypeMismatch => (Status::InvalidArguments, "42804"),
        C::InvalidSql => (Status::InvalidArguments, "42000"),
        C::InvalidParameter => (Status::InvalidArguments, "07001"),
        C::ReadOnly => (Status::InvalidState, "25006"),
        C::UnsupportedType | C::Unsupported | C::NewerFormat | C::UnsupportedFileSystem => {
            (Status::NotImplemented, "0A000")
        }
        C::Execution => (Status::InvalidData, "22000"),
        C::PermissionDenied | C::WriteNotAllowed => (Status::Unauthorized, "42501"),
        C::TooLarge => (Status::InvalidArguments, "54000"),
        C::NotCovered | C::Stale => (Status::InvalidState, "55000"),
        C::SourceNotFound => (Status::NotFound, "58P01"),
        C::SourceInvalid => (Status::InvalidData, "22000"),
        C::SourceUnavailable | C::Unavailable => (Status::IO, "08001"),
        C::SourceRefused => (Status::Unauthorized, "28000"),
        C::DirectoryLocked => (Status::InvalidState, "55006"),
        C::DiskFull => (Status::IO, "53100"),
        C::MemoryLimit => (Status::InvalidState, "53200"),
        C::WentBack => (Status::InvalidState, "40001"),
        C::TooMany => (Status::InvalidState, "53300"),
        C::Timeout => (Status::Timeout, "HYT00"),
        C::Cancelled => (Status::Cancelled, "57014"),
        C::HistoryGone => (Status::NotFound, "42704"),
        C::Corrupt => (Status::Internal, "XX001"),
        C::Io => (Status::IO, "58030"),
        C::Poisoned | C::Closed => (Status::InvalidState, "08003"),
        C::OutcomeUnknown => (Status::Unknown, "08007"),
        _ => (Status::Internal, "XX000"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_but_defects_has_a_status_of_its_own_kind() {
        for code in ErrorCode::ALL {
            let error = told(&pillion::Error::new(*code, "words"));
            assert_eq!(error.vendor_code, i32::from(code.number()));
            assert_ne!(error.sqlstate, [0; 5]);
            assert_eq!(
                error.status == Status::Internal,
                matches!(code, ErrorCode::Internal | ErrorCode::Corrupt),
                "{code:?}"
            );
            let details = error.details.unwrap();
            assert_eq!(details[0], ("pillion.code".to_owned(), format!("{code:?}").into_bytes()));
        }
    }

    #[test]
    fn a_panic_becomes_an_error() {
        let error = answered::<()>(|| panic!("row {}", 7)).unwrap_err();
        assert_eq!(error.status, Status::Internal);
        assert!(error.message.contains("row 7"), "{error}");
        assert_eq!(answered(|| Ok(3)).unwrap(), 3);
    }
}
