//! `required-labels`.

use std::collections::BTreeMap;

use super::{Broken, Subject, broken};
use crate::text::{clean, stands_for};

/// Labels that an image must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredLabels {
    /// Each, with the values that it may have; `*` stands for any letters. Of none: any value that is not empty.
    pub labels: BTreeMap<String, Vec<String>>,
}

impl RequiredLabels {
    pub(super) fn judge(&self, image: &Subject<'_>) -> Result<(), Broken> {
        let config = image.config()?;
        for (name, values) in &self.labels {
            // The values are not shown: a label may hold what is nobody's business.
            match config.labels.get(name) {
                None => return broken(format!("it has no label `{}`", clean(name))),
                Some(value) if values.is_empty() && value.trim().is_empty() => {
                    return broken(format!("its label `{}` is empty", clean(name)));
                }
                Some(value) if !values.is_empty() && !values.iter().any(|pattern| stands_for(pattern, value)) => {
                    return broken(format!("its label `{}` has another value than it may", clean(name)));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}
