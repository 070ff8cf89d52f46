//! Tries: each has a process that adopts the orphans of the row, ends the parent, and waits until nobody is left.

use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter, Read, Write, pipe};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use kpt_tests::chance::{is_checked, is_under_valgrind};
use kpt_tests::sys;
use kpt_tests::sys::family::{self, Relative};
use kpt_tests::sys::namespaces;

use super::parent::{FOLDER, Programs};
use super::row::{End, Expected, Outcome, Row, User};

/// The time in which a row must be in place.
const PATIENCE: Duration = Duration::from_secs(20);
const PATIENCE_IF_CHECKED: Duration = Duration::from_secs(200);

/// What a process does after it has said that it is ready, stopping itself for example, is done after this time.
const SETTLES: Duration = Duration::from_millis(100);

/// Who is still there after this time is left. Longer than any row may take.
const LEFT_AFTER: Duration = Duration::from_secs(5);
const LEFT_AFTER_IF_CHECKED: Duration = Duration::from_secs(60);

/// The same in a row in which somebody is left.
const DOCUMENTED_AFTER: Duration = Duration::from_millis(2_100);

/// Tries all of these at the same time.
pub fn observe_all<'r>(
    tries: &[(&'r Row, User)],
    programs: &Programs,
) -> Vec<(&'r Row, User, Outcome)> {
    let begin = |&(row, user)| {
        let (reader, mut writer) = pipe().expect("a pipe");
        let observer = sys::fork_and(|| {
            let outcome = observe(row, user, programs).unwrap_or_else(Outcome::Broken);
            writer.write_all(outcome.to_text().as_bytes()).expect("somebody reads");
        });
        (row, user, observer.expect("a fork"), reader)
    };
    let running: Vec<_> = tries.iter().map(begin).collect();
    let end = |(row, user, observer, mut reader): (_, _, _, PipeReader)| {
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("it can be read");
        sys::wait_for(observer).expect("a child");
        (row, user, Outcome::from_text(&text))
    };
    running.into_iter().map(end).collect()
}

/// In a process of its own.
fn observe(row: &Row, user: User, programs: &Programs) -> Result<Outcome, String> {
    let text = |error: io::Error| error.to_string();
    if is_under_valgrind() && !row.runs_under_valgrind {
        return Ok(Outcome::Skipped("valgrind can't run it".to_owned()));
    }
    family::adopt_orphans().map_err(text)?;
    let (report, to_report) = pipe().map_err(text)?;
    let (told, to_parent) = pipe().map_err(text)?;
    let parent = sys::fork_and(|| become_parent(row, user, programs, told, to_report));
    let mut family = Family { parent: parent.map_err(text)?, helpers: Vec::new() };
    let lines = lines_of(report);
    let placed = place(row, &lines, &mut family);
    let begin = Instant::now();
    let waited = placed.map(|()| end_and_wait(row, &family, to_parent));
    family.end();
    match waited {
        Ok((gone, left)) => {
            // All who could say something have ended.
            let pre_stops = lines.iter().filter(|(_, line)| line == "pre_stop");
            let pre_stops = pre_stops.map(|(time, _)| time - begin).collect();
            let left = left.into_iter().map(|Relative { name, .. }| name).collect();
            Ok(Outcome::Tried { pre_stops, gone, left })
        }
        Err(Placing::Skipped(why)) => Ok(Outcome::Skipped(why)),
        Err(Placing::Broken(why)) => Err(why),
    }
}

/// The processes of a row, as far as they have to be known.
struct Family {
    parent: u32,
    /// Processes that are none of the row's.
    helpers: Vec<u32>,
}

/// In the process that becomes the parent of the row.
fn become_parent(
    row: &Row,
    user: User,
    programs: &Programs,
    told: PipeReader,
    mut report: PipeWriter,
) {
    let prepare = || {
        (row.prepare)()?;
        if user == User::Nobody { namespaces::become_nobody() } else { Ok(()) }
    };
    let error = match prepare() {
        Ok(()) => {
            let output = report.try_clone().expect("room for one");
            Command::new(programs.folder().join("plain"))
                .args(["--parent", row.name])
                .env(FOLDER, programs.folder())
                .env("ASAN_OPTIONS", without_leaks())
                // Tells apart what valgrind writes (`tests/checked.sh`).
                .env("KPT_TESTS_USER", format!("-{user:?}"))
                .env_remove("RUST_BACKTRACE")
                .stdin(told)
                .stdout(output)
                .exec()
        }
        Err(error) => error,
    };
    let _ = report.write_all(format!("skipped {error}\n").as_bytes());
}

/// What a parent exits with, it has leaked on purpose.
fn without_leaks() -> String {
    let options = std::env::var("ASAN_OPTIONS").unwrap_or_default();
    format!("{options}:detect_leaks=0")
}

/// Lines and when they came.
type Lines = Receiver<(Instant, String)>;

fn lines_of(report: PipeReader) -> Lines {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let lines = BufReader::new(report).lines().map_while(Result::ok);
        lines.map(|line| (Instant::now(), line)).try_for_each(|line| sender.send(line))
    });
    receiver
}

