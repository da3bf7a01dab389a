//! Renders a point in time: its date and time, and how long ago it was.

use std::fmt;

use jiff::Timestamp;

/// A point in time, relative to the time of the request.
#[derive(Debug, Clone, Copy)]
pub(in crate::console) struct RelativeTime {
    at: Timestamp,
    /// The time of the request.
    now: Timestamp,
}

impl RelativeTime {
    pub(in crate::console) fn new(at: Timestamp, now: Timestamp) -> Self {
        Self { at, now }
    }

    /// Renders the date and time, and in brackets how long ago this was.
    pub(in crate::console) fn full(&self) -> String {
        let at = self.at.strftime("%Y-%m-%d %H:%M:%S UTC");
        format!(
            "<time datetime=\"{:.3}\">{at}</time> <span class=\"nowrap\">({})</span>",
            self.at,
            self.relative_text()
        )
    }

    /// Returns a text such as `3 min ago` or, for a point in time after the request, `in 2 h`. Less
    /// than 5 s is `now`.
    fn relative_text(&self) -> String {
        let seconds = self.now.as_second() - self.at.as_second();
        let distance = match seconds.unsigned_abs() {
            0..5 => return "now".to_owned(),
            s @ 5..60 => format!("{s} s"),
            s @ 60..3_600 => format!("{} min", s / 60),
            s @ 3_600..172_800 => format!("{} h", s / 3_600),
            s => format!("{} days", s / 86_400),
        };
        if seconds < 0 { format!("in {distance}") } else { format!("{distance} ago") }
    }
}

/// Renders how long ago the point in time was. The tooltip shows the date and time.
impl fmt::Display for RelativeTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = self.at.strftime("%Y-%m-%d %H:%M:%S UTC");
        let relative = self.relative_text();
        write!(
            f,
            "<time class=\"nowrap\" datetime=\"{:.3}\" title=\"{title}\">{relative}</time>",
            self.at
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_time_has_one_unit() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        for (ago, text) in [
            (0, "now"),
            (59, "59 s ago"),
            (61, "1 min ago"),
            (7_300, "2 h ago"),
            (200_000, "2 days ago"),
            (-90, "in 1 min"),
        ] {
            let at = Timestamp::from_second(1_000_000 - ago).unwrap();
            assert_eq!(RelativeTime::new(at, now).relative_text(), text);
        }
    }
}
