//! The page: a snapshot as HTML, a section at a time. It needs no script, is read by keyboard and screen reader, and says by words what it
//! says by colours. How it looks is in `style.css`.

use crate::order::sort_by_key;
use jiff::Timestamp;

use super::html::Html;
use crate::audit::Told;
use crate::monitor::Finding;
use crate::policy::MonitorRule;
use crate::service::status::{Item, Severity, Snapshot, Verdict};

/// The style of all pages.
pub(super) const STYLE: &str = include_str!("style.css");
/// The gate's mark.
pub(super) const ICON: &str = include_str!("icon.svg");

/// Entries of the log that the overview shows.
const LATEST: usize = 8;
/// How much of a digest or an id is shown, as docker shows ids.
const ID_DIGITS: usize = 12;

/// A part of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Overview,
    Events,
    /// The same, asked for again by itself: who reads with a screen reader is not interrupted unasked.
    Live,
    Images,
    Containers,
    Trust,
    Policy,
}

impl Section {
    /// Those that the bar names.
    const ALL: [Self; 6] = [Self::Overview, Self::Events, Self::Images, Self::Containers, Self::Trust, Self::Policy];

    /// The one at this path.
    pub(super) fn at(path: &str) -> Option<Self> {
        Self::ALL.into_iter().chain([Self::Live]).find(|section| section.path() == path)
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Overview => "/",
            Self::Events => "/events",
            Self::Live => "/live",
            Self::Images => "/images",
            Self::Containers => "/containers",
            Self::Trust => "/trust",
            Self::Policy => "/policy",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Events => "Events",
            Self::Live => "Live events",
            Self::Images => "Images",
            Self::Containers => "Containers",
            Self::Trust => "Trust",
            Self::Policy => "Policy",
        }
    }
}

/// A section of the page.
pub(super) fn of(section: Section, snapshot: &Snapshot) -> String {
    let mut page = Html::default();
    begin(&mut page, section.title());
    page.raw("<a class=\"skip\" href=\"#main\">Skip to content</a><header class=\"top\"><div class=\"bar\">");
    page.raw("<span class=\"brand\"><img src=\"/icon.svg\" alt=\"\">img-authz</span><nav aria-label=\"Sections\"><ul>");
    for one in Section::ALL {
        page.raw("<li><a href=\"").raw(one.path()).raw("\"");
        if one == section || (one, section) == (Section::Events, Section::Live) {
            page.raw(" aria-current=\"page\"");
        }
        page.raw(">").raw(one.title()).raw("</a></li>");
    }
    page.raw("</ul></nav></div></header><main id=\"main\" tabindex=\"-1\">");
    match section {
        Section::Overview => overview(&mut page, snapshot),
        Section::Events | Section::Live => events(&mut page, section, snapshot),
        Section::Images => images(&mut page, snapshot),
        Section::Containers => containers(&mut page, snapshot),
        Section::Trust => trust(&mut page, snapshot),
        Section::Policy => policy(&mut page, snapshot),
    }
    page.raw("</main><footer><span>img-authz ").text(&snapshot.version).raw("</span><span>as of <time datetime=\"");
    let at = format!("{:.0}", snapshot.at);
    page.text(&at).raw("\">").text(&at).raw("</time></span>");
    page.raw("<form method=\"post\" action=\"/logout\"><button type=\"submit\">Log out</button></form></footer></body></html>");
    page.end()
}

/// Where the token is asked for.
pub(super) fn login(why: Option<&'static str>) -> String {
    let mut page = Html::default();
    begin(&mut page, "Log in");
    page.raw("<main id=\"main\" class=\"login card\"><img src=\"/icon.svg\" alt=\"\"><h1>This host’s gate</h1>");
    page.raw("<p class=\"lead\">img-authz decides which container images may enter and run here.</p>");
    if let Some(why) = why {
        page.raw("<p class=\"wrong\" role=\"alert\" id=\"why\">").raw(why).raw("</p>");
    }
    page.raw(
        "<form method=\"post\" action=\"/login\"><input name=\"username\" value=\"img-authz\" autocomplete=\"username\" hidden>",
    );
    page.raw("<label for=\"token\">Token</label>");
    page.raw("<input id=\"token\" name=\"token\" type=\"password\" autocomplete=\"current-password\" required aria-describedby=\"where\">");
    page.raw("<p class=\"more\" id=\"where\">It is in the file <code>web-token</code> of the gate’s state folder; ");
    page.raw("<code>img-authz status</code> says where that is.</p>");
    page.raw("<button class=\"primary\" type=\"submit\">Log in</button></form></main></body></html>");
    page.end()
}

