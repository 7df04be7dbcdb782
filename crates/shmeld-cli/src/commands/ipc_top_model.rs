//! What `shmeld ipc top` shows and what keys do to it. Pure: no terminal, no clock, no system call.

use clap::ValueEnum;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use shmeld::catalogue::{Object, Place, Sight, Snapshot};
use shmeld::os::name::escape;

use super::ipc_ls::{self, row};
use super::ipc_object::Reader;
use super::ipc_top_sample::{News, Server};
use crate::args_ipc_list::{Sort, WhichArgs};

/// What fills the screen below the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    List,
    /// All about the selected one, from this line on.
    Details(usize),
    /// From this line on.
    Help(usize),
}

/// What the program is to do about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Stay,
    Renew,
    Stop,
    Quit,
    Interrupt,
}

/// See the module.
pub(super) struct Model {
    objects: Vec<Object>,
    /// Which of them are shown, by their places in that list.
    order: Vec<usize>,
    pub(super) sight: Sight,
    pub(super) servers: Vec<Server>,
    /// Something has been fetched.
    pub(super) is_filled: bool,
    /// Kinds and states that were asked for, and the order.
    pub(super) wanted: WhichArgs,
    pub(super) is_reversed: bool,
    pub(super) filter: String,
    /// Keys go into the filter.
    pub(super) is_typing: bool,
    pub(super) is_paused: bool,
    pub(super) page: Page,
    selected: Option<Place>,
    cursor: usize,
    top: usize,
    /// Lines of the list that were on the screen at last.
    pub(super) height: usize,
}

impl Model {
    pub(super) fn new(wanted: WhichArgs) -> Self {
        Self {
            objects: Vec::new(),
            order: Vec::new(),
            sight: Sight::default(),
            servers: Vec::new(),
            is_filled: false,
            wanted,
            is_reversed: false,
            filter: String::new(),
            is_typing: false,
            is_paused: false,
            page: Page::List,
            selected: None,
            cursor: 0,
            top: 0,
            height: 1,
        }
    }

    /// Takes up what was fetched, unless the user wants to read what is there.
    pub(super) fn put(&mut self, news: News) {
        if self.is_paused {
            return;
        }
        match news {
            News::Objects(Snapshot { objects, sight }) => {
                (self.objects, self.sight) = (objects, sight);
                self.is_filled = true;
            }
            News::Servers(servers) => self.servers = servers,
        }
        self.refresh();
    }

    /// How many there are, wanted or not.
    pub(super) fn all(&self) -> usize {
        self.objects.len()
    }

    /// What is wanted and passes the filter, in order.
    pub(super) fn shown(&self) -> impl Iterator<Item = &Object> {
        self.order.iter().filter_map(|index| self.objects.get(*index))
    }

    /// As much of it as is on the screen.
    pub(super) fn page(&self) -> impl Iterator<Item = &Object> {
        self.shown().skip(self.top).take(self.height)
    }

    /// Finds anew what is wanted and passes the filter, and its order. Not for each picture: there can be thousands.
    fn refresh(&mut self) {
        let needle = self.filter.to_lowercase();
        let is_shown = |object: &Object| {
            ipc_ls::is_wanted(object, &self.wanted, false) && (needle.is_empty() || has(object, &needle))
        };
        let mut order: Vec<(usize, &Object)> = self.objects.iter().enumerate().collect();
        order.retain(|(_, object)| is_shown(object));
        ipc_ls::sort(&mut order, self.wanted.sort, |(_, object)| object);
        if self.is_reversed {
            order.reverse();
        }
        self.order = order.into_iter().map(|(index, _)| index).collect();
        self.follow();
    }

    /// The one that the cursor is on.
    pub(super) fn selected(&self) -> Option<&Object> {
        let place = self.selected.as_ref()?;
        self.objects.iter().find(|object| object.place == *place)
    }

    /// The first line of the list on the screen, and the line of the cursor.
    pub(super) fn window(&self) -> (usize, usize) {
        (self.top, self.cursor)
    }

    fn place(&self, line: usize) -> Option<&Place> {
        let index = self.order.get(line)?;
        self.objects.get(*index).map(|object| &object.place)
    }

