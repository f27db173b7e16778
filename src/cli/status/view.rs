//! `status --watch`, as it looks: what is known of the gate, drawn for a terminal of any size. All foreign text is escaped before it is drawn.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Table, Tabs, Wrap};

use crate::cli::out::Colour;
use crate::service::{Item, Severity, Snapshot, Verdict, distance};
use crate::text::{clean, fit};

/// Longest text of a cell, characters: more than any terminal is wide.
const CELL_CHARS: usize = 300;
/// Most lines of troubles; the rest is counted.
const TROUBLES: usize = 6;

/// Below so many lines nothing is left empty.
const LOW: u16 = 16;
/// The keys, and what is said of them where that is too wide.
const KEYS: &str = "q quit   1-6 or Tab another table   up, down, PgUp, PgDn scroll   r ask now";
const FEW_KEYS: &str = "q quit   1-6 tables   up, down scroll";

/// What a table shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Tab {
    /// What was decided last.
    #[default]
    Events,
    /// What would be refused now.
    Refused,
    /// Containers that run unapproved.
    Unapproved,
    /// Every image.
    Images,
    /// Trust data.
    Trust,
    /// Images that arrived, audited.
    Arrived,
}

impl Tab {
    /// Every one, in the order of their keys.
    pub(super) const ALL: [Self; 6] = [Self::Events, Self::Refused, Self::Unapproved, Self::Images, Self::Trust, Self::Arrived];

    const fn title(self) -> &'static str {
        match self {
            Self::Events => "1 Events",
            Self::Refused => "2 Refused now",
            Self::Unapproved => "3 Running unapproved",
            Self::Images => "4 Images",
            Self::Trust => "5 Trust",
            Self::Arrived => "6 Arrived",
        }
    }

    fn place(self) -> usize {
        Self::ALL.iter().position(|tab| *tab == self).unwrap_or(0)
    }

    /// The one beside it.
    pub(super) fn beside(self, is_next: bool) -> Self {
        let count = Self::ALL.len();
        let place = if is_next { self.place() + 1 } else { self.place() + count - 1 };
        Self::ALL.get(place % count).copied().unwrap_or_default()
    }
}

/// What is shown.
#[derive(Debug, Default)]
pub(super) struct View {
    /// What the gate said last.
    pub(super) snapshot: Option<Snapshot>,
    /// Why it says nothing now.
    pub(super) fault: Option<String>,
    pub(super) tab: Tab,
    /// The first row of the table that is shown.
    pub(super) top: usize,
    /// Whether the terminal takes colours.
    pub(super) is_coloured: bool,
}

/// A row of a table, and its colour.
type Told = (Vec<String>, Colour);