/// What is said of a path that is none.
pub(super) fn missing() -> String {
    let mut page = Html::default();
    begin(&mut page, "Not found");
    page.raw("<main id=\"main\" class=\"login card\"><h1>There is no such page</h1>");
    page.raw("<p><a href=\"/\">Back to the overview</a></p></main></body></html>");
    page.end()
}

fn begin(page: &mut Html, title: &'static str) {
    page.raw("<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>").raw(title).raw(" – img-authz</title>");
    page.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\">");
    page.raw("<link rel=\"icon\" href=\"/icon.svg\"><link rel=\"stylesheet\" href=\"/style.css\"></head><body>");
}

fn head(page: &mut Html, title: &'static str, lead: &'static str) {
    page.raw("<h1>").raw(title).raw("</h1><p class=\"lead\">").raw(lead).raw("</p>");
}

fn tag(page: &mut Html, class: &'static str, word: impl AsRef<str>) {
    page.raw("<span class=\"tag ").raw(class).raw("\">").text(word).raw("</span>");
}

fn empty(page: &mut Html, text: &'static str) {
    page.raw("<p class=\"empty card\">").raw(text).raw("</p>");
}

/// Begins a table in a card; `label` is what a screen reader calls it.
fn table(page: &mut Html, label: &'static str, heads: &[&'static str]) {
    page.raw("<div class=\"card scroll\" role=\"region\" tabindex=\"0\" aria-label=\"").raw(label).raw("\"><table><thead><tr>");
    for one in heads {
        page.raw("<th scope=\"col\">").raw(one).raw("</th>");
    }
    page.raw("</tr></thead><tbody>");
}

fn end_table(page: &mut Html) {
    page.raw("</tbody></table></div>");
}

fn overview(page: &mut Html, snapshot: &Snapshot) {
    let urgent = snapshot.troubles.iter().filter(|trouble| trouble.severity != Severity::Info).count();
    let (class, mark, said) = match snapshot.worst() {
        Some(Severity::Critical) => ("bad", "✕", "Something needs you now"),
        Some(Severity::Warning) => ("warn", "!", "Something needs a look"),
        Some(Severity::Info) | None => ("good", "✓", "This host is guarded"),
    };
    page.raw("<h1>Overview</h1><p class=\"lead\">What the gate of this host does, and what needs somebody.</p>");
    page.raw("<section aria-label=\"State\" class=\"card verdict ")
        .raw(class)
        .raw("\"><div class=\"mark\" aria-hidden=\"true\">");
    page.raw(mark).raw("</div><div><strong>").raw(said).raw("</strong><span>");
    page.text(match urgent {
        0 => "nothing to see to".to_owned(),
        1 => "one thing to see to".to_owned(),
        more => format!("{more} things to see to"),
    });
    page.text(format!("; mode {}, posture {}; started ", snapshot.mode, snapshot.posture)).time(snapshot.started, snapshot.at);
    page.raw("</span></div></section><dl class=\"tiles\">");
    let mut tile = |class: &'static str, name: &'static str, figure: String, more: String| {
        page.raw("<div class=\"card tile ").raw(class).raw("\"><dt>").raw(name).raw("</dt><dd>").text(figure);
        page.raw(" <small>").text(more).raw("</small></dd></div>");
    };
    let none = String::new;
    tile("", "Calls allowed", snapshot.decided.allowed.to_string(), none());
    tile("", "Calls blocked", snapshot.decided.blocked.to_string(), none());
    if snapshot.decided.would_block > 0 {
        tile("", "Would be blocked", snapshot.decided.would_block.to_string(), "permissive".to_owned());
    }
    if let Some(host) = &snapshot.host {
        tile("", "Images that may run", snapshot.allowed_images().to_string(), format!("of {}", host.images.len()));
        let all = host.images.len() + host.containers.len();
        tile("", "Refused now", snapshot.refused().count().to_string(), format!("of {all}, containers too"));
    }
    if let Some(running) = &snapshot.running {
        let class = if running.unapproved > 0 { "bad" } else { "" };
        tile(class, "Running unapproved", running.unapproved.to_string(), format!("of {}", running.count));
    }
    page.raw("</dl>");
    if !snapshot.troubles.is_empty() {
        page.raw("<h2>What to see to</h2><ul class=\"card list\">");
        for trouble in &snapshot.troubles {
            page.raw("<li class=\"trouble\"><p>");
            tag(page, class_of(trouble.severity), trouble.severity.as_str());
            page.raw("</p><p>").prose(&trouble.evidence).raw("</p><p>").prose(&trouble.remedy).raw("</p></li>");
        }
        page.raw("</ul>");
    }
    page.raw("<h2>Latest events</h2>");
    event_table(page, &snapshot.events, LATEST, snapshot.at);
}

