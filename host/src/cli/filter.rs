//! Arguments that several list commands share: a value of an enum, and the page.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use uuid::Uuid;

use crate::api::{PAGE_ROWS, PAGE_ROWS_MAX};
use crate::domain::StringEnum;

/// Parses a value of an enum; `--help` lists all values.
pub(super) fn enum_value<T: StringEnum + Send + Sync>() -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(T::ALL.iter().map(|value| value.as_str()))
        .try_map(|word: String| T::parse(&word).ok_or("unknown word"))
}

/// Which page of a list to print.
#[derive(Args)]
pub(super) struct Page {
    /// Print at most this many rows, 1 to 200
    #[arg(long, value_name = "N", default_value_t = PAGE_ROWS, value_parser = row_count())]
    pub(super) limit: u32,
    /// Continue after an earlier page, with the cursor that it printed
    #[arg(long, value_name = "CURSOR")]
    pub(super) cursor: Option<Uuid>,
}

fn row_count() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(PAGE_ROWS_MAX))
}
