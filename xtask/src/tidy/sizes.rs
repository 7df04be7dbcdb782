//! What fits in one sitting can be proved: limits on files, functions and lines, and no invisible ink.

use super::finding::Finding;
use super::lexer::{Kind, Token};
use super::source::Source;

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_COLUMNS_MAX: usize = 160;

pub fn check(source: &Source<'_>) -> Vec<Finding> {
    let mut findings = file_length(source);
    findings.extend(function_lengths(source));
    findings.extend(lines(source));
    findings
}

fn file_length(source: &Source<'_>) -> Vec<Finding> {
    let lines = source.text.lines().count();
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    let what = format!("file of {lines} lines");
    vec![source.finding(
        FILE_LINES_MAX + 1,
        what,
        format!("a file for each noun, of at most {FILE_LINES_MAX} lines,"),
    )]
}

fn function_lengths(source: &Source<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (at, token) in source.code.iter().enumerate() {
        // `fn` before a parenthesis is a pointer type.
        let Some(name) = source
            .code
            .get(at + 1)
            .filter(|next| token.is("fn") && next.kind == Kind::Word)
        else {
            continue;
        };
        let lines = end_of_function(&source.code[at..]).map_or(0, |end| end - token.line + 1);
        if lines > FUNCTION_LINES_MAX {
            let what = format!("function `{}` of {lines} lines", name.text);
            let instead =
                format!("functions of at most {FUNCTION_LINES_MAX} lines, each with a name of its own,");
            findings.push(source.finding(token.line, what, instead));
        }
    }
    findings
}

/// The line of the brace that closes the function whose `fn` comes first; `None` if it has no body.
fn end_of_function(code: &[Token<'_>]) -> Option<usize> {
    // Parentheses and brackets of the signature may hold braces and semicolons: `[u8; { N }]`.
    let mut nested = 0_usize;
    let mut braces = 0_usize;
    for token in code.iter().filter(|token| token.kind == Kind::Symbol) {
        match token.text {
            "(" | "[" => nested += 1,
            ")" | "]" => nested = nested.saturating_sub(1),
            ";" if nested == 0 && braces == 0 => return None,
            "{" if nested == 0 || braces > 0 => braces += 1,
            "}" if braces > 0 => {
                braces -= 1;
                if braces == 0 {
                    return Some(token.line);
                }
            }
            _ => {}
        }
    }
    None
}

fn lines(source: &Source<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, text) in source.text.split('\n').enumerate() {
        let line = index + 1;
        let columns = text.chars().count();
        if columns > LINE_COLUMNS_MAX {
            let what = format!("line of {columns} columns");
            findings.push(source.finding(line, what, format!("lines of at most {LINE_COLUMNS_MAX} columns")));
        }
        if text.ends_with(char::is_whitespace) {
            findings.push(source.finding(
                line,
                "white space at the end of the line",
                "a line that ends with its last word",
            ));
        }
        if text.trim_end().contains('\t') {
            findings.push(source.finding(line, "a tab", "four blanks, or `\\t` in a string,"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::source::Source;
    use super::check;

    fn complaints(text: &str) -> Vec<String> {
        check(&Source::new("crates/shmeld/src/x.rs", text))
            .into_iter()
            .map(|finding| finding.what)
            .collect()
    }

    /// A function of `lines` lines, signature and closing brace included.
    fn function(head: &str, lines: usize) -> String {
        format!("{head} {{\n{}}}\n", "    work();\n".repeat(lines - 2))
    }

    #[test]
    fn file_may_have_400_lines_and_not_one_more() {
        assert_eq!(complaints(&"// line\n".repeat(400)), [""; 0]);
        assert_eq!(complaints(&"// line\n".repeat(401)), ["file of 401 lines"]);
    }

    #[test]
    fn function_may_have_70_lines_and_not_one_more() {
        assert_eq!(complaints(&function("pub fn long()", 70)), [""; 0]);
        for head in [
            "fn long()",
            "pub(crate) const unsafe fn long()",
            "async fn long<'a>(x: &'a [u8; { 3 }]) -> [u8; 2]",
        ] {
            assert_eq!(
                complaints(&function(head, 71)),
                ["function `long` of 71 lines"],
                "{head}"
            );
        }
    }

    #[test]
    fn test_functions_and_nested_ones_are_measured_too() {
        let inner = function("#[test]\nfn inner()", 71);
        assert_eq!(
            complaints(&format!("mod tests {{\n{inner}}}\n")),
            ["function `inner` of 71 lines"]
        );
        let outer = complaints(&format!("fn outer() {{\n{inner}}}\n"));
        assert_eq!(
            outer,
            ["function `outer` of 74 lines", "function `inner` of 71 lines"]
        );
    }

    #[test]
    fn braces_in_strings_and_comments_do_not_count() {
        let text = format!(
            "{}{}",
            "fn f() {\n    g(\"{\"); // {\n    h('{');\n}\n",
            "// far\n".repeat(80)
        );
        assert_eq!(complaints(&text), [""; 0]);
    }

    #[test]
    fn signatures_without_body_and_pointer_types_have_no_length() {
        let text = format!(
            "trait T {{\n    fn f(x: [u8; 3]);\n}}\ntype P = fn(u8);\n{}",
            "// far\n".repeat(80)
        );
        assert_eq!(complaints(&text), [""; 0]);
    }

    #[test]
    fn line_may_have_160_columns_and_not_one_more() {
        assert_eq!(complaints(&"é".repeat(160)), [""; 0]);
        assert_eq!(complaints(&"é".repeat(161)), ["line of 161 columns"]);
    }

    #[test]
    fn white_space_at_the_end_and_tabs_are_found() {
        assert_eq!(complaints("a \n"), ["white space at the end of the line"]);
        assert_eq!(complaints("a\r\n"), ["white space at the end of the line"]);
        assert_eq!(complaints("a\t\n"), ["white space at the end of the line"]);
        assert_eq!(complaints("\ta\n"), ["a tab"]);
        assert_eq!(complaints("    a\n\n"), [""; 0]);
    }
}
