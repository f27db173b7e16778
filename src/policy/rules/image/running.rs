//! `user-root` and `healthcheck`: how a container of the image runs where nobody says otherwise.

use super::{Broken, Subject, broken};
use crate::text::clean;

/// Whom a name stands for, the image's own `/etc/passwd` says, which nobody reads here: another name of user 0 is not seen.
pub(super) fn user(image: &Subject<'_>) -> Result<(), Broken> {
    let written = image.config()?.user.as_str();
    let user = written.split(':').next().unwrap_or_default();
    // A number is read as the engine reads it: `00` and `+0` are 0 too.
    let is_zero = user.parse::<i64>() == Ok(0);
    match user {
        "" => broken("USER is not set, which is root"),
        "root" => broken("it runs as root"),
        _ if is_zero => broken(format!("it runs as user `{}`, which is root", clean(written))),
        _ => Ok(()),
    }
}

pub(super) fn healthcheck(image: &Subject<'_>) -> Result<(), Broken> {
    if image.config()?.has_healthcheck() { Ok(()) } else { broken("it has no HEALTHCHECK") }
}
