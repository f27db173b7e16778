//! Which entries of the log are wanted.

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde_json::Value;

use crate::audit::Event;
use crate::cli::when;

/// What `--user` calls those whom docker calls nothing: clients on the engine's socket, and whose certificate has no name.
const LOCAL: &str = "local";

/// Filters; an entry is shown that passes all of them. Of one that is given several times, one must fit.
#[derive(Args, Default)]
pub(super) struct WantedArgs {
    /// Only refusals
    #[arg(long)]
    blocked: bool,
    /// Only what is not older: 30s, 10m, 12h, 7d, 2w, a date, or 2027-01-31T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Only what is older than this, written like --since
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// Only entries with this text in the image's name, id or digest
    #[arg(long, value_name = "TEXT")]
    image: Vec<String>,
    /// Only decisions that came out so
    #[arg(long)]
    verdict: Vec<VerdictArg>,
    /// Only calls of this user (the name in the client's certificate); `local`: of clients without a name
    #[arg(long, value_name = "NAME")]
    user: Vec<String>,
    /// Only refusals with this code, also those of a candidate
    #[arg(long)]
    code: Vec<String>,
    /// Only this event: `allowed`, `blocked`, `created`, `killed` ...
    #[arg(long, value_parser = event)]
    event: Vec<String>,
}

/// How a decision came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum VerdictArg {
    /// The call may pass
    Allow,
    /// It was refused
    Deny,
    /// It passed, and would have been refused without mode `permissive`, or by the candidate for the policy
    WouldDeny,
    /// It was refused, and the candidate for the policy would let it pass
    WouldAllow,
}

/// Which entries are wanted.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    blocked: bool,
    pub(super) since: Option<Timestamp>,
    until: Option<Timestamp>,
    images: Vec<String>,
    verdicts: Vec<VerdictArg>,
    users: Vec<String>,
    codes: Vec<String>,
    events: Vec<String>,
}

impl WantedArgs {
    /// What these mean now.
    pub(super) fn read(&self, now: Timestamp) -> Result<Wanted, String> {
        let time = |text: &Option<String>| text.as_deref().map(|text| when::ago(text, now)).transpose();
        Ok(Wanted {
            blocked: self.blocked,
            since: time(&self.since)?,
            until: time(&self.until)?,
            images: self.image.clone(),
            verdicts: self.verdict.clone(),
            users: self.user.clone(),
            codes: self.code.clone(),
            events: self.event.clone(),
        })
    }
}

impl Wanted {
    /// Whether this entry is.
    pub(super) fn takes(&self, entry: &Value) -> bool {
        let field = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        let one_of = |wanted: &[String], fits: &dyn Fn(&str) -> bool| wanted.is_empty() || wanted.iter().any(|text| fits(text));
        let time = field("timestamp").parse::<Timestamp>().ok();
        let event = field("event");
        let verdict = match (event, entry.get("enforced")) {
            ("ALLOWED", _) => Some(VerdictArg::Allow),
            ("BLOCKED", Some(Value::Bool(false))) => Some(VerdictArg::WouldDeny),
            ("BLOCKED", _) => Some(VerdictArg::Deny),
            ("WOULD-DENY", _) => Some(VerdictArg::WouldDeny),
            ("WOULD-ALLOW", _) => Some(VerdictArg::WouldAllow),
            (_, _) => None,
        };
        let is_of_image =
            |text: &str| ["image", "image_id", "digest", "container_image"].iter().any(|name| field(name).contains(text));
        // Only calls have users.
        let is_of_user = |name: &str| !field("method").is_empty() && field("user") == if name == LOCAL { "" } else { name };
        (!self.blocked || event == "BLOCKED")
            && self.since.is_none_or(|since| time.is_none_or(|time| time >= since))
            && self.until.is_none_or(|until| time.is_none_or(|time| time < until))
            && (self.verdicts.is_empty() || verdict.is_some_and(|verdict| self.verdicts.contains(&verdict)))
            && one_of(&self.images, &is_of_image)
            && one_of(&self.users, &is_of_user)
            && one_of(&self.codes, &|code| field("code") == code || field("shadow_code") == code)
            && one_of(&self.events, &|wanted| event == wanted)
    }
}

