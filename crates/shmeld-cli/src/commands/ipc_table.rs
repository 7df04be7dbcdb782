//! Rows of text as a table: padded and cut to a terminal, or with tabs for programs. Pure.

use ratatui::text::Span;

/// A column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) heading: &'static str,
    is_right: bool,
    /// It may be cut down to so many columns of the terminal where that is narrow.
    least: Option<usize>,
    /// Names differ at their ends as often as at their beginnings: they lose their middle, other text its end.
    keeps_end: bool,
    /// Where cutting is not enough, columns are left out: the largest number first, 0 never.
    rank: u8,
}

impl Column {
    const fn new(heading: &'static str, rank: u8) -> Self {
        Self {
            heading,
            is_right: false,
            least: None,
            keeps_end: false,
            rank,
        }
    }

    /// It is the last to be left out.
    pub(super) fn kept(self) -> Self {
        Self {
            rank: self.rank.min(1),
            ..self
        }
    }

    /// Numbers stand at the right.
    const fn at_the_right(self) -> Self {
        Self {
            is_right: true,
            ..self
        }
    }

    /// It may be cut.
    pub(super) const fn cut(self, least: usize) -> Self {
        Self {
            least: Some(least),
            ..self
        }
    }
}

pub(super) const fn left(heading: &'static str, rank: u8) -> Column {
    Column::new(heading, rank)
}

pub(super) const fn right(heading: &'static str, rank: u8) -> Column {
    Column::new(heading, rank).at_the_right()
}

/// Names: they are never left out.
pub(super) const fn name(heading: &'static str, least: usize) -> Column {
    Column {
        keeps_end: true,
        ..Column::new(heading, 0).cut(least)
    }
}

/// The rank of a column that is there only where no name has to be cut for it.
pub(super) const SPARE: u8 = 9;

/// Between two columns.
const GAP: usize = 2;

/// One line for the headings and one for each row, the last column not padded. `width` is that of the terminal, and no line is wider; without
/// one nothing is cut, left out or padded, and a tab stands between two fields.
pub(super) fn lines(columns: &[Column], rows: &[Vec<String>], width: Option<usize>) -> Vec<String> {
    let headings: Vec<String> = columns.iter().map(|column| column.heading.to_owned()).collect();
    let all = std::iter::once(&headings).chain(rows);
    let Some(width) = width else {
        return all.map(|row| row.join("\t")).collect();
    };
    let mut natural: Vec<usize> = columns.iter().map(|_| 0).collect();
    for row in all.clone() {
        for (widest, field) in natural.iter_mut().zip(row) {
            *widest = (*widest).max(columns_of(field));
        }
    }
    let fields = fitted(columns, &natural, width);
    all.map(|row| shortened(&line(columns, row, &fields), width, false))
        .collect()
}

/// Which columns there is room for, by their places, and how wide each is.
fn fitted(columns: &[Column], natural: &[usize], width: usize) -> Vec<(usize, usize)> {
    let mut shown: Vec<(usize, usize)> = natural.iter().copied().enumerate().collect();
    loop {
        for field in &mut shown {
            field.1 = natural[field.0];
        }
        // From the last column on, each gives what it can.
        for place in (0..shown.len()).rev() {
            let (index, natural) = shown[place];
            if let (Some(least), Some(too_much @ 1..)) =
                (columns[index].least, total(&shown).checked_sub(width))
            {
                shown[place].1 = natural.saturating_sub(too_much).max(least.min(natural));
            }
        }
        let is_too_wide = total(&shown) > width;
        let is_name_cut = shown
            .iter()
            .any(|(index, width)| columns[*index].keeps_end && *width < natural[*index]);
        let first = shown
            .iter()
            .enumerate()
            .max_by_key(|(_, field)| columns[field.0].rank);
        match first {
            Some((place, (index, _)))
                if columns[*index].rank > 0
                    && (is_too_wide || is_name_cut && columns[*index].rank == SPARE) =>
            {
                shown.remove(place);
            }
            _ => return shown,
        }
    }
}

fn total(shown: &[(usize, usize)]) -> usize {
    shown.iter().map(|(_, width)| width).sum::<usize>() + GAP * shown.len().saturating_sub(1)
}

fn line(columns: &[Column], row: &[String], fields: &[(usize, usize)]) -> String {
    let mut text = String::new();
    for (place, (index, width)) in fields.iter().enumerate() {
        let column = &columns[*index];
        let field = shortened(&row[*index], *width, column.keeps_end);
        let padding = " ".repeat(width.saturating_sub(columns_of(&field)));
        if place > 0 {
            text.push_str(&" ".repeat(GAP));
        }
        let (first, second) = if column.is_right {
            (&padding, &field)
        } else {
            (&field, &padding)
        };
        text.push_str(first);
        text.push_str(second);
    }
    text.truncate(text.trim_end().len());
    text
}

/// How many columns of a terminal a text takes: some characters take two, some none.
fn columns_of(text: &str) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    Span::raw(text).width()
}

