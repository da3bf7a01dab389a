//! Arguments that several commands share: a value of an enum, and the page of a list.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use uuid::Uuid;

use crate::api::{PAGE_ROWS, PAGE_ROWS_MAX};
use crate::domain::StringEnum;

/// Returns a parser for the values of an enum. `--help` then lists all values.
pub(super) fn enum_value_parser<T: StringEnum + Send + Sync>() -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(T::ALL.iter().map(|value| value.as_str()))
        .try_map(|text: String| T::parse(&text).ok_or("unknown value"))
}

/// Which page of a list to print.
#[derive(Args)]
pub(super) struct PageArguments {
    /// Print at most this many rows, 1 to 200
    #[arg(long, value_name = "N", default_value_t = PAGE_ROWS, value_parser = row_count_parser())]
    pub(super) limit: u32,
    /// Print the next page: give the cursor that was printed with the previous page
    #[arg(long, value_name = "CURSOR")]
    pub(super) cursor: Option<Uuid>,
}

fn row_count_parser() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(PAGE_ROWS_MAX))
}
