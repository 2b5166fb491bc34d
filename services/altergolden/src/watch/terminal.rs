//! The terminal: opened for a whole screen, and restored whenever it is dropped or the program panics.

use std::{
    io::{self, IsTerminal as _, stdin, stdout},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ratatui::{
    DefaultTerminal,
    buffer::Buffer,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
};
use tokio::sync::mpsc;

use super::state::Key;

/// How often the reader looks whether it must end.
const POLL: Duration = Duration::from_millis(100);

/// Keys that wait to be handled. More of them wait in the terminal.
const KEYS: usize = 64;

/// The size of a terminal that does not tell.
const USUAL_SIZE: (u16, u16) = (80, 24);

/// Whether keys can be read and a screen be shown.
pub(super) fn is_terminal() -> bool {
    stdin().is_terminal() && stdout().is_terminal()
}

/// What comes from the terminal.
#[derive(Debug)]
pub(super) enum Input {
    /// A key.
    Key(Key),
    /// The terminal has another size.
    Resized,
    /// The operator wants a clean screen (Ctrl-L).
    Redraw,
    /// The terminal can't be read any more.
    Gone(io::Error),
}

/// The terminal in the mode of a whole screen.
pub(super) struct Terminal {
    screen: DefaultTerminal,
    inputs: mpsc::Receiver<Input>,
    stop: Arc<AtomicBool>,
}

impl Terminal {
    /// Opens the screen. A panic restores the terminal before its message is printed.
    ///
    /// # Errors
    /// The terminal refuses the mode, or the reader's thread can't be started.
    pub(super) fn open() -> io::Result<Self> {
        let screen = ratatui::try_init().inspect_err(|_| restore())?;
        let (sender, inputs) = mpsc::channel(KEYS);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let reader =
            std::thread::Builder::new().name("keys".to_owned()).spawn(move || read(&sender, &stopped));
        reader.inspect_err(|_| restore())?;
        Ok(Self { screen, inputs, stop })
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> (u16, u16) {
        self.screen.size().map_or(USUAL_SIZE, |size| (size.width, size.height))
    }

    /// Draws what has changed.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Buffer)) -> io::Result<()> {
        self.screen.draw(|frame| draw(frame.buffer_mut())).map(drop)
    }

    /// Forgets what the terminal shows, so that the next drawing draws everything.
    ///
    /// # Errors
    /// The terminal is gone.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.screen.clear()
    }

    /// Waits for the next key. Loses none when it is dropped before.
    pub(super) async fn input(&mut self) -> Input {
        let gone = || Input::Gone(io::Error::other("the reader of the terminal ended"));
        self.inputs.recv().await.unwrap_or_else(gone)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The reader ends by itself. It is not joined: when the terminal is gone, crossterm reads the end of the file without end.
        self.stop.store(true, Ordering::Relaxed);
        restore();
    }
}

/// Fails only when the terminal is gone, and then there is nothing to restore.
fn restore() {
    let _ = ratatui::try_restore();
}

fn read(inputs: &mpsc::Sender<Input>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let input = match event::poll(POLL).and_then(|is_ready| is_ready.then(event::read).transpose()) {
            Ok(Some(event)) => input_of(&event),
            Ok(None) => None,
            Err(error) => Some(Input::Gone(error)),
        };
        let Some(input) = input else { continue };
        let is_gone = matches!(input, Input::Gone(_));
        if inputs.blocking_send(input).is_err() || is_gone {
            return;
        }
    }
}

fn input_of(event: &Event) -> Option<Input> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => input_of_key(key),
        Event::Resize(..) => Some(Input::Resized),
        _ => None,
    }
}

fn input_of_key(event: &KeyEvent) -> Option<Input> {
    let control = event.modifiers.contains(KeyModifiers::CONTROL);
    let key = match event.code {
        KeyCode::Char('c' | 'd') if control => Key::Interrupt,
        KeyCode::Char('l') if control => return Some(Input::Redraw),
        KeyCode::Char('f') if control => Key::PageDown,
        KeyCode::Char('b' | 'u') if control => Key::PageUp,
        KeyCode::Char(_) if control || event.modifiers.contains(KeyModifiers::ALT) => return None,
        KeyCode::Char(letter) => Key::Letter(letter),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::Left => Key::Left,
        KeyCode::Right => Key::Right,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Tab => Key::Tab,
        KeyCode::BackTab => Key::BackTab,
        KeyCode::Backspace => Key::Backspace,
        _ => return None,
    };
    Some(Input::Key(key))
}