/// A text that is too wide loses its end, or its middle.
fn shortened(text: &str, width: usize, keeps_end: bool) -> String {
    if columns_of(text) <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let tail_width = if keeps_end { kept / 2 } else { 0 };
    let head: String = fitting(text.chars(), kept - tail_width);
    let tail: String = fitting(text.chars().rev(), tail_width);
    let tail: String = tail.chars().rev().collect();
    let sign = if width > 0 { "…" } else { "" };
    format!("{head}{sign}{tail}")
}

/// A line as several that fit, broken between words where there are any.
pub(super) fn wrapped(line: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = line;
    while columns_of(rest) > width {
        let fits = fitting(rest.chars(), width).len();
        let is_whole_word = rest[fits..].starts_with(' ');
        let word = rest[..fits].rfind(' ').filter(|_| !is_whole_word);
        // A character at least, or it would never end.
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let (head, tail) = rest.split_at(word.unwrap_or(fits).max(first));
        lines.push(head.trim_end().to_owned());
        rest = tail.trim_start();
    }
    lines.push(rest.to_owned());
    lines
}

/// The first characters that fit.
fn fitting(characters: impl Iterator<Item = char>, width: usize) -> String {
    let mut left = width;
    let fits = |character: &char| {
        let taken = columns_of(character.encode_utf8(&mut [0; 4]));
        let fits = taken <= left;
        left = left.saturating_sub(taken);
        fits
    };
    characters.take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 3] = [name("NAME", 6), right("SIZE", 2), left("WHAT", 3).cut(4)];

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

    /// Sets of semaphores with large values made lines of 115 columns on a terminal of 80: only some columns could give way.
    #[test]
    fn no_line_is_wider_than_its_terminal_whatever_is_in_it() {
        let mut rows = rows();
        rows.push(vec![
            "日本語の名前".to_owned(),
            "9".repeat(40),
            "\u{301}x".repeat(30),
        ]);
        for width in 0..100 {
            for line in lines(&COLUMNS, &rows, Some(width)) {
                assert!(columns_of(&line) <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn what_matters_least_gives_way_first() {
        assert_eq!(
            lines(&COLUMNS, &rows(), Some(30))[1],
            "posix:/…ng-name     12 B  som…"
        );
        assert_eq!(
            lines(&COLUMNS, &rows(), Some(20)),
            [
                "NAME            SIZE",
                "posix…-name     12 B",
                "mq:/b        1.0 KiB"
            ]
        );
        assert_eq!(lines(&COLUMNS, &rows(), Some(12))[1], "posix:…-name");
        let kept = [COLUMNS[0], COLUMNS[1], COLUMNS[2].kept()];
        assert!(lines(&kept, &rows(), Some(14))[0].contains("WHAT"));
    }

    #[test]
    fn a_spare_column_takes_nothing_of_a_name() {
        let columns = [COLUMNS[0], right("SIZE", SPARE)];
        assert_eq!(
            lines(&columns, &rows(), Some(27))[1],
            "posix:/a-long-name     12 B"
        );
        assert_eq!(lines(&columns, &rows(), Some(26))[1], "posix:/a-long-name");
        let kept = [columns[0], columns[1].kept()];
        assert_eq!(lines(&kept, &rows(), Some(26))[1], "posix:/a…ong-name     12 B");
    }

    #[test]
    fn names_lose_their_middle_and_other_text_its_end() {
        assert_eq!(shortened("posix:/a-long-name", 6, true), "pos…me");
        assert_eq!(shortened("server /frames", 9, false), "server /…");
        assert_eq!(shortened("abc", 3, true), "abc");
        assert_eq!(shortened("grünes", 4, true), "gr…s");
        // Two columns each: what does not fit by half is left out.
        assert_eq!(shortened("日本語", 5, true), "日…語");
        assert_eq!(shortened("日本語", 4, true), "日…");
        assert_eq!(
            (shortened("abc", 1, true), shortened("abc", 0, true)),
            ("…".to_owned(), String::new())
        );
    }

    #[test]
    fn text_is_broken_between_words_and_nothing_of_it_is_lost() {
        assert_eq!(
            wrapped("state       live: it is", 17),
            ["state       live:", "it is"]
                .map(|line| line.to_owned())
                .to_vec()
        );
        assert_eq!(wrapped("abcdef", 4), ["abcd", "ef"]);
        assert_eq!(wrapped("日本語", 3), ["日", "本", "語"]);
        for width in 0..12 {
            let lines = wrapped("日本 words-and words", width);
            let letters = |text: &str| text.replace(' ', "");
            assert_eq!(letters(&lines.concat()), letters("日本 words-and words"));
            assert!(
                lines.iter().all(|line| columns_of(line) <= width.max(2)),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn wide_characters_are_padded_by_what_they_take() {
        let rows = vec![vec!["日本".to_owned(), "1".to_owned(), "x".to_owned()]];
        assert_eq!(lines(&COLUMNS, &rows, Some(80))[1], "日本     1  x");
    }
}
