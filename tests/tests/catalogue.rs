//! The tests that `docs/FAULTS.md`, `ARCHITECTURE.md` and the READMEs name exist, and so do the functions and files that
//! `ARCHITECTURE.md` names. The catalogue has each test with a number.
//!
//! Tests are in the last column of tables that have `tests` as its title: `file::test`, or the path of a script.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const CATALOGUE: &str = include_str!("../../docs/FAULTS.md");
const ARCHITECTURE: &str = include_str!("../../ARCHITECTURE.md");
const READMES: [&str; 3] = [
    include_str!("../../README.md"),
    include_str!("../../kpt-core/README.md"),
    include_str!("../../kpt-std/README.md"),
];

#[test]
fn each_test_that_is_named_exists() {
    let tests = all_tests();
    for text in [CATALOGUE, ARCHITECTURE].into_iter().chain(READMES) {
        let rows = rows(text);
        assert!(rows.len() > 4, "tables with a column `tests`");
        for (title, named) in rows {
            assert!(!named.is_empty(), "no test is named for: {title}");
            for name in named {
                let exists = tests.contains(name) || root().join(name).is_file();
                assert!(exists, "no such test: {name}, named for: {title}");
            }
        }
    }
}

#[test]
fn each_test_with_a_number_is_in_the_catalogue() {
    let mut catalogue = BTreeMap::new();
    for (number, named) in rows(CATALOGUE) {
        assert!(is_number(number), "{number} is no number of a fault");
        assert!(catalogue.insert(number, named).is_none(), "{number} is there twice");
    }
    for test in all_tests() {
        let (_, name) = test.split_once("::").expect("as it was made");
        let Some((number, _)) = name.split_once('_').filter(|(number, _)| is_number(number)) else {
            continue;
        };
        let is_named = catalogue.get(number).is_some_and(|named| named.contains(&test.as_str()));
        assert!(is_named, "docs/FAULTS.md does not name {test} in the row of {number}");
    }
}

/// All names in backticks: `file::function` and `Type::function` are functions, and what has a slash or a dot is a file.
#[test]
fn each_name_in_the_architecture_exists() {
    let (tests, functions, words) = (all_tests(), all_functions(), all_words());
    let text = ARCHITECTURE.replace("```text", "").replace("```", "");
    let names: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
    assert!(names.len() > 150, "names in backticks: {names:?}");
    for name in names {
        let is_function = |name: &str| functions.contains(name) || tests.contains(name);
        let exists = match name.split_once("::") {
            _ if name.starts_with("file::") || name.contains(' ') => true,
            Some(("kpt_tests", module)) => is_there(&format!("tests/src/{module}.rs")),
            Some((owner, item)) if owner.starts_with(char::is_uppercase) => {
                words.contains(owner) && words.contains(item)
            }
            Some(_) => is_function(name),
            None => {
                let folders = ["", "kpt-core/src/", "kpt-std/src/"];
                let suffixes = ["", ".rs", "/mod.rs"];
                let mut paths = folders
                    .iter()
                    .flat_map(|folder| suffixes.map(|suffix| format!("{folder}{name}{suffix}")));
                words.contains(name) || name.starts_with('.') || paths.any(|path| is_there(&path))
            }
        };
        assert!(exists, "ARCHITECTURE.md names {name}, which does not exist");
    }
}

/// Like `b02`.
fn is_number(word: &str) -> bool {
    matches!(word.as_bytes(), [b'a'..=b'z', b'0'..=b'9', b'0'..=b'9'])
}

/// The first cell of each row, and what the last one names, of all tables whose last column is `tests`.
fn rows(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut rows = Vec::new();
    let mut is_named = false;
    for line in text.lines() {
        let Some(line) = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |")) else {
            is_named &= line.starts_with("|---");
            continue;
        };
        let (first, last) =
            (line.split(" | ").next().unwrap_or(""), line.rsplit(" | ").next().unwrap_or(""));
        if is_named {
            rows.push((first, last.split('`').skip(1).step_by(2).collect()));
        }
        is_named |= last == "tests";
    }
    rows
}

/// All tests without arguments, as the catalogue names them.
fn all_tests() -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    for (folder, package) in [
        ("tests/tests", ""),
        ("tests/heavy/tests", ""),
        ("kpt-core/src", "kpt-core/"),
        ("kpt-std/src", "kpt-std/"),
    ] {
        let folder = root().join(folder);
        for path in sources(&folder) {
            let text = fs::read_to_string(&path).expect("sources are text");
            let file = path.strip_prefix(&folder).expect("it is in there").with_extension("");
            let names = tests_in(&text).into_iter();
            tests.extend(names.map(|name| format!("{package}{}::{name}", file.display())));
        }
    }
    assert!(tests.len() > 200, "the sources of the tests: {tests:?}");
    tests
}

/// All functions of both crates, as ARCHITECTURE.md names them.
fn all_functions() -> BTreeSet<String> {
    let mut functions = BTreeSet::new();
    for (folder, package) in [("kpt-core/src", ""), ("kpt-std/src", "kpt-std/")] {
        let folder = root().join(folder);
        for path in sources(&folder) {
            let text = fs::read_to_string(&path).expect("sources are text");
            let file = path.strip_prefix(&folder).expect("it is in there").with_extension("");
            for (_, rest) in
                text.match_indices("fn ").map(|(at, found)| text.split_at(at + found.len()))
            {
                let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next();
                functions.insert(format!("{package}{}::{}", file.display(), name.unwrap_or("")));
            }
        }
    }
    functions
}

/// All words in the code of both crates and of their manifests.
fn all_words() -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    let folders = ["kpt-core/src", "kpt-std/src"].map(|folder| root().join(folder));
    for path in folders.iter().flat_map(|folder| sources(folder)) {
        let text = fs::read_to_string(&path).expect("sources are text");
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let is_other = |c: char| !c.is_alphanumeric() && c != '_';
        words.extend(code.flat_map(|line| line.split(is_other)).map(str::to_owned));
    }
    words
}

fn is_there(path: &str) -> bool {
    root().join(path).exists()
}

/// Functions with the attribute `test`, and what is listed in `scenarios!` or `scenarios_at_once!`.
fn tests_in(text: &str) -> Vec<&str> {
    let lists = ["scenarios! {", "scenarios_at_once! {"];
    let scenarios = lists.iter().find_map(|list| text.split_once(list));
    let scenarios = scenarios.map_or("", |(_, scenarios)| scenarios);
    let mut names: Vec<&str> = scenarios
        .lines()
        .map(str::trim)
        .take_while(|line| *line != "}")
        .filter_map(|line| line.strip_suffix(','))
        .collect();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if line == "#[test]" {
            is_test = true;
        } else if let Some(rest) = line.strip_prefix("fn ") {
            let name = rest.split_once("()").map(|(name, _)| name);
            names.extend(name.filter(|_| is_test));
            is_test = false;
        }
    }
    names
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            paths.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
    paths
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
