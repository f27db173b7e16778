//! Text that becomes HTML. What is markup is written in this program ([`Html::raw`] takes nothing else); everything else is escaped, whoever
//! wrote it.

use jiff::{SignedDuration, Timestamp};

use crate::text::escaped;

/// HTML under way.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Markup of this program's own: text of others is never `'static`.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text, as it is to be read.
    pub(super) fn text(&mut self, text: impl AsRef<str>) -> &mut Self {
        for character in escaped(text.as_ref()).chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                other => self.0.push(other),
            }
        }
        self
    }

    /// A sentence: what stands in it between backticks is shown as code.
    pub(super) fn prose(&mut self, text: &str) -> &mut Self {
        let mut parts = text.split('`');
        self.text(parts.next().unwrap_or_default());
        while let Some(code) = parts.next() {
            match parts.next() {
                Some(behind) => self.raw("<code>").text(code).raw("</code>").text(behind),
                // One that is not closed.
                None => self.raw("`").text(code),
            };
        }
        self
    }

    /// A text of several lines, which stay.
    pub(super) fn lines(&mut self, text: &str) -> &mut Self {
        for line in text.lines() {
            self.text(line.replace('\t', "    ")).raw("\n");
        }
        self
    }

    /// A time, and how far it is from `now`.
    pub(super) fn time(&mut self, at: Timestamp, now: Timestamp) -> &mut Self {
        let whole = format!("{at:.0}");
        self.raw("<time datetime=\"")
            .text(&whole)
            .raw("\" title=\"")
            .text(&whole)
            .raw("\">")
            .text(distance(at, now))
            .raw("</time>")
    }

    pub(super) fn end(self) -> String {
        self.0
    }
}

/// `3 min ago`, `in 12 days`.
pub(crate) fn distance(at: Timestamp, now: Timestamp) -> String {
    let apart: SignedDuration = at.duration_since(now);
    let seconds = apart.unsigned_abs().as_secs();
    let told = match seconds {
        0..10 => return "now".to_owned(),
        10..100 => format!("{seconds} s"),
        100..6_000 => format!("{} min", seconds / 60),
        6_000..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    };
    if apart.is_negative() { format!("{told} ago") } else { format!("in {told}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_is_never_markup() {
        let mut html = Html::default();
        html.raw("<p title=\"").text("\"><script>alert('1')</script>&\u{202e}\0").raw("\">");
        assert_eq!(html.end(), "<p title=\"&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;\\u{202e}\\0\">");
        for (text, expected) in [
            ("a `<b>` c", "a <code>&lt;b&gt;</code> c"),
            ("`a` `b", "<code>a</code> `b"),
            ("``", "<code></code>"),
            ("`", "`"),
            ("", ""),
        ] {
            let mut html = Html::default();
            html.prose(text);
            assert_eq!(html.end(), expected);
        }
        let mut html = Html::default();
        html.lines("a <b>\n\tc");
        assert_eq!(html.end(), "a &lt;b&gt;\n    c\n");
    }

    #[test]
    fn times_are_told_by_how_far_they_are() {
        let now: Timestamp = "2030-01-02T00:00:00Z".parse().unwrap();
        for (at, told) in [
            ("2030-01-01T23:59:58Z", "now"),
            ("2030-01-01T23:59:20Z", "40 s ago"),
            ("2030-01-01T23:50:00Z", "10 min ago"),
            ("2030-01-02T05:00:00Z", "in 5 h"),
            ("2030-02-02T00:00:00Z", "in 31 days"),
        ] {
            assert_eq!(distance(at.parse().unwrap(), now), told);
        }
    }
}
