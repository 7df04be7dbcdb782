//! The picture of `shmeld ipc top`.

use clap::ValueEnum;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use shmeld::catalogue::{Object, State};

use super::ipc_ls::{columns, row};
use super::ipc_object::Reader;
use super::ipc_show_object;
use super::ipc_table::{Column, lines, name, right, wrapped};
use super::ipc_top_model::{Model, Page};
use super::ipc_top_sample::Server;
use crate::args_ipc_list::Sort;
use crate::values::show_size;

/// More servers than these are counted, and not shown.
const SERVERS_SHOWN: usize = 4;

const SERVER_COLUMNS: [Column; 7] = [
    name("SERVER", 8),
    right("SESSIONS", 2),
    right("BYTES/s", 1),
    right("FILES/s", 3),
    right("REQUESTS/s", 4),
    right("BYTES", 6),
    right("REFUSED", 5),
];

const HELP: [&str; 13] = [
    "up, down, page up, page down, home, end   move, here too",
    "enter       all about the selected object; escape leads back",
    "/           show only what has this text: address, owner, process, what it is",
    "escape      take the filter away; without one: quit",
    "s, S        sort by the next column, by the one before",
    "r           reverse the order",
    "t           only what is stale: ours, and whoever had it is dead",
    "m           only what is mine",
    "space       hold the picture; again: go on",
    "?           this help; any other key leads back",
    "Ctrl-L      look again, and draw all of it",
    "q           quit",
    "Rates are those since the last look. SESSIONS leaves this program out.",
];

/// Draws all of it, and tells the model how much of its list there was room for.
pub(super) fn draw(frame: &mut Frame<'_>, model: &mut Model) {
    let Rect { width, height, .. } = frame.area();
    let servers = servers(&model.servers, width.into(), height.into());
    let height = u16::try_from(servers.len()).unwrap_or(u16::MAX);
    let areas = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(height),
        Constraint::Min(1),
        Constraint::Length(1),
    ]);
    let [head, above, body, foot] = areas.areas(frame.area());
    let bar = Style::new().add_modifier(Modifier::REVERSED);
    frame.render_widget(Line::styled(header(model), bar).style(bar), head);
    let servers: Vec<Line<'_>> = servers.into_iter().map(Line::raw).collect();
    frame.render_widget(Paragraph::new(servers), above);
    match model.page {
        Page::List => list(frame, model, body),
        Page::Details(line) => model.page = Page::Details(text(frame, details(model), line, body)),
        Page::Help(line) => {
            let help = HELP.map(str::to_owned).to_vec();
            model.page = Page::Help(text(frame, help, line, body));
        }
    }
    frame.render_widget(Line::styled(footer(model), bar).style(bar), foot);
}

fn header(model: &Model) -> String {
    let stale = model
        .shown()
        .filter(|object| object.verdict.state == State::Stale)
        .count();
    let used: u64 = model
        .shown()
        .filter_map(|object| object.used_bytes)
        .fold(0, u64::saturating_add);
    let count = match (model.shown().count(), model.all()) {
        (shown, all) if shown == all => all.to_string(),
        (shown, all) => format!("{shown} of {all}"),
    };
    let order = Sort::to_possible_value(&model.wanted.sort);
    let order = order.as_ref().map_or("", |value| value.get_name());
    let back = if model.is_reversed { ", reversed" } else { "" };
    let mut text = if model.is_filled {
        format!(
            "shmeld ipc top: {count} objects, {} in use, {stale} stale; by {order}{back}",
            show_size(used)
        )
    } else {
        "shmeld ipc top: looking".to_owned()
    };
    if model.is_paused {
        text += "; PAUSED";
    }
    text
}

fn footer(model: &Model) -> String {
    if model.is_typing {
        return format!("filter: {}_", model.filter);
    }
    match model.page {
        Page::Details(_) => "escape back  up, down scroll  q quit".to_owned(),
        Page::Help(_) => "up, down scroll  any other key: back".to_owned(),
        Page::List if !model.filter.is_empty() => {
            format!("filter: {}  escape: all", model.filter)
        }
        Page::List if !model.sight.sees_all() => {
            "q quit  enter details  / filter  s sort  ? help  (some processes are hidden)".to_owned()
        }
        Page::List => {
            "q quit  enter details  / filter  s sort  r reverse  t stale  m mine  ? help".to_owned()
        }
    }
}

