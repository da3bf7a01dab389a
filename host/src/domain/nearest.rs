//! Finds the valid name that a person probably meant when they wrote an unknown name.

/// Returns the name in `known` that is most similar to `name`, and the similarity (0 to 1); `None`
/// if `known` is empty. A common prefix raises the similarity, so `cpu_ms` is similar to `cpu`.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<(&'a str, f64)> {
    known
        .into_iter()
        .map(|known| (known, strsim::jaro_winkler(name, known)))
        .max_by(|one, other| one.1.total_cmp(&other.1))
}