    /// The cursor stays on its object; where that is gone, in its line.
    fn follow(&mut self) {
        let count = self.order.len();
        let found = self
            .selected
            .as_ref()
            .and_then(|selected| (0..count).find(|line| self.place(*line) == Some(selected)));
        self.cursor = found.unwrap_or(self.cursor.min(count.saturating_sub(1)));
        // Who reads about an object that goes is told so, and not shown another one.
        if found.is_some() || !matches!(self.page, Page::Details(_)) {
            self.selected = self.place(self.cursor).cloned();
        }
        self.top = scrolled(self.top, self.cursor, self.height, count);
    }

    /// So many lines of the list are on the screen.
    pub(super) fn fit(&mut self, height: usize) {
        self.height = height.max(1);
        self.follow();
    }

    fn move_to(&mut self, line: usize) {
        self.cursor = line.min(self.order.len().saturating_sub(1));
        self.selected = self.place(self.cursor).cloned();
    }

    /// What a key does.
    pub(super) fn press(&mut self, key: KeyEvent) -> Step {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Step::Interrupt,
                KeyCode::Char('z') => Step::Stop,
                KeyCode::Char('l') => Step::Renew,
                // What the erase key of some terminals sends.
                KeyCode::Char('h') => self.press(KeyCode::Backspace.into()),
                _ => Step::Stay,
            };
        }
        if self.is_typing {
            self.type_filter(key.code);
            return Step::Stay;
        }
        match self.page {
            Page::List => self.press_in_list(key.code),
            Page::Details(line) => self.press_in_details(key.code, line),
            Page::Help(line) => {
                self.page = self.moved(key.code, line).map_or(Page::List, Page::Help);
                Step::Stay
            }
        }
    }

    fn type_filter(&mut self, key: KeyCode) {
        /// More than an address ever has.
        const FILTER_CHARACTERS_MAX: usize = 300;
        match key {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(character) if self.filter.chars().count() < FILTER_CHARACTERS_MAX => {
                self.filter.push(character);
            }
            _ => {}
        }
        self.refresh();
    }

    /// Where a key leads in a list or a text; how long that is whoever draws it knows.
    fn moved(&self, key: KeyCode, line: usize) -> Option<usize> {
        Some(match key {
            KeyCode::Up | KeyCode::Char('k') => line.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => line.saturating_add(1),
            KeyCode::PageUp => line.saturating_sub(self.height),
            KeyCode::PageDown => line.saturating_add(self.height),
            KeyCode::Home | KeyCode::Char('g') => 0,
            KeyCode::End | KeyCode::Char('G') => usize::MAX,
            _ => return None,
        })
    }

    fn press_in_list(&mut self, key: KeyCode) -> Step {
        if let Some(line) = self.moved(key, self.cursor) {
            self.move_to(line);
        }
        match key {
            KeyCode::Char('q') => return Step::Quit,
            KeyCode::Esc if self.filter.is_empty() => return Step::Quit,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Enter if self.selected().is_some() => self.page = Page::Details(0),
            KeyCode::Char('/') => self.is_typing = true,
            KeyCode::Char('s') => self.wanted.sort = neighbour(self.wanted.sort, 1),
            KeyCode::Char('S') => self.wanted.sort = neighbour(self.wanted.sort, -1),
            KeyCode::Char('r') => self.is_reversed = !self.is_reversed,
            KeyCode::Char('t') => self.wanted.stale = !self.wanted.stale,
            KeyCode::Char('m') => self.wanted.mine = !self.wanted.mine,
            KeyCode::Char(' ') => self.is_paused = !self.is_paused,
            KeyCode::Char('?' | 'h') => self.page = Page::Help(0),
            _ => {}
        }
        self.refresh();
        Step::Stay
    }

    fn press_in_details(&mut self, key: KeyCode, line: usize) -> Step {
        self.page = match key {
            KeyCode::Char('q') => return Step::Quit,
            KeyCode::Esc | KeyCode::Enter => Page::List,
            _ => Page::Details(self.moved(key, line).unwrap_or(line)),
        };
        if self.page == Page::List {
            self.follow();
        }
        Step::Stay
    }
}

