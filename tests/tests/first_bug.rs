//! docs/EXPLORE.md, "Your first bug in ten minutes": its code is what is in `first_bug/`, and does what it says.

use std::panic::catch_unwind;
use std::thread;

const CHAPTER: &str = include_str!("../../docs/EXPLORE.md");

mod first {
    include!("first_bug/first.rs");
    include!("first_bug/one_client.rs");

    /// The test of the chapter, which fails.
    pub fn clients_are_answered() {
        check(Limits::new().deviations(1), one_client);
    }
}

mod mended {
    include!("first_bug/mended.rs");
    include!("first_bug/one_client.rs");
    include!("first_bug/many.rs");
}

#[test]
fn the_chapter_has_the_code_of_the_files() {
    let blocks: Vec<_> = CHAPTER.split("```rust\n").skip(1).collect();
    let files = [
        include_str!("first_bug/first.rs"),
        include_str!("first_bug/one_client.rs"),
        include_str!("first_bug/few.rs"),
        include_str!("first_bug/mended.rs"),
        include_str!("first_bug/many.rs"),
    ];
    assert_eq!(blocks.len(), files.len());
    for (block, file) in blocks.into_iter().zip(files) {
        assert!(block.starts_with(&format!("{file}```")), "docs/EXPLORE.md has another:\n{file}");
    }
}

/// The chapter calls the package `shout`.
#[test]
fn the_first_server_fails_with_the_text_of_the_chapter() {
    let test = thread::Builder::new().name("clients_are_answered".to_owned());
    let test = test.spawn(|| catch_unwind(first::clients_are_answered));
    let result = test.expect("there is room for a thread").join().expect("it is caught");
    let text = *result.expect_err("it fails").downcast::<String>().expect("a panic has a text");
    let text = text.replace("-p kpt-tests", "-p shout");
    assert!(CHAPTER.contains(&text), "docs/EXPLORE.md should say:\n{text}");
}
