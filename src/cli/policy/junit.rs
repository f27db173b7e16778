//! A report that CI servers read: the XML of `JUnit`. A few elements of text need no library for XML, which would be larger than all of this room.

use std::path::Path;

use super::cases::Tried;

/// The report of these files.
pub(super) fn report(suites: &[(&Path, &[Tried<'_>])]) -> String {
    let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"img-authz policy test\">\n".to_owned();
    for (path, tried) in suites {
        let name = escaped(&path.display().to_string());
        let failures = tried.iter().filter(|tried| !tried.wrong.is_empty()).count();
        xml.push_str(&format!("  <testsuite name=\"{name}\" tests=\"{}\" failures=\"{failures}\">\n", tried.len()));
        for tried in *tried {
            let (case, line) = (escaped(&tried.case.name), tried.case.position.line);
            xml.push_str(&format!("    <testcase classname=\"{name}\" name=\"{case}\" file=\"{name}\" line=\"{line}\""));
            match tried.wrong.split_first() {
                None => xml.push_str("/>\n"),
                Some((first, _)) => {
                    let all = escaped(&tried.wrong.join("\n"));
                    xml.push_str(&format!(">\n      <failure message=\"{}\">{all}</failure>\n    </testcase>\n", escaped(first)));
                }
            }
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

/// Text as it may stand in XML, in quotes too. What XML 1.0 has no way to write is replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(letter),
            '\u{fffe}' | '\u{ffff}' => out.push(char::REPLACEMENT_CHARACTER),
            _ if letter < ' ' => out.push(char::REPLACEMENT_CHARACTER),
            _ => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text_in_xml() {
        assert_eq!(escaped("a <b> & \"c\"\u{1b}[31m\n'd'"), "a &lt;b&gt; &amp; &quot;c&quot;\u{fffd}[31m\n'd'");
    }
}