/// Whether any column, or any process that has it, says this.
fn has(object: &Object, needle: &str) -> bool {
    let fields = row(object, Reader::Person).into_iter();
    let columns = fields
        .zip(ipc_ls::columns(Sort::Address))
        .filter(|(_, column)| column.heading != ipc_ls::AGE)
        .map(|(field, _)| field);
    let commands = object
        .holders
        .iter()
        .filter_map(|holder| holder.command.as_deref());
    let pids = object.holders.iter().map(|holder| holder.pid.to_string());
    columns
        .chain(commands.map(escape))
        .chain(pids)
        .any(|text| text.to_lowercase().contains(needle))
}

/// The next order, or the one before, in a circle.
fn neighbour(sort: Sort, step: isize) -> Sort {
    let all = Sort::value_variants();
    let at = all.iter().position(|one| *one == sort).unwrap_or_default();
    let next = at.wrapping_add_signed(step).wrapping_add(all.len()) % all.len();
    all[next]
}

/// The first line on the screen, moved no more than the cursor needs.
fn scrolled(top: usize, cursor: usize, height: usize, count: usize) -> usize {
    let lowest = (cursor + 1).saturating_sub(height);
    let last = count.saturating_sub(height);
    top.clamp(lowest, cursor.max(lowest)).min(last.max(lowest))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn everything() -> WhichArgs {
        WhichArgs {
            kinds: Vec::new(),
            mine: false,
            stale: false,
            sort: Sort::Address,
        }
    }

    fn press(model: &mut Model, keys: &str) -> Step {
        let codes = keys.chars().map(|key| match key {
            '\n' => KeyCode::Enter,
            '\x1b' => KeyCode::Esc,
            '\x08' => KeyCode::Backspace,
            key => KeyCode::Char(key),
        });
        codes
            .map(|code| model.press(KeyEvent::new(code, KeyModifiers::NONE)))
            .last()
            .unwrap_or(Step::Stay)
    }

    #[test]
    fn the_cursor_is_always_on_the_screen_and_the_screen_never_behind_the_end() {
        for count in 0..20_usize {
            for height in 1..12 {
                for top in 0..20 {
                    for cursor in 0..count.max(1) {
                        let found = scrolled(top, cursor, height, count);
                        assert!(
                            found <= cursor && cursor < found + height,
                            "{top} {cursor} {height} {count}"
                        );
                        assert!(
                            found == 0 || found + height <= count,
                            "{top} {cursor} {height} {count}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn orders_go_round_in_both_directions() {
        let mut sort = Sort::Address;
        for _ in Sort::value_variants() {
            let next = neighbour(sort, 1);
            assert_eq!(neighbour(next, -1), sort);
            sort = next;
        }
        assert_eq!(sort, Sort::Address);
    }

    #[test]
    fn keys_go_into_the_filter_while_it_is_typed() {
        let mut model = Model::new(everything());
        assert_eq!(press(&mut model, "/frq\x08q"), Step::Stay);
        assert!(model.is_typing && model.filter == "frq");
        model.press(KeyEvent::new(KeyCode::Char('h'), KeyModifiers::CONTROL));
        assert_eq!(model.filter, "fr");
        press(&mut model, "\n");
        assert!(!model.is_typing);
        // The first one takes the filter away, the second ends.
        assert_eq!(press(&mut model, "\x1b"), Step::Stay);
        assert_eq!(model.filter, "");
        assert_eq!(press(&mut model, "\x1b"), Step::Quit);
    }

    #[test]
    fn signals_can_be_given_as_keys_wherever_one_is() {
        let mut model = Model::new(everything());
        for page in ["", "/", "?"] {
            press(&mut model, page);
            let control = |key| KeyEvent::new(KeyCode::Char(key), KeyModifiers::CONTROL);
            assert_eq!(model.press(control('c')), Step::Interrupt);
            assert_eq!(model.press(control('z')), Step::Stop);
        }
    }

    #[test]
    fn nothing_new_is_shown_while_it_is_paused() {
        let mut model = Model::new(everything());
        press(&mut model, " ");
        let server = Server {
            name: "/x".to_owned(),
            status: None,
            rates: None,
        };
        model.put(News::Servers(vec![server.clone()]));
        assert!(model.servers.is_empty());
        press(&mut model, " ");
        model.put(News::Servers(vec![server]));
        assert_eq!(model.servers.len(), 1);
    }
}
