//! Arguments of a command that are described to the parser once somebody gives that command: to describe those of all commands takes a third of the
//! program's start.

use std::ops::Deref;

use clap::builder::Resettable;
use clap::{ArgMatches, Args, Command, Error, FromArgMatches, Id};

/// Such arguments. What the command is about has to stand with its variant: the list of commands is printed without asking for more.
pub(super) struct Later<T>(pub(super) T);

impl<T: Args> Later<T> {
    /// The whole command. What it is about stays as its variant has it.
    fn described(command: Command) -> Command {
        let [about, long_about] = [command.get_about(), command.get_long_about()]
            .map(|said| said.cloned().map_or(Resettable::Reset, Resettable::Value));
        T::augment_args(command).about(about).long_about(long_about)
    }
}

impl<T: Args> Args for Later<T> {
    fn group_id() -> Option<Id> {
        T::group_id()
    }

    fn augment_args(command: Command) -> Command {
        command.defer(Self::described)
    }

    fn augment_args_for_update(command: Command) -> Command {
        T::augment_args_for_update(command)
    }
}

impl<T: FromArgMatches> FromArgMatches for Later<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        T::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.update_from_arg_matches(matches)
    }
}

impl<T> Deref for Later<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
