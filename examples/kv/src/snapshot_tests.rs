//! What has been written is read; and what is torn, changed or foreign is refused, wherever.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn written(records: &[Record]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), 7).expect("memory");
    for Record { key, value, deadline } in records {
        writer.add(&Record { key, value, deadline: *deadline }).expect("memory");
    }
    let (bytes, keys) = writer.finish().expect("memory");
    assert_eq!(keys, records.len() as u64);
    bytes
}

fn read_all(bytes: &[u8]) -> Result<Vec<Record>, Refused> {
    let mut records = Vec::new();
    let keys = read(bytes, bytes.len() as u64, |record| records.push(record))?;
    assert_eq!(keys, records.len() as u64);
    Ok(records)
}

fn some_records() -> Vec<Record> {
    let record = |key: &str, value: &str, deadline| Record {
        key: key.into(),
        value: value.into(),
        deadline,
    };
    vec![
        record("a", "1", None),
        record("", "", Some(u64::MAX)),
        record("a longer key", &"value ".repeat(20), Some(1_700_000_000_000)),
    ]
}

#[test]
fn what_is_torn_is_refused_wherever_it_ends() {
    let bytes = written(&some_records());
    for length in 0..bytes.len() {
        match read_all(&bytes[..length]) {
            Err(Refused::Torn { at, .. }) => assert_eq!(at, length as u64),
            Err(Refused::TooShort { at, left, .. }) => assert_eq!(at + left, length as u64),
            other => panic!("{length}: {other:?}"),
        }
    }
}

#[test]
fn what_is_changed_is_refused_whichever_bit_it_is() {
    let bytes = written(&some_records());
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            assert!(read_all(&changed).is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn a_refusal_says_where_and_what_was_expected() {
    let bytes = written(&some_records());
    let told = |bytes: &[u8]| read_all(bytes).expect_err("wrong").to_string();
    assert_eq!(
        told(b"REDIS0011\xfa\x09redis-ver"),
        "at byte 0: expected a snapshot, which begins with 'kpt-kv\\n\\x01', found 'REDIS001'"
    );
    let mut newer = bytes.clone();
    newer[7] = 2;
    assert!(told(&newer).ends_with("found 'kpt-kv\\n\\x02'"), "{}", told(&newer));
    assert_eq!(told(&bytes[..3]), "torn: it ends at byte 3, within the header");
    assert_eq!(
        told(&bytes[..27]),
        "torn: it ends at byte 27, within a key, or the end of the keys"
    );
    assert_eq!(
        told(&bytes[..26]),
        "torn: at byte 26: expected a value of 1 bytes, found 0 and the end"
    );
    let mut tag = bytes.clone();
    tag[16] = 9;
    assert_eq!(
        told(&tag),
        "at byte 16: expected a key (1 or 2), or the end of the keys (255), found 9"
    );
    let more = [&bytes[..], b"xy"].concat();
    let end = bytes.len();
    assert_eq!(told(&more), format!("at byte {end}: expected the end, found 2 bytes more"));
}

#[test]
fn a_huge_length_asks_for_no_memory() {
    let mut bytes = written(&[])[..16].to_vec();
    bytes.extend([KEY]);
    bytes.extend(u32::MAX.to_le_bytes());
    bytes.extend(u32::MAX.to_le_bytes());
    assert!(matches!(read_all(&bytes), Err(Refused::TooShort { .. })));
}

/// Takes `left` bytes, and then the disk is full.
struct Full {
    left: usize,
}

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.left);
        self.left -= taken;
        if taken == 0 && !bytes.is_empty() {
            return Err(ErrorKind::StorageFull.into());
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_is_told_wherever_it_is_full() {
    let records = some_records();
    let length = written(&records).len();
    for left in 0..=length {
        let write = || -> io::Result<u64> {
            let mut writer = Writer::new(Full { left }, 7)?;
            for Record { key, value, deadline } in &records {
                writer.add(&Record { key, value, deadline: *deadline })?;
            }
            Ok(writer.finish()?.1)
        };
        assert_eq!(write().is_ok(), left == length, "{left} of {length}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        records in vec((vec(any::<u8>(), 0..30), vec(any::<u8>(), 0..300), any::<Option<u64>>()), 0..20),
    ) {
        let record = |(key, value, deadline)| Record { key, value, deadline };
        let records: Vec<Record> = records.into_iter().map(record).collect();
        prop_assert_eq!(read_all(&written(&records)).expect("whole"), records);
    }

    #[test]
    fn foreign_bytes_are_refused(bytes in vec(any::<u8>(), 0..200)) {
        let with_header = [&MAGIC[..], &bytes].concat();
        prop_assert!(read_all(&bytes).is_err());
        prop_assert!(read_all(&with_header).is_err());
    }
}
