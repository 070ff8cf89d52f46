//! The command line of the examples: `--help`, and options that take a number or one of a few words.

#![forbid(unsafe_code)]

use std::env;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::process;
use std::str::FromStr;

/// The arguments that no option has taken yet.
pub struct Args {
    rest: Vec<String>,
}

impl Args {
    /// The arguments of this program. If they ask for help, prints it and ends.
    pub fn new(help: &str) -> Self {
        let rest: Vec<String> =
            env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
        if rest.iter().any(|arg| arg == "--help" || arg == "-h") {
            println!("{}", help.trim());
            process::exit(0);
        }
        Self { rest }
    }

    /// The number given as `--name 7` or `--name=7`, or else `default`.
    pub fn number<N>(&mut self, name: &str, default: N, allowed: RangeInclusive<N>) -> N
    where
        N: FromStr + PartialOrd + Display,
    {
        let Some(value) = self.take(name) else { return default };
        value.parse().ok().filter(|number| allowed.contains(number)).unwrap_or_else(|| {
            let (least, most) = allowed.into_inner();
            refuse(format_args!("{name} takes a number from {least} to {most}, not '{value}'"))
        })
    }

    /// The word given as `--name word` or `--name=word`, or else the first of those that are `allowed`.
    pub fn word(&mut self, name: &str, allowed: &[&'static str]) -> &'static str {
        let value = self.take(name).unwrap_or_else(|| allowed[0].to_owned());
        allowed.iter().copied().find(|&word| word == value).unwrap_or_else(|| {
            refuse(format_args!("{name} takes {}, not '{value}'", allowed.join(" or ")))
        })
    }

    /// The text given as `--name text` or `--name=text`.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.take(name)
    }

    /// Ends the program if an argument is left that no option has taken.
    pub fn finish(self) {
        if let Some(arg) = self.rest.first() {
            refuse(format_args!("unknown argument '{arg}'"));
        }
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let is_it = |arg: &String| arg.split('=').next() == Some(name);
        let position = self.rest.iter().position(is_it)?;
        let arg = self.rest.remove(position);
        if let Some((_, value)) = arg.split_once('=') {
            return Some(value.to_owned());
        }
        if position == self.rest.len() {
            refuse(format_args!("{name} needs a value"));
        }
        Some(self.rest.remove(position))
    }
}

/// Says what is wrong with the arguments, and ends the program with status 2.
pub fn refuse(message: impl Display) -> ! {
    eprintln!("error: {message}; --help says more");
    process::exit(2);
}
