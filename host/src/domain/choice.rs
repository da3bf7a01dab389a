//! The possible values of a setting, as a connector lists them.

/// A possible value of a setting, with its label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The value of the setting.
    pub value: String,
    /// The label that a person reads instead of the value.
    pub label: String,
}

/// Possible values of a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChoicesPage {
    /// The values, in the order in which the connector returned them.
    pub choices: Vec<Choice>,
    /// Whether the tracker has more values, which a more specific search text finds.
    pub has_more: bool,
}
