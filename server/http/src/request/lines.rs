//! JSON objects of a list, each made a line of its own, as their bytes come.

/// Takes a list of objects apart, or passes a single object on, without holding more than a part at a time. What is wrong
/// within an object is left to the reader of the lines.
#[derive(Debug, Default)]
pub(crate) struct JsonLines {
    place: Place,
    /// Braces and brackets that are open.
    depth: usize,
    is_in_text: bool,
    is_escaped: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Place {
    /// Nothing but blanks came so far.
    #[default]
    Start,
    /// In a list, before an object; the flag says whether one must follow.
    BeforeObject(bool),
    /// In an object of a list (`true`), or in the only one.
    InObject(bool),
    /// Behind an object of a list.
    BehindObject,
    /// Behind everything.
    End,
}

impl JsonLines {
    /// Appends the lines of the next bytes to `lines`.
    ///
    /// # Errors
    /// What stands where it must not.
    pub(crate) fn push(&mut self, bytes: &[u8], lines: &mut Vec<u8>) -> Result<(), String> {
        for &byte in bytes {
            match self.place {
                Place::InObject(is_in_list) => self.within_object(byte, is_in_list, lines),
                _ if byte.is_ascii_whitespace() => {}
                Place::Start if byte == b'[' => self.place = Place::BeforeObject(false),
                Place::Start if byte == b'{' => self.begin(false, lines),
                Place::BeforeObject(_) if byte == b'{' => self.begin(true, lines),
                Place::BeforeObject(false) if byte == b']' => self.place = Place::End,
                Place::BehindObject if byte == b',' => self.place = Place::BeforeObject(true),
                Place::BehindObject if byte == b']' => self.place = Place::End,
                _ => {
                    return Err(format!(
                        "the body is neither a JSON object nor a list of them: `{}` stands where it must not",
                        char::from(byte).escape_default()
                    ));
                }
            }
        }
        Ok(())
    }

    /// Whether everything that was begun has ended.
    ///
    /// # Errors
    /// What is missing.
    pub(crate) fn finish(&self) -> Result<(), String> {
        match self.place {
            Place::End => Ok(()),
            Place::Start => Err("the body is empty, which is not JSON; a list without rows is []".to_owned()),
            _ => Err("the JSON of the body ends too early".to_owned()),
        }
    }

    fn begin(&mut self, is_in_list: bool, lines: &mut Vec<u8>) {
        self.place = Place::InObject(is_in_list);
        self.depth = 1;
        lines.push(b'{');
    }

    fn within_object(&mut self, byte: u8, is_in_list: bool, lines: &mut Vec<u8>) {
        // Line ends between the members of an object are blanks. Within a text, JSON allows none: another control character
        // takes its place, which the reader of the lines refuses too.
        let is_line_end = matches!(byte, b'\n' | b'\r');
        lines.push(match byte {
            _ if is_line_end && self.is_in_text => 0x01,
            _ if is_line_end => b' ',
            byte => byte,
        });
        if self.is_in_text {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.is_in_text = false,
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => self.is_in_text = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth -= 1,
            _ => {}
        }
        if self.depth == 0 {
            lines.push(b'\n');
            self.place = if is_in_list { Place::BehindObject } else { Place::End };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines, whatever the pieces in which the bytes come.
    fn lines(text: &str) -> Result<String, String> {
        let mut whole = Vec::new();
        let mut reader = JsonLines::default();
        let done = reader.push(text.as_bytes(), &mut whole).and_then(|()| reader.finish());
        let (mut parts, mut reader) = (Vec::new(), JsonLines::default());
        let pushed = text.as_bytes().chunks(1).try_for_each(|byte| reader.push(byte, &mut parts));
        assert_eq!(pushed.and_then(|()| reader.finish()), done);
        assert_eq!(parts, whole);
        done.map(|()| String::from_utf8(whole).unwrap())
    }

    #[test]
    fn each_object_becomes_a_line() {
        for (text, expected) in [
            ("[]", ""),
            (" [ ] ", ""),
            ("{\"a\": 1}", "{\"a\": 1}\n"),
            ("[{\"a\":1},\n {\"a\":\n2}]", "{\"a\":1}\n{\"a\": 2}\n"),
            ("[{\"a\":\"},{\"}]", "{\"a\":\"},{\"}\n"),
            ("[{\"a\":\"\\\"}\"},{}]", "{\"a\":\"\\\"}\"}\n{}\n"),
            ("[{\"a\":[{\"b\":[]}]}]", "{\"a\":[{\"b\":[]}]}\n"),
        ] {
            assert_eq!(lines(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_list_of_objects_is_refused() {
        for text in [
            "", " \n", "1", "[1]", "[{},]", "[{} {}]", "{}{}", "[", "[{}", "{", "[{}]x", "[,{}]", "\"{}\"",
            "[[{}]]",
        ] {
            assert!(lines(text).is_err(), "{text}");
        }
        // A raw line end in a text is no JSON, and does not become a blank of the text.
        assert_eq!(lines("{\"a\":\"x\ny\"}").unwrap(), "{\"a\":\"x\u{1}y\"}\n");
    }
}
