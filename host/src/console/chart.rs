//! Draws the chart of events per minute as SVG, with the same numbers for a table.

use askama::Template;
use jiff::Timestamp;

use crate::domain::MinuteOfEvents;

/// Number of minutes in the chart.
const MINUTES: usize = 60;
/// SVG units.
const CHART_HEIGHT: u64 = 100;

/// The events per minute in the last hour.
#[derive(Debug, Template)]
#[template(path = "console/chart.html")]
pub(super) struct Chart {
    /// One bar for each minute, the oldest first.
    bars: Vec<Bar>,
    /// The largest number of events in one minute; 1 if there are no events.
    max_events: u64,
    /// The events of the hour that were answered with a status below 400.
    answered_events: u64,
    /// The events of the hour that were answered with a status of 400 or higher.
    failed_events: u64,
}

/// Positions and heights are in SVG units.
#[derive(Debug)]
struct Bar {
    /// The start of the minute, such as `16:05` in UTC.
    minute: String,
    x: usize,
    answered_events: u64,
    failed_events: u64,
    answered_y: u64,
    answered_height: u64,
    failed_y: u64,
    failed_height: u64,
}

impl Chart {
    /// `minutes` contains only minutes that have events. The last minute of the chart contains
    /// `now`.
    pub(super) fn new(minutes: &[MinuteOfEvents], now: Timestamp) -> Self {
        let last = now.as_second().div_euclid(60);
        let max = minutes.iter().map(|it| it.answered + it.failed).max().unwrap_or(0).max(1);
        let bar = |index: usize| {
            let minute = last - 59 + i64::try_from(index).unwrap_or(0);
            let found = minutes.iter().find(|it| it.minute == minute);
            Bar::new(index, minute, found.map_or((0, 0), |it| (it.answered, it.failed)), max)
        };
        let bars: Vec<_> = (0..MINUTES).map(bar).collect();
        let sum = |count: fn(&Bar) -> u64| bars.iter().map(count).sum();
        let answered_events = sum(|it| it.answered_events);
        let failed_events = sum(|it| it.failed_events);
        Self { max_events: max, answered_events, failed_events, bars }
    }

    /// The newest minute is the first.
    fn minutes_with_events(&self) -> impl Iterator<Item = &Bar> {
        self.bars.iter().rev().filter(|it| it.answered_events + it.failed_events > 0)
    }
}

impl Bar {
    fn new(index: usize, minute: i64, (answered, failed): (u64, u64), max: u64) -> Self {
        // Even one event must be visible beside a much higher bar.
        let height = |n: u64| if n == 0 { 0 } else { (n * CHART_HEIGHT / max).max(2) };
        let (answered_height, failed_height) = (height(answered), height(failed));
        let answered_y = CHART_HEIGHT.saturating_sub(answered_height);
        let at = Timestamp::from_second(minute * 60).unwrap_or_default();
        Self {
            minute: at.strftime("%H:%M").to_string(),
            x: index * 10 + 1,
            answered_events: answered,
            failed_events: failed,
            answered_y,
            answered_height,
            failed_y: answered_y.saturating_sub(failed_height),
            failed_height,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_with_one_failure_among_many_events_is_visible() {
        let now = Timestamp::from_second(3_600 * 5).unwrap();
        let minute = |minute, answered, failed| MinuteOfEvents { minute, answered, failed };
        let chart = Chart::new(&[minute(300, 1_000, 0), minute(299, 0, 1)], now);
        assert_eq!(chart.bars.len(), MINUTES);
        let [.., before, last] = &chart.bars[..] else { panic!("no bars") };
        assert_eq!((last.answered_height, last.answered_y), (100, 0));
        assert_eq!((before.failed_height, before.failed_y), (2, 98));
        assert_eq!((chart.answered_events, chart.failed_events), (1_000, 1));
        assert_eq!(chart.minutes_with_events().count(), 2);
    }
}