/// An event's name, in any case. One that there is not would show nothing, for ever.
fn event(text: &str) -> Result<String, String> {
    let all = Event::ALL.map(Event::as_str);
    all.into_iter()
        .find(|name| name.eq_ignore_ascii_case(text))
        .map(str::to_owned)
        .ok_or_else(|| format!("it is none of {}", all.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-02T03:04:05Z";

    fn takes(arguments: &WantedArgs, entry: &str) -> bool {
        let wanted = arguments.read(NOW.parse().unwrap()).unwrap();
        wanted.takes(&serde_json::from_str(entry).unwrap())
    }

    #[test]
    fn what_is_older_or_newer_than_asked_for_is_left_out() {
        let at = |time: &str| format!(r#"{{"timestamp":"{time}","event":"GATE"}}"#);
        for (asked, time, is_since) in [
            ("10m", "2026-01-02T02:54:05.1Z", true),
            ("10m", "2026-01-02T02:54:04.9Z", false),
            ("2026-01-02", "2026-01-02T00:00:00Z", true),
            ("2026-01-02T00:00:00+01:00", "2026-01-01T22:59:59Z", false),
        ] {
            let since = WantedArgs { since: Some(asked.to_owned()), ..WantedArgs::default() };
            assert_eq!(takes(&since, &at(time)), is_since, "since {asked} {time}");
            let until = WantedArgs { until: Some(asked.to_owned()), ..WantedArgs::default() };
            assert_eq!(takes(&until, &at(time)), !is_since, "until {asked} {time}");
        }
        for bad in ["", "yesterday", "10", "-10m", "1y"] {
            assert!(when::ago(bad, NOW.parse().unwrap()).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_entry_is_shown_that_passes_every_filter() {
        let refused = r#"{"event":"BLOCKED","method":"POST","user":"alice","image":"r.example/team/app:1","code":"not-signed","enforced":true}"#;
        let passed = refused.replace("true", "false");
        let allowed = r#"{"event":"ALLOWED","method":"POST","container_image":"r.example/team/app:1","digest":"sha256:abc","enforced":true}"#;
        let gate = r#"{"event":"GATE","enforced":true}"#;
        let would_deny = r#"{"event":"WOULD-DENY","method":"POST","shadow_code":"image-rule","enforced":false}"#;
        let would_allow = r#"{"event":"WOULD-ALLOW","method":"POST","code":"not-signed","enforced":true}"#;
        let all = |text: &str| vec![text.to_owned()];
        let none = WantedArgs::default;
        for (arguments, expected) in [
            (WantedArgs { blocked: true, ..none() }, [true, true, false, false]),
            (WantedArgs { verdict: vec![VerdictArg::Deny], ..none() }, [true, false, false, false]),
            (WantedArgs { verdict: vec![VerdictArg::WouldDeny], ..none() }, [false, true, false, false]),
            (WantedArgs { verdict: vec![VerdictArg::Allow], ..none() }, [false, false, true, false]),
            (none(), [true; 4]),
        ] {
            let found = [refused, &passed, allowed, gate].map(|entry| takes(&arguments, entry));
            assert_eq!(found, expected, "{:?}", arguments.read(NOW.parse().unwrap()));
        }
        for (arguments, expected) in [
            (WantedArgs { image: all("r.example/team/"), ..none() }, [true, true, false]),
            (WantedArgs { image: all("sha256:ab"), ..none() }, [false, true, false]),
            (WantedArgs { image: vec!["sha256:ab".into(), "app".into()], ..none() }, [true, true, false]),
            (WantedArgs { user: all("alice"), ..none() }, [true, false, false]),
            (WantedArgs { user: all(LOCAL), ..none() }, [false, true, false]),
            (WantedArgs { user: all("alic"), ..none() }, [false, false, false]),
            (WantedArgs { code: all("not-signed"), ..none() }, [true, false, false]),
            (WantedArgs { event: all("GATE"), ..none() }, [false, false, true]),
            (WantedArgs { event: all("GATE"), user: all("alice"), ..none() }, [false, false, false]),
        ] {
            let found = [refused, allowed, gate].map(|entry| takes(&arguments, entry));
            assert_eq!(found, expected, "{:?}", arguments.read(NOW.parse().unwrap()));
        }
        for (arguments, expected) in [
            (WantedArgs { verdict: vec![VerdictArg::WouldDeny], ..none() }, [true, false]),
            (WantedArgs { verdict: vec![VerdictArg::WouldAllow], ..none() }, [false, true]),
            (WantedArgs { verdict: vec![VerdictArg::Deny, VerdictArg::Allow], ..none() }, [false, false]),
            (WantedArgs { code: all("image-rule"), ..none() }, [true, false]),
            (WantedArgs { code: all("not-signed"), ..none() }, [false, true]),
            (WantedArgs { event: all("WOULD-DENY"), ..none() }, [true, false]),
            (WantedArgs { blocked: true, ..none() }, [false, false]),
        ] {
            assert_eq!([would_deny, would_allow].map(|entry| takes(&arguments, entry)), expected);
        }
        assert_eq!(event("would-deny").as_deref(), Ok("WOULD-DENY"));
        assert_eq!(event("Killed").as_deref(), Ok("KILLED"));
        assert!(event("kill").is_err());
    }
}
