//! What the README says in numbers, and no other test pins.

use std::fs;
use std::path::Path;

#[test]
fn the_unsafe_blocks_are_as_many_as_the_readme_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kpt-std/src");
    let mut counts = Vec::new();
    count_unsafe_blocks(&folder, &mut counts);
    let [(file, count)] = &counts[..] else {
        panic!("unsafe blocks outside of sys.rs: {counts:?}")
    };
    assert_eq!(file, "sys.rs");
    let claim = format!("`kpt-std` has {count} unsafe blocks, all in `sys.rs`");
    assert!(include_str!("../../README.md").contains(&claim), "the README does not say: {claim}");
}

/// Files with unsafe blocks, and how many they have.
fn count_unsafe_blocks(folder: &Path, counts: &mut Vec<(String, usize)>) {
    for entry in fs::read_dir(folder).expect("the sources are there").flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() {
            count_unsafe_blocks(&path, counts);
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).expect("sources are text");
            let count = text.matches("unsafe {").count();
            counts.extend((count > 0).then_some((name, count)));
        }
    }
}
