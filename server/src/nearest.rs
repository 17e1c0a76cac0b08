//! Arguments that take one of a few words, and name the nearest where another was given.

use std::ffi::OsStr;
use std::marker::PhantomData;

use clap::builder::{EnumValueParser, PossibleValue, TypedValueParser};
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command, Error, ValueEnum};
use pillion::nearest;

/// Parses the values of an enum; clap's own measure of nearness finds nothing for short names such as `cvs`.
pub(crate) struct NearestParser<E>(PhantomData<fn() -> E>);

impl<E> NearestParser<E> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<E> Clone for NearestParser<E> {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl<E: ValueEnum + Clone + Send + Sync + 'static> TypedValueParser for NearestParser<E> {
    type Value = E;

    fn parse_ref(&self, command: &Command, argument: Option<&Arg>, value: &OsStr) -> Result<E, Error> {
        EnumValueParser::<E>::new().parse_ref(command, argument, value).map_err(|mut error| {
            let values: Vec<PossibleValue> =
                E::value_variants().iter().filter_map(E::to_possible_value).collect();
            let names = values.iter().map(PossibleValue::get_name);
            if let Some(name) = nearest(&value.to_string_lossy(), names) {
                error.insert(ContextKind::SuggestedValue, ContextValue::String(name.to_owned()));
            }
            error
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(E::value_variants().iter().filter_map(E::to_possible_value)))
    }
}
