//! Arrays of one dimension.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, FieldRef};

use super::Fault;
use super::cells::Cells;

/// A column of lists, whose elements are another column.
pub(crate) struct List {
    field: FieldRef,
    elements: Box<dyn Cells>,
    ends: Vec<i32>,
    len: i32,
    present: Vec<bool>,
}

impl List {
    pub(crate) fn of(elements: Box<dyn Cells>) -> Box<dyn Cells> {
        let field = Arc::new(Field::new_list_field(elements.data_type(), true));
        Box::new(Self { field, elements, ends: vec![0], len: 0, present: Vec::new() })
    }
}

impl Cells for List {
    fn data_type(&self) -> DataType {
        DataType::List(self.field.clone())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut rest = bytes;
        let (dimensions, _has_nulls, _type) = (word(&mut rest)?, word(&mut rest)?, word(&mut rest)?);
        match dimensions {
            0 => {}
            1 => {
                let (len, lower) = (word(&mut rest)?, word(&mut rest)?);
                if lower != 1 {
                    return Err(format!(
                        "has an array whose first index is {lower}, which a list cannot hold; read the column as text"
                    ));
                }
                for _ in 0..len {
                    match field(&mut rest)? {
                        Some(bytes) => self.elements.append(bytes)?,
                        None => self.elements.append_null(),
                    }
                    self.len = self.len.checked_add(1).ok_or("has too many elements")?;
                }
            }
            _ => {
                return Err(format!(
                    "has an array of {dimensions} dimensions, and the type allows for lists of one; read the column as text"
                ));
            }
        }
        if !rest.is_empty() {
            return Err("has bytes behind the end of an array".to_owned());
        }
        self.ends.push(self.len);
        self.present.push(true);
        Ok(())
    }

    fn append_null(&mut self) {
        self.ends.push(self.len);
        self.present.push(false);
    }

    fn finish(&mut self) -> ArrayRef {
        let ends = std::mem::replace(&mut self.ends, vec![0]);
        self.len = 0;
        let nulls = NullBuffer::from(std::mem::take(&mut self.present));
        Arc::new(ListArray::new(
            self.field.clone(),
            OffsetBuffer::new(ScalarBuffer::from(ends)),
            self.elements.finish(),
            Some(nulls).filter(|nulls| nulls.null_count() > 0),
        ))
    }
}

fn word(rest: &mut &[u8]) -> Result<i32, Fault> {
    let (word, tail) = rest.split_first_chunk::<4>().ok_or("has an array that ends too early")?;
    *rest = tail;
    Ok(i32::from_be_bytes(*word))
}

/// The bytes of the next field, `None` if it is null.
pub(super) fn field<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Fault> {
    let Ok(len) = usize::try_from(word(rest)?) else { return Ok(None) };
    let (bytes, tail) = rest.split_at_checked(len).ok_or("has a value that ends too early")?;
    *rest = tail;
    Ok(Some(bytes))
}