const fn class_of(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "bad",
        Severity::Warning => "warn",
        Severity::Info => "",
    }
}

fn events(page: &mut Html, section: Section, snapshot: &Snapshot) {
    head(page, section.title(), "The end of the audit log. All of it: img-authz log.");
    page.raw("<p class=\"tools\">");
    if section == Section::Live {
        page.raw("<a class=\"button\" href=\"/events\">Pause</a><span>asked for again every 5 seconds</span>");
    } else {
        page.raw("<a class=\"button primary\" href=\"/live\">Follow live</a><span>asks again every 5 seconds</span>");
    }
    page.raw("</p>");
    event_table(page, &snapshot.events, usize::MAX, snapshot.at);
}

fn event_table(page: &mut Html, events: &[Told], most: usize, now: Timestamp) {
    if events.is_empty() {
        return empty(page, "Nothing is on record yet.");
    }
    table(page, "Events", &["When", "Event", "About", "What was said"]);
    for event in events.iter().take(most) {
        let (class, word) = match (event.event.as_str(), event.enforced) {
            ("BLOCKED", false) => ("warn", "WOULD-BLOCK"),
            ("BLOCKED" | "KILLED" | "MISMATCH" | "UNAPPROVED", _) => ("bad", event.event.as_str()),
            ("STOPPED" | "REMOVED" | "HELD", _) => ("warn", event.event.as_str()),
            ("ALLOWED" | "CREATED", _) => ("good", event.event.as_str()),
            (other, _) => ("", other),
        };
        page.raw("<tr><td>").time(event.timestamp, now).raw("</td><td>");
        tag(page, class, word.to_lowercase());
        let mut details: Vec<String> = [event.action.clone()].into_iter().filter(|text| !text.is_empty()).collect();
        if !event.user.is_empty() {
            details.push(format!("by {}", event.user));
        }
        if event.count > 1 {
            details.push(format!("{} times", event.count));
        }
        page.raw("<span class=\"more\">").text(details.join(", ")).raw("</span></td><td>");
        // A start names its container, and by that no image.
        let image = if event.container_image.is_empty() { &event.image } else { &event.container_image };
        let image = if *image == event.container_id { "" } else { image.as_str() };
        match (event.container_name.as_str(), short(&event.container_id)) {
            ("", "") => page.text(image),
            ("", id) => page.text(image).raw("<span class=\"more\">container ").text(id).raw("</span>"),
            (name, id) => page.text(name).raw("<span class=\"more\">").text(image).text(format!(" {id}")).raw("</span>"),
        };
        page.raw("</td><td>");
        if !event.code.is_empty() {
            page.raw("<code>").text(&event.code).raw("</code> ");
        }
        page.prose(said(&event.code, &event.message));
        if !event.verifiers.is_empty() {
            page.text(format!("vouched for by {}", event.verifiers.join(" and ")));
        }
        if !event.signers.is_empty() {
            page.text(format!(", signed by {}", event.signers.join(" and ")));
        }
        if !event.digest.is_empty() {
            page.raw("<span class=\"more\"><code>").text(short(&event.digest)).raw("</code></span>");
        }
        page.raw("</td></tr>");
    }
    end_table(page);
}

fn images(page: &mut Html, snapshot: &Snapshot) {
    head(page, "Images", "What the gate would say now to a container of each image on this host, and why.");
    match &snapshot.host {
        Some(host) => {
            left(page, host.left);
            items(page, &host.images, "There are no images on this host.");
        }
        None => empty(page, "They are being judged. Look again in half a minute."),
    }
    arrived(page, snapshot);
}

