//! Renders a point in time: how long ago it was, and its date and time.

use std::fmt;

use jiff::Timestamp;

/// A point in time, and the time of the request, from which the distance is counted.
#[derive(Debug, Clone, Copy)]
pub(in crate::console) struct When {
    at: Timestamp,
    now: Timestamp,
}

impl When {
    pub(in crate::console) fn new(at: Timestamp, now: Timestamp) -> Self {
        Self { at, now }
    }

    /// The date and time, and how long ago it was.
    pub(in crate::console) fn full(&self) -> String {
        let at = self.at.strftime("%Y-%m-%d %H:%M:%S UTC");
        format!(
            "<time datetime=\"{:.3}\">{at}</time> <span class=\"nowrap\">({})</span>",
            self.at,
            self.relative()
        )
    }

    /// The distance from now in the largest suitable unit, such as `3 min ago` or `in 2 h`.
    fn relative(&self) -> String {
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

/// Shows how long ago it was. The tooltip shows the date and time.
impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = self.at.strftime("%Y-%m-%d %H:%M:%S UTC");
        let relative = self.relative();
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
            assert_eq!(When::new(at, now).relative(), text);
        }
    }
}
