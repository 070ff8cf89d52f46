//! Text as netascii (RFC 764): a line ends with CR LF, and a CR of the text is CR NUL.

const CR: u8 = b'\r';
const LF: u8 = b'\n';
const NUL: u8 = 0;

/// Appends a byte of a file as netascii: one byte or two.
pub fn encode(byte: u8, to: &mut Vec<u8>) {
    match byte {
        LF => to.extend([CR, LF]),
        CR => to.extend([CR, NUL]),
        _ => to.push(byte),
    }
}

/// Turns netascii into the bytes of a file, however it is split.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decoder {
    /// The last byte was a CR.
    is_after_cr: bool,
}

impl Decoder {
    /// Appends the bytes of a file. A CR that nothing valid follows stays as it is.
    pub fn decode(&mut self, bytes: &[u8], to: &mut Vec<u8>) {
        for &byte in bytes {
            match (std::mem::take(&mut self.is_after_cr), byte) {
                (true, LF) => to.push(LF),
                (true, NUL) => to.push(CR),
                (is_after_cr, _) => {
                    to.extend(is_after_cr.then_some(CR));
                    self.is_after_cr = byte == CR;
                    to.extend((byte != CR).then_some(byte));
                }
            }
        }
    }

    /// Appends what is left at the end of a file.
    pub fn finish(&mut self, to: &mut Vec<u8>) {
        to.extend(std::mem::take(&mut self.is_after_cr).then_some(CR));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        bytes.iter().for_each(|&byte| encode(byte, &mut text));
        text
    }

    #[test]
    fn lines_and_returns() {
        assert_eq!(encoded(b"a\nb\r\n\rc"), b"a\r\nb\r\0\r\n\r\0c");
        for (text, file) in [
            (&b"a\rb"[..], &b"a\rb"[..]),
            (b"\r\r\n", b"\r\n"),
            (b"a\r", b"a\r"),
            (b"\r\r\0", b"\r\r"),
        ] {
            let (mut decoder, mut bytes) = (Decoder::default(), Vec::new());
            decoder.decode(text, &mut bytes);
            decoder.finish(&mut bytes);
            assert_eq!(bytes, file, "{}", text.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_comes_back_however_it_is_split(bytes in "[a\r\n\0]{0,40}", at in 0..80_usize) {
            let text = encoded(bytes.as_bytes());
            let (first, second) = text.split_at(at.min(text.len()));
            let (mut decoder, mut file) = (Decoder::default(), Vec::new());
            decoder.decode(first, &mut file);
            decoder.decode(second, &mut file);
            decoder.finish(&mut file);
            prop_assert_eq!(file, bytes.as_bytes());
        }
    }
}
