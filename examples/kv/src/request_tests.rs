//! Hostile bytes, and requests in pieces.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const LONGEST: usize = 512 << 20;

/// Returns the arguments of all requests, and how it ends: with what is left, or with an error.
fn parse_all(bytes: &[u8]) -> (Vec<Vec<Vec<u8>>>, Result<usize, Garbled>) {
    parse_in_pieces(bytes, &[bytes.len()])
}

/// The same, where more and more bytes have come: up to the first of these ends, up to the second, and so on.
fn parse_in_pieces(bytes: &[u8], ends: &[usize]) -> (Vec<Vec<Vec<u8>>>, Result<usize, Garbled>) {
    let (mut parser, mut requests, mut done) = (Parser::default(), Vec::new(), 0);
    for &end in ends {
        loop {
            match parser.parse(&bytes[done..end], LONGEST) {
                Ok(None) => break,
                Ok(Some(length)) => {
                    let args = parser.args(&bytes[done..end]);
                    requests.push((0..args.len()).map(|at| args[at].to_vec()).collect());
                    parser.finish();
                    done += length;
                }
                Err(garbled) => return (requests, Err(garbled)),
            }
        }
    }
    (requests, Ok(bytes.len() - done))
}

fn words(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// A request as clients write it.
fn array(args: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend(format!("${}\r\n", arg.len()).bytes());
        bytes.extend(arg);
        bytes.extend(b"\r\n");
    }
    bytes
}

#[test]
fn arrays_and_lines_are_understood() {
    let bytes =
        b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n*1\r\n$0\r\n\r\n  set  a\tb \n\r\n*0\r\n*-1\r\n";
    let (requests, end) = parse_all(bytes);
    let expected =
        [words(&["GET", "k"]), words(&["PING"]), words(&[""]), words(&["set", "a", "b"])];
    assert_eq!(requests[..4], expected);
    assert!(requests[4..].iter().all(Vec::is_empty));
    assert_eq!((requests.len(), end), (7, Ok(0)));
}

#[test]
fn words_in_quotes_are_one_argument() {
    let line = br#"set "a b" 'c\'d "e' "\x41\n\"" x"y z""#;
    let (requests, _) = parse_all(&[&line[..], b"\n"].concat());
    assert_eq!(requests, [words(&["set", "a b", "c'd \"e", "A\n\"", "xy z"])]);
    for line in ["set \"a", "set 'a", "set \"a\"b", "set \"a\\\"", "'"] {
        let (_, end) = parse_all(format!("{line}\r\n").as_bytes());
        assert_eq!(end, Err(Garbled::Quotes), "{line}");
    }
}

#[test]
fn what_is_not_the_protocol_is_refused() {
    for (text, expected) in [
        ("*x\r\n", Garbled::ArgCount),
        ("*\r\n", Garbled::ArgCount),
        ("*1\rX", Garbled::ArgCount),
        ("*9223372036854775808\r\n", Garbled::ArgCount),
        ("*1048577\r\n", Garbled::ArgCount),
        ("*00000000000000000000000000000000000001\r\n", Garbled::ArgCountTooLong),
        ("*1\r\nPING\r\n", Garbled::NoArg(b'P')),
        ("*1\r\n$x\r\n", Garbled::ArgLength),
        ("*1\r\n$-1\r\n", Garbled::ArgLength),
        ("*1\r\n$536870913\r\n", Garbled::ArgLength),
        ("*1\r\n$18446744073709551617\r\n", Garbled::ArgLength),
        ("*1\r\n$0000000000000000000000000000000000001\r\n", Garbled::ArgLengthTooLong),
    ] {
        let (requests, end) = parse_all(text.as_bytes());
        assert_eq!((requests.len(), end), (0, Err(expected)), "{text:?}");
    }
    let long = [&[b'x'; LONGEST_LINE + 1][..], b"\r\n"].concat();
    assert_eq!(parse_all(&long).1, Err(Garbled::Line));
    assert_eq!(parse_all(&long[..LONGEST_LINE + 1]).1, Err(Garbled::Line));
    let longest = [&[b'x'; LONGEST_LINE][..], b"\n"].concat();
    assert_eq!(parse_all(&longest).1, Ok(0));
}

#[test]
fn a_huge_length_takes_no_memory() {
    let mut parser = Parser::default();
    assert_eq!(parser.parse(b"*1048576\r\n$536870912\r\nabc", LONGEST), Ok(None));
    assert!(parser.memory() < 1024);
}

#[test]
fn a_request_that_comes_byte_by_byte_is_not_parsed_from_its_start_each_time() {
    // 20,000 arguments, 140,000 bytes: from the start each time, this would be ten thousand million bytes.
    let bytes = array(&vec![b"a".to_vec(); 20_000]);
    let ends: Vec<usize> = (1..=bytes.len()).collect();
    let start = std::time::Instant::now();
    let (requests, end) = parse_in_pieces(&bytes, &ends);
    assert_eq!((requests[0].len(), end), (20_000, Ok(0)));
    let line = [&[b'x'; LONGEST_LINE][..], b"\n"].concat();
    let ends: Vec<usize> = (1..=line.len()).collect();
    assert_eq!(parse_in_pieces(&line, &ends).1, Ok(0));
    assert!(start.elapsed().as_secs() < 5);
}

proptest! {
    #[test]
    fn whatever_is_sent_comes_as_it_was(
        requests in vec(vec(vec(any::<u8>(), 0..20), 1..5), 1..5),
        mut ends in vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let bytes = requests.iter().map(|args| array(args)).collect::<Vec<_>>().concat();
        let mut ends: Vec<_> = ends.drain(..).map(|end| end.index(bytes.len() + 1)).collect();
        ends.push(bytes.len());
        ends.sort_unstable();
        prop_assert_eq!(parse_in_pieces(&bytes, &ends), (requests, Ok(0)));
    }

    #[test]
    fn pieces_make_no_difference_whatever_the_bytes(
        bytes in vec(prop_oneof![
            any::<u8>().boxed(),
            prop::sample::select(&b"*$\r\n123-\"'\\x "[..]).boxed(),
        ], 0..60),
    ) {
        let ends: Vec<usize> = (0..=bytes.len()).collect();
        let (at_once, in_pieces) = (parse_all(&bytes), parse_in_pieces(&bytes, &ends));
        prop_assert_eq!(at_once.0, in_pieces.0);
        prop_assert_eq!(at_once.1, in_pieces.1);
    }
}
