//! Each row of a table has as many cells as the table's head: what is more is not shown, so that it is lost unseen.

use super::finding::Finding;

/// Looks at a document in Markdown.
pub fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut head = None;
    let mut is_code = false;
    for (index, line) in text.lines().enumerate() {
        is_code ^= line.trim_start().starts_with("```");
        let count = (!is_code && line.starts_with('|')).then(|| cells(line));
        match (head, count) {
            (Some(wanted), Some(found)) if wanted != found => {
                let what = format!("a row of {found} cells in a table of {wanted}");
                findings.push(Finding::new(path, index + 1, what, "a cell for each column"));
            }
            (None, Some(_)) | (Some(_), None) => head = count,
            _ => {}
        }
    }
    findings
}

/// How many cells a row has. A bar behind a backslash is a character like any other.
fn cells(line: &str) -> usize {
    let bars = line.matches('|').count() - line.matches("\\|").count();
    bars.saturating_sub(usize::from(line.trim_end().ends_with('|')))
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_cell_too_many_or_too_few_is_found_with_its_line() {
        let text = "| a | b |\n|---|---|\n| 1 | 2 |\n| 1 | 2 | 3 |\n| 1 |\n\n| one |\n|---|\n| 1 |\n";
        let lines: Vec<usize> = check("a.md", text).iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [4, 5]);
    }

    #[test]
    fn bars_in_code_and_behind_a_backslash_are_no_cells() {
        let text = "| a | b |\n|---|---|\n| `x \\| y` | 2 |\n\n```\n| a | b |\n| c |\n```\n";
        assert!(check("a.md", text).is_empty());
    }
}
