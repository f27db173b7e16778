//! `user-root` and `healthcheck`: how a container of the image runs where nobody says otherwise.

use super::{Broken, Subject, broken};
use crate::text::clean;

/// Whom a name stands for, the image's own `/etc/passwd` says, which nobody reads here: another name of user 0 is not seen.
pub(super) fn user(image: &Subject<'_>) -> Result<(), Broken> {
    let written = image.config()?.user.as_str();
    match user_of(written) {
        "" => broken("USER is not set, which is root"),
        "root" => broken("it runs as root"),
        _ if is_root(written) => broken(format!("it runs as user `{}`, which is root", clean(written))),
        _ => Ok(()),
    }
}

/// Whether a user, with a group behind it or not, is root. A number is read as the engine reads it: `00` and `+0` are 0 too.
pub(in crate::policy::rules) fn is_root(written: &str) -> bool {
    let user = user_of(written);
    matches!(user, "" | "root") || user.parse::<i64>() == Ok(0)
}

fn user_of(written: &str) -> &str {
    written.split(':').next().unwrap_or_default()
}

pub(super) fn healthcheck(image: &Subject<'_>) -> Result<(), Broken> {
    if image.config()?.has_healthcheck() { Ok(()) } else { broken("it has no HEALTHCHECK") }
}
