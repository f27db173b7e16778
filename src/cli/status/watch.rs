//! `status --watch`: asks the gate every two seconds and draws what it says, until somebody quits. Whatever ends it, a signal and a fault of this
//! program too, the terminal is as it was before.

use std::path::Path;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use super::told;
use super::view::{Tab, View};
use crate::cli::out;

/// How often the gate is asked.
const EVERY: Duration = Duration::from_secs(2);
/// How often keys are looked for: nobody notices less.
const KEYS: Duration = Duration::from_millis(50);
/// Rows of a page.
const PAGE: usize = 10;

/// What a key asks for.
enum Wish {
    Quit,
    Ask,
    Draw,
    Nothing,
}

/// Watches the gate of this state folder. An error is one of the terminal.
pub(super) fn watch(state: &Path) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    // A panic restores the terminal first, and is told then.
    let terminal = ratatui::try_init().map_err(|error| format!("the terminal cannot be drawn on: {error}"))?;
    let ended = runtime.block_on(draw(terminal, state));
    ratatui::restore();
    ended.map_err(|error| format!("the terminal cannot be drawn on: {error}"))
}

async fn draw(mut terminal: DefaultTerminal, state: &Path) -> std::io::Result<()> {
    let mut view = View { is_coloured: out::is_coloured(), ..View::default() };
    let (mut end, mut hangup) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut keys = tokio::time::interval(KEYS);
    let mut next = Instant::now();
    let mut asking = Box::pin(crate::service::ask(state));
    let mut is_asking = true;
    terminal.draw(|frame| view.draw(frame))?;
    loop {
        tokio::select! {
            _ = end.recv() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = keys.tick() => match wish(&mut view)? {
                Wish::Quit => return Ok(()),
                Wish::Ask => next = Instant::now(),
                Wish::Draw => {}
                Wish::Nothing => continue,
            },
            said = &mut asking, if is_asking => {
                is_asking = false;
                next = Instant::now() + EVERY;
                match said {
                    Ok(snapshot) => (view.snapshot, view.fault) = (Some(snapshot), None),
                    Err(error) => view.fault = Some(told(state, &error)),
                }
            }
            () = sleep_until(next), if !is_asking => {
                asking.set(crate::service::ask(state));
                is_asking = true;
                continue;
            }
        }
        terminal.draw(|frame| view.draw(frame))?;
    }
}

/// Takes what was typed since the last look.
fn wish(view: &mut View) -> std::io::Result<Wish> {
    let mut wish = Wish::Nothing;
    while event::poll(Duration::ZERO)? {
        let Event::Key(key) = event::read()? else {
            // Another size, most likely.
            wish = Wish::Draw;
            continue;
        };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        match pressed(view, key) {
            Wish::Quit => return Ok(Wish::Quit),
            Wish::Nothing => {}
            other => wish = other,
        }
    }
    Ok(wish)
}

fn pressed(view: &mut View, key: KeyEvent) -> Wish {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return Wish::Quit,
        KeyCode::Char('c' | 'd') if is_control => return Wish::Quit,
        KeyCode::Char('r') => return Wish::Ask,
        KeyCode::Char(digit @ '1'..='6') => {
            let place = usize::try_from(u32::from(digit) - u32::from('1')).unwrap_or(0);
            (view.tab, view.top) = (Tab::ALL.get(place).copied().unwrap_or_default(), 0);
        }
        KeyCode::Tab | KeyCode::Right => (view.tab, view.top) = (view.tab.beside(true), 0),
        KeyCode::BackTab | KeyCode::Left => (view.tab, view.top) = (view.tab.beside(false), 0),
        KeyCode::Down | KeyCode::Char('j') => view.top = view.top.saturating_add(1),
        KeyCode::Up | KeyCode::Char('k') => view.top = view.top.saturating_sub(1),
        KeyCode::PageDown => view.top = view.top.saturating_add(PAGE),
        KeyCode::PageUp => view.top = view.top.saturating_sub(PAGE),
        KeyCode::Home => view.top = 0,
        KeyCode::End => view.top = usize::MAX,
        _ => return Wish::Nothing,
    }
    Wish::Draw
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_change_the_table_and_what_of_it_is_seen_and_end_it() {
        let mut view = View::default();
        let mut press = |code, modifiers| {
            let wish = pressed(&mut view, KeyEvent::new(code, modifiers));
            (matches!(wish, Wish::Quit), view.tab, view.top)
        };
        let none = KeyModifiers::NONE;
        assert_eq!(press(KeyCode::Char('3'), none), (false, Tab::Unapproved, 0));
        assert_eq!(press(KeyCode::Down, none), (false, Tab::Unapproved, 1));
        assert_eq!(press(KeyCode::PageUp, none), (false, Tab::Unapproved, 0));
        assert_eq!(press(KeyCode::Tab, none), (false, Tab::Images, 0));
        assert_eq!(press(KeyCode::End, none), (false, Tab::Images, usize::MAX));
        assert_eq!(press(KeyCode::Char('c'), none), (false, Tab::Images, usize::MAX));
        for (code, modifiers) in [(KeyCode::Char('q'), none), (KeyCode::Esc, none), (KeyCode::Char('c'), KeyModifiers::CONTROL)] {
            assert!(press(code, modifiers).0);
        }
    }
}