/// Why a row could not be put in place.
enum Placing {
    Skipped(String),
    Broken(String),
}

/// Waits until all processes of the row are in their places.
fn place(row: &Row, lines: &Lines, family: &mut Family) -> Result<(), Placing> {
    let (mut ready, mut is_placed) = (0, false);
    while ready < row.ready || !is_placed {
        let patience = if is_checked() { PATIENCE_IF_CHECKED } else { PATIENCE };
        let Ok((_, line)) = lines.recv_timeout(patience) else {
            return Err(Placing::Broken(format!("{ready} of {} are ready", row.ready)));
        };
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let number = || rest.parse().map_err(|_| Placing::Broken(line.clone()));
        match word {
            "ready" => ready += 1,
            "placed" => is_placed = true,
            "parent" => family.parent = number()?,
            "helper" => family.helpers.push(number()?),
            "skipped" => return Err(Placing::Skipped(rest.to_owned())),
            _ => return Err(Placing::Broken(line)),
        }
    }
    thread::sleep(SETTLES);
    Ok(())
}

/// Ends the parent, and waits until nobody is left. Returns when that was so, or who is left.
fn end_and_wait(
    row: &Row,
    family: &Family,
    mut to_parent: PipeWriter,
) -> (Option<Duration>, Vec<Relative>) {
    let begin = Instant::now();
    match row.end {
        End::Killed => sys::kill(family.parent),
        End::Does(_) => to_parent.write_all(b"x").expect("the parent reads"),
    }
    let patience = match row.expected {
        Expected::Gone(_) if is_checked() => LEFT_AFTER_IF_CHECKED,
        Expected::Gone(_) => LEFT_AFTER,
        Expected::Left(_) => DOCUMENTED_AFTER,
    };
    // What is not an orphan is not among the children.
    let must_look = matches!(row.end, End::Does(_)) || !family.helpers.is_empty();
    loop {
        let is_late = begin.elapsed() > patience;
        match family::reap_any() {
            Ok(Some(_)) => continue,
            Err(_) => return (Some(begin.elapsed()), Vec::new()),
            Ok(None) if is_late || must_look => {
                let left = family.left(row.end);
                if left.is_empty() {
                    return (Some(begin.elapsed()), left);
                }
                if is_late {
                    return (None, left);
                }
            }
            Ok(None) => {}
        }
        thread::sleep(Duration::from_millis(if must_look { 10 } else { 2 }));
    }
}

impl Family {
    /// Returns who is left, by name. A child that has ended, and was not reaped, is left: its own children were listed
    /// before they were orphans.
    fn left(&self, end: End) -> Vec<Relative> {
        let mut left = Vec::new();
        let mut strangers = self.helpers.clone();
        if matches!(end, End::Does(_)) {
            // It may go on as something else, with its children, which it does not reap.
            strangers.push(self.parent);
            left = family::children_of(self.parent);
            left.retain(|relative| !relative.is_dead());
        }
        left.extend(family::children_of(std::process::id()));
        left.retain(|relative| !strangers.contains(&relative.id));
        left.sort_by(|one, other| one.name.cmp(&other.name));
        left
    }

    /// Kills all that is left, those who hold others first.
    fn end(self) {
        self.helpers.into_iter().for_each(sys::kill);
        loop {
            let children = family::children_of(std::process::id());
            children.iter().for_each(|child| sys::kill(child.id));
            match family::reap_any() {
                Ok(Some(_)) => {}
                Ok(None) => thread::sleep(Duration::from_millis(2)),
                Err(_) => return,
            }
        }
    }
}

/// As text, for the process that prints the table.
impl Outcome {
    fn to_text(&self) -> String {
        match self {
            Self::Skipped(why) => format!("skipped\t{why}"),
            Self::Broken(why) => format!("broken\t{why}"),
            Self::Tried { pre_stops, gone, left } => {
                let times = pre_stops.iter().map(|time| time.as_micros().to_string());
                let gone = gone.map_or_else(String::new, |time| time.as_micros().to_string());
                let times: Vec<_> = times.collect();
                format!("tried\t{}\t{gone}\t{}", times.join(","), left.join(","))
            }
        }
    }

    fn from_text(text: &str) -> Self {
        let words = |text: &str| -> Vec<String> {
            text.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect()
        };
        let time = |text: &String| Some(Duration::from_micros(text.parse().ok()?));
        match text.split('\t').collect::<Vec<_>>()[..] {
            ["skipped", why] => Self::Skipped(why.to_owned()),
            ["broken", why] => Self::Broken(why.to_owned()),
            ["tried", pre_stops, gone, left] => Self::Tried {
                pre_stops: words(pre_stops).iter().filter_map(time).collect(),
                gone: time(&gone.to_owned()),
                left: words(left),
            },
            _ => Self::Broken(format!("the observer has failed: {text}")),
        }
    }
}
