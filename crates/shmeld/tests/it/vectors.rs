//! Reads docs/vectors.txt, as section 7 of docs/PROTOCOL.md says. The process tests of shmeld-cli read it by this file too.

/// All of them.
#[derive(Default)]
pub struct Vectors {
    /// The first 320 bytes of a region of one page, as they are when it gets its name.
    pub region: Vec<u8>,
    /// Messages, and what they ask for.
    pub messages: Vec<Message>,
    /// Answers, and what becomes of them.
    pub answers: Vec<Answer>,
}

/// One queue message: `GET 1 0 0` (op, id, flags, offset), or `None` if it is no request.
#[derive(Default)]
pub struct Message {
    pub bytes: Vec<u8>,
    pub request: Option<String>,
}

/// What a server publishes as its answer to request 1, a GET of `hi.txt`.
#[derive(Default)]
pub struct Answer {
    pub name: String,
    pub slots: Vec<Vec<u8>>,
    pub result: String,
    /// What the file has afterwards; nothing is also a file without bytes.
    pub content: Vec<u8>,
}

impl Vectors {
    /// Those of the document.
    pub fn read() -> Self {
        let mut vectors = Self::default();
        let mut into = "";
        let lines = include_str!("../../../../docs/vectors.txt").lines();
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            if word.is_empty() {
                vectors.take(into).extend(bytes(rest));
                continue;
            }
            into = word;
            match word {
                "region" | "dropped" => {}
                "message" => vectors.messages.push(Message::default()),
                "request" => vectors.messages.last_mut().unwrap().request = Some(rest.to_owned()),
                "answer" => vectors.answers.push(Answer {
                    name: rest.to_owned(),
                    ..Answer::default()
                }),
                "slot" => vectors.answers.last_mut().unwrap().slots.push(Vec::new()),
                "file" | "refused" | "broken" => {
                    vectors.answers.last_mut().unwrap().result = line.to_owned();
                }
                _ => panic!("docs/vectors.txt: {line}"),
            }
        }
        vectors
    }

    /// What the bytes behind a line with this word belong to.
    fn take(&mut self, word: &str) -> &mut Vec<u8> {
        match word {
            "region" => &mut self.region,
            "message" => &mut self.messages.last_mut().unwrap().bytes,
            "slot" => self.answers.last_mut().unwrap().slots.last_mut().unwrap(),
            _ => &mut self.answers.last_mut().unwrap().content,
        }
    }
}

/// `0a 00*7`: a byte, and seven.
fn bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in text.split_whitespace() {
        let (digits, count) = word.split_once('*').unwrap_or((word, "1"));
        let byte = u8::from_str_radix(digits, 16).unwrap();
        bytes.resize(bytes.len() + count.parse::<usize>().unwrap(), byte);
    }
    bytes
}
