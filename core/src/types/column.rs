//! Names of columns.

use arrow::datatypes::Schema;

use super::error::{Error, ErrorCode, Result, suggestion};

/// Names a column: by name, or by position from 0.
pub trait ColumnIndex {
    /// The column's position in `schema`.
    ///
    /// # Errors
    /// [`ErrorCode::ColumnNotFound`], naming the nearest column there is.
    fn index_in(&self, schema: &Schema) -> Result<usize>;
}

impl ColumnIndex for usize {
    #[inline]
    fn index_in(&self, schema: &Schema) -> Result<usize> {
        let count = schema.fields().len();
        if *self < count {
            Ok(*self)
        } else {
            Err(Error::new(
                ErrorCode::ColumnNotFound,
                format!("there is no column {self}; there are {count}"),
            ))
        }
    }
}

impl ColumnIndex for str {
    fn index_in(&self, schema: &Schema) -> Result<usize> {
        schema.fields().iter().position(|field| field.name() == self).ok_or_else(|| {
            let hint = suggestion(self, schema.fields().iter().map(|field| field.name().as_str()));
            Error::new(ErrorCode::ColumnNotFound, format!("there is no column `{self}`{hint}"))
        })
    }
}

impl ColumnIndex for String {
    fn index_in(&self, schema: &Schema) -> Result<usize> {
        self.as_str().index_in(schema)
    }
}

impl<T: ColumnIndex + ?Sized> ColumnIndex for &T {
    fn index_in(&self, schema: &Schema) -> Result<usize> {
        (**self).index_in(schema)
    }
}
