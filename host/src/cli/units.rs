//! Times, durations and sizes as people read them.

use jiff::Timestamp;

use crate::api;

/// A time in UTC.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A duration with its unit.
pub(super) fn duration(ms: u64) -> String {
    match ms {
        ..1_000 => format!("{ms}ms"),
        1_000..60_000 => format!("{}.{:02}s", ms / 1_000, ms % 1_000 / 10),
        _ => format!("{}m{:02}s", ms / 60_000, ms % 60_000 / 1_000),
    }
}

/// A duration of which the microseconds are known.
pub(super) fn fine_duration(us: u64) -> String {
    api::fine_duration(us, "ms", duration)
}

/// A size with its unit.
pub(super) fn size(bytes: u64) -> String {
    let tenths =
        |unit: u64| format!("{}.{}", bytes / unit, (bytes % unit).saturating_mul(10) / unit);
    match bytes {
        0x10_0000.. => format!("{}MiB", tenths(1 << 20)),
        0x400..0x10_0000 => format!("{}KiB", tenths(1 << 10)),
        _ => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_unit_that_fits() {
        let shown = [0, 999, 1_000, 59_999, 60_000, 3_723_000].map(duration);
        assert_eq!(shown, ["0ms", "999ms", "1.00s", "59.99s", "1m00s", "62m03s"]);
        let shown = [0, 1_023, 1_024, 1_048_575, 1_572_864].map(size);
        assert_eq!(shown, ["0B", "1023B", "1.0KiB", "1023.9KiB", "1.5MiB"]);
        assert!(size(u64::MAX).ends_with("MiB"));
        let at = Timestamp::from_millisecond(1_795_895_931_250).expect("a time");
        assert_eq!(time(at), "2026-11-28 19:58:51 UTC");
    }
}
