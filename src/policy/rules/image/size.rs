//! `max-size` and `platform`.

use super::{Broken, Subject, broken};
use crate::image::Platform;

/// How large an image may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxSize {
    /// Millions of bytes: as the host holds it; at a pull, as the registry sends it.
    pub megabytes: u64,
}

impl MaxSize {
    pub(super) fn judge(self, image: &Subject<'_>) -> Result<(), Broken> {
        let size = image.config()?.size.ok_or(Broken::Unknown)?;
        let megabytes = size.div_ceil(1_000_000);
        if megabytes > self.megabytes {
            return broken(format!("it has {megabytes} MB, more than {}", self.megabytes));
        }
        Ok(())
    }
}

/// What images may run on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platforms {
    /// Each of them; one without a variant stands for all variants.
    pub allow: Vec<Platform>,
}

impl Platforms {
    pub(super) fn judge(&self, image: &Subject<'_>) -> Result<(), Broken> {
        let platform = &image.config()?.platform;
        if self.allow.iter().any(|allowed| platform.is(allowed)) {
            return Ok(());
        }
        if platform.os.is_empty() && platform.architecture.is_empty() {
            return broken("it does not say what it runs on");
        }
        broken(format!("it is for {}", crate::text::clean(&platform.to_string())))
    }
}
