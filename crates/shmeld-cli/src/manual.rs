//! A command as a page of the manual: what the definitions say of its options, and what stands below them in the long help as sections.
//!
//! Not here: the words (`args*.rs`, `help.rs`), and where pages go (`commands/documents.rs`).

use std::io::{Result, Write};

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// The programs, each with a page.
const PROGRAMS: [&str; 3] = ["shmeld", "shm_server", "shm_client"];
/// What the kernel's side of it is called.
const KERNEL: [&str; 4] = [
    "mq_overview(7)",
    "sem_overview(7)",
    "shm_overview(7)",
    "sysvipc(7)",
];

/// A part of what stands below the options: its heading as people write it, and what it holds.
#[derive(Debug, PartialEq, Eq)]
struct Section<'a> {
    heading: &'a str,
    items: Vec<Item<'a>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Item<'a> {
    /// A command, a code, an address or a column, and what it is for, which may be nothing.
    Entry(&'a str, String),
    Paragraph(String),
}

/// Writes the page of a command that was built.
/// # Errors
/// What `to` says.
pub fn write_page(command: &Command, to: &mut dyn Write) -> Result<()> {
    let version = command.get_version().unwrap_or(env!("CARGO_PKG_VERSION"));
    // A page knows its version and no date; were that empty, the version would be taken for it.
    let page = Man::new(command.clone())
        .date(" ")
        .source(format!("shmeld {version}"));
    page.render_title(to)?;
    page.render_name_section(to)?;
    synopsis(command).to_writer(to)?;
    page.render_description_section(to)?;
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        page.render_options_section(to)?;
    }
    if command.get_subcommands().any(|below| !below.is_hide_set()) {
        page.render_subcommands_section(to)?;
    }
    let below = command.get_after_long_help().map(ToString::to_string);
    let mut sections = sections(below.as_deref().unwrap_or_default());
    sections.sort_by_key(|section| place(section.heading));
    for section in &sections {
        rendered(section).to_writer(to)?;
    }
    see_also(&page_name(command)).to_writer(to)
}

/// The name of a command's page, without the number of its part of the manual.
pub fn page_name(command: &Command) -> String {
    command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
        .to_owned()
}

/// How the command is written: its name, whether it has options, and its arguments.
fn synopsis(command: &Command) -> Roff {
    let usage = command.clone().term_width(0).render_usage().to_string();
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let mut page = Roff::new();
    page.control("SH", ["SYNOPSIS"]);
    for line in usage.trim_start_matches("Usage:").lines().map(str::trim) {
        let rest = line.strip_prefix(name).unwrap_or(line);
        page.text([bold(name), roman(rest)]);
        page.control("br", []);
    }
    page
}

/// The sections of the text below the options. A line without a blank before it that ends with a colon is a heading; other such lines are
/// paragraphs. Two blanks begin an entry, of which two blanks or more end the first part; what is further in belongs to the entry before.
fn sections(text: &str) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    let mut is_after_blank = true;
    for line in text.lines() {
        let words = line.trim();
        let blanks = line.len() - line.trim_start().len();
        if let (0, true, Some(heading)) = (blanks, is_after_blank, words.strip_suffix(':')) {
            let items = Vec::new();
            sections.push(Section { heading, items });
        } else if let Some(section) = sections.last_mut().filter(|_| !words.is_empty()) {
            add(&mut section.items, words, blanks, is_after_blank);
        }
        is_after_blank = words.is_empty();
    }
    sections
}

fn add<'a>(items: &mut Vec<Item<'a>>, words: &'a str, blanks: usize, is_after_blank: bool) {
    match (blanks, items.last_mut()) {
        (0, Some(Item::Paragraph(text))) if !is_after_blank => join(text, words),
        (0, _) => items.push(Item::Paragraph(words.to_owned())),
        (3.., Some(Item::Entry(_, text))) => join(text, words),
        _ => {
            let (first, text) = words.split_once("  ").unwrap_or((words, ""));
            items.push(Item::Entry(first, text.trim_start().to_owned()));
        }
    }
}

