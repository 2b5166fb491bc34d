//! What each key does to the model.

use super::{Filter, LONGEST_FILTER, Page, State};
use crate::watch::layout;

/// A key, as far as the screen knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::watch) enum Key {
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Escape,
    Tab,
    BackTab,
    Backspace,
    /// Ctrl-C, which ends the screen from everywhere.
    Interrupt,
    Letter(char),
}

impl State {
    /// Takes a key.
    pub(in crate::watch) fn press(&mut self, key: Key) {
        match key {
            Key::Interrupt => self.quits = true,
            key if self.typing.is_some() => self.type_filter(key),
            _ if self.help => self.help = false,
            key => self.command(key),
        }
    }

    fn command(&mut self, key: Key) {
        match key {
            Key::Letter('q') => self.quits = true,
            Key::Letter('?' | 'h') => self.help = true,
            Key::Letter('/' | 'f') => self.typing = Some(self.filter.text().to_owned()),
            Key::Letter(digit @ '1'..='5') => {
                let at = digit as usize - '1' as usize;
                self.go_to(Page::ALL[at]);
            }
            Key::Tab => self.turn_page(1),
            Key::BackTab => self.turn_page(Page::ALL.len() - 1),
            Key::Escape | Key::Backspace => self.go_back(),
            Key::Enter => self.open(),
            key if self.detail.is_some() => self.step_detail(key),
            key => self.move_selection(key),
        }
    }

    fn go_to(&mut self, page: Page) {
        self.detail = None;
        self.page = page;
        self.clamp_selection();
    }

    fn turn_page(&mut self, by: usize) {
        let at = (self.page as usize + by) % Page::ALL.len();
        self.go_to(Page::ALL[at]);
    }

    /// Closes the detail, or else removes the filter.
    fn go_back(&mut self) {
        if self.detail.take().is_none() {
            self.set_filter(Filter::default());
        }
    }

    /// Opens what is selected: a shard's detail, a worker's shards, a page.
    fn open(&mut self) {
        match self.page {
            Page::Overview if self.detail.is_none() => {
                let cells = self.overview().cells;
                self.detail = cells.worst_of_group(&self.shards(), self.selected());
            }
            Page::Shards if self.detail.is_none() => {
                self.detail = self.shards().get(self.selected()).map(|shard| shard.shard_id);
            }
            Page::Workers => {
                let worker = self.fleet.workers.get(self.selected());
                if let Some(filter) = worker.map(|worker| Filter::of_worker(&worker.worker_id)) {
                    self.set_filter(filter);
                    self.go_to(Page::Shards);
                }
            }
            _ => {}
        }
    }

    fn set_filter(&mut self, filter: Filter) {
        self.filter = filter;
        (self.selected[Page::Overview as usize], self.selected[Page::Shards as usize]) = (0, 0);
    }

    fn type_filter(&mut self, key: Key) {
        let Some(typed) = &mut self.typing else { return };
        match key {
            Key::Enter => {
                self.typing = None;
                if !matches!(self.page, Page::Overview | Page::Shards) {
                    self.go_to(Page::Shards);
                }
                return;
            }
            Key::Escape => {
                self.typing = None;
                self.set_filter(Filter::default());
                return;
            }
            Key::Backspace => {
                typed.pop();
            }
            Key::Letter(letter) if typed.chars().count() < LONGEST_FILTER && !letter.is_control() => {
                typed.push(letter);
            }
            _ => return,
        }
        // What passes is shown while it is typed.
        let filter = Filter::parse(typed);
        self.set_filter(filter);
    }

    /// In a detail the arrows go to the next shard that passes the filter.
    fn step_detail(&mut self, key: Key) {
        let shards: Vec<u32> = self.shards().iter().map(|shard| shard.shard_id).collect();
        let Some(last) = shards.len().checked_sub(1) else { return };
        let at = shards.iter().position(|shard| Some(*shard) == self.detail).unwrap_or(0);
        let at = match key {
            Key::Left | Key::Up | Key::PageUp => at.saturating_sub(1),
            Key::Right | Key::Down | Key::PageDown => (at + 1).min(last),
            Key::Home => 0,
            Key::End => last,
            _ => return,
        };
        self.detail = Some(shards[at]);
        if matches!(self.page, Page::Overview | Page::Shards) {
            self.select(at);
        }
    }

    fn move_selection(&mut self, key: Key) {
        let (step, row, page) = match self.page {
            Page::Overview => {
                let cells = self.overview().cells;
                (cells.group, cells.group * cells.per_row, cells.group * cells.per_row * cells.rows.max(1))
            }
            _ => (1, 1, layout::list_rows(self.size)),
        };
        let at = self.selected();
        self.select(match key {
            Key::Left | Key::Letter('b') => at.saturating_sub(step),
            Key::Right | Key::Letter('l') => at + step,
            Key::Up | Key::Letter('k') => at.saturating_sub(row),
            Key::Down | Key::Letter('j') => at + row,
            Key::PageUp => at.saturating_sub(page),
            Key::PageDown | Key::Letter(' ') => at + page,
            Key::Home | Key::Letter('g') => 0,
            Key::End | Key::Letter('G') => usize::MAX,
            _ => return,
        });
    }
}