/// A heading and a line for each, in a third of the screen; nothing where none runs, or none fits.
fn servers(servers: &[Server], width: usize, height: usize) -> Vec<String> {
    const HEADING_AND_GAP: usize = 2;
    let room = (height / 3).saturating_sub(HEADING_AND_GAP);
    let shown = match servers.len() {
        all if all <= room.min(SERVERS_SHOWN) => all,
        // The last line says how many more there are.
        _ => room.saturating_sub(1).min(SERVERS_SHOWN),
    };
    if shown == 0 {
        return Vec::new();
    }
    let rows: Vec<Vec<String>> = servers.iter().take(shown).map(server).collect();
    let mut lines = lines(&SERVER_COLUMNS, &rows, Some(width));
    if let Some(more @ 1..) = servers.len().checked_sub(shown) {
        lines.push(format!("and {more} more: shmeld status --name NAME"));
    }
    lines.push(String::new());
    lines
}

fn server(server: &Server) -> Vec<String> {
    const UNKNOWN: &str = "-";
    let status = server.status.as_ref();
    let of_status = |text: &dyn Fn(&shmeld::file::ServerStatus) -> String| {
        status.map_or_else(|| UNKNOWN.to_owned(), text)
    };
    let rate = |value: Option<f64>| value.map_or_else(|| UNKNOWN.to_owned(), |value| format!("{value:.1}"));
    let bytes = server.rates.map(|rates| show_size(rates.bytes as u64));
    vec![
        server.name.clone(),
        status.map_or_else(|| "silent".to_owned(), |status| status.sessions.to_string()),
        bytes.unwrap_or_else(|| UNKNOWN.to_owned()),
        rate(server.rates.map(|rates| rates.files)),
        rate(server.rates.map(|rates| rates.requests)),
        of_status(&|status| show_size(status.bytes_total)),
        of_status(&|status| (status.refused_names_total + status.refused_regions_total).to_string()),
    ]
}

fn list(frame: &mut Frame<'_>, model: &mut Model, area: Rect) {
    let height = usize::from(area.height).saturating_sub(1);
    model.fit(height);
    let (top, cursor) = model.window();
    let page: Vec<&Object> = model.page().collect();
    let rows: Vec<Vec<String>> = page.iter().map(|object| row(object, Reader::Person)).collect();
    let text = lines(&columns(model.wanted.sort), &rows, Some(area.width.into()));
    let styled = text.into_iter().enumerate().map(|(index, line)| {
        let style = match index.checked_sub(1) {
            None => Style::new().add_modifier(Modifier::BOLD),
            Some(index) if top + index == cursor => Style::new().add_modifier(Modifier::REVERSED),
            Some(index) => of_state(page[index].verdict.state),
        };
        Line::styled(line, style)
    });
    frame.render_widget(Paragraph::new(styled.collect::<Vec<_>>()), area);
}

/// No colours: terminals have them in all shades, and some people do not see them.
fn of_state(state: State) -> Style {
    match state {
        State::Stale => Style::new().add_modifier(Modifier::BOLD),
        State::Live => Style::new(),
        State::Unheld | State::Unknown => Style::new().add_modifier(Modifier::DIM),
    }
}

fn details(model: &Model) -> Vec<String> {
    match model.selected() {
        Some(object) => ipc_show_object::rows(object)
            .into_iter()
            .map(|(name, value)| format!("{name:<12}{value}"))
            .collect(),
        None => vec!["It is gone.".to_owned()],
    }
}

