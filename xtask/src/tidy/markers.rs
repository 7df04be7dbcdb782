//! Unfinished work is finished or filed, not left in the text.

use super::finding::Finding;

/// Words that say "later". Each is written in two pieces, so that this file passes its own rule.
const WORDS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
/// Macros that do the same, without their `!`.
const MACROS: [&str; 3] = [
    concat!("to", "do"),
    concat!("unimpl", "emented"),
    concat!("d", "bg"),
];

/// Looks at the bare text, comments and strings included: a marker is no better for being quoted.
pub fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(marker) = marker(line) {
            let what = format!("leftover marker `{marker}`");
            findings.push(Finding::new(
                path,
                index + 1,
                what,
                "an issue, or the finished work,",
            ));
        }
    }
    findings
}

/// The first marker of a line.
fn marker(line: &str) -> Option<String> {
    let mut rest = line;
    while let Some(start) = rest.find(is_word) {
        rest = &rest[start..];
        let end = rest.find(|character| !is_word(character)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if WORDS.contains(&word) {
            return Some(word.to_owned());
        }
        if MACROS.contains(&word) && after.starts_with('!') {
            return Some(format!("{word}!"));
        }
        rest = after;
    }
    None
}

fn is_word(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::{MACROS, WORDS, check};

    #[test]
    fn every_marker_is_found_with_its_line() {
        for word in WORDS {
            for text in [
                format!("fine\n// {word}: later\n"),
                format!("fine\n# {word}(me)\n"),
                format!("fine\n{word}"),
            ] {
                let findings = check("notes.md", &text);
                assert_eq!(findings.len(), 1, "{text}");
                assert_eq!(findings[0].line, 2);
                assert!(findings[0].what.contains(word));
            }
        }
        for name in MACROS {
            let findings = check("x.rs", &format!("fn f() {{ {name}!() }}\n"));
            assert_eq!(findings.len(), 1, "{name}");
            assert!(findings[0].what.contains(&format!("{name}!")));
        }
    }

    #[test]
    fn longer_words_and_plain_words_pass() {
        let template = format!("mkstemp(\"/tmp/{}{}\")", WORDS[2], WORDS[2]);
        let list = format!("a {} list, the {} macro", MACROS[0], MACROS[2]);
        let name = format!("fn no_{}_here() {{ {}_all!() }}", MACROS[0], MACROS[0]);
        for text in [template, list, name] {
            assert_eq!(check("x.rs", &text), [], "{text}");
        }
    }
}
