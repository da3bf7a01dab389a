//! Formats times, durations and sizes for people. Output that programs parse never contains these
//! formats.

use jiff::Timestamp;

use crate::api;

pub(super) fn format_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

pub(super) fn format_duration(ms: u64) -> String {
    match ms {
        ..1_000 => format!("{ms}ms"),
        1_000..60_000 => format!("{}.{:02}s", ms / 1_000, ms % 1_000 / 10),
        _ => format!("{}m{:02}s", ms / 60_000, ms % 60_000 / 1_000),
    }
}

pub(super) fn format_fine_duration(us: u64) -> String {
    api::write_duration(us, "ms", format_duration)
}

pub(super) fn format_size(bytes: u64) -> String {
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
    fn values_have_a_unit_that_suits_their_size() {
        let formatted = [0, 999, 1_000, 59_999, 60_000, 3_723_000].map(format_duration);
        assert_eq!(formatted, ["0ms", "999ms", "1.00s", "59.99s", "1m00s", "62m03s"]);
        let formatted = [0, 1_023, 1_024, 1_048_575, 1_572_864].map(format_size);
        assert_eq!(formatted, ["0B", "1023B", "1.0KiB", "1023.9KiB", "1.5MiB"]);
        assert!(format_size(u64::MAX).ends_with("MiB"));
        let at = Timestamp::from_millisecond(1_795_895_931_250).expect("a time");
        assert_eq!(format_time(at), "2026-11-28 19:58:51 UTC");
    }
}