/// A text from a line on, and which line that was: the last page is the end.
fn text(frame: &mut Frame<'_>, text: Vec<String>, line: usize, area: Rect) -> usize {
    let text: Vec<String> = text
        .iter()
        .flat_map(|line| wrapped(line, area.width.into()))
        .collect();
    let line = line.min(text.len().saturating_sub(area.height.into()));
    let shown: Vec<Line<'_>> = { text }.drain(line..).map(Line::raw).collect();
    frame.render_widget(Paragraph::new(shown), area);
    line
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::ipc_top_model::tests::everything;
    use super::super::ipc_top_sample::tests::a_status;
    use super::super::ipc_top_sample::{News, Rates};
    use super::*;

    fn picture(model: &mut Model, columns: u16, rows: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).expect("memory");
        terminal.draw(|frame| draw(frame, model)).expect("memory");
        let buffer = terminal.backend().buffer();
        let cells: Vec<&str> = buffer.content().iter().map(|cell| cell.symbol()).collect();
        cells.chunks(columns.into()).map(|line| line.concat()).collect()
    }

    fn with_servers(count: usize) -> Model {
        let mut model = Model::new(everything());
        let server = |number: usize| Server {
            name: format!("/frames-{number}"),
            status: Some(a_status(3 << 20, 12, 60)),
            rates: Some(Rates {
                bytes: 1_500_000.0,
                files: 3.25,
                requests: 4.0,
            }),
        };
        model.put(News::Servers((0..count).map(server).collect()));
        model
    }

    #[test]
    fn servers_are_shown_with_their_rates_in_80_columns() {
        let lines = picture(&mut with_servers(1), 80, 24);
        assert!(lines[0].starts_with("shmeld ipc top"), "{lines:#?}");
        let fields: Vec<&str> = lines[2].split_whitespace().collect();
        assert_eq!(fields[..5], ["/frames-0", "2", "1.4", "MiB", "3.2"]);
        assert!(lines[4].starts_with("STATE"), "{lines:#?}");
        assert!(lines[23].starts_with("q quit"), "{lines:#?}");
        let many = picture(&mut with_servers(9), 80, 24);
        assert!(many[6].starts_with("and 5 more"), "{many:#?}");
    }

    #[test]
    fn a_silent_server_is_there_without_numbers() {
        let mut model = with_servers(1);
        model.servers[0] = Server {
            status: None,
            rates: None,
            ..model.servers[0].clone()
        };
        let lines = picture(&mut model, 80, 24);
        assert!(
            lines[2].contains("silent") && lines[2].contains('-'),
            "{lines:#?}"
        );
    }

    /// Somebody makes the window tiny, or it has no size at all.
    #[test]
    fn no_size_of_a_terminal_is_too_small_to_draw() {
        for (columns, rows) in [(1, 1), (3, 2), (10, 5), (20, 40), (300, 3)] {
            for page in [Page::List, Page::Details(7), Page::Help(3)] {
                let mut model = with_servers(3);
                model.page = page;
                picture(&mut model, columns, rows);
            }
        }
    }

    /// In a small window the end of the help, and the verdict at the end of the details, could not be reached.
    #[test]
    fn the_end_of_every_text_can_be_reached_and_left_again() {
        for (columns, rows) in [(20, 5), (40, 10), (80, 24)] {
            let mut model = with_servers(2);
            model.page = Page::Help(usize::MAX);
            let last = picture(&mut model, columns, rows).join(" ");
            assert!(last.contains("out."), "{last}");
            let Page::Help(line) = model.page else {
                panic!("no help");
            };
            model.page = Page::Help(line.saturating_sub(1));
            let before = picture(&mut model, columns, rows).join(" ");
            assert_eq!(line > 0, before != last, "{columns}x{rows}");
        }
    }

    #[test]
    fn servers_leave_most_of_a_small_window_to_the_list() {
        for (rows, running, shown) in [(24, 2, 2), (12, 2, 2), (11, 2, 0), (9, 1, 1), (5, 1, 0)] {
            let lines = picture(&mut with_servers(running), 80, rows);
            let found = lines.iter().filter(|line| line.starts_with("/frames")).count();
            assert_eq!(found, shown, "{lines:#?}");
            assert!(lines.iter().any(|line| line.starts_with("STATE")), "{lines:#?}");
        }
        let lines = picture(&mut with_servers(9), 80, 12);
        assert!(lines[3].starts_with("and 8 more:"), "{lines:#?}");
    }
}
