//! Sizes and times for people.

use std::time::Duration;

/// `999 B`, `1.5 KiB`, `23 MiB`.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut tenths = u128::from(bytes) * 10;
    let mut unit = "B";
    for next in UNITS {
        // What would be rounded to 1024 of a unit is 1.0 of the next.
        if tenths < 10_235 {
            break;
        }
        tenths = (tenths + 512) / 1024;
        unit = next;
    }
    if tenths < 100 {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    } else {
        format!("{} {unit}", (tenths + 5) / 10)
    }
}

/// `850 µs`, `12 ms`, `3.4 s`, `5m 07s`, `3h 20m`, `2d 4h`.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 if duration.as_millis() == 0 => format!("{} µs", duration.as_micros()),
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{seconds}.{} s", duration.subsec_millis() / 100),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// `90s`, `15m`, `1h`, `2d`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    const FORM: &str = "give a number and s, m, h or d, as in 90s";
    let unit = text.chars().next_back().ok_or(FORM)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(FORM),
    };
    let number = text.strip_suffix(unit).unwrap_or_default();
    let number: u32 = number.parse().map_err(|_not_a_number| FORM)?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("1h", 3600), ("2d", 172_800)] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_secs(seconds)),
                "{text}"
            );
        }
        for text in ["", "h", "90", "1.5h", "-1s", "1 h", "9999999999d", "1µ"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_read_well() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (10 * 1024, "10 KiB"),
            (1023 * 1024, "1023 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (256 << 20, "256 MiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(bytes(count), text, "{count}");
        }
    }

    #[test]
    fn times_read_well() {
        for (millis, text) in [
            (12, "12 ms"),
            (999, "999 ms"),
            (3_450, "3.4 s"),
            (307_000, "5m 07s"),
            (12_000_000, "3h 20m"),
            (187_200_000, "2d 4h"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text, "{millis}");
        }
        assert_eq!(duration(Duration::from_micros(850)), "850 µs");
        assert_eq!(duration(Duration::ZERO), "0 µs");
    }
}
