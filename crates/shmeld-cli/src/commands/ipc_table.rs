//! Rows of text as a table: padded and cut to a terminal, or with tabs for programs. Pure.

/// A column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) heading: &'static str,
    pub(super) is_right: bool,
    /// It may be cut down to so many characters where the terminal is narrow.
    pub(super) least: Option<usize>,
}

pub(super) const fn left(heading: &'static str) -> Column {
    Column {
        heading,
        is_right: false,
        least: None,
    }
}

pub(super) const fn right(heading: &'static str) -> Column {
    Column {
        is_right: true,
        ..left(heading)
    }
}

pub(super) const fn cut(heading: &'static str, least: usize) -> Column {
    Column {
        least: Some(least),
        ..left(heading)
    }
}

/// Between two columns.
const GAP: usize = 2;

/// One line for the headings and one for each row, the last column not padded. `width` is that of the terminal; without one nothing is cut
/// and nothing padded, and a tab stands between two fields.
pub(super) fn lines(columns: &[Column], rows: &[Vec<String>], width: Option<usize>) -> Vec<String> {
    let headings: Vec<String> = columns.iter().map(|column| column.heading.to_owned()).collect();
    let all = std::iter::once(&headings).chain(rows);
    let Some(width) = width else {
        return all.map(|row| row.join("\t")).collect();
    };
    let widths = widths(columns, &headings, rows, width);
    all.map(|row| line(columns, row, &widths)).collect()
}

fn widths(columns: &[Column], headings: &[String], rows: &[Vec<String>], width: usize) -> Vec<usize> {
    let mut widths: Vec<usize> = headings.iter().map(|heading| heading.chars().count()).collect();
    for row in rows {
        for (width, field) in widths.iter_mut().zip(row) {
            *width = (*width).max(field.chars().count());
        }
    }
    // From the last column on, each gives what it can.
    for (index, column) in columns.iter().enumerate().rev() {
        let total: usize = widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
        if let (Some(least), Some(too_much @ 1..)) = (column.least, total.checked_sub(width)) {
            widths[index] = widths[index]
                .saturating_sub(too_much)
                .max(least.min(widths[index]));
        }
    }
    widths
}

fn line(columns: &[Column], row: &[String], widths: &[usize]) -> String {
    let mut text = String::new();
    for ((column, field), width) in columns.iter().zip(row).zip(widths) {
        if !text.is_empty() {
            text.push_str("  ");
        }
        let field = shortened(field, *width);
        if column.is_right {
            text.push_str(&format!("{field:>width$}"));
        } else {
            text.push_str(&format!("{field:<width$}"));
        }
    }
    text.truncate(text.trim_end().len());
    text
}

/// A field that is too long loses its middle: names differ at their ends as often as at their beginnings.
fn shortened(field: &str, width: usize) -> String {
    let characters: Vec<char> = field.chars().collect();
    if characters.len() <= width {
        return field.to_owned();
    }
    let kept = width.saturating_sub(1);
    let (head, tail) = (kept - kept / 2, kept / 2);
    let head: String = characters[..head].iter().collect();
    let tail: String = characters[characters.len() - tail..].iter().collect();
    format!("{head}…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [cut("NAME", 6), right("SIZE"), cut("WHAT", 4)];

    fn rows() -> Vec<Vec<String>> {
        let row = |fields: [&str; 3]| fields.map(str::to_owned).to_vec();
        vec![
            row(["posix:/a-long-name", "12 B", "something long"]),
            row(["mq:/b", "1.0 KiB", "-"]),
        ]
    }

    #[test]
    fn a_program_gets_whole_fields_with_tabs() {
        assert_eq!(
            lines(&COLUMNS, &rows(), None),
            [
                "NAME\tSIZE\tWHAT",
                "posix:/a-long-name\t12 B\tsomething long",
                "mq:/b\t1.0 KiB\t-",
            ]
        );
    }

    #[test]
    fn a_wide_terminal_gets_columns() {
        assert_eq!(
            lines(&COLUMNS, &rows(), Some(80)),
            [
                "NAME                   SIZE  WHAT",
                "posix:/a-long-name     12 B  something long",
                "mq:/b               1.0 KiB  -",
            ]
        );
    }

    #[test]
    fn a_narrow_terminal_gets_less_of_what_can_be_cut_and_never_a_longer_line() {
        for width in 21..60 {
            for line in lines(&COLUMNS, &rows(), Some(width)) {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
        let narrow = lines(&COLUMNS, &rows(), Some(30));
        assert_eq!(
            narrow[1],
            "posix:…ng-name     12 B  so…g".replace("posix:…ng-name", &shortened("posix:/a-long-name", 15))
        );
        assert_eq!(shortened("posix:/a-long-name", 6), "pos…me");
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("grünes", 4), "gr…s");
    }
}
