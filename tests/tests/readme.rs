//! What the README says in numbers, and no other test pins.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn the_unsafe_blocks_are_as_many_as_the_readme_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kpt-std/src");
    let mut counts = Vec::new();
    count_unsafe_blocks(&folder, &mut counts);
    let is_in_sys = |file: &Path| {
        let file = file.strip_prefix(&folder).unwrap_or(file);
        file == Path::new("sys.rs") || file.starts_with("sys")
    };
    assert!(counts.iter().all(|(file, _)| is_in_sys(file)), "outside of sys: {counts:?}");
    let count: usize = counts.iter().map(|&(_, count)| count).sum();
    let claim = format!("`kpt-std` has {count} unsafe blocks, all in `sys`");
    assert!(include_str!("../../README.md").contains(&claim), "the README does not say: {claim}");
}

/// Clippy reads it of each package, and so does a compiler that is too old.
#[test]
fn the_lowest_rust_is_the_same_everywhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut manifests = Vec::new();
    find_manifests(&root, &mut manifests);
    assert!(manifests.len() > 10, "{manifests:?}");
    let lowest = env!("CARGO_PKG_RUST_VERSION");
    let in_figures = format!("rust-version = \"{lowest}\"");
    for manifest in manifests {
        let text = fs::read_to_string(&manifest).expect("manifests are text");
        let mut lines = text.lines();
        let is_the_same =
            lines.any(|line| line == in_figures || line == "rust-version.workspace = true");
        assert!(is_the_same, "{} does not say {in_figures}", manifest.display());
    }
    let claim = format!("Rust ({lowest} or later)");
    assert!(include_str!("../../README.md").contains(&claim), "the README does not say: {claim}");
}

/// All `Cargo.toml` that are not in a folder of what was built.
fn find_manifests(folder: &Path, manifests: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder is there").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() && name != "target" && name != ".git" {
            find_manifests(&path, manifests);
        } else if name == "Cargo.toml" {
            manifests.push(path);
        }
    }
}

/// Relative ones would lead nowhere on docs.rs.
#[test]
fn links_into_the_repository_lead_to_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut links = 0;
    for readme in ["README.md", "kpt-core/README.md", "kpt-std/README.md"] {
        let text = fs::read_to_string(root.join(readme)).expect("a README");
        for (_, url) in text.match_indices("https://github.com/").map(|(at, _)| text.split_at(at)) {
            let url = url.split([')', '\n']).next().unwrap_or("");
            let path = url.strip_prefix(env!("CARGO_PKG_REPOSITORY"));
            let path =
                path.unwrap_or_else(|| panic!("{readme}: {url} is no link into the repository"));
            let file = path.strip_prefix("/blob/main/").unwrap_or("");
            assert!(root.join(file).exists(), "{readme}: no such file: {url}");
            links += 1;
        }
    }
    assert!(links > 3);
}

/// Files with unsafe blocks, and how many they have.
fn count_unsafe_blocks(folder: &Path, counts: &mut Vec<(PathBuf, usize)>) {
    for entry in fs::read_dir(folder).expect("the sources are there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            count_unsafe_blocks(&path, counts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("sources are text");
            let count = text.matches("unsafe {").count();
            counts.extend((count > 0).then_some((path, count)));
        }
    }
}