/// What arrived, and what is weak about it.
fn arrived(page: &mut Html, snapshot: &Snapshot) {
    page.raw("<h2>What arrived</h2>");
    let Some(arrived) = &snapshot.arrived else {
        return empty(page, "Nobody looks at what arrives, or nobody has looked yet (MONITOR).");
    };
    if let Some(fault) = &arrived.fault {
        page.raw("<p class=\"lead\">").text(format!("Images cannot be listed: {fault}")).raw("</p>");
    }
    let left_out = arrived.left_out();
    if !left_out.is_empty() {
        page.raw("<p class=\"lead\">").text(left_out.join(", ")).raw("</p>");
    }
    if arrived.images.is_empty() {
        return empty(page, "No image has arrived since the gate looks.");
    }
    table(page, "What arrived", &["Image", "When", "Weaknesses"]);
    for image in &arrived.images {
        page.raw("<tr><th scope=\"row\">").text(&image.name).raw("<span class=\"more\"><code>");
        page.text(short(&image.id.to_string())).raw("</code></span></th><td>").time(image.at, snapshot.at).raw("</td><td>");
        if image.weak.is_empty() && image.unread.is_none() {
            tag(page, "good", "none found");
        }
        for weak in &image.weak {
            let class = if image.is_bad() { "bad" } else { "warn" };
            page.raw("<div>");
            tag(page, class, &weak.severity);
            page.raw(" <code>").text(&weak.rule).raw("</code><span class=\"more\">").prose(&weak.evidence).raw("</span></div>");
        }
        if image.more > 0 {
            page.raw("<span class=\"more\">").text(format!("and {} more", image.more)).raw("</span>");
        }
        if let Some(unread) = &image.unread {
            page.raw("<span class=\"more\">").text(format!("not looked at: {unread}")).raw("</span>");
        }
        page.raw("</td></tr>");
    }
    end_table(page);
}

fn containers(page: &mut Html, snapshot: &Snapshot) {
    head(page, "Containers", "What runs unapproved, and what the gate would say now to the start of each container.");
    page.raw("<h2>Running unapproved</h2>");
    match &snapshot.running {
        None => empty(page, "Nobody looks, or nobody has looked yet (MONITOR)."),
        Some(running) => {
            page.raw("<p class=\"lead\">").text(format!(
                "{} run, {} of them unapproved; what is found is {}.",
                running.count,
                running.unapproved,
                match running.rule {
                    MonitorRule::Off => "not looked for",
                    MonitorRule::Report => "reported",
                    MonitorRule::Stop => "stopped",
                    MonitorRule::Remove => "stopped and removed",
                }
            ));
            page.raw("</p>");
            if running.findings.is_empty() && running.unsure.is_empty() {
                empty(page, "Everything that runs is approved.");
            } else {
                let done = if running.rule == MonitorRule::Report { "reported" } else { "see the log" };
                findings(
                    page,
                    done,
                    running.findings.iter().map(|one| ("bad", one)).chain(running.unsure.iter().map(|one| ("warn", one))),
                );
            }
        }
    }
    page.raw("<h2>All containers</h2>");
    match &snapshot.host {
        None => empty(page, "They are being judged. Look again in half a minute."),
        Some(host) => {
            left(page, host.left);
            items(page, &host.containers, "There are no containers on this host.");
        }
    }
}

fn findings<'f>(page: &mut Html, done: &'static str, findings: impl Iterator<Item = (&'static str, &'f Finding)>) {
    table(page, "Running unapproved", &["Container", "Image", "Why", "What is done"]);
    for (class, finding) in findings {
        page.raw("<tr><th scope=\"row\">").text(&finding.name).raw("<span class=\"more\"><code>");
        page.text(short(&finding.container.to_string())).raw("</code></span></th><td>").text(&finding.image).raw("</td><td>");
        tag(page, class, &finding.code);
        page.raw("<span class=\"more\">").prose(said(&finding.code, &finding.message)).raw("</span></td><td>");
        page.text(finding.held.as_deref().unwrap_or(done)).raw("</td></tr>");
    }
    end_table(page);
}

