//! The possible values of a setting, as a connector lists them.

/// A possible value, and the label that a person reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The value of the setting.
    pub value: String,
    /// Its label.
    pub label: String,
}

/// Possible values of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChoicesPage {
    /// In the connector's order.
    pub choices: Vec<Choice>,
    /// Whether there are others, which a longer search shows.
    pub more: bool,
}