fn join(text: &mut String, words: &str) {
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(words);
}

/// The order that readers of manuals expect.
fn place(heading: &str) -> usize {
    match heading {
        "Examples" => 2,
        "Exit codes" => 1,
        _ => 0,
    }
}

fn rendered(section: &Section<'_>) -> Roff {
    let heading = match section.heading {
        "Exit codes" => "EXIT STATUS".to_owned(),
        other => other.split(',').next().unwrap_or(other).to_uppercase(),
    };
    let mut page = Roff::new();
    page.control("SH", [heading.as_str()]);
    for item in &section.items {
        match item {
            Item::Entry(first, text) => {
                page.control("TP", []);
                page.text([bold(*first)]);
                if !text.is_empty() {
                    page.text([roman(text)]);
                }
            }
            Item::Paragraph(text) => {
                page.control("PP", []);
                page.text([roman(text)]);
            }
        }
    }
    page
}

/// The pages above this one, the other programs, the kernel's side, and where the documents are.
fn see_also(name: &str) -> Roff {
    let above = name.match_indices('-').map(|(end, _)| &name[..end]);
    let programs = PROGRAMS.into_iter().filter(|program| *program != name);
    let mut pages: Vec<String> = Vec::new();
    for page in above.chain(programs).map(|page| format!("{page}(1)")) {
        if !pages.contains(&page) {
            pages.push(page);
        }
    }
    pages.extend(KERNEL.map(str::to_owned));
    let mut page = Roff::new();
    page.control("SH", ["SEE ALSO"]);
    page.text([roman(pages.join(", "))]);
    page.control("PP", []);
    page.text([roman(format!(
        "Tutorial, protocol, limits, security: {}",
        env!("CARGO_PKG_REPOSITORY")
    ))]);
    page
}

#[cfg(test)]
mod tests {
    use super::{Item, Section, sections, write_page};
    use clap::CommandFactory;

    use crate::args::Shmeld;

    fn entry<'a>(first: &'a str, text: &str) -> Item<'a> {
        Item::Entry(first, text.to_owned())
    }

    #[test]
    fn text_below_the_options_comes_apart_into_entries_and_paragraphs() {
        let text = "Addresses, as shown:\n  posix:/name\n  sysv:0xKEY    a key,\n                also decimal\n\n\
                    Others:\nare\nhidden:\n";
        let expected = [
            Section {
                heading: "Addresses, as shown",
                items: vec![
                    entry("posix:/name", ""),
                    entry("sysv:0xKEY", "a key, also decimal"),
                ],
            },
            Section {
                heading: "Others",
                items: vec![Item::Paragraph("are hidden:".to_owned())],
            },
        ];
        assert_eq!(sections(text), expected);
    }

    /// Once the long help's end was one paragraph, EXTRA, in which each example ran into the next.
    #[test]
    fn page_has_the_sections_of_manuals_and_each_example_for_itself() {
        let mut root = Shmeld::command();
        root.build();
        let get = root.find_subcommand("get").expect("a command");
        let mut page = Vec::new();
        write_page(get, &mut page).expect("a vector takes all");
        let page = String::from_utf8(page).expect("text");
        let headings: Vec<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix(".SH "))
            .collect();
        let end = ["\"EXIT STATUS\"", "EXAMPLES", "\"SEE ALSO\""];
        assert!(
            headings.ends_with(&end) && !headings.contains(&"EXTRA"),
            "{headings:?}"
        );
        assert!(
            page.contains(".TP\n\\fBshmeld get \\-o \\- notes.txt\\fR\nprint a file\n"),
            "{page}"
        );
        assert!(
            page.contains(".TP\n\\fB129, 130, 143\\fR\nended by a signal\n"),
            "{page}"
        );
        assert!(
            page.contains("\\fBshmeld get\\fR [OPTIONS] [NAMES]...\n"),
            "{page}"
        );
        let footer = format!("1 \" \" \"shmeld {}\"", env!("CARGO_PKG_VERSION"));
        assert!(page.contains(&footer) && page.contains("shm_client(1)"), "{page}");
    }
}