fn left(page: &mut Html, count: usize) {
    if count > 0 {
        page.raw("<p class=\"lead\">")
            .text(format!("{count} more are not judged here: too many, or it took too long."))
            .raw("</p>");
    }
}

fn items(page: &mut Html, items: &[Item], none: &'static str) {
    if items.is_empty() {
        return empty(page, none);
    }
    let mut sorted: Vec<&Item> = items.iter().collect();
    sort_by_key(&mut sorted, |item| (!item.is_running, item.verdict));
    page.raw("<ul class=\"card list\">");
    for item in sorted {
        page.raw("<li><details><summary><span>");
        let class = match item.verdict {
            Verdict::Allowed => "good",
            Verdict::Refused => "bad",
            Verdict::Superseded | Verdict::CannotTell | Verdict::Forgiven => "warn",
        };
        tag(page, class, item.verdict.as_str());
        page.raw("</span><span class=\"name\">").text(if item.name == item.id { short(&item.id) } else { &item.name });
        page.raw("</span><span class=\"more\">");
        if item.is_running {
            page.raw("runs ");
        }
        page.raw("<code>")
            .text(if item.code.is_empty() { short(&item.id) } else { &item.code })
            .raw("</code></span></summary><div>");
        page.prose(said(&item.code, &item.message));
        if !item.why.is_empty() {
            page.raw("<ol>");
            for line in &item.why {
                page.raw("<li>").prose(line).raw("</li>");
            }
            page.raw("</ol>");
        }
        page.raw("<p class=\"more\">id <code>").text(&item.id).raw("</code></p>");
        if !item.image.is_empty() {
            page.raw("<p class=\"more\">made of ").text(&item.image).raw("</p>");
        }
        for digest in &item.approved_by {
            page.raw("<p class=\"more\">approved as <code>").text(digest).raw("</code></p>");
        }
        page.raw("</div></details></li>");
    }
    page.raw("</ul>");
}

fn trust(page: &mut Html, snapshot: &Snapshot) {
    head(page, "Trust", "Verified trust data that is kept on this host, and when somebody has to sign it again.");
    let Some(host) = &snapshot.host else { return empty(page, "It is being read. Look again in half a minute.") };
    if host.trust.is_empty() {
        return empty(page, "No trust data is kept: no Notary is asked, or nothing was asked for yet.");
    }
    table(page, "Trust data", &["Repository", "State", "Expires first", "All roles", "Checked"]);
    for one in &host.trust {
        page.raw("<tr><th scope=\"row\">").text(&one.repository).raw("<span class=\"more\">").text(&one.verifier);
        page.raw("</span></th><td>");
        if one.is_good {
            tag(page, "good", "good");
        } else {
            tag(page, "bad", "see to it");
            page.raw("<span class=\"more\">").text(&one.state).raw("</span>");
        }
        page.raw("</td><td>");
        if let Some(first) = &one.expires_first {
            page.time(first.at, snapshot.at).raw("<span class=\"more\">").text(&first.role).raw("</span>");
        }
        page.raw("</td><td>");
        for role in &one.roles {
            page.raw("<span class=\"more\">").text(&role.role).raw(" ").time(role.at, snapshot.at).raw("</span>");
        }
        page.raw("</td><td>").time(one.checked, snapshot.at).raw("</td></tr>");
    }
    end_table(page);
    left(page, host.trust_left);
}

