//! Enums in which each variant has a fixed string, for example for SQL and JSON.

/// An enum in which each value has a fixed string. The macro `string_enum!` implements this trait.
pub trait StringEnum: Copy + 'static {
    /// All values, in the order of the declaration.
    const ALL: &'static [Self];

    /// Returns the string of a value.
    fn as_str(self) -> &'static str;

    /// Returns the value that has this string; `None` for any other string.
    #[must_use]
    fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|value| value.as_str() == text)
    }
}

/// Declares an enum and the string of each of its values.
macro_rules! string_enum {
    ($(#[$enum_doc:meta])* pub enum $name:ident {
        $($(#[$doc:meta])* $variant:ident = $word:literal,)+
    }) => {
        $(#[$enum_doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $crate::domain::StringEnum for $name {
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str($crate::domain::StringEnum::as_str(*self))
            }
        }
    };
}

pub(crate) use string_enum;