impl View {
    /// Draws it.
    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        let Rect { width, height, .. } = frame.area();
        // The table keeps most of a low terminal.
        let troubles = self.troubles(usize::from(height / 4).clamp(1, TROUBLES));
        let gap = u16::from(height >= LOW);
        let height = u16::try_from(troubles.len()).unwrap_or(u16::MAX);
        let areas = Layout::vertical([
            Constraint::Length(3),
            Constraint::Length(height),
            Constraint::Length(gap),
            Constraint::Length(1),
            Constraint::Min(2),
            Constraint::Length(1),
        ]);
        let [head, middle, _, tabs, body, foot] = areas.areas(frame.area());
        frame.render_widget(Paragraph::new(self.head()), head);
        frame.render_widget(Paragraph::new(troubles), middle);
        let bold = Style::new().add_modifier(Modifier::REVERSED);
        let titles = Tabs::new(self.titles(usize::from(width)))
            .select(self.tab.place())
            .highlight_style(bold)
            .divider(" ")
            .padding("", "");
        frame.render_widget(titles, tabs);
        self.table(frame, body);
        let keys = if usize::from(width) < KEYS.len() { FEW_KEYS } else { KEYS };
        frame.render_widget(Paragraph::new(keys).style(Style::new().add_modifier(Modifier::DIM)), foot);
    }

    /// The titles of all tables; where they are too wide together, only that of the one that is shown, and the keys of the others.
    fn titles(&self, width: usize) -> Vec<&'static str> {
        let titles = Tab::ALL.map(Tab::title);
        if titles.iter().map(|title| title.len() + 1).sum::<usize>() <= width + 1 {
            return titles.to_vec();
        }
        let short = |tab: Tab| if tab == self.tab { tab.title() } else { tab.title().split(' ').next().unwrap_or_default() };
        Tab::ALL.map(short).to_vec()
    }

    fn style(&self, colour: Colour) -> Style {
        match (self.is_coloured, colour) {
            (false, _) | (true, Colour::None) => Style::new(),
            (true, Colour::Green) => Style::new().fg(Color::Green),
            (true, Colour::Yellow) => Style::new().fg(Color::Yellow),
            (true, Colour::Red) => Style::new().fg(Color::Red),
        }
    }

    fn head(&self) -> Vec<Line<'static>> {
        let Some(snapshot) = &self.snapshot else {
            return vec![Line::from("asking the gate …")];
        };
        let decided = snapshot.decided;
        let running = snapshot.running.as_ref().map_or_else(
            || "nobody looks at what runs".to_owned(),
            |running| format!("{} containers run, {} of them unapproved", running.count, running.unapproved),
        );
        let images = snapshot.host.as_ref().map_or_else(
            || "images are being judged".to_owned(),
            |host| format!("{} of {} images may run", snapshot.allowed_images(), host.images.len()),
        );
        vec![
            Line::from(format!(
                "img-authz {}  up {}  mode {}  posture {}  at {:.0}",
                clean(&snapshot.version),
                distance(snapshot.started, snapshot.at).trim_end_matches(" ago"),
                clean(&snapshot.mode),
                clean(&snapshot.posture),
                snapshot.at
            )),
            Line::from(format!(
                "calls: {} allowed, {} blocked, {} would have been; {} ever approved",
                decided.allowed, decided.blocked, decided.would_block, snapshot.approved_ever
            )),
            Line::from(format!("{running}; {images}; policy {}", fit(&snapshot.policy.place, CELL_CHARS))),
        ]
    }

    fn troubles(&self, most: usize) -> Vec<Line<'static>> {
        let mut lines = Vec::new();
        if let Some(fault) = &self.fault {
            let text = format!("NO ANSWER  {}", fit(fault, CELL_CHARS));
            lines.push(Line::styled(text, self.style(Colour::Red).add_modifier(Modifier::BOLD)));
        }
        let Some(snapshot) = &self.snapshot else { return lines };
        for trouble in snapshot.troubles.iter().take(most) {
            let (word, colour) = match trouble.severity {
                Severity::Critical => ("CRITICAL", Colour::Red),
                Severity::Warning => ("WARNING", Colour::Yellow),
                Severity::Info => ("info", Colour::None),
            };
            lines.push(Line::from(vec![
                Span::styled(format!("{word:9}"), self.style(colour).add_modifier(Modifier::BOLD)),
                Span::raw(format!("{} → {}", fit(&trouble.evidence, CELL_CHARS), fit(&trouble.remedy, CELL_CHARS))),
            ]));
        }
        let left = snapshot.troubles.len().saturating_sub(most);
        if left > 0 {
            lines.push(Line::from(format!("… and {left} more (img-authz status)")));
        }
        if lines.is_empty() {
            lines.push(Line::styled("Nothing to see to.", self.style(Colour::Green)));
        }
        lines
    }

    fn table(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let (heads, widths, rows) = self.rows();
        // Of a table that has become shorter the end is shown.
        let shown = usize::from(area.height.saturating_sub(1)).max(1);
        self.top = self.top.min(rows.len().saturating_sub(shown));
        if rows.is_empty() {
            frame.render_widget(Paragraph::new("nothing").wrap(Wrap { trim: true }), area);
            return;
        }
        let of = |(cells, colour): &Told| Row::new(cells.clone()).style(self.style(*colour));
        let rows: Vec<Row<'_>> = rows.iter().skip(self.top).take(shown).map(of).collect();
        let head = Row::new(heads).style(Style::new().add_modifier(Modifier::BOLD));
        frame.render_widget(Table::new(rows, widths).header(head).column_spacing(2), area);
    }

    fn rows(&self) -> (Vec<&'static str>, Vec<Constraint>, Vec<Told>) {
        let Some(snapshot) = &self.snapshot else { return (Vec::new(), Vec::new(), Vec::new()) };
        let host = snapshot.host.iter();
        let item = |item: &Item| {
            let colour = match item.verdict {
                Verdict::Allowed => Colour::None,
                Verdict::Refused => Colour::Red,
                Verdict::Superseded | Verdict::CannotTell | Verdict::Forgiven => Colour::Yellow,
            };
            (vec![fit(&item.name, CELL_CHARS), item.verdict.as_str().to_owned(), clean(&item.code)], colour)
        };
        let of_items =
            |name| (vec![name, "VERDICT", "CODE"], vec![Constraint::Fill(3), Constraint::Length(11), Constraint::Fill(1)]);
        match self.tab {
            Tab::Events => {
                let event = |event: &crate::audit::Told| {
                    let colour = match event.event.as_str() {
                        "BLOCKED" | "KILLED" | "MISMATCH" | "UNAPPROVED" => Colour::Red,
                        _ => Colour::None,
                    };
                    let about =
                        [&event.container_name, &event.image, &event.container_image].into_iter().find(|text| !text.is_empty());
                    let said = if event.code.is_empty() { &event.message } else { &event.code };
                    let cells = [
                        distance(event.timestamp, snapshot.at),
                        fit(&event.event, CELL_CHARS),
                        fit(about.map_or("", String::as_str), CELL_CHARS),
                        fit(said, CELL_CHARS),
                    ];
                    (cells.to_vec(), colour)
                };
                let widths = vec![Constraint::Length(10), Constraint::Length(11), Constraint::Fill(2), Constraint::Fill(3)];
                (vec!["WHEN", "EVENT", "ABOUT", "CODE"], widths, snapshot.events.iter().map(event).collect())
            }
            Tab::Refused => {
                let (heads, widths) = of_items("WOULD BE REFUSED");
                (heads, widths, snapshot.refused().map(item).collect())
            }
            Tab::Images => {
                let (heads, widths) = of_items("IMAGE");
                (heads, widths, host.flat_map(|host| &host.images).map(item).collect())
            }
            Tab::Unapproved => {
                let found = snapshot.running.iter().flat_map(|running| &running.findings).map(|finding| {
                    let cells = [
                        fit(&finding.name, CELL_CHARS),
                        fit(&finding.image, CELL_CHARS),
                        clean(&finding.code),
                        finding.held.as_deref().map(|held| fit(held, CELL_CHARS)).unwrap_or_default(),
                    ];
                    (cells.to_vec(), Colour::Red)
                });
                let widths = vec![Constraint::Fill(2), Constraint::Fill(3), Constraint::Fill(2), Constraint::Fill(2)];
                (vec!["CONTAINER", "IMAGE", "CODE", "WHAT IS DONE"], widths, found.collect())
            }
            Tab::Trust => {
                let data = host.flat_map(|host| &host.trust).map(|one| {
                    let first = one.expires_first.as_ref();
                    let cells = [
                        fit(&one.repository, CELL_CHARS),
                        first.map(|first| format!("{:.0}", first.at)).unwrap_or_default(),
                        first.map(|first| clean(&first.role)).unwrap_or_default(),
                        fit(&one.state, CELL_CHARS),
                    ];
                    (cells.to_vec(), if one.is_good { Colour::None } else { Colour::Yellow })
                });
                let widths = vec![Constraint::Fill(3), Constraint::Length(20), Constraint::Length(10), Constraint::Fill(2)];
                (vec!["REPOSITORY", "EXPIRES FIRST", "ROLE", "STATE"], widths, data.collect())
            }
            Tab::Arrived => {
                let images = snapshot.arrived.iter().flat_map(|arrived| &arrived.images).map(|image| {
                    let cells = [
                        fit(&image.name, CELL_CHARS),
                        distance(image.at, snapshot.at),
                        clean(image.worst().unwrap_or("-")),
                        fit(&image.told(), CELL_CHARS),
                    ];
                    (cells.to_vec(), if image.is_bad() { Colour::Red } else { Colour::None })
                });
                let widths = vec![Constraint::Fill(3), Constraint::Length(10), Constraint::Length(8), Constraint::Fill(3)];
                (vec!["ARRIVED", "WHEN", "WORST", "WEAKNESSES"], widths, images.collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::buffer::Cell;

    use super::*;
    use crate::service::sample;

    fn drawn(view: &mut View, width: u16, height: u16) -> TestBackend {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        terminal.backend().clone()
    }

    fn text(view: &mut View, width: u16, height: u16) -> String {
        let backend = drawn(view, width, height);
        let cells = backend.buffer().content();
        let lines = cells.chunks(usize::from(width)).map(|line| line.iter().map(Cell::symbol).collect::<String>());
        lines.map(|line| line.trim_end().to_owned() + "\n").collect()
    }

    /// What the documentation shows.
    fn shown() -> Snapshot {
        let mut snapshot = sample("registry.example/app:1.0");
        for (event, (name, code)) in snapshot.events.iter_mut().zip([("shop", "not-in-allowlist")]) {
            (event.event, event.container_name, event.code) = ("BLOCKED".to_owned(), name.to_owned(), code.to_owned());
        }
        snapshot.version = "0.1.0".to_owned();
        (snapshot.mode, snapshot.posture) = ("enforce".to_owned(), "images".to_owned());
        snapshot.policy.place = "/config/img-authz/policy.toml".to_owned();
        for trouble in &mut snapshot.troubles {
            trouble.evidence = "of 2 containers that run, 1 would be refused now".to_owned();
            trouble.remedy = "see `img-authz monitor status`".to_owned();
        }
        snapshot
    }

    #[test]
    fn it_fits_a_terminal_of_eighty_by_twenty_four_as_the_documentation_shows() {
        let mut view = View { snapshot: Some(shown()), ..View::default() };
        let drawn = text(&mut view, 80, 24);
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/status-watch.txt");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &drawn).unwrap();
        }
        assert_eq!(drawn, std::fs::read_to_string(path).unwrap_or_default(), "UPDATE_DOCS=1 cargo test --lib status::view");
        for part in ["CRITICAL", "1 Events", "WHEN", "BLOCKED", "q quit", "12 allowed, 3 blocked"] {
            assert!(drawn.contains(part), "{part}\n{drawn}");
        }
        assert!(drawn.lines().all(|line| line.chars().count() <= 80) && drawn.lines().count() == 24);
    }

    #[test]
    fn every_table_is_drawn_at_any_size_and_foreign_text_is_harmless() {
        for tab in Tab::ALL {
            for (width, height) in [(80, 24), (200, 60), (20, 5), (1, 1), (300, 2)] {
                let mut view = View { snapshot: Some(sample("a\u{1b}[31m\u{202e}b\nc")), tab, top: 9999, ..View::default() };
                let drawn = text(&mut view, width, height);
                assert!(!drawn.contains(['\u{1b}', '\u{202e}']), "{tab:?}\n{drawn}");
                assert!(view.top < 9999, "what is not there is not scrolled to");
            }
        }
        assert_eq!(Tab::Events.beside(false), Tab::Arrived);
        assert_eq!(Tab::Arrived.beside(true), Tab::Events);
    }

    #[test]
    fn a_small_terminal_shows_which_table_it_is_and_rows_of_it() {
        let mut snapshot = shown();
        snapshot.troubles = vec![snapshot.troubles[0].clone(); 9];
        let mut view = View { snapshot: Some(snapshot), tab: Tab::Arrived, ..View::default() };
        let drawn = text(&mut view, 40, 10);
        for part in ["1 2 3 4 5 6 Arrived", "… and 7 more", "WORST", "q quit", "registry"] {
            assert!(drawn.contains(part), "{part}\n{drawn}");
        }
    }

    #[test]
    fn without_colour_nothing_is_coloured_and_with_it_something_is() {
        let coloured = |is_coloured| {
            let mut view = View { snapshot: Some(shown()), is_coloured, ..View::default() };
            drawn(&mut view, 80, 24).buffer().content().iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
        };
        assert_eq!((coloured(false), coloured(true)), (false, true));
    }

    #[test]
    fn a_gate_that_does_not_answer_is_told_above_what_it_said_last() {
        let mut view = View { fault: Some("no gate serves there".to_owned()), ..View::default() };
        assert!(text(&mut view, 80, 24).contains("NO ANSWER  no gate serves there"));
        view.snapshot = Some(shown());
        let drawn = text(&mut view, 80, 24);
        assert!(drawn.contains("NO ANSWER") && drawn.contains("CRITICAL"), "{drawn}");
    }
}