fn policy(page: &mut Html, snapshot: &Snapshot) {
    let policy = &snapshot.policy;
    head(page, "Policy", "What is in force, where it is written, and what passes for a time though it is refused.");
    page.raw("<dl class=\"card facts\"><dt>Written in</dt><dd><code>").text(&policy.place).raw("</code></dd>");
    if let Some(digest) = &policy.digest {
        page.raw("<dt>Digest</dt><dd><code>").text(digest).raw("</code></dd>");
    }
    if let Some(read) = policy.read {
        page.raw("<dt>Last read</dt><dd>").time(read, snapshot.at).raw("</dd>");
    }
    page.raw("<dt>Mode</dt><dd>").text(&snapshot.mode).raw("</dd><dt>Posture</dt><dd>").text(&snapshot.posture).raw("</dd></dl>");
    page.raw("<h2>Exceptions</h2>");
    if snapshot.exceptions.is_empty() {
        empty(page, "There are none.");
    } else {
        table(page, "Exceptions", &["For", "Lifts", "Owner", "Why", "Ends"]);
        for one in &snapshot.exceptions {
            page.raw("<tr><th scope=\"row\">")
                .text(&one.subject)
                .raw("<span class=\"more\">")
                .text(&one.id)
                .raw("</span></th><td>");
            page.text(if one.lift.is_empty() { "who must vouch".to_owned() } else { one.lift.join(", ") }).raw("</td><td>");
            page.text(&one.owner).raw("<span class=\"more\">").text(one.ticket.as_deref().unwrap_or_default());
            page.raw("</span></td><td>").text(&one.reason).raw("</td><td>").time(one.expires, snapshot.at).raw(" ");
            tag(page, if one.standing == "in-force" { "good" } else { "warn" }, &one.standing);
            page.raw("</td></tr>");
        }
        end_table(page);
    }
    if !policy.allowlists.is_empty() {
        page.raw("<h2>Allowlists</h2>");
        table(page, "Allowlists", &["Verifier", "File", "Entries", "State"]);
        for list in &policy.allowlists {
            page.raw("<tr><th scope=\"row\">")
                .text(&list.verifier)
                .raw("</th><td><code>")
                .text(&list.path)
                .raw("</code></td><td>");
            page.text(list.entries.map_or_else(|| "none".to_owned(), |entries| entries.to_string())).raw("</td><td>");
            match &list.fault {
                None => tag(page, "good", "good"),
                Some(fault) => {
                    tag(page, "bad", if list.serial.is_some() { "refused" } else { "faulty" });
                    page.raw("<span class=\"more\">").text(fault).raw("</span>");
                }
            }
            if let Some(serial) = list.serial {
                page.raw("<span class=\"more\">signed, serial ").text(serial.to_string()).raw("</span>");
            }
            page.raw("</td></tr>");
        }
        end_table(page);
    }
    page.raw("<h2>In full</h2>");
    match &policy.text {
        None => empty(page, "No policy is in force: calls that touch an image are refused."),
        Some(text) => {
            page.raw("<pre tabindex=\"0\" role=\"region\" aria-label=\"Policy text\">").lines(text).raw("</pre>");
        }
    }
}

/// A message without the code that it begins with.
fn said<'m>(code: &str, message: &'m str) -> &'m str {
    message.strip_prefix(code).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(message)
}

/// As much of a digest or an id as people compare.
fn short(id: &str) -> &str {
    let hex = id.strip_prefix("sha256:").unwrap_or(id);
    hex.get(..ID_DIGITS).filter(|_| hex.len() == 64).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::status::sample::sample;

    #[test]
    fn what_others_have_written_is_never_markup_in_any_section() {
        let hostile = "\"><script>alert(1)</script><img src=x onerror='alert(1)'>&\u{202e}\u{1b}";
        for section in Section::ALL.into_iter().chain([Section::Live]) {
            let (page, plain) = (of(section, &sample(hostile)), of(section, &sample("plain")));
            let tags = |page: &str| page.matches('<').count();
            assert_eq!(tags(&page), tags(&plain), "{section:?}: no tag more than with plain text");
            assert!(page.contains("&lt;script&gt;") && !page.contains('\u{202e}') && !page.contains('\u{1b}'), "{section:?}");
            let quotes = |page: &str| page.matches('"').count();
            assert_eq!(quotes(&page), quotes(&plain), "{section:?}: no attribute ends early");
        }
    }

    #[test]
    fn a_page_of_five_hundred_images_is_not_large() {
        let mut snapshot = sample(&"x".repeat(200));
        if let Some(host) = &mut snapshot.host {
            host.images = std::iter::repeat_n(host.images[0].clone(), 500).collect();
        }
        assert!(of(Section::Images, &snapshot).len() < 2 << 20);
    }

    #[test]
    fn sections_are_found_by_their_whole_path() {
        for section in Section::ALL.into_iter().chain([Section::Live]) {
            assert_eq!(Section::at(section.path()), Some(section));
        }
        for path in ["", "//", "/Images", "/images/", "/../images", "/images/../../etc/passwd", "/%69mages", "/etc/passwd"] {
            assert_eq!(Section::at(path), None, "{path}");
        }
    }
}
