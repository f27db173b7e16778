//! Text of others made fit to be shown: in errors, logs, tables and the audit log. One escaper and one shortener, so that
//! nobody has to wonder which characters a line may hold.

/// Foreign text in a line of a message or a cell of a table, in characters. Stops it from filling the screen.
const LINE_CHARS: usize = 160;

/// The text with what is not printable escaped, as Rust writes it (`\n`, `\u{1b}`, `\u{202e}`): control characters, line
/// separators, marks that turn the direction of writing around, what has no width or no meaning. Quotes and backslashes stay.
#[must_use]
pub fn escaped(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\'' | '\\' => out.push(character),
            other => out.extend(other.escape_debug()),
        }
    }
    out
}

/// At most `limit` characters, with an ellipsis where text was cut. A cut quotation in backticks is closed, so that what follows
/// is not read as foreign text.
#[must_use]
pub fn shortened(text: &str, limit: usize) -> String {
    // No character has less than a byte.
    if text.len() <= limit || text.chars().nth(limit).is_none() {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(limit.saturating_sub(1)).collect();
    if is_open(&out) {
        out.pop();
        // What went may have been what opened it.
        out.push_str(if is_open(&out) { "…`" } else { "…" });
    } else {
        out.push('…');
    }
    out
}

/// Whether there is nothing to escape: most foreign text, and what each refusal is made of.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

/// Whether a quotation in backticks is not closed.
fn is_open(text: &str) -> bool {
    text.matches('`').count() % 2 == 1
}

/// Escaped, and at most `limit` characters of it.
#[must_use]
pub fn fit(text: &str, limit: usize) -> String {
    if text.len() <= limit && is_plain(text) {
        return text.to_owned();
    }
    // No character becomes shorter by escaping.
    let looked_at: String = text.chars().take(limit.saturating_add(1)).collect();
    shortened(&escaped(&looked_at), limit)
}

/// Foreign text made fit for a line of a message: see [`fit`].
#[must_use]
pub fn clean(text: &str) -> String {
    fit(text, LINE_CHARS)
}

/// Most characters of a word that are compared. Stops a long one from costing much.
const COMPARED_CHARS: usize = 64;

/// How many slips make one of the other: a letter more, less or another, or two that changed places. Case is none.
#[must_use]
pub fn distance(a: &str, b: &str) -> usize {
    let letters = |text: &str| text.chars().take(COMPARED_CHARS).flat_map(char::to_lowercase).collect::<String>();
    strsim::osa_distance(&letters(a), &letters(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_printable_is_escaped_and_the_rest_stays() {
        for (text, expected) in [
            ("registry.example/ä/日本:1 \"x\" 'y' C:\\z `q`", "registry.example/ä/日本:1 \"x\" 'y' C:\\z `q`"),
            ("a\nb\r\t\0", "a\\nb\\r\\t\\0"),
            ("\u{1b}[31m\u{7f}\u{9b}", "\\u{1b}[31m\\u{7f}\\u{9b}"),
            ("\u{2028}\u{2029}", "\\u{2028}\\u{2029}"),
            (
                "\u{202a}\u{202e}\u{2066}\u{2069}\u{200e}\u{200f}\u{61c}",
                "\\u{202a}\\u{202e}\\u{2066}\\u{2069}\\u{200e}\\u{200f}\\u{61c}",
            ),
            ("\u{200b}\u{feff}\u{ad}\u{e0041}\u{2060}", "\\u{200b}\\u{feff}\\u{ad}\\u{e0041}\\u{2060}"),
        ] {
            assert_eq!(escaped(text), expected);
            assert_eq!(escaped(&escaped(text)), expected, "what is escaped stays as it is");
        }
    }

    #[test]
    fn no_character_that_a_terminal_would_act_on_comes_through() {
        for character in '\0'..=char::MAX {
            let shown = escaped(&character.to_string());
            let acts = |c: char| {
                c.is_control()
                    || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}')
            };
            assert!(!shown.chars().any(acts), "{:x}", u32::from(character));
        }
    }

    #[test]
    fn what_is_too_long_is_cut_and_a_quotation_closed() {
        for (text, limit, expected) in [
            ("abcdef", 6, "abcdef"),
            ("abcdefg", 6, "abcde…"),
            ("a `bcd` e", 6, "a `b…`"),
            ("ab `cd`", 5, "ab …"),
            ("abc", 0, "…"),
            ("", 0, ""),
        ] {
            assert_eq!(shortened(text, limit), expected);
        }
        assert_eq!(fit(&"\u{1b}".repeat(1_000_000), 10), "\\u{1b}\\u{…");
        assert_eq!(clean(&"x".repeat(1000)).chars().count(), 160);
    }
}
