//! Rust text as tokens: just enough to tell code from comments, strings, characters and lifetimes.
//!
//! Never fails: text that is not Rust gives odd tokens, and the compiler will have said so before us. Not
//! here: grammar. The rules look at short runs of tokens.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A keyword or a name; a raw name without its `r#`.
    Word,
    /// One character of punctuation: `::` is two tokens.
    Symbol,
    /// A string, byte string, C string or character.
    Text,
    Number,
    Lifetime,
    /// With its `//` or `/*`.
    Comment,
}

/// A piece of the text, with the line on which it begins, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    pub kind: Kind,
    pub text: &'a str,
    pub line: usize,
}

impl Token<'_> {
    /// Whether this is the word or symbol `text`.
    pub fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Symbol) && self.text == text
    }

    /// The line on which it ends.
    pub fn last_line(&self) -> usize {
        self.line + self.text.matches('\n').count()
    }
}

/// Cuts `text` into tokens; white space is dropped.
pub fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let (kind, length) = next(rest, first);
        let (piece, after) = rest.split_at(length);
        if let Some(kind) = kind {
            let text = if kind == Kind::Word {
                piece.trim_start_matches("r#")
            } else {
                piece
            };
            tokens.push(Token { kind, text, line });
        }
        line += piece.matches('\n').count();
        rest = after;
    }
    tokens
}

/// Kind and length in bytes of the token at the start of `rest`; no kind for white space.
fn next(rest: &str, first: char) -> (Option<Kind>, usize) {
    if first.is_whitespace() {
        return (None, first.len_utf8());
    }
    if rest.starts_with("//") {
        return (Some(Kind::Comment), rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Some(Kind::Comment), block_comment(rest));
    }
    if let Some(length) = string(rest) {
        return (Some(Kind::Text), length);
    }
    if first == '\'' {
        return quote(rest);
    }
    if first.is_ascii_digit() {
        return (Some(Kind::Number), word(rest));
    }
    if let Some(name) = rest.strip_prefix("r#") {
        return (Some(Kind::Word), 2 + word(name));
    }
    if first == '_' || first.is_alphanumeric() {
        return (Some(Kind::Word), word(rest));
    }
    (Some(Kind::Symbol), first.len_utf8())
}

fn word(rest: &str) -> usize {
    rest.find(|character: char| character != '_' && !character.is_alphanumeric())
        .unwrap_or(rest.len())
}

/// Length of a block comment, which may hold others.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        let tail = &rest.as_bytes()[at..];
        if tail.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if tail.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// Length of the string that begins here, whatever its prefix: `"`, `b"`, `c"`, `r"`, `br#"`, ...
fn string(rest: &str) -> Option<usize> {
    let prefix = rest
        .find(|character| !matches!(character, 'b' | 'c' | 'r'))
        .filter(|&length| length <= 2)?;
    let after = &rest[prefix..];
    if !rest[..prefix].ends_with('r') {
        return after.starts_with('"').then(|| prefix + escaped(after, b'"'));
    }
    let hashes = after.find(|character| character != '#')?;
    if !after[hashes..].starts_with('"') {
        return None;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let body = prefix + hashes + 1;
    Some(
        rest[body..]
            .find(&end)
            .map_or(rest.len(), |length| body + length + end.len()),
    )
}

/// Length of text between quotes, with backslashes.
fn escaped(rest: &str, quote: u8) -> usize {
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A character or a lifetime: `'a'` and `'\n'` close after one character, `'a` does not close.
fn quote(rest: &str) -> (Option<Kind>, usize) {
    let mut characters = rest[1..].chars();
    match (characters.next(), characters.next()) {
        (Some('\\'), _) => (Some(Kind::Text), escaped(rest, b'\'')),
        (Some(inside), Some('\'')) => (Some(Kind::Text), 1 + inside.len_utf8() + 1),
        _ => (Some(Kind::Lifetime), 1 + word(&rest[1..])),
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, tokens};

    /// The words and symbols of `text`, joined by blanks.
    fn code(text: &str) -> String {
        let is_code = |kind| matches!(kind, Kind::Word | Kind::Symbol);
        let words: Vec<&str> = tokens(text)
            .iter()
            .filter(|token| is_code(token.kind))
            .map(|token| token.text)
            .collect();
        words.join(" ")
    }

    #[test]
    fn comments_and_strings_are_no_code() {
        assert_eq!(code("a // b\nc /* d /* e */ f */ g"), "a c g");
        assert_eq!(
            code(r##"a "b \" c" d r#"e " f"# g b"h" c"i" br"j\" k"##),
            "a d g k"
        );
        assert_eq!(code("a \"b // c\" d"), "a d");
    }

    #[test]
    fn lifetimes_are_not_unclosed_characters() {
        assert_eq!(
            code("fn f<'a>(x: &'a str) { '{'; '\\''; b'}' }"),
            "fn f < > ( x : & str ) { ; ; b }"
        );
    }

    #[test]
    fn words_that_only_look_like_prefixes_stay_words() {
        assert_eq!(code("b r c rb bc r#type crab br"), "b r c rb bc type crab br");
    }

    #[test]
    fn lines_are_counted_through_everything() {
        let text = "one\n/* two\nthree */ four\n\"five\nsix\"\nseven";
        let lines: Vec<(usize, usize)> = tokens(text)
            .iter()
            .map(|token| (token.line, token.last_line()))
            .collect();
        assert_eq!(lines, [(1, 1), (2, 3), (3, 3), (4, 5), (6, 6)]);
    }

    #[test]
    fn unclosed_and_strange_text_ends_at_its_end() {
        for text in [
            "\"open",
            "/* open",
            "r#\"open\"",
            "'",
            "'\\",
            "\"\\",
            "b'",
            "ü 'ü' \u{1f980}",
        ] {
            let total: usize = tokens(text).iter().map(|token| token.text.len()).sum();
            assert!(total <= text.len(), "{text}");
        }
    }
}
