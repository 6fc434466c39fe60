//! Numbers, durations, sizes and words of a command line as text for a reader.

/// A duration as a person says it.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "an unknown time".to_owned();
    }
    if seconds < 9.95 {
        return format!("{:.1} s", seconds.max(0.0));
    }
    let seconds = seconds.round() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A number with its noun in the singular or the plural.
pub fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// A number with a comma between groups of three digits.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number of bytes in MiB or GiB.
pub fn bytes(number: usize) -> String {
    let mebibytes = number as f64 / (1 << 20) as f64;
    if mebibytes < 1024.0 { format!("{mebibytes:.1} MiB") } else { format!("{:.2} GiB", mebibytes / 1024.0) }
}

/// A word of a command line as a shell reads it.
pub fn shell_word(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+:,=@%".contains(letter);
    // What begins with a dash would be a flag.
    let place = if text.starts_with('-') { format!("./{text}") } else { text.to_owned() };
    if !place.is_empty() && place.chars().all(plain) {
        return place;
    }
    format!("'{}'", place.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(
            ["1", "999", "1,000", "1,234,567"],
            [1, 999, 1000, 1_234_567].map(grouped).each_ref().map(String::as_str)
        );
        assert_eq!(duration(9.96), "10 s");
        assert_eq!(duration(7384.0), "2 h 03 min");
        assert_eq!(duration(f64::NAN), "an unknown time");
    }
    #[test]
    fn words_are_safe_in_a_shell() {
        assert_eq!(shell_word("runs/2026-a_b.c"), "runs/2026-a_b.c");
        assert_eq!(shell_word("my run's"), r"'my run'\''s'");
        assert_eq!(shell_word("-x"), "./-x");
        assert_eq!(shell_word("$(rm)"), "'$(rm)'");
        assert_eq!(shell_word(""), "''");
    }
}
