//! A row of the points as bytes, for stores that know keys and values only: two numbers of eight bytes, the length of
//! the first text in one, both texts. The key is not repeated in it.

use pillion_benches::Result;
use pillion_benches::data::Point;
use pillion_benches::harness::Sink;

/// Writes what is not the key.
///
/// # Errors
/// The first text is longer than 255 bytes.
pub(crate) fn write(point: &Point) -> Result<Vec<u8>> {
    let mut row = Vec::with_capacity(17 + point.city.len() + point.code.len());
    row.extend_from_slice(&point.amount.to_le_bytes());
    row.extend_from_slice(&point.price.to_le_bytes());
    row.push(u8::try_from(point.city.len())?);
    row.extend_from_slice(point.city.as_bytes());
    row.extend_from_slice(point.code.as_bytes());
    Ok(row)
}

/// Reads every column of a row, in place.
///
/// # Errors
/// These are not the bytes of a row.
#[inline]
pub(crate) fn read(key: i64, row: &[u8], sink: &mut impl Sink) -> Result<()> {
    let (amount, rest) = row.split_first_chunk().ok_or("a row is too short")?;
    let (price, rest) = rest.split_first_chunk().ok_or("a row is too short")?;
    let (&len, rest) = rest.split_first().ok_or("a row is too short")?;
    let (city, code) = rest.split_at_checked(len.into()).ok_or("a row is too short")?;
    sink.int(key);
    sink.int(i64::from_le_bytes(*amount));
    sink.float(f64::from_le_bytes(*price));
    sink.text(std::str::from_utf8(city)?);
    sink.text(std::str::from_utf8(code)?);
    sink.end_row();
    Ok(())
}

#[cfg(test)]
mod tests {
    use pillion_benches::data::Points;
    use pillion_benches::harness::Collect;

    use super::*;

    #[test]
    fn a_row_is_read_as_it_was_written_and_no_part_of_one_is_a_row() {
        let point = Points::new(10).point(7);
        let row = write(&point).unwrap();
        let mut sink = Collect::default();
        read(point.id, &row, &mut sink).unwrap();
        let expected =
            format!("{}, {}, {:?}, {:?}, {:?}", point.id, point.amount, point.price, point.city, point.code);
        assert_eq!(sink.into_rows(), [expected]);
        // The last text ends where the row ends, so that only it can be cut.
        for len in 0..17 + point.city.len() {
            assert!(read(point.id, &row[..len], &mut Collect::default()).is_err(), "{len} bytes");
        }
    }
}
