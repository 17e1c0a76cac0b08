//! How a caller writes a key.

use super::error::Result;
use super::value::{Value, ValueRef};

/// Takes the parts of a key one by one, in the order of the table's primary key.
pub trait KeyParts {
    /// Takes the next part.
    ///
    /// # Errors
    /// [`InvalidKey`](crate::ErrorCode::InvalidKey) if the key has no such part, or one of another type.
    fn part(&mut self, value: ValueRef<'_>) -> Result<()>;
}

/// Anything that can be a primary key: a single value, a tuple of up to eight, or a slice of [`Value`]s.
///
/// ```
/// # fn takes(_: impl pillion::Key) {}
/// takes(42);
/// takes("JFK");
/// takes(("2013-01-01T10:00:00", "UA", 1545));
/// ```
///
/// Integers fit a key column of any integer type that can hold them; text fits text columns, and is parsed
/// for date, time, timestamp and decimal columns. How values of each type compare is written down in
/// `docs/types.md`.
pub trait Key {
    /// Hands every part of the key to `parts`.
    ///
    /// # Errors
    /// What [`KeyParts::part`] returned.
    fn write_to(&self, parts: &mut dyn KeyParts) -> Result<()>;
}

impl<T: Key + ?Sized> Key for &T {
    fn write_to(&self, parts: &mut dyn KeyParts) -> Result<()> {
        (**self).write_to(parts)
    }
}

impl Key for ValueRef<'_> {
    fn write_to(&self, parts: &mut dyn KeyParts) -> Result<()> {
        parts.part(*self)
    }
}

impl Key for Value {
    fn write_to(&self, parts: &mut dyn KeyParts) -> Result<()> {
        parts.part(self.borrow())
    }
}

impl<T: Key> Key for [T] {
    fn write_to(&self, parts: &mut dyn KeyParts) -> Result<()> {
        self.iter().try_for_each(|part| part.write_to(parts))
    }
}

impl<T: Key, const N: usize> Key for [T; N] {
    fn write_to(&self, parts: &mut dyn KeyParts) -> Result<()> {
        self.as_slice().write_to(parts)
    }
}

impl<T: Key> Key for Vec<T> {
    fn write_to(&self, parts: &mut dyn KeyParts) -> Result<()> {
        self.as_slice().write_to(parts)
    }
}

/// The parts of a key, for another thread or a later call.
///
/// # Errors
/// Those of the key itself.
pub(crate) fn owned(key: &impl Key) -> Result<Vec<Value>> {
    struct Collect(Vec<Value>);

    impl KeyParts for Collect {
        fn part(&mut self, value: ValueRef<'_>) -> Result<()> {
            self.0.push(value.into_owned());
            Ok(())
        }
    }

    let mut parts = Collect(Vec::new());
    key.write_to(&mut parts)?;
    Ok(parts.0)
}

macro_rules! scalar_keys {
    ($($type:ty => |$v:ident| $value:expr;)+) => {
        $(
            impl Key for $type {
                fn write_to(&self, parts: &mut dyn KeyParts) -> Result<()> {
                    let $v = self;
                    parts.part($value)
                }
            }
        )+
    };
}

scalar_keys! {
    bool => |v| ValueRef::Bool(*v);
    i8 => |v| ValueRef::Int((*v).into());
    i16 => |v| ValueRef::Int((*v).into());
    i32 => |v| ValueRef::Int((*v).into());
    i64 => |v| ValueRef::Int(*v);
    u16 => |v| ValueRef::UInt((*v).into());
    u32 => |v| ValueRef::UInt((*v).into());
    u64 => |v| ValueRef::UInt(*v);
    f32 => |v| ValueRef::Float((*v).into());
    f64 => |v| ValueRef::Float(*v);
    str => |v| ValueRef::Str(v);
    String => |v| ValueRef::Str(v);
}

macro_rules! tuple_keys {
    ($($($name:ident)+;)+) => {
        $(
            impl<$($name: Key),+> Key for ($($name,)+) {
                #[expect(non_snake_case, reason = "the names stand for the types of the parts")]
                fn write_to(&self, parts: &mut dyn KeyParts) -> Result<()> {
                    let ($($name,)+) = self;
                    $($name.write_to(parts)?;)+
                    Ok(())
                }
            }
        )+
    };
}

tuple_keys! {
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
}
