//! Which known name somebody who wrote an unknown one probably meant.

/// The known name that is most like `name`, and how alike they are (0 to 1). Names that begin alike are
/// near, whatever their length: `cpu` means `cpu_ms`.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<(&'a str, f64)> {
    known
        .into_iter()
        .map(|known| (known, strsim::jaro_winkler(name, known)))
        .max_by(|one, other| one.1.total_cmp(&other.1))
}
